"""python -m semi_anogan.benchmark: prints a table of speed (default) or of detection quality.

  --suite=speed         training and search images/s, share of the machine's matrix-product peak, peak memory
  --suite=large         one step of training and one of search at 1024 x 1024
  --suite=step          operations, time and, under JAX, memory of a training step of --config
  --suite=baselines     AUROC of trivial scores on the data of a configuration; with --methods, of baselines
  --suite=runs          the metrics of finished run folders (--runs=A,B,...)
  --suite=false_alarms  the rate a threshold gives beside the one asked for (--rates), of --runs=A,B,...
  --suite=evidence      the whole score beside its components, of --runs=A,B,...; with --record=FOLDER also a
                        small file of what was measured in each, which the tests read
  --suite=review        what a look at the --count most suspicious training images is worth, in --rounds, of
                        --runs=A,B,...
  --suite=labels        what --labels=10,20,40 of newly scored images are worth, doubtful ones beside others
                        at random, and how long a refit takes, of --runs=A,B,...
  --suite=search        AUROC of the search loss after few and many --iterations, from the encoder's start and
                        without it (--runs=RUN)
  --suite=export        speed of a bundle's formats (--bundle) beside the run it was exported from (--runs)
  --suite=drift         after how many images a change is told, on the data of --runs=A,B,...
  --suite=serve         the service under load (--bundle) for --seconds, with --clients, beside the runtime
  --suite=beam          score_beam (--bundle) over lists of --rows=10000,100000 images, with 1 and 2 workers
  --suite=reconstructions  a page of finished runs' reconstructions (--runs=A,B,...), written to --output
  --suite=picture       a picture of a finished run's report (--runs=RUN), written to --output
  --suite=overlays      a picture of what `score` found: of --folder=SCORED, its --output; to --output
  --suite=example       no benchmark: a folder of rendered surfaces to try the commands on; to --output, parts
  --suite=alpha         alpha = 1 against alpha < 1 over the contamination of the training data (--train)

The protocols run our variants and all baselines, and write into docs/results/NAME.md:

  --suite=mnist|elpv|surface|caltech256 [--fast]
  --suite=ablation --config=configs/NAME.py [--fast]   the full method less one thing each
  --suite=generator --config=configs/NAME.py [--fast]  what the GAN alone finds
  --suite=transfer --config=configs/NAME.py [--fast]   the default method on any data
  --suite=transfer --data=FILE [--config=...] [--contaminations=0,0.1]   one configuration (configs/folder.py)
                        on all data sets of a CSV file with the columns name, path (of a manifest) and root,
                        with none, 10 and 64 known defects

alpha and the protocols train many models, each in a folder under --folder. What is finished there is not
run again: an interrupted suite goes on with the same command. --config.KEY=VALUE holds for all runs of a
protocol. --plan lists the runs of a protocol and runs none.
"""

import pathlib
import sys
from collections.abc import Callable
from typing import NamedTuple

from absl import flags

from semi_anogan import cli
from semi_anogan.benchmarks.suites import protocols
from semi_anogan.errors import RunError

_CONFIG = cli.define_config("configuration (speed, baselines, ablation), or instead of the protocol's own")
_ITERATIONS = flags.DEFINE_list(
    "iterations", ["10", "40", "100", "500"], "numbers of search iterations (speed, search)"
)
_IMAGES = flags.DEFINE_integer("images", 400, "test images to search (search)", lower_bound=2)
_RESULTS = flags.DEFINE_string(
    "results",
    None,
    "Markdown file whose section is replaced; default none, protocols: docs/results/NAME.md (empty: none)",
)
_SECTION = flags.DEFINE_string(
    "section", None, "name of the section in the results file; default the suite's"
)
_RUNS = flags.DEFINE_string(
    "runs",
    None,
    "folder of the run folders (alpha: default runs/benchmark; protocols: runs/suite-NAME), or run folders "
    "with commas between",
)
flags.DEFINE_alias("folder", "runs")
_OUTPUT = flags.DEFINE_string(
    "output",
    None,
    "file of the picture (picture: docs/report.png, overlays: docs/overlays.png, reconstructions), or folder "
    "of the images (example: parts)",
)
_RECORD = flags.DEFINE_string("record", None, "folder for what was measured in the runs (evidence)")
_RATES = flags.DEFINE_list("rates", ["0.01", "0.05"], "false-alarm rates to ask for (false_alarms)")
_COUNT = flags.DEFINE_integer("count", 20, "suspicious images looked at in a round (review)", lower_bound=1)
_ROUNDS = flags.DEFINE_integer("rounds", 2, "times that is done (review)", lower_bound=1)
_LABELS = flags.DEFINE_list("labels", ["10", "20", "40"], "numbers of labels (labels)")
_ANEW = flags.DEFINE_bool("anew", False, "also train anew with the most labels (labels)")
_BUNDLE = flags.DEFINE_string("bundle", None, "what python -m semi_anogan.export wrote (export, serve, beam)")
_TRAIN = flags.DEFINE_multi_string(
    "train", [], "flag for the train command, as --train=--config=configs/mnist.py (alpha)"
)
_ALPHAS = flags.DEFINE_list("alphas", ["1", "0.5"], "mixture weights (alpha)")
_CONTAMINATIONS = flags.DEFINE_list(
    "contaminations",
    None,
    "shares of mislabelled images; default 0,0.05,0.2 (alpha), 0 (transfer with --data)",
)
_DATA = flags.DEFINE_string("data", None, "CSV file of data sets: name, path of a manifest, root (transfer)")
_PLAN = flags.DEFINE_bool("plan", False, "only list the runs (protocols)")
_SEEDS = flags.DEFINE_list(
    "seeds", None, "seeds (alpha, protocols, false_alarms); default 0,1,2, with --fast 0; false_alarms 0 to 9"
)
_JOBS = flags.DEFINE_integer(
    "jobs", None, "trainings at a time; default 2 (alpha), 1 (protocols)", lower_bound=1
)
_FAST = flags.DEFINE_bool("fast", False, "one seed, and digits 0, 4 and 8 only (protocols)")
_CASES = flags.DEFINE_list(
    "cases", None, "cases as in the tables, or parts such as digit 4 (protocols); default all"
)
_VARIANTS = flags.DEFINE_list(
    "variants", None, "methods as in the tables, ours or baselines (protocols); default all"
)
_SECONDS = flags.DEFINE_float("seconds", 60.0, "of load (serve)", lower_bound=1.0)
_CLIENTS = flags.DEFINE_integer("clients", 16, "that ask at the same time (serve)", lower_bound=1)
_ROWS = flags.DEFINE_list("rows", ["10000", "100000"], "lengths of the lists of images (beam)")
_METHODS = flags.DEFINE_list("methods", None, "baselines, or all (baselines); default the trivial scores")
_STEPS = flags.DEFINE_integer(
    "baseline_steps", 500, "batches the supervised baselines and ALOCC are trained for", lower_bound=1
)


def main(argv):
    """Runs the suite of --suite; 1 where some runs of a protocol failed."""
    del argv
    name = _SUITE.value
    if _DATA.value and name != "transfer":
        raise RunError(f"--data={_DATA.value}: only --suite=transfer takes a list of data sets")
    if name in protocols.NAMES:
        return _protocol(name)
    suite = _SUITES[name]
    if not all(flags.FLAGS[flag].value for flag in suite.required):
        raise RunError(f"--suite={name} needs {suite.needs}")
    if suite.framework:
        _check_formats()
        cli.load_framework()
    _tell(suite.run(), _RESULTS.value, name)


def _speed() -> str:
    from semi_anogan.benchmarks import speed

    return speed.run(cli.config_of(_CONFIG), _numbers(_ITERATIONS))


def _large() -> str:
    from semi_anogan.benchmarks import speed

    return speed.large_step()


def _step() -> str:
    from semi_anogan.benchmarks import speed

    return speed.step(cli.config_of(_CONFIG))


def _baselines() -> str:
    from semi_anogan.benchmarks import tables
    from semi_anogan.benchmarks.baselines import comparison

    config, methods = cli.config_of(_CONFIG), _METHODS.value
    if not methods:
        return tables.of_trivial_scores(config)
    names = list(comparison.METHODS) if methods == ["all"] else methods
    return tables.of_baselines(config, names, _RUNS.value, _STEPS.value)


def _finished_runs() -> str:
    from semi_anogan.benchmarks import tables

    return tables.of_runs((_RUNS.value or "runs/benchmark").split(","))


def _false_alarms() -> str:
    from semi_anogan.benchmarks import false_alarms

    rates = _numbers(_RATES, float)
    if not all(0 < rate < 1 for rate in rates):
        raise RunError(f"--suite=false_alarms needs {_SUITES['false_alarms'].needs}, got {_RATES.value}")
    return false_alarms.run(_runs(), rates, _numbers(_SEEDS) or list(range(10)))


def _evidence() -> str:
    from semi_anogan.benchmarks import evidence

    return evidence.run(_runs(), _RECORD.value)


def _review() -> str:
    from semi_anogan.benchmarks import review

    return review.run(_runs(), _ROUNDS.value, _COUNT.value)


def _labels() -> str:
    from semi_anogan.benchmarks import labels

    return labels.run(_runs(), _numbers(_LABELS), _ANEW.value)


def _search() -> str:
    from semi_anogan.benchmarks import search

    return search.run(_RUNS.value, _numbers(_ITERATIONS), _IMAGES.value)


def _export() -> str:
    from semi_anogan.benchmarks import export

    return export.run(_BUNDLE.value, _RUNS.value)


def _drift() -> str:
    from semi_anogan.benchmarks import drift

    return drift.run(_runs())


def _serve() -> str:
    from semi_anogan.benchmarks import serve

    return serve.run(_BUNDLE.value, "onnx", _SECONDS.value, _CLIENTS.value)


def _beam() -> str:
    from semi_anogan.benchmarks import beam

    if min(rows := _numbers(_ROWS), default=0) < 1:
        raise RunError(f"--suite=beam needs --rows of at least 1, got {_ROWS.value}")
    return beam.run(_BUNDLE.value, "onnx", rows)


def _picture() -> str:
    from semi_anogan.benchmarks import picture

    return picture.run(_RUNS.value, _OUTPUT.value or "docs/report.png")


def _overlays() -> str:
    from semi_anogan.benchmarks import picture

    return picture.of_overlays(_RUNS.value, _OUTPUT.value or "docs/overlays.png")


def _example() -> str:
    from semi_anogan.benchmarks import example

    return example.run(_OUTPUT.value or "parts")


def _reconstructions() -> str:
    from semi_anogan.benchmarks import reconstructions

    return reconstructions.run(_runs(), _OUTPUT.value)


def _alpha() -> str:
    from semi_anogan.benchmarks import alpha

    folder = _RUNS.value or "runs/benchmark"
    return alpha.run(
        folder,
        pathlib.Path(_RESULTS.value).parent if _RESULTS.value else pathlib.Path(folder),
        _TRAIN.value,
        _numbers(_ALPHAS, float),
        _numbers(_CONTAMINATIONS, float) or [0.0, 0.05, 0.2],
        _numbers(_SEEDS) or [0, 1, 2],
        _JOBS.value or 2,
    )


class _Suite(NamedTuple):
    """run gives Markdown. required: flags without which there is an error that says what the suite needs."""

    run: Callable[[], str]
    required: tuple[str, ...] = ()
    needs: str = ""
    framework: bool = True  # Keras is loaded first, with what it prints kept quiet


_SUITES = {
    "speed": _Suite(_speed),
    "large": _Suite(_large),
    "step": _Suite(_step),
    "baselines": _Suite(_baselines),
    "runs": _Suite(_finished_runs),
    "false_alarms": _Suite(_false_alarms, ("runs",), "--runs=A,B,... and rates between 0 and 1"),
    "evidence": _Suite(_evidence, ("runs",), "--runs=A,B,..., finished runs"),
    "review": _Suite(_review, ("runs",), "--runs=A,B,..., finished runs"),
    "labels": _Suite(_labels, ("runs",), "--runs=A,B,..., finished runs"),
    "search": _Suite(_search, ("runs",), "--runs=RUN, a finished run"),
    "export": _Suite(
        _export,
        ("bundle", "runs"),
        "--bundle=BUNDLE and --runs=RUN, the run that the bundle was exported from",
    ),
    "drift": _Suite(_drift, ("runs",), "--runs=A,B,..., run folders"),
    "serve": _Suite(_serve, ("bundle",), "--bundle=BUNDLE, with ONNX", False),
    "beam": _Suite(_beam, ("bundle",), "--bundle=BUNDLE, with ONNX", False),
    "reconstructions": _Suite(
        _reconstructions, ("runs", "output"), "--runs=A,B,..., finished runs, and --output=FILE"
    ),
    "picture": _Suite(_picture, ("runs",), "--runs=RUN, a finished run", False),
    "overlays": _Suite(_overlays, ("runs",), "--folder=SCORED, what score wrote with --overlays", False),
    "example": _Suite(_example, framework=False),
    "alpha": _Suite(_alpha),
}
_SUITE = flags.DEFINE_enum("suite", "speed", [*_SUITES, *protocols.NAMES], "what is benchmarked")


def _protocol(name: str) -> int:
    """Runs a protocol; 1 where some of its runs failed."""
    from ml_collections import config_flags

    from semi_anogan.benchmarks.suites import data_sets, jobs, suite

    cli.config_of(_CONFIG)
    flag = flags.FLAGS["config"]
    default = protocols.SUITES[name].config if name in protocols.SUITES else "folder" if _DATA.value else None
    if default and flag.using_default_value:
        config_file = str(cli.config_folder() / f"{default}.py")
    else:
        config_file = config_flags.get_config_filename(flag)
    title, config_name = suite.title(name, config_file), pathlib.Path(config_file).stem
    if _DATA.value:
        title = name if config_name == default else f"{title}_data"
        sets = data_sets.read(_DATA.value)
        chosen, told = data_sets.suite_on(sets, config_name, _numbers(_CONTAMINATIONS, float) or [0.0])
        for line in told:
            print(f"note: {line}")
    else:
        chosen = protocols.suite_of(name, config_name)
    folder = _RUNS.value or f"runs/suite-{title}"
    planned = suite.plan(
        chosen,
        config_file,
        config_flags.get_override_values(flag),
        protocols.Selection(_FAST.value, _CASES.value, _VARIANTS.value, tuple(_numbers(_SEEDS)) or None),
        folder,
        _STEPS.value,
    )
    if _PLAN.value:
        print(jobs.listed(planned.jobs))
        return 0
    done = suite.run(planned, _JOBS.value or 1)
    cli.load_framework()  # only now: the runs were other processes, and the tables name its version
    path = f"docs/results/{title}.md" if _RESULTS.value is None else _RESULTS.value
    figure = pathlib.Path(path).parent if path else pathlib.Path(folder)
    _tell(done.draw_and_tell(figure / f"{title}_suite.png"), path, f"{title}_suite")
    return int(bool(done.failures))


def _check_formats():
    """RunError where a run of --runs is of another format; before Keras is loaded, which takes seconds."""
    from semi_anogan.runs import folder as run_folder

    for folder in (_RUNS.value or "").split(","):
        run_folder.check_format(folder)


def _runs() -> list[str]:
    """The run folders of --runs; RunError for one that cannot be read, before work begins on the first."""
    from semi_anogan.runs import folder as run_folder

    folders = _RUNS.value.split(",")
    for folder in folders:
        run_folder.read_settings(folder)
    return folders


def _numbers(flag, kind: type = int) -> list:
    """The values of a list flag as numbers."""
    try:
        return [kind(value) for value in flag.value or ()]
    except ValueError as error:
        raise RunError(f"{flag.name}: {error}") from None


def _tell(text: str, path: str | None, section: str):
    """Prints a result, and writes it to its section of a file if one is named."""
    print(text)
    if path:
        from semi_anogan.benchmarks import results

        arguments = (a for a in sys.argv[1:] if not a.startswith(("--results", "--section")))
        command = " ".join(
            ["python -m semi_anogan.benchmark", *(f'"{a}"' if " " in a else a for a in arguments)]
        )
        results.write_section(path, _SECTION.value or section, f"`{command}`\n\n{text}")


if __name__ == "__main__":
    cli.run(main)
