"""Which files a run goes on with: those it has recorded, or, to fit its detector anew, those of now."""

import dataclasses
import pathlib
from collections.abc import Sequence

from semi_anogan.data import record
from semi_anogan.data.dataset import Dataset
from semi_anogan.data.record import Changes, Row
from semi_anogan.data.splits import Splits
from semi_anogan.errors import RunError
from semi_anogan.runs import build, checkpoint, files_csv
from semi_anogan.runs import folder as run_folder

OF_BEFORE = (
    "has no files.csv, as it is of an earlier version, so it is not known which images its networks were "
    "trained on"
)


@dataclasses.dataclass(frozen=True)
class Found:
    """The images of a run, and how they differ from what it has recorded.

    Attributes:
      splits: with the labels of the source.
      rows: the record of before; None without one.
      training, test: how the files differ from it.
      told: lines for a person.
      refit: whether the splits are those of the files of now.
      trained: whether the training has finished.
    """

    splits: Splits
    rows: Sequence[Row] | None = None
    training: Changes = Changes()
    test: Changes = Changes()
    told: Sequence[str] = ()
    refit: bool = False
    trained: bool = False

    @property
    def what_takes_them_in(self) -> str:
        """Which command takes the differences in."""
        if self.training:
            return "--refit fits its detector to the files that there are now, and evaluates it"
        return "python -m semi_anogan.evaluate takes the test images that there are now"

    def nothing_to_do(self, config, folder) -> bool:
        """Whether the run has finished, and nothing but files differs: then it stays as it is.

        RunError where its detector is to be fitted to files that are not there any more. config: resolved.
        """
        if self.rows is None or self.refit:
            return False
        folder = pathlib.Path(folder)
        finished = (folder / run_folder.DETECTOR).exists() and (folder / run_folder.METRICS).exists()
        settings = set(run_folder.differing(folder, config)) & set(run_folder.DETECTOR_KEYS)
        if finished and not settings and (self.training or self.test):
            return True
        if lost := _lost(self.training):
            raise RunError(f"{folder}: {lost}; --refit fits the detector to the files that there are")
        return False


def check_refit(folder):
    """RunError where there is no trained run in a folder, whose detector could be fitted anew."""
    folder = pathlib.Path(folder)
    if not (folder / run_folder.CONFIG).exists():
        raise RunError(f"{folder}: holds no run, so there is nothing to refit; train first, without --refit")
    if not (folder / run_folder.FILES).exists():
        source = run_folder.read_settings(folder)["data"]["name"]
        if source not in _of_files():
            raise RunError(f"{folder}: --refit takes in new files, and the source {source!r} has none")
        raise RunError(
            f"{folder}: {OF_BEFORE}; its train command without --refit records them, if these are still all"
        )


def found(config, folder, dataset: Dataset, total_images: int, refit: bool = False) -> Found:
    """The images that a run is made of.

    A run that begins draws its split. One that has begun keeps what it has recorded: new files are left out.

    Args: config: resolved but for what depends on the splits; total_images: of the whole training; refit:
      whether new files join, and those that are gone leave.

    Raises: RunError where an interrupted training cannot go on with its files, or there is nothing to refit.
    """
    folder = pathlib.Path(folder)
    progress = checkpoint.latest_progress(folder / run_folder.CHECKPOINTS) or {"step": 0, "images_seen": 0}
    trained = progress["images_seen"] >= total_images
    rows = build.recorded_rows(dataset, folder) if progress["step"] else None
    if refit and not trained:
        raise RunError(f"{folder}: its training has not finished; --refit is for afterwards")
    if rows is None:
        drawn = build.draw(config, dataset)
        _check_run_of_before(folder, dataset, drawn)
        return Found(drawn)
    chosen = config.data.abnormal_count is not None or bool(config.data.contamination)
    training = record.compare(dataset, rows, "train", chosen)
    test = record.compare(dataset, rows, "test")
    told = training.lines("training") + test.lines("test")
    if refit:
        share, most = config.calibration.hold_out_share, config.data.abnormal_count
        splits = record.joined(dataset, rows, training, share, config.seed, most)
        return Found(splits, rows, training, test, told, refit, trained)
    lost = _lost(training)
    if lost and not trained:
        raise RunError(
            f"{folder}: {lost}; the training goes on with the files that it began with only: put them back, "
            f"or {run_folder.ANOTHER}"
        )
    if training.new and not trained:
        told.append("new training images are left out until the training has finished; --refit takes them in")
    splits = record.recorded(dataset, rows, training.renamed)
    return Found(splits, rows, training, test, told, trained=trained)


def keep(folder, dataset: Dataset, found: Found):
    """Writes files.csv where a run begins, or where its files are others from now on."""
    if dataset.files is None or found.rows is not None and not found.refit:
        return
    rows = record.rows_of(dataset, found.splits)
    files_csv.write(
        pathlib.Path(folder) / run_folder.FILES, rows + record.gone(found.rows or (), found.splits)
    )


def evaluated(folder, dataset: Dataset, splits: Splits) -> list[str]:
    """Records the test images that are evaluated; returns lines on how files differ from the record.

    Training images are looked for, but not read.
    """
    folder = pathlib.Path(folder)
    rows = build.recorded_rows(dataset, folder)
    if rows is None:
        return []
    training = record.compare(dataset, rows, "train", chosen=True, contents=False)
    test = record.compare(dataset, rows, "test")
    lines = training.lines("training") + test.lines("test")
    empty = Splits([], [], [], [], splits.test)
    tests = record.rows_of(dataset, empty)
    if seen := record.trained_on(rows, tests):
        (of_test, of_training), *_ = seen
        lines.append(
            f"{len(seen)} test images are training images too, or were, byte for byte, such as "
            f"{of_test.path} = {of_training.path}: figures of the test are too good"
        )
    files_csv.write(folder / run_folder.FILES, [row for row in rows if row.use != record.TEST] + tests)
    return lines


def _lost(changes: Changes) -> str:
    return "; ".join(dataclasses.replace(changes, new=(), renamed={}).lines("training"))


def _check_run_of_before(folder: pathlib.Path, dataset: Dataset, drawn: Splits):
    """RunError where a finished run without a record has other numbers of training images than now."""
    if dataset.files is None or not (folder / run_folder.METRICS).exists():
        return
    counts = run_folder.read_json(folder / run_folder.METRICS).get("counts", {})
    before = sum(n for name, n in counts.items() if not name.startswith("test_"))
    if counts and before != len(drawn.training):
        raise RunError(
            f"{folder}: {OF_BEFORE}; it had {before} training images, and now there are "
            f"{len(drawn.training)}: take the new ones out, or {run_folder.ANOTHER}"
        )


def _of_files() -> tuple[str, ...]:
    from semi_anogan.data.catalog import OF_FILES

    return OF_FILES
