"""What is made once for all processes of a session of tests."""

import fcntl
import os
import pathlib


def once(factory, name: str, make) -> pathlib.Path:
    """The folder NAME, which make(folder) fills in the process that asks first; the others wait for it.

    factory: pytest's tmp_path_factory, whose folder pytest-xdist puts beside those of the other processes.
    """
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    with open(f"{folder}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = folder.with_name(f"{name}.made")
        if not made.exists():
            folder.mkdir()  # fails where it was begun: the other process says why
            make(folder)
            made.touch()
    return folder
