"""Files of any file system that Beam knows: local ones as they are, others through a copy."""

import concurrent.futures
import contextlib
import os
import pathlib
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator

from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems

from semi_anogan.errors import DataError

COPIES = 8  # at once
AS_IT_IS = {"compression_type": CompressionTypes.UNCOMPRESSED}


def is_local(address: str) -> bool:
    """Whether an address is a path of this machine."""
    return FileSystems.get_scheme(address) is None


@contextlib.contextmanager
def fetched(addresses: Iterable[str]) -> Iterator[dict[str, str | DataError]]:
    """{address: path of the file or of a copy, or why there is none}; copies are there while they are needed.

    Several are copied at once, since each of them waits for its answer.
    """
    found = {address: address for address in addresses if is_local(address)}
    others = [address for address in dict.fromkeys(addresses) if address not in found]
    with contextlib.ExitStack() as kept:
        if others:
            folder = kept.enter_context(tempfile.TemporaryDirectory(prefix="semi_anogan_"))
            # Of one length: none is the beginning of another, when messages get the addresses back.
            copies = [f"{folder}/{number:06d}" for number in range(len(others))]
            with concurrent.futures.ThreadPoolExecutor(COPIES) as pool:
                found |= zip(others, pool.map(_fetched, others, copies), strict=True)
        yield found


def _fetched(address: str, path: str) -> str | DataError:
    try:
        _fetch(address, path)
        return path
    except DataError as error:
        return error


@contextlib.contextmanager
def local_folder(address: str) -> Iterator[str]:
    """The path of a folder, or of a copy of all below it; DataError where it cannot be read."""
    if is_local(address):
        yield address
        return
    with tempfile.TemporaryDirectory(prefix="semi_anogan_") as folder:
        for path in listed(f"{address.rstrip('/')}/**"):
            copy = pathlib.Path(folder, path[len(address.rstrip("/")) + 1 :])
            copy.parent.mkdir(parents=True, exist_ok=True)
            _fetch(path, copy)
        yield folder


def listed(pattern: str, most: int | None = None) -> list[str]:
    """The files that a pattern matches, `most` at most; DataError where the place cannot be listed."""
    try:
        (found,) = FileSystems.match([pattern], None if most is None else [most])
    except (BeamIOError, ValueError) as error:
        raise DataError(f"{pattern}: cannot be listed: {_told(error)}") from error
    return [file.path for file in found.metadata_list]


def begin_of(address: str, size: int = 1 << 16) -> bytes:
    """The first bytes of a file; DataError where it cannot be read."""
    try:
        with FileSystems.open(address, **AS_IT_IS) as file:
            return file.read(size)
    except (OSError, BeamIOError, ValueError) as error:
        raise DataError(f"{address}: cannot be read: {_told(error)}") from error


def store(path, address: str):
    """Copies a file of this machine to an address, where it appears as a whole."""
    if is_local(address):
        os.makedirs(os.path.dirname(address), exist_ok=True)
        begun = f"{address}.{uuid.uuid4().hex}.tmp"
        shutil.copyfile(path, begun)
        os.replace(begun, address)
        return
    with open(path, "rb") as file, FileSystems.create(address, **AS_IT_IS) as copy:
        shutil.copyfileobj(file, copy)


def _fetch(address: str, path):
    try:
        with FileSystems.open(address, **AS_IT_IS) as file, open(path, "wb") as copy:
            shutil.copyfileobj(file, copy)
    except Exception as error:  # noqa: BLE001 - each file system has its own; others are read all the same
        raise DataError(f"{address}: cannot be read: {_told(error)}") from error


def _told(error: Exception) -> str:
    return " ".join(str(getattr(error, "strerror", None) or error).split())
