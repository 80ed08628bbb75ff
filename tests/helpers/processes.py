"""Commands as processes: where they run, in which environment, and how they are waited for."""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parent.parent.parent
# The scripts of this Python come first, so that `python` in a shell is this one.
PATH = f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"
# Nothing inherited that changes a run.
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name != "TF_CONFIG"},
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "OMP_NUM_THREADS": "1",
    "KERAS_BACKEND": "tensorflow",
}
# One thread, so that sums are taken in the same order in each run.
ONE_THREAD = {**ENVIRONMENT, "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}


def command(module: str, *arguments) -> subprocess.CompletedProcess:
    """Runs python -m semi_anogan.MODULE; streams are captured as text."""
    return subprocess.run(
        [sys.executable, "-m", f"semi_anogan.{module}", *map(str, arguments)],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
    )


def start(command, log, **environment) -> subprocess.Popen:
    """Starts a command of one thread whose output, both streams, is appended to the file `log`."""
    with open(log, "ab") as file:
        return subprocess.Popen(
            command, stdout=file, stderr=file, env={**ONE_THREAD, **environment}, cwd=ROOT
        )


def finish(process: subprocess.Popen, timeout_s: float = 300) -> int:
    """Waits for a process, which is killed when it takes too long; its exit code."""
    try:
        return process.wait(timeout_s)
    finally:
        process.kill()
