"""The threshold that a command is asked to judge by, in place of the run's own. No framework."""

from typing import NamedTuple

from semi_anogan.errors import ConfigError
from semi_anogan.scoring import calibration as calibrating
from semi_anogan.scoring.calibration import Calibration


class Judging(NamedTuple):
    """What --threshold, --false_alarm_rate and --review_band ask for; at most one of them."""

    threshold: float | None = None
    false_alarm_rate: float | None = None
    review_band: tuple[float, float] | None = None

    @classmethod
    def of_options(
        cls, threshold: float | None, false_alarm_rate: float | None, review_band: str | None
    ) -> "Judging":
        """Of the options' values, review_band as "LOW,HIGH"; ConfigError where they cannot be."""
        options = {
            "--threshold": threshold,
            "--false_alarm_rate": false_alarm_rate,
            "--review_band": review_band,
        }
        given = [name for name, value in options.items() if value is not None]
        if len(given) > 1:
            raise ConfigError(f"{' and '.join(given)}: give only one of them")
        if threshold is not None:
            calibrating.check_threshold(threshold)
        if false_alarm_rate is not None:
            calibrating.check_rate(false_alarm_rate)
        band = None
        if review_band is not None:
            try:
                rates = tuple(map(float, review_band.split(",")))
            except ValueError:
                rates = (review_band,)
            band = calibrating.check_band(rates)
        return cls(threshold, false_alarm_rate, band)

    def applied(self, detector):
        """(the detector that judges so, lines that tell by what); itself and none where nothing is asked."""
        if self == Judging():
            return detector, []
        before = detector.calibrated
        judging = detector.at(**self._asdict())
        return judging, _told(judging.calibrated, before, self.threshold is not None)


def _told(now: Calibration, before: Calibration, given: bool) -> list[str]:
    own = f"the run's own is {before.threshold:.6g}, for {before.false_alarm_rate:.4g}"
    if now.look_threshold is not None:
        lines = [
            f"abnormal above {now.threshold:.6g}, for a false-alarm rate of {now.false_alarm_rate:g}, "
            f'and to be looked at ("look") above {now.look_threshold:.6g} ({own})'
        ]
    elif given:
        known = now.false_alarm_rate == now.false_alarm_rate
        rate = f"about {now.false_alarm_rate:.2g}, as its {len(now.normal_scores)} normal scores say"
        lines = [f"threshold {now.threshold:.6g}, false-alarm rate {rate if known else 'unknown'} ({own})"]
    else:
        lines = [f"threshold {now.threshold:.6g} for a false-alarm rate of {now.false_alarm_rate:g} ({own})"]
    if not given:
        lines += [line for line in now.warnings if line not in before.warnings]
        same = now.false_alarm_rate == before.false_alarm_rate
        if now.pixel_threshold is not None and not now.normal_highest and not same:
            lines.append(
                f"the pixel threshold stays that for {before.false_alarm_rate:g}: the run keeps nothing to "
                "choose another by; delete its detector.json and give its train command again"
            )
    return lines
