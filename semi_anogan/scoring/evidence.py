"""Evidence: what a calibration rests on, the components of the held-out images.

It is kept beside the detector. So weights and threshold can be fitted again without the images: for another
false-alarm rate, or to see what another rule of fusing makes of the same images.
"""

import dataclasses
import pathlib

import numpy as np

from semi_anogan.config import default
from semi_anogan.errors import RunError
from semi_anogan.runs import folder as run_folder
from semi_anogan.scoring import fit_calibration
from semi_anogan.scoring.calibration import Calibration
from semi_anogan.scoring.fit_calibration import HeldOut

IMAGES = ("normal", "abnormal", "synthetic", "relit", "trained")
WORDS = ("names", "base", "ignored", "tested")


@dataclasses.dataclass(frozen=True)
class Evidence:
    """The arguments of fit_calibration.fit, less the false-alarm rate.

    Attributes:
      names: of the K components.
      held_out: with the components [., K] of its images; of `known` there are none: where these weigh, they
        are the `abnormal` ones.
      base, ignored: components, as in fit_calibration.fit.
    """

    names: tuple[str, ...]
    held_out: HeldOut
    base: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    def calibration(self, false_alarm_rate: float = default("calibration.false_alarm_rate")) -> Calibration:
        """The Calibration with its interval; raises as fit_calibration.fit."""
        found = fit_calibration.fit(self.names, self.held_out, false_alarm_rate, self.base, self.ignored)
        return fit_calibration.with_interval(found, self.held_out)

    def arrays(self) -> dict[str, np.ndarray]:
        """Named arrays, from which `of_arrays` makes the same."""
        empty = np.zeros((0, len(self.names)))
        found = {}
        for name in IMAGES:
            rows = getattr(self.held_out, name)
            found[name] = np.asarray(rows, np.float64) if len(rows) else empty
        words = {"names": self.names, "base": self.base, "ignored": self.ignored}
        words["tested"] = self.held_out.tested
        found |= {name: np.array(tuple(value), str) for name, value in words.items()}
        found["mislabelled_share"] = np.float64(self.held_out.mislabelled_share)
        return {**found, "checked": np.array(self.held_out.checked, bool)}

    @classmethod
    def of_arrays(cls, **arrays) -> "Evidence":
        """The inverse of `arrays`; TypeError names arrays that are missing or that there are not."""
        share = float(arrays.pop("mislabelled_share", 0.0))  # which runs of before have not
        missing = sorted({*IMAGES, *WORDS, "checked"} - set(arrays))
        unknown = sorted(set(arrays) - {*IMAGES, *WORDS, "checked"})
        if missing or unknown:
            raise TypeError(f"evidence: missing arrays {missing}, unknown arrays {unknown}")
        words = {name: tuple(arrays[name].tolist()) for name in WORDS}
        images = {name: arrays[name] for name in IMAGES}
        images |= {"checked": arrays["checked"].tolist(), "mislabelled_share": share}
        held_out = HeldOut(**images, tested=words.pop("tested"))
        return cls(held_out=held_out, **words)


def read_evidence(folder) -> Evidence:
    """The evidence of a finished run folder; RunError where there is none, or it is damaged."""
    path = pathlib.Path(folder) / run_folder.EVIDENCE
    if not path.exists():
        raise RunError(
            f"{path}: missing; remove {run_folder.DETECTOR} and train with --workdir={folder} again"
        )
    return run_folder.read_arrays(path, Evidence.of_arrays)
