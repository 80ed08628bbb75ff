"""python -m semi_anogan.benchmark: measures speed (default) or detection quality and prints a table.

  --suite=speed   training and search images/s, share of the machine's matrix-product peak, peak memory
  --suite=large   one step of training and of search at 1024 x 1024
  --suite=baselines  AUROC of trivial scores on the data of a configuration
  --suite=runs    a table of the metrics of finished run folders (--runs=A,B,...)
  --suite=alpha   alpha = 1 against alpha < 1 over the contamination of the training data (train flags after --)
"""

import pathlib
import sys

from absl import flags

from semi_anogan import cli

_CONFIG = cli.define_config("configuration to measure (speed, baselines)")
_SUITE = flags.DEFINE_enum("suite", "speed", ["speed", "large", "baselines", "runs", "alpha"], "what to measure")
_ITERATIONS = flags.DEFINE_list("iterations", ["10", "40", "100", "500"], "search iterations to measure (speed)")
_RESULTS = flags.DEFINE_string("results", None, "Markdown file whose section is replaced, such as docs/results.md")
_SECTION = flags.DEFINE_string("section", None, "name of the section in the results file; default the suite's")
_RUNS = flags.DEFINE_string("runs", "runs/benchmark", "folder of the run folders (alpha), or run folders with commas between (runs)")
_TRAIN = flags.DEFINE_multi_string("train", [], "flag for the train command, as --train=--config=configs/mnist.py (alpha)")
_ALPHAS = flags.DEFINE_list("alphas", ["1", "0.5"], "mixture weights (alpha)")
_CONTAMINATIONS = flags.DEFINE_list("contaminations", ["0", "0.05", "0.2"], "shares of mislabelled images (alpha)")
_SEEDS = flags.DEFINE_list("seeds", ["0", "1", "2"], "seeds (alpha)")
_JOBS = flags.DEFINE_integer("jobs", 2, "trainings at a time (alpha)")


def main(argv):
    del argv
    cli.load_framework()
    from semi_anogan.benchmarks import alpha, results, speed, tables

    if _SUITE.value == "speed":
        text = speed.run(cli.config_of(_CONFIG), [int(i) for i in _ITERATIONS.value])
    elif _SUITE.value == "large":
        text = speed.large_step()
    elif _SUITE.value == "baselines":
        text = tables.baselines(cli.config_of(_CONFIG))
    elif _SUITE.value == "runs":
        text = tables.of_runs(_RUNS.value.split(","))
    else:
        output = pathlib.Path(_RESULTS.value).parent if _RESULTS.value else pathlib.Path(_RUNS.value)
        text = alpha.run(
            _RUNS.value,
            output,
            _TRAIN.value,
            [float(a) for a in _ALPHAS.value],
            [float(c) for c in _CONTAMINATIONS.value],
            [int(s) for s in _SEEDS.value],
            _JOBS.value,
        )
    print(text)
    if _RESULTS.value:
        command = " ".join(["python -m semi_anogan.benchmark", *(a for a in sys.argv[1:] if not a.startswith(("--results", "--section")))])
        results.write_section(_RESULTS.value, _SECTION.value or _SUITE.value, f"`{command}`\n\n{text}")


if __name__ == "__main__":
    cli.run(main)
