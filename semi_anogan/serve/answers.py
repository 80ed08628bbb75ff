"""From the bytes of images to what the service answers, in the process that scores."""

import base64
import io
import os
import tempfile
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from semi_anogan.data.ignore_files import MaskedReader
from semi_anogan.data.images import Reader
from semi_anogan.data.notes import Notes
from semi_anogan.errors import UserError
from semi_anogan.scoring import kinds as known_kinds
from semi_anogan.scoring.base_detector import Measurement
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


class Read(NamedTuple):
    """The image of a job as its detector takes it, with lines of notes; or an error, a line."""

    job: Job
    image: object
    notes: list[str]
    error: str | None


def read_each(detectors: dict, jobs: Sequence[Job], max_pixels: int) -> Iterator[Read]:
    """The image of each job, one by one; detectors: {product: its own}."""
    for job in jobs:
        if job.product in detectors:
            yield Read(job, *_read(job, detectors[job.product], max_pixels))
        else:
            yield Read(job, None, [], f"no product {job.product!r}")


def measured_each(detectors: dict, read: Sequence[Read]) -> list[Measurement | None]:
    """What the detector of its product measures of each image; None where there is none."""
    found: list[Measurement | None] = [None] * len(read)
    for product, detector in detectors.items():
        rows = [row for row, r in enumerate(read) if r.error is None and r.job.product == product]
        if rows:
            kinds = detector.pixel_threshold is not None
            images = [read[row].image for row in rows]
            measured = detector.measure(images, combined=True, pictures=False, kinds=kinds)
            for row, measurement in zip(rows, measured, strict=True):
                found[row] = measurement
            # Of an EdgeDetector: nobody here asks for them, and they would gather.
            getattr(detector, "search_steps", []).clear()
    return found


def answer(detector, jobs: Sequence[Job], max_pixels: int, drift: Drift | None = None) -> list[dict]:
    """What the service answers to jobs that name no product, as `answer_each`."""
    read = list(read_each({None: detector}, jobs, max_pixels))
    return answer_each({None: detector}, read, measured_each({None: detector}, read), {None: drift})


def answer_each(
    detectors: dict, read: Sequence[Read], measured: Sequence[Measurement | None], drifts: dict
) -> list[dict]:
    """What the service answers to each job: values that JSON can hold.

    Of an image that can be read: score, label, p_value, threshold, regions (as in regions.jsonl, without a
    path; None where the detector has no pixel threshold), notes (what is unusual in the file) and, where it
    is wanted, overlay, a PNG file in base64. Of any other: error, a line.

    Args:
      read, measured: as read_each and measured_each give them.
      drifts: {product: its Drift, which takes in the images with the label that the service itself would
        give, or None}.
    """
    found = []
    for (job, image, notes, error), measurement in zip(read, measured, strict=True):
        if error is not None:
            found.append({"error": error})
            continue
        detector, drift = detectors[job.product], drifts[job.product]
        judged = detector.judge(measurement)
        found.append(_answer(detector, job, image, measurement, judged, notes))
        if drift is not None:
            drift.add(measurement.look, judged[1], measurement.components, measurement.summary)
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
