"""What the tests of exported formats share."""

import numpy as np

from helpers import trained

BATCH = 6  # of the bundle of the smoke run; a TFLite file takes half of it


def detector_without_search(**settings):
    """A tiny detector without the search, with colour, calibrated on noise."""
    from semi_anogan.scoring.calibration import HeldOut
    from semi_anogan.scoring.detector import Detector

    detector = Detector(
        trained.tiny_model(channels=3), components=("discriminator",), batch_size=2, **settings
    )
    rng = np.random.default_rng(0)
    images = rng.uniform(-1, 1, (12, 8, 8, 3)).astype(np.float32)
    return detector.calibrate(HeldOut(images), false_alarm_rate=0.1)
