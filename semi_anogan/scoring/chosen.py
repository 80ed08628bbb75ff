"""The threshold that a person chose for a run, in place of the calibrated one. No framework.

detector.json keeps both: the calibrated one in its calibration, and the chosen one beside it, with who chose
it, when, and which one was in use before. A new detector has none: its scores are others.
"""

import datetime
import math
import pathlib
from typing import NamedTuple

from semi_anogan.errors import RunError
from semi_anogan.runs import folder as run_folder
from semi_anogan.scoring.calibration import check_threshold

KEY = "chosen_threshold"  # in detector.json


class Chosen(NamedTuple):
    """A threshold that a person chose.

    Attributes: threshold: an image is abnormal above; who; when: in UTC, ISO 8601; former: the threshold in
      use before; calibrated: that of the calibration.
    """

    threshold: float
    who: str
    when: str
    former: float
    calibrated: float

    def told(self) -> str:
        """In words."""
        who = f" by {self.who}" if self.who else ""
        return (
            f"threshold {self.threshold:.6g}, chosen{who} on {self.when}, is used; calibrated is "
            f"{self.calibrated:.6g} (before: {self.former:.6g})"
        )


def of_state(state: dict, path) -> Chosen | None:
    """What the values of detector.json say; RunError names the file and what is wrong in it."""
    if KEY not in state:
        return None
    try:
        values, calibrated = state[KEY], float(state["calibration"]["threshold"])
        threshold, former = float(values["threshold"]), float(values["former"])
        if not (math.isfinite(threshold) and math.isfinite(former)):
            raise ValueError(f"threshold {threshold}, former {former}")
        return Chosen(threshold, str(values["who"]), str(values["when"]), former, calibrated)
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path}: {KEY}: {error!r}") from error


def read(folder) -> Chosen | None:
    """The threshold chosen for a run; None where it is the calibrated one, or there is no detector."""
    path = pathlib.Path(folder) / run_folder.DETECTOR
    return of_state(run_folder.read_json(path), path) if path.exists() else None


def write(folder, threshold: float | None, who: str = "") -> Chosen | None:
    """Has a run use a threshold from now on; None: the calibrated one again.

    Returns what is kept of it. Raises: ConfigError for a threshold that cannot be, RunError where there is no
    detector or it cannot be written.
    """
    path = pathlib.Path(folder) / run_folder.DETECTOR
    state = run_folder.read_json(path)
    before = of_state(state, path)
    if threshold is None:
        state.pop(KEY, None)
    else:
        check_threshold(threshold)
        former = state["calibration"]["threshold"] if before is None else before.threshold
        when = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        state[KEY] = {"threshold": float(threshold), "who": who, "when": when, "former": former}
    run_folder.write_json(path, state)
    return of_state(state, path)
