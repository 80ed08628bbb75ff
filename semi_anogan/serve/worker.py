"""The process that decodes and scores. What an image does to it, it does not do to the service."""

import contextlib
import multiprocessing
import os
import queue
import shutil
import signal
import tempfile
import threading
import traceback
from typing import NamedTuple

from semi_anogan.errors import UserError
from semi_anogan.scoring.drift import Drift
from semi_anogan.serve.answers import Job, answer_each, measured_each, read_each

# Bytes of decoded images that may be ready while others are scored; more are decoded when these are done.
AHEAD = 64 << 20


class Settings(NamedTuple):
    """What a worker is made of: arguments of EdgeDetector, those of Judging.of_options, a limit of pixels."""

    bundle: str
    engine: str
    precision: str = "float32"
    batch: int | None = None
    threads: int | None = None
    providers: tuple[str, ...] = ()
    threshold: float | None = None
    false_alarm_rate: float | None = None
    review_band: str | None = None
    max_pixels: int = 100_000_000
    product: str | None = None

    def detector(self):
        """(EdgeDetector, lines that tell by which threshold it judges); UserError for what cannot be.

        Of a bundle of several products, where `product` names none: {product: its EdgeDetector}.
        """
        from semi_anogan.errors import ConfigError
        from semi_anogan.export.runtime.bundle import products_of
        from semi_anogan.export.runtime.detector import EdgeDetector
        from semi_anogan.scoring.files import of_product
        from semi_anogan.scoring.judging import Judging

        judging = Judging.of_options(self.threshold, self.false_alarm_rate, self.review_band)
        names = () if self.product else products_of(self.bundle)
        if names and self.threshold is not None:
            raise ConfigError(f"--threshold is for one product, {self.bundle} has {', '.join(names)}")
        found, told = {}, []
        for name in names or [None]:
            detector = EdgeDetector(
                self.bundle,
                self.engine,
                self.precision,
                self.batch,
                self.threads,
                providers=list(self.providers) or None,
                product=name or self.product,
            )
            found[name], lines = judging.applied(detector)
            told += [of_product(name, line) for line in lines]
        return (found if names else found[None]), told


class WorkerError(Exception):
    """A worker that cannot begin; the message is for the person who started the service."""


class Died(Exception):
    """A worker that ended, or was `late`: took too long and has to be ended."""

    def __init__(self, told: str, late: bool = False):
        super().__init__(told)
        self.late = late


class Worker:
    """A process with a detector.

    Args: settings: Settings, or what has its `detector` and `max_pixels`.

    Attributes: batch_size: images that it scores at once; lines: what it told when it began; products: names
      of them, none where there is only one; drift: of the images that it has scored, (Drift.state,
      Drift.warned).

    Raises: WorkerError where it cannot begin.
    """

    def __init__(self, settings):
        context = multiprocessing.get_context("spawn")  # a fork would take threads' locks with it
        self._mine, theirs = context.Pipe()
        # Images that are decoded are files here. It is taken away with the process, however that ends.
        self._place = tempfile.mkdtemp(prefix="semi_anogan_")
        self._process = context.Process(target=_work, args=(theirs, settings, self._place), daemon=True)
        self._process.start()
        theirs.close()
        try:
            ready, found = self._mine.recv()
        except EOFError:
            self.end()
            raise WorkerError("the process that scores ended before it was ready") from None
        if not ready:
            self.end()
            raise WorkerError(found)
        self.batch_size, self.lines, self.products = found
        self.drift: tuple[dict, dict[str, str]] = {"images": 0, "quantities": {}}, {}

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, jobs: list[Job]):
        """Gives it a batch, also while it scores another one: then it decodes this one. Died."""
        with _ended():
            self._mine.send(jobs)

    def ready(self, seconds: float) -> bool:
        """Whether the oldest batch is answered, after `seconds` at most. Died."""
        with _ended():
            return self._mine.poll(seconds)

    def receive(self) -> list[dict]:
        """The answers to the oldest batch, as answers.answer_each; waits for them. Died."""
        with _ended():
            found, self.drift = self._mine.recv()
        return found

    def end(self):
        """Ends the process, whatever it does."""
        self._mine.close()
        self._process.kill()
        self._process.join()
        shutil.rmtree(self._place, ignore_errors=True)


@contextlib.contextmanager
def _ended():
    """Raises Died where the other side of a connection is gone."""
    try:
        yield
    except (EOFError, OSError):
        raise Died("ended the process that scores") from None


def _work(connection, settings, place: str):
    tempfile.tempdir = place
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal: the service ends first, and then this
    try:
        detector, lines = settings.detector()
    except UserError as error:
        connection.send((False, str(error)))
        return
    detectors = detector if isinstance(detector, dict) else {None: detector}
    products = tuple(name for name in detectors if name is not None)
    connection.send((True, (min(d.batch_size for d in detectors.values()), lines, products)))
    _Stages(connection, detectors, settings.max_pixels).run()
    shutil.rmtree(place, ignore_errors=True)  # where the service was killed, nobody else does it


class _Stages:
    """Decodes, measures and answers, each in its own thread: a batch is decoded while another is scored.

    What they wait for gives the interpreter to the others: image decoders and engines do not hold it.
    """

    def __init__(self, connection, detectors: dict, max_pixels: int):
        self._connection, self._detectors, self._max_pixels = connection, detectors, max_pixels
        self._jobs, self._decoded, self._measured = (queue.SimpleQueue() for _ in range(3))
        self._drifts = {product: Drift.of(d) for product, d in detectors.items()}
        self._changed, self._batches = threading.Condition(), 0  # decoded and not yet answered

    def run(self):
        """Works until the connection ends."""
        for stage in (self._receive, self._decode, self._answer):
            threading.Thread(target=_or_end, args=(stage,), daemon=True).start()
        while (read := self._decoded.get()) is not None:
            self._measured.put((read, measured_each(self._detectors, read)))

    def _receive(self):
        # On its own: the service must not wait until an image is decoded when it sends others.
        while True:
            try:
                self._jobs.put(self._connection.recv())
            except (EOFError, OSError):
                self._decoded.put(None)
                return

    def _decode(self):
        while True:
            jobs = self._jobs.get()
            read, held = [], 0
            for each in read_each(self._detectors, jobs, self._max_pixels):
                read.append(each)
                held += getattr(getattr(each.image, "image", each.image), "nbytes", 0)
                if held > AHEAD:
                    with self._changed:
                        self._changed.wait_for(lambda: not self._batches)
            with self._changed:
                self._batches += 1
            self._decoded.put(read)
            del read

    def _answer(self):
        while True:
            read, measured = self._measured.get()
            found = answer_each(self._detectors, read, measured, self._drifts)
            del read, measured
            with self._changed:
                self._batches -= 1
                self._changed.notify()
            try:
                self._connection.send((found, _drift(self._drifts)))
            except OSError:
                return


def _or_end(stage):
    """Runs a stage; an error in it ends the process, as one of the main thread does."""
    try:
        stage()
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def _drift(drifts: dict) -> tuple[dict, dict[str, str]]:
    """(Drift.state, Drift.warned) of all products; where there are several, theirs is in each name."""
    state, warned = {"images": 0, "quantities": {}}, {}
    for product, drift in drifts.items():
        own = drift.state()
        before = "" if product is None else f"{product}: "
        state["images"] += own["images"]
        state["quantities"] |= {before + name: values for name, values in own["quantities"].items()}
        warned |= {before + name: before + line for name, line in drift.warned.items()}
    return state, warned
