"""The process that decodes and scores. What an image does to it, it does not do to the service."""

import multiprocessing
import signal
from typing import NamedTuple

from semi_anogan.errors import UserError
from semi_anogan.scoring.drift import Drift
from semi_anogan.serve.answers import Job, answer


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

    def detector(self):
        """(EdgeDetector, lines that tell by which threshold it judges); UserError for what cannot be."""
        from semi_anogan.export.runtime.detector import EdgeDetector
        from semi_anogan.scoring.judging import Judging

        judging = Judging.of_options(self.threshold, self.false_alarm_rate, self.review_band)
        detector = EdgeDetector(
            self.bundle,
            self.engine,
            self.precision,
            self.batch,
            self.threads,
            providers=list(self.providers) or None,
        )
        return judging.applied(detector)


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

    Attributes: batch_size: images that it scores at once; lines: what it told when it began; drift: of
      the images that it has scored, (Drift.state, Drift.warned).

    Raises: WorkerError where it cannot begin.
    """

    def __init__(self, settings):
        context = multiprocessing.get_context("spawn")  # a fork would take threads' locks with it
        self._mine, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, settings), daemon=True)
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
        self.batch_size, self.lines = found
        self.drift: tuple[dict, dict[str, str]] = {"images": 0, "quantities": {}}, {}

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    @property
    def pid(self) -> int:
        return self._process.pid

    def answer(self, jobs: list[Job], seconds: float) -> list[dict]:
        """As answers.answer; Died where the process ended, or has not answered after `seconds`."""
        try:
            self._mine.send(jobs)
            if not self._mine.poll(seconds):
                raise Died(f"took more than {seconds:g} s", late=True)
            found, self.drift = self._mine.recv()
            return found
        except (EOFError, OSError):
            raise Died("ended the process that scores") from None

    def end(self):
        """Ends the process, whatever it does."""
        self._mine.close()
        self._process.kill()
        self._process.join()


def _work(connection, settings):
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal: the service ends first, and then this
    try:
        detector, lines = settings.detector()
    except UserError as error:
        connection.send((False, str(error)))
        return
    connection.send((True, (detector.batch_size, lines)))
    drift = Drift(detector.calibrated)
    while True:
        try:
            jobs = connection.recv()
        except (EOFError, OSError):
            return
        found = answer(detector, jobs, settings.max_pixels, drift)
        connection.send((found, (drift.state(), drift.warned)))
