"""Puts a new detector into a run folder as a whole: until it is complete, the former one is there.

All its files are written to a folder of their own. That gets another name when they are complete, and then
they are moved one by one. A process that is killed between two moves leaves the rest to the next one that
opens the run.
"""

import contextlib
import json
import os
import pathlib
import shutil
from collections.abc import Iterator

from semi_anogan.errors import RunError
from semi_anogan.files import told_writing
from semi_anogan.runs import folder as run_folder

BEGUN, WHOLE = "replacement.begun", "replacement"
BEFORE = "before_refit"  # the former detector, for `undo`
PLOTS = "plots"
_LIST = "replacement.json"  # names of its files
# What belongs to a detector: where the new one has no such file, that of the former one goes. detector.json,
# without which a run is not finished, comes last.
_FILES = (
    run_folder.METRICS,  # of the former one
    run_folder.CONFIG,
    run_folder.DATA,
    run_folder.FILES,
    run_folder.MEMORY,
    run_folder.REMEMBERED,
    run_folder.LIKENESS,
    run_folder.CLASSIFIER,
    run_folder.SEGMENTATION,
    run_folder.EVIDENCE,
    run_folder.SUSPICIOUS,
    run_folder.DETECTOR,
)
# What was made with it besides: kept, and brought back with it.
_MADE = (run_folder.SCORES, run_folder.REPORT)


@contextlib.contextmanager
def replacing(folder) -> Iterator[pathlib.Path]:
    """A folder for the new files, which take their places at the end; after an error the run is as it was.

    suspicious.csv, in which a person may have written, lies there already. RunError when that fails.
    """
    folder = pathlib.Path(folder)
    new = folder / BEGUN
    with told_writing(folder, RunError):
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        if (folder / run_folder.SUSPICIOUS).exists():
            shutil.copy(folder / run_folder.SUSPICIOUS, new)
    try:
        yield new
        with told_writing(folder, RunError):
            names = sorted(path.name for path in new.iterdir() if path.is_file())
            (new / _LIST).write_text(json.dumps(names))
            os.replace(new, folder / WHOLE)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    finish(folder)


def finish(folder):
    """Moves the files of a replacement that is complete to their places; RunError when that fails."""
    folder = pathlib.Path(folder)
    whole = folder / WHOLE
    try:
        names = json.loads((whole / _LIST).read_text())
    except (FileNotFoundError, NotADirectoryError):
        return
    with told_writing(folder, RunError):
        for name in _MADE:
            if name in names:
                with contextlib.suppress(FileNotFoundError):
                    os.replace(whole / name, folder / name)
        for name in _FILES:
            if name in names:
                with contextlib.suppress(FileNotFoundError):  # moved already
                    os.replace(whole / name, folder / name)
            else:
                (folder / name).unlink(missing_ok=True)
        events = folder / run_folder.EVENTS
        for path in (whole / run_folder.EVENTS).glob("*"):
            events.mkdir(exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                os.replace(path, events / path.name)
        shutil.rmtree(whole, ignore_errors=True)


def keep(folder):
    """Copies the detector of a run, and what was made with it, to BEFORE; one of before is replaced.

    RunError when that fails; what was kept is then as it was.
    """
    folder = pathlib.Path(folder)
    new = folder / f"{BEFORE}.begun"
    with told_writing(folder / BEFORE, RunError):
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        for name in (*_MADE, *_FILES):
            if (folder / name).exists():
                shutil.copy2(folder / name, new)
        if (folder / PLOTS).is_dir():
            shutil.copytree(folder / PLOTS, new / PLOTS)
        shutil.rmtree(folder / BEFORE, ignore_errors=True)
        os.replace(new, folder / BEFORE)


def undo(folder):
    """Brings the detector of BEFORE back as a whole, with its figures; BEFORE is gone then.

    The labels in suspicious.csv are those of then. RunError where there is none, or it cannot be written.
    """
    folder = pathlib.Path(folder)
    before, new = folder / BEFORE, folder / BEGUN
    if not (before / run_folder.DETECTOR).exists():
        raise RunError(f"{before}: holds no detector, so there is nothing to go back to")
    with told_writing(folder, RunError):
        shutil.rmtree(new, ignore_errors=True)
        shutil.copytree(before, new, ignore=shutil.ignore_patterns(PLOTS))
        if (before / PLOTS).is_dir():
            shutil.rmtree(folder / PLOTS, ignore_errors=True)
            shutil.copytree(before / PLOTS, folder / PLOTS)
        names = sorted(path.name for path in new.iterdir() if path.is_file())
        (new / _LIST).write_text(json.dumps(names))
        os.replace(new, folder / WHOLE)
    finish(folder)
    shutil.rmtree(before, ignore_errors=True)
