"""From the bytes of images to what the service answers, in the process that scores."""

import base64
import io
import os
import tempfile
from collections.abc import Sequence
from typing import NamedTuple

from semi_anogan.data.ignore_files import MaskedReader
from semi_anogan.data.images import Reader
from semi_anogan.data.notes import Notes
from semi_anogan.errors import UserError
from semi_anogan.scoring import kinds as known_kinds
from semi_anogan.scoring.calibration import NORMAL
from semi_anogan.scoring.drift import Drift
from semi_anogan.scoring.outputs import region_line, short
from semi_anogan.scoring.overlay import overlay

IMAGE = "image"  # what messages call the image, which has no path


class Job(NamedTuple):
    """One image that is to be scored.

    Attributes:
      content: the bytes of an image file.
      threshold, false_alarm_rate: at most one, another threshold than the service's, as in BaseDetector.at.
      overlay: whether a picture of the regions is wanted.
      product: of several, whose image it is.
    """

    content: bytes
    threshold: float | None = None
    false_alarm_rate: float | None = None
    overlay: bool = False
    product: str | None = None


def answer_each(detectors: dict, jobs: Sequence[Job], max_pixels: int, drifts: dict) -> list[dict]:
    """As `answer`, each job by the detector of its product; detectors, drifts: {product: its own}."""
    found = {}
    for product in dict.fromkeys(job.product for job in jobs):
        rows = [row for row, job in enumerate(jobs) if job.product == product]
        own = [jobs[row] for row in rows]
        if product in detectors:
            answers = answer(detectors[product], own, max_pixels, drifts[product])
        else:
            answers = [{"error": f"no product {product!r}"}] * len(own)
        found |= zip(rows, answers, strict=True)
    return [found[row] for row in range(len(jobs))]


def answer(detector, jobs: Sequence[Job], max_pixels: int, drift: Drift | None = None) -> list[dict]:
    """What the service answers to each job: values that JSON can hold.

    Of an image that can be read: score, label, p_value, threshold, regions (as in regions.jsonl, without a
    path; None where the detector has no pixel threshold), notes (what is unusual in the file) and, where it
    is wanted, overlay, a PNG file in base64. Of any other: error, a line.

    drift: takes in the images, with the label that the service itself would give.
    """
    read = [_read(job, detector, max_pixels) for job in jobs]
    images = [image for image, _, error in read if error is None]
    locates = detector.pixel_threshold is not None
    measured = detector.measure(images, combined=True, pictures=False, kinds=locates)
    found = []
    for job, (image, notes, error) in zip(jobs, read, strict=True):
        if error is None:
            measurement = next(measured)
            judged = detector.judge(measurement)
            found.append(_answer(detector, job, image, measurement, judged, notes))
            if drift is not None:
                drift.add(measurement.look, judged[1])
        else:
            found.append({"error": error})
    return found


def _read(job: Job, detector, max_pixels: int):
    """(image as the detector takes it, lines of notes, None), or (None, [], error)."""
    notes = Notes()
    reader = MaskedReader(Reader(detector.scale, max_pixels, notes, min(detector.shape)), detector.ignore)
    # A file, since formats of more than 8 bits are read by a path. Its name is ours.
    handle, path = tempfile.mkstemp(prefix="semi_anogan_")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(job.content)
        image = reader(path, detector.channels)
    except UserError as error:
        return None, [], str(error).replace(path, IMAGE)
    finally:
        os.unlink(path)
    return image, [line.replace(path, IMAGE) for line in notes.lines()], None


def _answer(detector, job: Job, image, measurement, judged, notes: list[str]) -> dict:
    """Args: judged: score, label and map, of which no other threshold changes the score and the map."""
    try:
        if job.threshold is not None or job.false_alarm_rate is not None:
            detector = detector.at(job.threshold, job.false_alarm_rate)
    except UserError as error:
        return {"error": str(error)}
    score, _, anomaly_map = judged
    label, p_value = detector.calibrated.label(score), detector.calibrated.p_value(score)
    found = {
        "score": short(score),
        "label": label,
        "p_value": None if p_value is None else short(p_value),
        "threshold": short(detector.threshold),
        "regions": None,
        "notes": notes,
    }
    if detector.pixel_threshold is None:
        return found
    (regions,) = detector.regions([label != NORMAL], [anomaly_map])
    regions = known_kinds.named(regions, measurement.kinds, measurement.size, detector.kinds)
    lines = (region_line("", number, r, anomaly_map.shape) for number, r in enumerate(regions, 1))
    found["regions"] = [{k: v for k, v in line.items() if k != "path"} for line in lines]
    if job.overlay:
        pixels = getattr(image, "image", image)
        threshold, ignored = detector.pixel_threshold, measurement.ignored
        picture = overlay(pixels, anomaly_map, regions, threshold, ignored)
        found["overlay"] = base64.b64encode(_png(picture)).decode("ascii")
    return found


def _png(pixels) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()
