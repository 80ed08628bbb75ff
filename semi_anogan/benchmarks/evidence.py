"""The whole score beside its components, of what finished runs recorded, without images and networks."""

import pathlib
from typing import NamedTuple

import numpy as np

from semi_anogan.benchmarks.recorded import Recorded
from semi_anogan.benchmarks.results import table
from semi_anogan.evaluation.metrics import component_auroc

HEADER = ["run", "whole score", "best component", "its AUROC", "memory", "false alarms", "recall"]


class Figures(NamedTuple):
    """AUROC of the whole score, and of each component; rates at the threshold, on the test images."""

    whole: float
    components: dict[str, float]
    false_alarms: float
    recall: float

    @property
    def best(self) -> str:
        """The component that is best on the test images: known only afterwards."""
        return max(self.components, key=self.components.get)


def figures(recorded: Recorded) -> Figures:
    """Of weights and threshold that are fitted anew to the recorded evidence."""
    fitted = recorded.evidence.calibration()
    scores, abnormal = fitted.score(recorded.test), recorded.abnormal
    alarms = scores > fitted.threshold
    found = component_auroc(
        ["whole", *recorded.evidence.names], np.column_stack([scores, recorded.test]), abnormal
    )
    return Figures(
        found.pop("whole"),
        found,
        float(alarms[~abnormal].mean()),
        float(alarms[abnormal].mean()),
    )


def run(folders: list[str], output: str | None = None) -> str:
    """Markdown of finished runs; output: a folder that gets a small file of each run, for tests."""
    rows = []
    for folder in folders:
        recorded, name = Recorded.of_run(folder), pathlib.Path(folder).name
        found = figures(recorded)
        memory = found.components.get("memory", float("nan"))
        best = found.components[found.best]
        rows.append([name, found.whole, found.best, best, memory, found.false_alarms, found.recall])
        if output:
            pathlib.Path(output).mkdir(parents=True, exist_ok=True)
            recorded.write(pathlib.Path(output) / f"{name}.npz")
    return table(HEADER, rows)
