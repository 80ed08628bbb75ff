"""A stand-in for what a worker of the service is made of."""

import dataclasses
import os
import tempfile
import time
from typing import NamedTuple

import numpy as np

from helpers.trained import CALIBRATION, StandInDetector
from semi_anogan.data.look import look
from semi_anogan.errors import ConfigError
from semi_anogan.scoring.drift import Usual

DEADLY, SLOW = 200, 100  # grey levels: an image of one ends the process, of the other takes long


class Dangerous(StandInDetector):
    """What images of some grey levels do to it is what a bad image may do to an engine."""

    def _measure_batch(self, images):
        levels = (images.mean(axis=(1, 2, 3)) + 1) * 127.5
        if (abs(levels - DEADLY) < 1).any():
            os._exit(9)
        if (abs(levels - SLOW) < 1).any():
            time.sleep(60)
        return super()._measure_batch(images)


class StandInSettings(NamedTuple):
    """In place of serve.worker.Settings; fails: the message of a worker that cannot begin."""

    fails: str = ""
    max_pixels: int = 10_000

    def detector(self):
        if self.fails:
            raise ConfigError(self.fails)
        usual = Usual.of([look(np.full((8, 8, 1), i / 127.5 - 1, np.float32)) for i in range(50, 90)])
        return Dangerous(calibration=dataclasses.replace(CALIBRATION, usual=usual)), ["a line"]


class LeavingSettings(StandInSettings):
    """As of a worker that is killed while it decodes an image: its file is there."""

    def detector(self):
        handle, _ = tempfile.mkstemp(prefix="semi_anogan_")
        os.close(handle)
        return super().detector()
