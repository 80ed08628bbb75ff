"""A process of its own that says why an image looks abnormal: begun when first asked, ended when idle.

The page itself needs no framework, and what an image does to the process it does not do to the page.
"""

import contextlib
import multiprocessing
import signal
import threading
from collections.abc import Callable

from semi_anogan.errors import UserError

MOST = 4  # questions that wait or are answered at once; more are refused
IDLE = 600.0  # seconds without a question, after which the process ends
LATE = 300.0  # seconds that an answer may take


class NotNow(Exception):
    """A question that is not answered: too many wait, or the process ended."""


class Why:
    """Answers questions one after the other.

    Args: loaded: has `load()`, which is called in the process and gives a function of a question; both are
      sent there. most, idle, late: as MOST, IDLE, LATE.
    """

    def __init__(self, loaded, most: int = MOST, idle: float = IDLE, late: float = LATE):
        self._loaded, self._idle, self._late = loaded, idle, late
        self._places = threading.BoundedSemaphore(most)
        self._turn = threading.Lock()  # of the process and its pipe
        self._process = self._pipe = None
        self._timer: threading.Timer | None = None
        self._asked = self._ends = 0

    @property
    def running(self) -> bool:
        return self._process is not None

    def ask(self, question) -> dict:
        """The answer. UserError: what is wrong with the run or the image; NotNow."""
        if not self._places.acquire(blocking=False):
            raise NotNow("too many wait for an answer: ask again in a moment")
        ends = self._ends
        try:
            with self._turn:
                return self._answer(question, ends)
        finally:
            self._places.release()

    def end(self):
        """Ends the process, also for those who wait; the next question begins another."""
        self._ends += 1
        process = self._process
        if process is not None:
            process.kill()  # whoever waits for its answer goes on then
        with self._turn:
            self._end()

    def _answer(self, question, ends: int) -> dict:
        if self._timer is not None:
            self._timer.cancel()
        self._asked += 1
        try:
            if self._process is None and ends == self._ends:
                self._begin()
            if ends != self._ends:  # what waits for a process that was ended begins no other
                raise EOFError
            self._pipe.send(question)
            if not self._pipe.poll(self._late):
                raise NotNow(f"the answer took more than {self._late:g} s")
            good, found = self._pipe.recv()
        except (EOFError, OSError):
            self._end()
            raise NotNow("the process that looks for reasons has ended; ask again") from None
        except NotNow:
            self._end()
            raise
        if good is None:  # it could not begin
            self._end()
        self._timer = threading.Timer(self._idle, self._give_up, [self._asked])
        self._timer.daemon = True
        self._timer.start()
        if not good:
            raise UserError(found)
        return found

    def _begin(self):
        context = multiprocessing.get_context("spawn")  # a fork would take threads' locks with it
        self._pipe, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, self._loaded), daemon=True)
        process.start()
        self._process = process
        theirs.close()

    def _give_up(self, asked: int):
        with self._turn:
            if asked == self._asked:
                self._end()

    def _end(self):
        if self._timer is not None:
            self._timer.cancel()
        if self._process is not None:
            self._pipe.close()
            self._process.kill()
            self._process.join()
            self._process = self._pipe = None


def _work(connection, loaded):
    """Answers what comes: (True, answer), (False, what is wrong), or (None, why it cannot begin)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal: the page ends first, and then this
    answer, wrong = _tried(loaded.load)
    with contextlib.suppress(EOFError, OSError):
        while True:
            question = connection.recv()
            if answer is None:
                connection.send((None, wrong))
                continue
            found, told = _tried(lambda question=question: answer(question))
            connection.send((True, found) if told is None else (False, told))


def _tried(function: Callable) -> tuple:
    """(what it gives, None), or (None, what is wrong, in a line)."""
    try:
        return function(), None
    except UserError as error:
        return None, str(error)
    except Exception as error:  # told on the page; the next question may be answered
        return None, f"{type(error).__name__}: {error}".splitlines()[0]
