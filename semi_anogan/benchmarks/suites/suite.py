"""A whole suite: its protocol is run, then its runs are put into tables and a figure."""

import dataclasses
import pathlib
from collections.abc import Mapping

from semi_anogan.benchmarks.baselines import comparison
from semi_anogan.benchmarks.suites import jobs, tables
from semi_anogan.benchmarks.suites.protocols import SUITES, Selection, Suite, suite_of
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
        tables.draw(figure, self.cases)
        return tables.text_of(self.suite, self.cases, self.seeds, self.failures, figure.name)


def run(
    name: str,
    config_file: str,
    given: Mapping,
    selection: Selection,
    folder,
    parallel: int = 1,
    steps: int = 500,
) -> Outcome:
    """Runs what is missing of a suite and puts the figures together.

    Args:
      name: of protocols.NAMES.
      config_file: path of the configuration.
      given: the user's own settings, {"data.root": "...", ...}.
      selection: what of it is run.
      folder: of the run folders.
      parallel: processes at a time.
      steps: batches that the supervised baselines are trained for.

    Raises:
      RunError: a setting, a name or a folder that does not fit, or no run succeeded.
    """
    suite = suite_of(name, pathlib.Path(config_file).stem)
    suite, methods, seeds = selection.of(suite, comparison.METHODS)
    planned = jobs.plan(suite, methods, seeds, folder, config_file, given, steps)
    failures = jobs.run_all(planned, parallel)
    cases = tables.rows_of(suite, methods, planned)
    if not any(row.found and row.kind != "published" for rows in cases.values() for row in rows):
        raise RunError(f"{folder}: no run succeeded")
    return Outcome(suite, seeds, cases, failures)


def title(name: str, config_file: str) -> str:
    """The suite's name in results and file names: "mnist", or "ablation_elpv"."""
    return name if name in SUITES else f"{name}_{pathlib.Path(config_file).stem}"
