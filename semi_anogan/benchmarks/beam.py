"""score_beam over many images, with one and two workers: images/s, seconds of the cores, memory. Linux."""

import csv
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

from semi_anogan.benchmarks.results import machine, table
from semi_anogan.benchmarks.serve import IMAGES, write_images
from semi_anogan.errors import RunError
from semi_anogan.export.runtime.bundle import Bundle

EVERY = 0.5  # seconds between two looks at the processes
HEADER = ["images", "workers", "images/s", "seconds", "of the cores", "memory, caller and workers: MiB"]
LEAST = 16  # MiB; what never holds more is a shell that started a worker
TICKS = os.sysconf("SC_CLK_TCK")


def run(folder: str, engine: str, counts: list[int]) -> str:
    """Markdown: score_beam over lists of so many rows that name a few images of noise again and again.

    Memory is what each process held at most in the first half of the time, and in the second. Its seconds
    include the start.
    """
    with tempfile.TemporaryDirectory() as place:
        place = pathlib.Path(place)
        paths = write_images(place / "in", Bundle(folder).values["images"])
        rows = [_measured(folder, engine, paths, n, w, place) for n in counts for w in (1, 2)]
    return f"Machine: {machine()}. Lists name {IMAGES} PNG files in turn.\n\n{table(HEADER, rows)}"


def _measured(folder, engine, paths, count: int, workers: int, place) -> list:
    (place / "list.csv").write_text("\n".join(["path", *(str(paths[i % IMAGES]) for i in range(count))]))
    command = [sys.executable, "-m", "semi_anogan.score_beam", f"--bundle={folder}", f"--engine={engine}"]
    command += [f"--input={place / 'list.csv'}", f"--output={place / 'out'}"]
    if workers > 1:
        command += [f"--direct_num_workers={workers}", "--direct_running_mode=multi_processing"]
    begun, seen = time.monotonic(), []
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        seen.append(_processes(process.pid))
        time.sleep(EVERY)
    taken = time.monotonic() - begun
    if process.returncode:
        raise RunError(f"score_beam ended with {process.returncode}; its error stands above")
    if (written := _rows(place / "out")) != count:
        raise RunError(f"score_beam wrote {written} rows of scores for {count} images")
    latest = {pid: used for look in seen for pid, used in look.items()}
    halves = seen[: len(seen) // 2 + 1], seen[len(seen) // 2 :]
    memory = []
    for pid, _ in sorted(latest.items()):
        first, second = (max((look[pid][1] for look in half if pid in look), default=0) for half in halves)
        if max(first, second) >= LEAST:
            memory.append(f"{first:.0f} to {second:.0f}")
    seconds = sum(used for used, _ in latest.values())
    return [count, workers, round(count / taken), round(taken), round(seconds), "; ".join(memory)]


def _rows(output: pathlib.Path) -> int:
    total = 0
    for path in output.glob("scores-*"):
        with open(path, newline="", encoding="utf-8") as file:
            total += sum(1 for _ in csv.reader(file)) - 1
    return total


def _processes(root: int) -> dict[int, tuple[float, float]]:
    """{pid: (seconds of a core, resident MiB)} of a process and all that it has started."""
    parents, found = {}, {}
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            values = stat.read_text().rpartition(")")[2].split()
            held = re.search(r"VmRSS:\s*(\d+)", (stat.parent / "status").read_text())
        except OSError:  # it has ended meanwhile
            continue
        pid = int(stat.parent.name)
        parents[pid] = int(values[1])
        found[pid] = (int(values[11]) + int(values[12])) / TICKS, int(held[1]) / 1024 if held else 0.0
    below = {root}
    while more := {pid for pid, parent in parents.items() if parent in below} - below:
        below |= more
    return {pid: found[pid] for pid in below if pid in found}
