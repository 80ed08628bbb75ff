"""remembered.json of a run folder: which images the numbers are of that own the memory's patches."""

import pathlib
from collections.abc import Sequence

from semi_anogan.errors import RunError
from semi_anogan.runs import folder as run_folder

_IMAGES = "images"


def write(folder, paths: Sequence[str] | None):
    """Writes the paths of the images that a memory was fitted to, by number; None: there is no memory."""
    path = pathlib.Path(folder) / run_folder.REMEMBERED
    if paths is None:
        path.unlink(missing_ok=True)
    else:
        run_folder.write_json(path, {_IMAGES: list(paths)})


def read(folder) -> list[str] | None:
    """These paths; None for a run of before. RunError where the file is damaged."""
    path = pathlib.Path(folder) / run_folder.REMEMBERED
    if not path.exists():
        return None
    found = run_folder.read_json(path).get(_IMAGES)
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise RunError(f"{path}: has no list of {_IMAGES}")
    return found
