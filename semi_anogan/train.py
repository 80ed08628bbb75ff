"""python -m semi_anogan.train: trains, calibrates, evaluates and writes the report of one run folder."""

import contextlib
import pathlib

from absl import flags

from semi_anogan import cli

_CONFIG = cli.define_config("configuration file, such as configs/mnist.py")
_WORKDIR = flags.DEFINE_string("workdir", None, "run folder; default runs/NAME, the config's name")


def main(argv):
    """Trains on the embedded surface data when called without arguments.

    python -m semi_anogan.train [--config=configs/NAME.py] [--config.KEY=VALUE ...] [--workdir=DIR]

    A run that was interrupted goes on when the same command is given again. Settings of the detector (the
    false-alarm rate, the score's components, the search, the reviewed images: runs/folder.py, DETECTOR_KEYS)
    may change then: it is fitted again, without training again.
    """
    del argv
    from semi_anogan.runs import folder as run_folder
    from semi_anogan.runs.check_config import check

    config = cli.config_of(_CONFIG)
    folder = pathlib.Path(_WORKDIR.value or f"runs/{config.name}")
    # As `run` does; but here it is told before Keras is loaded, which takes seconds.
    check(config)
    run_folder.check_format(folder, run_folder.ANOTHER)
    cli.load_framework()
    run(config, folder)


def run(config, folder):
    """The whole job of one run folder: training, calibration on held-out training images, evaluation, report.

    Returns the metrics, as in metrics.json. Raises ConfigError, DataError, RunError or CheckpointError.
    """
    from semi_anogan import evaluate
    from semi_anogan.backend import worker_index
    from semi_anogan.data.check_files import read_all
    from semi_anogan.runs import aspect, build
    from semi_anogan.runs import folder as run_folder
    from semi_anogan.runs.check_config import check
    from semi_anogan.training.fit_detector import fit_detector
    from semi_anogan.training.loop import Training

    # Of several workers on one job, the first holds the folder and writes it; the others only read the
    # checkpoints there.
    first = worker_index(config.train.distribution) == 0
    check(config)
    run_folder.check_format(folder, run_folder.ANOTHER)  # before the lock and the data: nothing is changed
    with run_folder.locked(folder) if first else contextlib.nullcontext():
        dataset, splits, store = build.load_data(config, folder)
        build.resolve(config, len(splits.abnormal), folder)
        if first:
            for change in run_folder.claim(folder, config):
                print(f"{folder}: {change}")
            run_folder.write_ignore(folder, dataset.ignore)
        _tell(config, dataset, splits)
        for line in aspect.told(config, dataset):
            print(line)
        training = Training(config, folder, splits, store)
        begun = bool(training.progress["step"])
        if first and dataset.files is not None and not begun:
            resolution = aspect.features_side(config) or config.model.resolution
            read_all(dataset, splits.training + splits.test, resolution=resolution)
        _note_colour(config, dataset, splits)
        _note_test(dataset, splits)
        if first:
            for line in run_folder.data_notes(folder, dataset.notes.lines(), go_on=begun):
                print(f"note: {line}")
        model = training.run()
        if not first:  # the first worker does the rest
            return None
        detector = fit_detector(config, folder, model, dataset, splits)
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
    """Notes what cannot be said without test images of both labels."""
    abnormal = sum(e.abnormal for e in splits.test)
    if not splits.test:
        dataset.notes.add(
            "there are no test images: the run is trained and calibrated, and its report has no figures of a "
            "test"
        )
    elif not abnormal:
        dataset.notes.add("there are no abnormal test images: the test will tell false alarms alone")
    elif abnormal == len(splits.test):
        dataset.notes.add("there are no normal test images: the test will tell recall alone")


if __name__ == "__main__":
    cli.run(main)
