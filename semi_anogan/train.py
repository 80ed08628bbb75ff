"""python -m semi_anogan.train: trains, calibrates, evaluates and writes the report of one run folder."""

import collections
import contextlib
import pathlib

from absl import flags

from semi_anogan import cli
from semi_anogan.errors import RunError

_CONFIG = cli.define_config("configuration file, such as configs/mnist.py")
_WORKDIR = flags.DEFINE_string("workdir", None, "run folder; default runs/NAME, the config's name")
_REFIT = flags.DEFINE_bool(
    "refit", False, "fit the detector of a finished run anew to the files that there are now"
)
_DATA_ROOT = flags.DEFINE_string("data_root", None, "folder of the images, in place of data.root")


def main(argv):
    """Trains on the embedded surface data when called without arguments.

    python -m semi_anogan.train [--config=configs/NAME.py] [--config.KEY=VALUE ...] [--workdir=DIR]
      [--refit] [--data_root=DIR]

    A run that was interrupted goes on when the same command is given again. Settings of the detector (the
    false-alarm rate, the score's components, the search, the reviewed images: runs/folder.py, DETECTOR_KEYS)
    may change then: it is fitted again, without training again. --refit does so with the images that have
    been added since; without --config it takes the run's own settings.
    """
    del argv
    from semi_anogan.runs import folder as run_folder
    from semi_anogan.runs import known_files
    from semi_anogan.runs.check_config import check

    if _REFIT.value and _WORKDIR.value and not flags.FLAGS["config"].present:
        folder = pathlib.Path(_WORKDIR.value)
        config = _own_config(folder)
    else:
        config = cli.config_of(_CONFIG)
        folder = pathlib.Path(_WORKDIR.value or f"runs/{config.name}")
    # As `run` does; but here it is told before Keras is loaded, which takes seconds.
    check(config)
    run_folder.check_format(folder, run_folder.ANOTHER)
    if _REFIT.value:
        known_files.check_refit(folder)
    cli.load_framework()
    run(config, folder, _REFIT.value, _DATA_ROOT.value)


def _own_config(folder: pathlib.Path):
    """The settings of a run, with those given on the command line in their place."""
    from ml_collections import config_flags

    from semi_anogan.runs import folder as run_folder
    from semi_anogan.runs import known_files, places

    known_files.check_refit(folder)
    config, given = run_folder.load_config(folder), config_flags.get_override_values(flags.FLAGS["config"])
    config.update_from_flattened_dict(given)
    # Labels of before that are replaced need not be there any more.
    places.find(config, folder, _DATA_ROOT.value, without=("reviewed",) if "data.reviewed" in given else ())
    print(f"{folder}: its own settings are taken, as --config names no others")
    return config


def run(config, folder, refit: bool = False, data_root: str | None = None):
    """The whole job of one run folder: training, calibration on held-out training images, evaluation, report.

    Args: refit: fit the detector of a finished run to the files of now; data_root: in place of data.root.

    Returns the metrics, as in metrics.json. Raises ConfigError, DataError, RunError or CheckpointError.
    """
    from semi_anogan import evaluate
    from semi_anogan.backend import worker_index
    from semi_anogan.data.check_files import read_all
    from semi_anogan.runs import aspect, build, known_files, places, replacement
    from semi_anogan.runs import folder as run_folder
    from semi_anogan.runs.check_config import check
    from semi_anogan.scoring import chosen as chosen_threshold
    from semi_anogan.scoring.parts import read_parts
    from semi_anogan.training.fit_detector import fit_detector
    from semi_anogan.training.loop import Training, make_schedule

    # Of several workers on one job, the first holds the folder and writes it; the others only read the
    # checkpoints there.
    first = worker_index(config.train.distribution) == 0
    check(config)
    run_folder.check_format(folder, run_folder.ANOTHER)  # before the lock and the data: nothing is changed
    with run_folder.locked(folder) if first else contextlib.nullcontext():
        if first:
            replacement.finish(folder)
        if refit:
            known_files.check_refit(folder)
        if data_root is not None:
            places.set_root(config, data_root)
        dataset, store = build.load_dataset(config, folder)
        found = known_files.found(config, folder, dataset, make_schedule(config).total_images, refit)
        for line in found.told if first else ():
            print(line)
        splits = build.labelled(dataset, found.splits)
        build.resolve(config, len(splits.abnormal), folder)
        if found.nothing_to_do(config, folder):
            print(f"{folder}: finished, and left as it is; {found.what_takes_them_in}")
            return run_folder.read_metrics(folder)
        if first and found.training.new and not refit and found.trained:
            print(f"{folder}: the new training images are left out; {found.what_takes_them_in}")
        chosen = chosen_threshold.read(folder) if first else None
        if first:
            claim = run_folder.differing_lines if refit else run_folder.claim
            for change in claim(folder, config):
                print(f"{folder}: {change}")
            run_folder.write_ignore(folder, dataset.ignore)
        _tell(config, dataset, splits)
        for line in aspect.told(config, dataset):
            print(line)
        training = Training(config, folder, splits, store)
        begun = bool(training.progress["step"]) and not refit
        if first and dataset.files is not None and not begun:
            resolution = aspect.features_side(config) or config.model.resolution
            read_all(dataset, splits.training + splits.test, resolution=resolution)
        _note_colour(config, dataset, splits)
        _note_test(dataset, splits)
        if first and not refit:
            for line in run_folder.data_notes(folder, dataset.notes.lines(), go_on=begun):
                print(f"note: {line}")
            run_folder.keep_places(folder, places.kept(folder, config))
            known_files.keep(folder, dataset, found)
        model = training.run()
        if not first:  # the first worker does the rest
            return None
        if refit:
            for line in dataset.notes.lines():
                print(f"note: {line}")
            with replacement.replacing(folder) as new:
                run_folder.write_settings(new, config)
                run_folder.data_notes(new, dataset.notes.lines())
                run_folder.keep_places(new, places.kept(folder, config))
                known_files.keep(new, dataset, found)
                former = {}
                with contextlib.suppress(RunError):  # damaged: then it is fitted from the beginning
                    former = read_parts(pathlib.Path(folder), ["segmentation"])
                detector = fit_detector(
                    config, new, model, dataset, splits, training.progress["step"], **former
                )
                replacement.keep(folder)
        else:
            detector = fit_detector(config, folder, model, dataset, splits, training.progress["step"])
        if chosen is not None:
            print(
                f"note: the threshold {chosen.threshold:.6g} was chosen for the former detector; of this "
                f"one it is {detector.threshold:.6g}, as calibrated"
            )
        return evaluate.evaluate(config, folder, detector, dataset, splits, training.progress)


def _tell(config, dataset, splits):
    """Prints what there is to train with."""
    from semi_anogan.data import ignore

    print(
        f"{dataset.name}: {len(splits.normal)} normal and {len(splits.abnormal)} known abnormal images to "
        f"train with, {len(splits.held_out_normal)} and {len(splits.held_out_abnormal)} held out, "
        f"{len(splits.test)} for the test"
    )
    if dataset.ignore is not None:
        print(ignore.told(dataset.ignore, config.data.ignore))
    known = splits.abnormal + splits.held_out_abnormal
    if dataset.files is not None and known:
        masks = sum(e.mask is not None for e in known)
        print(f"{dataset.name}: masks of {masks} of the {len(known)} known abnormal training images found")
    for what, examples in (("known", known), ("test", [e for e in splits.test if e.abnormal])):
        kinds = collections.Counter(e.kind for e in examples if e.kind)
        if kinds:
            counts = ", ".join(f"{kind} ({count})" for kind, count in sorted(kinds.items()))
            print(f"{dataset.name}: kinds of defects among the {what} images: {counts}")
    reviewed = [e for e in splits.training if e.reviewed]
    if reviewed:
        abnormal = sum(e.abnormal for e in reviewed)
        print(f"{config.data.reviewed}: {len(reviewed)} images reviewed, {abnormal} of them abnormal")


def _note_colour(config, dataset, splits):
    """Notes that colour is not used where there is some."""
    if config.model.channels == 1 and any(map(dataset.in_colour, splits.normal[:8])):
        dataset.notes.add(
            "the images are in colour, the model sees them in grey; --config.model.channels=3 trains it in "
            "colour"
        )


def _note_test(dataset, splits):
    """Notes what cannot be said without test images of both labels, or without a mask of each defect."""
    defects = [e for e in splits.test if e.abnormal]
    abnormal, without = len(defects), [e.path for e in defects if e.mask is None]
    if not splits.test:
        dataset.notes.add(
            "there are no test images: the run is trained and calibrated, and its report has no figures of a "
            "test"
        )
    elif not abnormal:
        dataset.notes.add("there are no abnormal test images: the test will tell false alarms alone")
    elif abnormal == len(splits.test):
        dataset.notes.add("there are no normal test images: the test will tell recall alone")
    if len(without) < abnormal:
        dataset.notes.add(
            "{n} abnormal test images have no mask, such as {first}: the figures of pixels are of the others",
            (without or [""])[0],
            len(without),
        )


if __name__ == "__main__":
    cli.run(main)
