"""A whole suite, from its name to Markdown: protocol, runs, tables, figure."""

import pathlib
from collections.abc import Mapping

from semi_anogan import cli
from semi_anogan.benchmarks.baselines import comparison
from semi_anogan.benchmarks.suites import jobs as suite_runs
from semi_anogan.benchmarks.suites import tables as suite_tables
from semi_anogan.benchmarks.suites.protocols import SUITES, Selection, ablation
from semi_anogan.errors import RunError

NAMES = (*SUITES, "ablation")


def run(
    name: str,
    config_file: str,
    given: Mapping,
    selection: Selection,
    folder,
    output,
    parallel: int = 1,
    steps: int = 500,
) -> tuple[str, int]:
    """Runs what is missing of a suite and puts the figures together.

    Args:
      name: of NAMES; "ablation" is on the data of the configuration.
      config_file: path of the configuration.
      given: the user's own settings, {"data.root": "...", ...}.
      selection: what of it is run.
      folder: of the run folders.
      output: folder of the figure NAME_suite.png.
      parallel: processes at a time.
      steps: batches that the supervised baselines are trained for.

    Returns:
      Markdown, and how many runs failed.

    Raises:
      RunError: a setting, a name or a folder that does not fit, or no run succeeded.
    """
    suite = SUITES[name] if name in SUITES else ablation(pathlib.Path(config_file).stem)
    suite, methods, seeds = selection.of(suite, comparison.METHODS)
    jobs = suite_runs.plan(suite, methods, seeds, folder, config_file, given, steps)
    failures = suite_runs.run_all(jobs, parallel)
    cases = suite_tables.rows_of(suite, methods, jobs)
    if not any(row.found and row.kind != "published" for rows in cases.values() for row in rows):
        raise RunError(f"{folder}: no run succeeded")
    figure = f"{title(name, config_file)}_suite.png"
    cli.load_framework()  # the tables name it
    suite_tables.draw(pathlib.Path(output) / figure, cases)
    return suite_tables.text_of(suite, cases, seeds, failures, figure), len(failures)


def title(name: str, config_file: str) -> str:
    """The suite's name in results and file names: "mnist", or "ablation_elpv"."""
    return name if name in SUITES else f"{name}_{pathlib.Path(config_file).stem}"
