"""Writing files so that a full disk or a killed process loses nothing: the standard library only."""

import contextlib
import os
import pathlib
from collections.abc import Iterator

from semi_anogan.errors import UserError


@contextlib.contextmanager
def told_writing(where, error: type[UserError]) -> Iterator[None]:
    """Turns a failed write inside into `error`, which names the file, or `where` if it is not known."""
    try:
        yield
    except OSError as reason:
        raise error(f"{reason.filename or where}: cannot be written: {reason.strerror or reason}") from reason


@contextlib.contextmanager
def atomically(path, error: type[UserError], synced: bool = False) -> Iterator[pathlib.Path]:
    """A path to write to, whose file takes the place of `path` at the end; until then `path` is what it was.

    Args: error: raised where it cannot be written; synced: whether the data is on disk before the file has
      its name.
    """
    path = pathlib.Path(path)
    temporary = path.with_name(path.name + ".tmp")
    try:
        yield temporary
        if synced:
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as reason:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise error(f"{path}: cannot be written: {reason.strerror or reason}") from reason
