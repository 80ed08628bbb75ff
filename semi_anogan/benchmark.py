"""python -m semi_anogan.benchmark: measures speed (default) or detection quality and prints a table.

  --suite=speed   training and search images/s, share of the machine's matrix-product peak, peak memory
  --suite=large   one step of training and of search at 1024 x 1024
  --suite=baselines  AUROC of trivial scores on the data of a configuration; with --methods=all, that of the
  baselines
  --suite=runs    a table of the metrics of finished run folders (--runs=A,B,...)
  --suite=false_alarms  the rate a threshold gives beside the one asked for (--rates), of finished run folders
  (--runs=A,B,...)
  --suite=review  what a look at the --count most suspicious training images is worth, in --rounds, of
  finished run folders (--runs=A,B,...)
  --suite=search  the search loss's AUROC after few and many --iterations, by the encoder's start and without
  it (--runs=RUN)
  --suite=export  speed of a bundle's formats (--bundle) beside the model of the run it was exported from
  (--runs)
  --suite=alpha   alpha = 1 against alpha < 1 over the contamination of the training data (train flags after
  --)
  --suite=mnist|elpv|surface|caltech256 [--fast]  our variants and all baselines on a protocol, into
  docs/results.md
  --suite=ablation --config=configs/NAME.py [--fast]  the full method less one thing each

The last two train many models, each in a folder under --folder. What is finished there is not run again, so
that an
interrupted suite goes on with the same command. --config.KEY=VALUE holds for all their runs.
"""

import pathlib
import sys

from absl import flags

from semi_anogan import cli

_PROTOCOLS = ("mnist", "elpv", "surface", "caltech256", "ablation")
_CONFIG = cli.define_config(
    "configuration to measure (speed, baselines, ablation), or instead of the protocol's own"
)
_SUITE = flags.DEFINE_enum(
    "suite",
    "speed",
    [
        "speed",
        "large",
        "baselines",
        "runs",
        "false_alarms",
        "review",
        "search",
        "export",
        "alpha",
        *_PROTOCOLS,
    ],
    "what to measure",
)
_ITERATIONS = flags.DEFINE_list(
    "iterations", ["10", "40", "100", "500"], "search iterations to measure (speed, search)"
)
_IMAGES = flags.DEFINE_integer("images", 400, "test images to search (search)", lower_bound=2)
_RESULTS = flags.DEFINE_string(
    "results",
    None,
    "Markdown file whose section is replaced, such as docs/results.md: the protocols' default; empty: none",
)
_SECTION = flags.DEFINE_string(
    "section", None, "name of the section in the results file; default the suite's"
)
_RUNS = flags.DEFINE_string(
    "runs",
    None,
    "folder of the run folders (alpha: default runs/benchmark; protocols: runs/suite-NAME), or run folders with commas "
    "between (runs)",
)
flags.DEFINE_alias("folder", "runs")
_RATES = flags.DEFINE_list("rates", ["0.01", "0.05"], "false-alarm rates to ask for (false_alarms)")
_COUNT = flags.DEFINE_integer("count", 20, "suspicious images looked at in a round (review)", lower_bound=1)
_ROUNDS = flags.DEFINE_integer("rounds", 2, "times that is done (review)", lower_bound=1)
_BUNDLE = flags.DEFINE_string("bundle", None, "what python -m semi_anogan.export wrote (export)")
_TRAIN = flags.DEFINE_multi_string(
    "train", [], "flag for the train command, as --train=--config=configs/mnist.py (alpha)"
)
_ALPHAS = flags.DEFINE_list("alphas", ["1", "0.5"], "mixture weights (alpha)")
_CONTAMINATIONS = flags.DEFINE_list(
    "contaminations", ["0", "0.05", "0.2"], "shares of mislabelled images (alpha)"
)
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
_METHODS = flags.DEFINE_list(
    "methods", None, "baselines to measure, or all (baselines); default the trivial scores"
)
_STEPS = flags.DEFINE_integer(
    "baseline_steps", 500, "batches the supervised baselines are trained for", lower_bound=1
)


def main(argv):
    del argv
    if _SUITE.value in _PROTOCOLS:
        return _protocol()
    cli.load_framework()
    from semi_anogan.benchmarks import alpha, speed, tables

    if _SUITE.value == "speed":
        text = speed.run(cli.config_of(_CONFIG), [int(i) for i in _ITERATIONS.value])
    elif _SUITE.value == "large":
        text = speed.large_step()
    elif _SUITE.value == "baselines":
        text = _baselines()
    elif _SUITE.value == "export":
        text = _exported()
    elif _SUITE.value == "false_alarms":
        text = _false_alarms()
    elif _SUITE.value == "review":
        text = _review()
    elif _SUITE.value == "search":
        text = _search()
    elif _SUITE.value == "runs":
        text = tables.of_runs((_RUNS.value or "runs/benchmark").split(","))
    else:
        folder = _RUNS.value or "runs/benchmark"
        text = alpha.run(
            folder,
            pathlib.Path(_RESULTS.value).parent if _RESULTS.value else pathlib.Path(folder),
            _TRAIN.value,
            [float(a) for a in _ALPHAS.value],
            [float(c) for c in _CONTAMINATIONS.value],
            [int(s) for s in _SEEDS.value or (0, 1, 2)],
            _JOBS.value or 2,
        )
    _tell(text, _RESULTS.value, _SUITE.value)


def _baselines() -> str:
    from semi_anogan.benchmarks import tables
    from semi_anogan.benchmarks.baselines import comparison

    config, methods = cli.config_of(_CONFIG), _METHODS.value
    if not methods:
        return tables.baselines(config)
    return tables.comparison(
        config, list(comparison.METHODS) if methods == ["all"] else methods, _RUNS.value, _STEPS.value
    )


def _false_alarms() -> str:
    from semi_anogan.benchmarks import false_alarms
    from semi_anogan.errors import RunError

    try:
        rates = [float(rate) for rate in _RATES.value]
    except ValueError as error:
        raise RunError(f"rates: {error}") from None
    if not _RUNS.value or not all(0 < rate < 1 for rate in rates):
        raise RunError(
            f"--suite=false_alarms needs --runs=A,B,... and rates between 0 and 1, got {_RATES.value}"
        )
    return false_alarms.run(_RUNS.value.split(","), rates, list(_seeds() or range(10)))


def _review() -> str:
    from semi_anogan.benchmarks import review as reviewing
    from semi_anogan.errors import RunError

    if not _RUNS.value:
        raise RunError("--suite=review needs --runs=A,B,..., finished runs")
    return reviewing.run(_RUNS.value.split(","), _ROUNDS.value, _COUNT.value)


def _search() -> str:
    from semi_anogan.benchmarks import search as search_lengths
    from semi_anogan.errors import RunError

    if not _RUNS.value:
        raise RunError("--suite=search needs --runs=RUN, a finished run")
    return search_lengths.run(_RUNS.value, [int(i) for i in _ITERATIONS.value], _IMAGES.value)


def _exported() -> str:
    from semi_anogan.benchmarks import export as exported
    from semi_anogan.errors import RunError

    if not (_BUNDLE.value and _RUNS.value):
        raise RunError(
            "--suite=export needs --bundle=BUNDLE and --runs=RUN, the run that the bundle was exported from"
        )
    return exported.run(_BUNDLE.value, _RUNS.value)


def _protocol() -> int:
    """Runs a protocol; 1 where some of its runs failed."""
    from ml_collections import config_flags

    from semi_anogan.benchmarks.suites import suite
    from semi_anogan.benchmarks.suites.protocols import SUITES, Selection

    cli.config_of(_CONFIG)
    flag, name = flags.FLAGS["config"], _SUITE.value
    own = name in SUITES and flag.using_default_value
    config_file = (
        str(cli.config_folder() / f"{SUITES[name].config}.py")
        if own
        else config_flags.get_config_filename(flag)
    )
    title = suite.title(name, config_file)
    folder = _RUNS.value or f"runs/suite-{title}"
    path = "docs/results.md" if _RESULTS.value is None else _RESULTS.value
    text, failed = suite.run(
        name,
        config_file,
        config_flags.get_override_values(flag),
        Selection(_FAST.value, _CASES.value, _VARIANTS.value, _seeds()),
        folder,
        pathlib.Path(path).parent if path else folder,
        _JOBS.value or 1,
        _STEPS.value,
    )
    _tell(text, path, f"{title}_suite")
    return int(failed > 0)


def _seeds() -> tuple[int, ...] | None:
    from semi_anogan.errors import RunError

    try:
        return tuple(int(seed) for seed in _SEEDS.value) if _SEEDS.value else None
    except ValueError as error:
        raise RunError(f"seeds: {error}") from None


def _tell(text: str, path: str | None, section: str):
    """Prints a result, and writes it to its section of a file if one is named."""
    from semi_anogan.benchmarks import results

    print(text)
    if path:
        arguments = (a for a in sys.argv[1:] if not a.startswith(("--results", "--section")))
        command = " ".join(
            ["python -m semi_anogan.benchmark", *(f'"{a}"' if " " in a else a for a in arguments)]
        )
        results.write_section(path, _SECTION.value or section, f"`{command}`\n\n{text}")


if __name__ == "__main__":
    cli.run(main)
