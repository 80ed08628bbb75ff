"""What the tests of exported formats share."""

import numpy as np

from helpers import trained

BATCH = 6  # of the bundle of the smoke run; a TFLite file takes half of it


def detector_without_search(**settings):
    """A tiny detector without the search, with colour, calibrated on noise."""
    from semi_anogan.scoring.detector import Detector
    from semi_anogan.scoring.fit_calibration import HeldOut

    detector = Detector(
        trained.tiny_model(channels=3), components=("discriminator",), batch_size=2, **settings
    )
    rng = np.random.default_rng(0)
    images = rng.uniform(-1, 1, (12, 8, 8, 3)).astype(np.float32)
    return detector.calibrate(HeldOut(images), false_alarm_rate=0.1)


PRODUCTS = ("bolts", "nuts", "rings")


def noise(seed: int, count: int = 5) -> np.ndarray:
    """Images uint8 [count, 8, 8, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)


def write_products(folder):
    """A bundle for each product, and `joined`. Bolts and nuts have one model, and differ in calibration.

    Tiny detectors without the search, in ONNX and TFLite, at batch 1 and 2.
    """
    from semi_anogan.export import products, write
    from semi_anogan.scoring.detector import Detector
    from semi_anogan.scoring.fit_calibration import HeldOut

    for name, model, held_out in zip(PRODUCTS, (0, 0, 1), (0, 1, 2), strict=True):
        network = trained.tiny_model(channels=3, seed=model)
        detector = Detector(network, components=("discriminator",), batch_size=2)
        seen = noise(held_out, 12) / np.float32(127.5) - 1
        detector = detector.calibrate(HeldOut(seen), false_alarm_rate=0.1)
        write.export(detector, {}, seen, folder / name, ["onnx", "tflite"], [1, 2], ["float32"])
    products.join({name: folder / name for name in PRODUCTS}, folder / "joined")
