"""Where a run's data lie: kept as they were given, from the root of the disk and from the run folder.

So the data are found from any working directory, and where run and data were moved together.
"""

import os
import pathlib

from semi_anogan.errors import DataError, RunError
from semi_anogan.runs import folder as run_folder

KEYS = ("root", "path", "reviewed")  # of the section `data`
PLACES = "places"  # in data.json


def kept(folder, config) -> dict:
    """What data.json holds of the places of a run's data: key -> its three paths."""
    folder = os.path.abspath(folder)
    found = {}
    for key in KEYS:
        given = config.data[key]
        if given:
            absolute = os.path.abspath(given)
            try:
                relative = os.path.relpath(absolute, folder)
            except ValueError:  # on another drive
                relative = absolute
            found[key] = {"given": given, "absolute": absolute, "from_run": relative}
    return found


def find(config, folder, data_root: str | None = None, without=()):
    """Sets where the data of a run's configuration are now.

    Args: config: the run's, which changes; data_root: folder of the images, where they were moved; without:
      of KEYS, those that are not looked for.

    Raises: DataError where they are in none of the places that the run knows.
    """
    path = pathlib.Path(folder) / run_folder.DATA
    places = run_folder.read_json(path).get(PLACES, {}) if path.exists() else {}
    if data_root is not None:
        set_root(config, data_root)
    for key in KEYS:
        given = config.data[key]
        if not given or key in without or key == "root" and data_root is not None:
            continue
        place = places.get(key, {})
        tried = [place["absolute"], os.path.join(folder, place["from_run"])] if place else []
        tried += [given] + ([os.path.join(data_root, os.path.basename(given))] if data_root else [])
        there = [where for where in tried if os.path.exists(where)]
        if there:
            config.data[key] = there[0]
        elif key == "root":
            raise DataError(
                f"data.root: {tried[0]} is not there; --data_root=DIR says where the images are now"
            )
        elif key == "reviewed":
            raise DataError(f"data.reviewed: {tried[0]} is not there, which held labels of training images")
        else:
            raise DataError(f"data.path: {tried[0]} is not there; put it back, or into --data_root=DIR")


def remember(folder, config):
    """Keeps where the data are, now that --data_root has found them, and says so.

    A run that cannot be written is used all the same.
    """
    try:
        run_folder.keep_places(folder, kept(folder, config))
        print(f"note: {folder}: its images are in {config.data.root} from now on")
    except RunError as error:
        print(f"note: --data_root is not remembered: {error}")


def set_root(config, data_root: str):
    """Sets data.root; DataError where that is no folder."""
    if not os.path.isdir(data_root):
        raise DataError(f"--data_root: {data_root!r} is not a folder")
    config.data.root = data_root
