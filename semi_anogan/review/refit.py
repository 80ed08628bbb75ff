"""Runs the commands of a refit as processes, one at a time, and tells how far they are."""

import os
import pathlib
import re
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from semi_anogan.errors import UserError

IDLE, RUNNING, DONE, FAILED, STOPPED = "idle", "running", "done", "failed", "stopped"
LINES = 200  # of what the commands print, the last
LOG = "refit.log"


def train_command(folder: pathlib.Path, reviewed: pathlib.Path, data_root: str | None = None) -> list[str]:
    """The command that fits a run's detector anew, with labels that a person gave."""
    return [
        *(sys.executable, "-m", "semi_anogan.train", f"--workdir={folder}", "--refit"),
        f"--config.data.reviewed={reviewed}",
        *([] if data_root is None else [f"--data_root={data_root}"]),
    ]


def score_command(folder: pathlib.Path, table: pathlib.Path, output: pathlib.Path) -> list[str]:
    """The command that scores the images of a CSV file again."""
    return [
        *(sys.executable, "-m", "semi_anogan.score", f"--workdir={folder}", f"--input={table}"),
        f"--output={output}",
    ]


class Refit:
    """A job of several commands.

    Args: log: file that gets all that they print; ended: called when the job has ended, however.
    """

    def __init__(self, log: pathlib.Path, ended: Callable[[], None]):
        self._log, self._ended = log, ended
        self._lock = threading.Lock()
        self._process: subprocess.Popen | None = None
        self._thread: threading.Thread | None = None
        self._lines: deque[str] = deque(maxlen=LINES)
        self._state, self._begun, self._seconds, self._now, self._error = IDLE, 0.0, 0.0, "", ""

    @property
    def running(self) -> bool:
        return self._state == RUNNING

    def start(self, commands: Sequence[tuple[str, list[str], Sequence[int]]]) -> bool:
        """Begins a job, unless one is running: (what it does, command, good exit codes) of each command."""
        with self._lock:
            if self._state == RUNNING:
                return False
            self._state, self._begun, self._error = RUNNING, time.monotonic(), ""
            self._lines.clear()
            self._thread = threading.Thread(target=self._run, args=(commands,), daemon=True)
            self._thread.start()
            return True

    def stop(self):
        """Ends the job; the run is then as it was before the command that was running."""
        with self._lock:
            if self._state != RUNNING:
                return
            self._state = STOPPED
            process = self._process
        if process is not None and process.poll() is None:
            process.terminate()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(20)
            if self._thread.is_alive() and process is not None:
                process.kill()

    def told(self) -> dict:
        """How far it is: state, what it does, seconds, the last lines, error."""
        seconds = time.monotonic() - self._begun if self._state == RUNNING else self._seconds
        return {
            "state": self._state,
            "now": self._now,
            "seconds": round(seconds, 1),
            "lines": list(self._lines)[-20:],
            "error": self._error,
        }

    def _run(self, commands):
        state, error = DONE, ""
        try:
            with open(self._log, "w", encoding="utf-8") as log:
                for now, command, good in commands:
                    if self._state != RUNNING:
                        break
                    self._now = now
                    code = self._run_one(command, log)
                    if code not in good:
                        state = FAILED
                        told = [line for line in self._lines if line.startswith("error: ")]
                        error = told[-1] if told else f"{now}: exit code {code}; see {self._log}"
                        break
        except OSError as reason:
            state, error = FAILED, str(reason)
        self._now = ""
        try:
            self._ended()
        except UserError as reason:  # told on the page, where else nobody would see it
            state, error = FAILED, str(reason)
        with self._lock:
            self._seconds = time.monotonic() - self._begun
            if self._state == RUNNING:
                self._state, self._error = state, error

    def _run_one(self, command: list[str], log) -> int:
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment, bufsize=0
        )
        with self._lock:
            self._process = process
            stopped = self._state != RUNNING
        if stopped:
            process.terminate()
        last, left = False, b""
        while piece := process.stdout.read(4096):
            text = left + piece
            *whole, left = re.split(rb"([\r\n])", text)
            for line, end in zip(whole[::2], whole[1::2], strict=True):
                last = self._add(line, end == b"\r", last, log)
        if left:
            self._add(left, False, last, log)
        return process.wait()

    def _add(self, line: bytes, moving: bool, last: bool, log) -> bool:
        """Adds a line; one that a progress bar writes over takes the place of its former state."""
        text = line.decode("utf-8", "replace").rstrip()
        if text:
            if last and self._lines:
                self._lines.pop()
            self._lines.append(text)
            if not moving:
                log.write(text + "\n")
                log.flush()
            return moving
        return last and moving
