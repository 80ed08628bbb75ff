"""Sentences on a threshold that does not suit the test images. They tell, and change nothing."""

import numpy as np

FEWEST_NORMAL, FEWEST_ABNORMAL = 20, 10  # test images: fewer say too little
MUCH_RECALL = 0.2  # that a threshold of the rate asked for would find beyond what is found
CHANCE = 0.001  # of so many false alarms, if the rate were the one asked for
MANY = 2.0  # times the rate asked for


def threshold_notes(abnormal: np.ndarray, scores: np.ndarray, threshold: float, asked: float) -> list[str]:
    """What to do where far more abnormal test images could be found, or too many normal ones are above.

    Args: abnormal: bool [N], scores: float [N], of the test images; asked: the false-alarm rate, in (0, 1).
    """
    from scipy.stats import binom

    normal, others = scores[~abnormal], scores[abnormal]
    if len(normal) < FEWEST_NORMAL or len(others) < FEWEST_ABNORMAL:
        return []
    above, recall = int((normal > threshold).sum()), float((others > threshold).mean())
    share = f"{100 * asked:.3g} %"
    if above > MANY * asked * len(normal) and binom.sf(above - 1, len(normal), asked) < CHANCE:
        return [
            f"{above} of {len(normal)} normal test images are above the threshold, where {share} were asked "
            "for: they are unlike the normal training images, as of another lot or in other light; normal "
            "images of their kind among the training data mend it"
        ]
    reached = float((others > np.quantile(normal, 1 - asked, method="higher")).mean())
    if above <= asked * len(normal) and reached >= recall + MUCH_RECALL:
        return [
            f"the threshold is higher than the test images need: it finds {recall:.0%} of the abnormal ones; "
            f"one that {share} of the normal ones exceed would find {reached:.0%}. Mislabelled training "
            "images raise it: look at the suspicious ones, or say about how many there are "
            "(calibration.mislabelled_share)"
        ]
    return []
