"""Images that wait for the worker: bounded, scored in batches, and never lost with a worker that dies."""

import collections
import itertools
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from semi_anogan.serve.answers import Job
from semi_anogan.serve.worker import Died, Worker, WorkerError

ENDED = "the service ended before it was scored"
LOOK_SECONDS = 0.01  # between looks at what waits while the worker works


class Full(Exception):
    """So many images wait already."""


class Closed(Exception):
    """The service is ending, or cannot score any more."""


class ScoringQueue:
    """Images wait here, first come first served. What waits when the worker is free becomes its next batch.

    A worker that dies is replaced. The images of its batch are then scored one by one, so that only the one
    that ended it gets an error, and none where it was no image.

    Args:
      start: makes a Worker.
      most: images that may wait.
      seconds: that one batch may take.

    Attributes: restarts: how often the worker was replaced.

    Raises: WorkerError where the first worker cannot begin.
    """

    def __init__(self, start: Callable[[], Worker], most: int, seconds: float):
        self.restarts, self._told = 0, set()
        self._start, self._most, self._seconds = start, most, seconds
        self._worker = start()
        self._waiting: collections.deque[tuple[Job, Future]] = collections.deque()
        self._changed = threading.Condition()
        self._closing = self._ended = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Images that wait."""
        return len(self._waiting)

    @property
    def healthy(self) -> bool:
        """Whether images are taken."""
        return not self._closing and self._worker.alive

    @property
    def drift(self) -> tuple[dict, dict[str, str]]:
        """(Drift.state, Drift.warned) of the images that the present worker has scored."""
        return self._worker.drift

    @property
    def worker(self) -> Worker:
        return self._worker

    def add(self, jobs: Sequence[Job]) -> list[Future]:
        """The answers to come, a dict each, or Died; all jobs or none are taken. Full, Closed."""
        with self._changed:
            if self._closing:
                raise Closed("the service is ending")
            if len(self._waiting) + len(jobs) > self._most:
                raise Full(f"{len(self._waiting)} images wait, and at most {self._most} may")
            futures = [Future() for _ in jobs]
            self._waiting.extend(zip(jobs, futures, strict=True))
            self._changed.notify()
        return futures

    def close(self, seconds: float = 30.0):
        """Takes no more images, scores those that wait, for so long, and ends the worker."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(seconds)
        with self._changed:
            self._refuse(Closed(ENDED))
        self._ended = True
        self._worker.end()

    def _run(self):
        sent: collections.deque[list[tuple[Job, Future]]] = collections.deque()  # to the worker, oldest first
        while True:
            begins = not sent
            if begins:
                batch = self._next()
                if not batch:
                    return
                sent.append(batch)
            try:
                if begins:
                    self._send(batch)
                answers = self._answers(sent)
            except Died as error:
                if self._ended:  # by us
                    for _, future in itertools.chain(*sent):
                        future.set_exception(Closed(ENDED))
                    return
                self._replace()
                if error.late and len(sent[0]) == 1:
                    sent.popleft()[0][1].set_exception(error)
                while sent:
                    self._one_by_one(sent.popleft())
                continue
            for (_, future), found in zip(sent.popleft(), answers, strict=True):
                future.set_result(found)
            self._tell()

    def _send(self, batch):
        self._worker.send([job for job, _ in batch])

    def _answers(self, sent=None) -> list[dict]:
        """Of the oldest batch at the worker.

        sent: the batches at the worker. Where it is only one, a whole batch that waits meanwhile is sent
        ahead.
        """
        deadline = time.monotonic() + self._seconds
        while not self._worker.ready(LOOK_SECONDS):
            if time.monotonic() > deadline:
                raise Died(f"took more than {self._seconds:g} s", late=True)
            if sent is not None and len(sent) == 1 and len(self._waiting) >= self._worker.batch_size:
                if ahead := self._taken():
                    sent.append(ahead)
                    self._send(ahead)
        return self._worker.receive()

    def _next(self) -> list[tuple[Job, Future]]:
        """What waits, a batch at most; empty at the end."""
        while True:
            with self._changed:
                while not self._waiting and not self._closing:
                    self._changed.wait()
            batch = self._taken()
            if batch or not self._waiting and self._closing:
                return batch

    def _taken(self) -> list[tuple[Job, Future]]:
        """What waits, a batch at most; without those for which nobody waits any more."""
        batch = []
        with self._changed:
            while self._waiting and len(batch) < self._worker.batch_size:
                job, future = self._waiting.popleft()
                if future.set_running_or_notify_cancel():
                    batch.append((job, future))
        return batch

    def _one_by_one(self, batch):
        for job, future in batch:
            try:
                self._send([(job, future)])
                future.set_result(self._answers()[0])
            except Died as error:
                future.set_exception(error)
                self._replace()

    def _tell(self):
        """Prints what has changed in the images, each once for a worker."""
        lines = self._worker.drift[1]
        for name in lines.keys() - self._told:
            print(f"note: {lines[name]}", flush=True)
        self._told = set(lines)

    def _replace(self):
        self._worker.end()
        self.restarts += 1
        try:
            self._worker = self._start()
        except WorkerError as error:
            # What it was made of is gone: the bundle, say. Nothing can be scored any more.
            with self._changed:
                self._closing = True
                self._refuse(Closed(str(error)))

    def _refuse(self, error: Closed):
        """Tells all who wait for an image, but for those who have given up."""
        for _, future in self._waiting:
            if future.set_running_or_notify_cancel():
                future.set_exception(error)
        self._waiting.clear()
