"""A whole suite: its protocol is run, then its runs are put into tables and a figure."""

import dataclasses
import pathlib
from collections.abc import Mapping

from semi_anogan.benchmarks.baselines import comparison
from semi_anogan.benchmarks.suites import jobs, tables
from semi_anogan.benchmarks.suites.protocols import SUITES, Selection, Suite
from semi_anogan.errors import RunError


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a suite's runs came to.

    Attributes:
      suite, seeds: what was selected.
      cases: {case: rows} of the tables.
      failures: {job: end of its output} of the runs that failed.
    """

    suite: Suite
    seeds: tuple[int, ...]
    cases: Mapping[str, list[tables.Row]]
    failures: Mapping[jobs.Job, str]

    def draw_and_tell(self, figure) -> str:
        """Draws the bar chart to the path `figure`, and gives Markdown with a link to it, for beside it."""
        figure = pathlib.Path(figure)
        tables.draw(figure, self.cases, tables.PER_LINE if self.suite.one_table else None)
        return tables.text_of(self.suite, self.cases, self.seeds, self.failures, figure.name)


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a suite runs: what was selected of it, names of the baselines, seeds, and the jobs."""

    suite: Suite
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    jobs: tuple[jobs.Job, ...]


def plan(
    suite: Suite,
    config_file: str,
    given: Mapping,
    selection: Selection,
    folder,
    steps: int = 500,
) -> Plan:
    """The jobs of what is selected of a suite; nothing is run.

    Args:
      suite: as protocols.suite_of or data_sets.suite_on gives it.
      config_file: path of the configuration.
      given: the user's own settings, {"data.root": "...", ...}.
      selection: what of it is run.
      folder: of the run folders.
      steps: batches that the supervised baselines and ALOCC are trained for.

    Raises:
      RunError: a setting or a name that does not fit.
    """
    known = comparison.ALL if suite.outlier_detectors else comparison.METHODS
    suite, methods, seeds = selection.of(suite, known)
    planned = jobs.plan(suite, methods, seeds, folder, config_file, given, steps)
    return Plan(suite, tuple(methods), seeds, tuple(planned))


def run(planned: Plan, parallel: int = 1) -> Outcome:
    """Runs what is missing of a plan, `parallel` processes at a time, and puts the figures together.

    Raises:
      RunError: a folder that does not fit, or no run succeeded.
    """
    failures = jobs.run_all(list(planned.jobs), parallel)
    cases = tables.rows_of(planned.suite, planned.methods, planned.jobs)
    if not any(row.found and row.kind != "published" for rows in cases.values() for row in rows):
        raise RunError(f"{planned.jobs[0].folder}: no run succeeded")
    return Outcome(planned.suite, planned.seeds, cases, failures)


def title(name: str, config_file: str) -> str:
    """The suite's name in results and file names: "mnist", or "ablation_elpv"."""
    return name if name in SUITES else f"{name}_{pathlib.Path(config_file).stem}"
