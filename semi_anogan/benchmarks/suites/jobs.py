"""Runs a suite: each training, and the baselines of each case, is a process with a folder of its own.

What is finished is not run again.
"""

import concurrent.futures
import dataclasses
import itertools
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence

from semi_anogan.benchmarks.baselines import comparison
from semi_anogan.benchmarks.suites.protocols import Suite
from semi_anogan.errors import RunError
from semi_anogan.runs import folder as run_folder

BASELINES = "baselines"
ARGUMENTS, OUTPUT = "suite.json", "output.txt"
TAIL_LINES = 15


@dataclasses.dataclass(frozen=True)
class Job:
    """One process: a training, or the baselines (row "baselines") of one case, part and seed.

    Attributes:
      case, part, seed: as in the suite.
      row: folder name of the variant, or "baselines".
      folder: what it writes goes there.
      arguments: --config=FILE and --config.KEY=VALUE.
      methods: the baselines.
      steps: batches the supervised baselines and ALOCC are trained for.
      trained: folder of the run that is trained alike, or None.
    """

    case: str
    part: str
    seed: int
    row: str
    folder: pathlib.Path
    arguments: tuple[str, ...]
    methods: tuple[str, ...] = ()
    steps: int = 0
    trained: pathlib.Path | None = None

    @property
    def name(self) -> str:
        return ", ".join(filter(None, (self.case, self.part, self.row, f"seed {self.seed}")))

    @property
    def finished(self) -> bool:
        if self.methods:
            return set(self.methods) <= set(comparison.read(self.folder))
        return (self.folder / run_folder.METRICS).exists()

    @property
    def command(self) -> list[str]:
        if not self.methods:
            return [sys.executable, "-m", "semi_anogan.train", *self.arguments, f"--workdir={self.folder}"]
        command = [sys.executable, "-m", "semi_anogan.benchmark", "--suite=baselines", *self.arguments]
        return [
            *command,
            f"--methods={','.join(self.methods)}",
            f"--baseline_steps={self.steps}",
            f"--folder={self.folder}",
        ]


def plan(
    suite: Suite,
    methods: Iterable[str],
    seeds: Iterable[int],
    folder,
    config_file: str,
    given: Mapping,
    steps: int,
) -> list[Job]:
    """The jobs of a suite, one per distinct run.

    Args:
      suite, methods, seeds: as Selection.of gives them.
      folder: of all of them.
      config_file: of the train command.
      given: the user's own settings, the same for all.
      steps: batches the supervised baselines and ALOCC are trained for.

    Raises:
      RunError: a required setting is missing, or the user sets what the suite sets.
    """
    for key, what in suite.required.items():
        if given.get(key) is None:
            raise RunError(f"this suite needs --config.{key}, {what}")
    jobs = []
    for seed, part, case in itertools.product(seeds, suite.parts, suite.cases):
        seeded = {key: seed for key in suite.seed_keys}
        settings = {**suite.parts[part], **suite.cases[case], **seeded}
        base = Job(case, part, seed, "", pathlib.Path(folder) / slug(case) / slug(part), ())
        if methods:
            arguments = _arguments(config_file, given, settings)
            jobs.append(_of_row(base, BASELINES, arguments, methods=tuple(methods), steps=steps))
        variants = variants_of(suite, {**given, **settings}).values()
        for variant in {v.folder: v for v in variants}.values():
            arguments = _arguments(config_file, given, {**settings, **variant.settings})
            trained = _seed_folder(base, variant.trained_as) if variant.trained_as else None
            jobs.append(_of_row(base, variant.folder, arguments, trained=trained))
    # Those that take over others' weights come last.
    return sorted(jobs, key=lambda job: job.trained is not None)


def run_all(jobs: list[Job], parallel: int = 1) -> dict[Job, str]:
    """Runs the jobs that are not finished, `parallel` at a time, and tells of each in a line.

    Returns: {job: end of its output} of those that failed; they are run again when the suite is.
    Raises: RunError, before any is run, where a folder holds a run of other settings.
    """
    for job in jobs:
        _check_folder(job)
    waiting = [job for job in jobs if not job.finished]
    if len(waiting) < len(jobs):
        print(f"{len(jobs) - len(waiting)} of {len(jobs)} runs are there already", flush=True)
    failures, started = {}, time.monotonic()
    threads = None if parallel == 1 else max(1, (os.cpu_count() or 1) // parallel)
    pool = concurrent.futures.ThreadPoolExecutor(parallel)
    try:
        futures = {pool.submit(_run, job, threads): job for job in waiting}
        for count, future in enumerate(concurrent.futures.as_completed(futures), 1):
            job, failure = futures[future], future.result()
            if failure is not None:
                failures[job] = failure
                told = f"failed: {job.name}, {job.folder / OUTPUT} ends with\n{failure}"
                print(told, file=sys.stderr, flush=True)
            left = duration((time.monotonic() - started) / count * (len(waiting) - count))
            told = "failed" if failure else _told(job)
            print(f"[{count}/{len(waiting)}] {job.name}: {told}; {left} left", flush=True)
    finally:
        pool.shutdown(cancel_futures=True)
    return failures


def listed(jobs: Sequence[Job]) -> str:
    """A line for each job, with its settings and whether it is finished."""
    lines = [
        f"{job.name}: {'finished' if job.finished else 'to run'}, {job.folder}\n  {' '.join(job.arguments)}"
        for job in jobs
    ]
    return "\n".join([f"{len(jobs)} runs, {sum(job.finished for job in jobs)} of them finished", *lines])


def launch(command: list[str], folder: pathlib.Path, threads: int | None) -> int:
    """Runs a command with its output in the folder's output.txt, and returns its exit code."""
    names = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS") if threads else ()
    environment = {**os.environ, **{name: str(threads) for name in names}}
    with open(folder / OUTPUT, "w") as output:
        return subprocess.call(command, stdout=output, stderr=subprocess.STDOUT, env=environment)


def variants_of(suite: Suite, settings: Mapping) -> dict:
    """{name: Variant} of the suite, less those that need known abnormal images where there are none."""
    none_known = settings.get("data.abnormal_count") == 0
    return {name: v for name, v in suite.variants.items() if not (v.needs_known and none_known)}


def slug(name: str) -> str:
    """A name as part of a path: "digit 4" -> "digit-4"."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def duration(seconds: float) -> str:
    """Seconds in words: "40 s", "12 min", "3 h 5 min"."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def _of_row(base: Job, row: str, arguments: tuple[str, ...], **options) -> Job:
    """The job of a row of the table; `base` has its case, part and seed, and their folder."""
    folder = _seed_folder(base, row)
    return dataclasses.replace(base, row=row, folder=folder, arguments=arguments, **options)


def _seed_folder(base: Job, row: str) -> pathlib.Path:
    return base.folder / row / f"seed{base.seed}"


def _arguments(config_file: str, given: Mapping, settings: Mapping) -> tuple[str, ...]:
    both = [key for key in settings if key in given]
    if both:
        raise RunError(
            f"--config.{both[0]} is set by the suite itself; --cases, --variants and --seeds choose"
        )
    return (
        f"--config={config_file}",
        *(f"--config.{key}={value}" for key, value in {**given, **settings}.items()),
    )


def _record(job: Job) -> list[str]:
    """What a job's figures depend on, as its folder's suite.json keeps it."""
    return sorted([*job.arguments, f"--baseline_steps={job.steps}"] if job.methods else job.arguments)


def _check_folder(job: Job):
    """RunError where a run is of another format, or a finished one has other settings.

    Training itself refuses to go on with an unfinished one of other settings.
    """
    for folder in filter(None, (job.folder, job.trained)):
        run_folder.check_format(folder, "give another --folder")
    path = job.folder / ARGUMENTS
    if job.finished and path.exists():
        earlier = run_folder.read_json(path).get("arguments", ())
        differing = sorted(set(earlier) ^ set(_record(job)))
        if differing:
            raise RunError(
                f"{job.folder}: holds a run of other settings ({'; '.join(differing)}); give another --folder"
            )


def _run(job: Job, threads: int | None) -> str | None:
    """None, or the end of the output of a job that failed."""
    job.folder.mkdir(parents=True, exist_ok=True)
    run_folder.write_json(job.folder / ARGUMENTS, {"arguments": _record(job)})
    if job.trained is not None:
        _take_over(job)
    code = launch(job.command, job.folder, threads)
    if code == 0 and job.finished:
        return None
    path = job.folder / OUTPUT
    text = path.read_text(errors="replace").replace("\r", "\n") if path.exists() else ""
    lines = [line for line in text.splitlines() if line.strip()][-TAIL_LINES:]
    return "\n".join([*lines, f"exit code {code}"])


def _take_over(job: Job):
    """Copies the weights of a finished run that is trained alike; without one the job trains for itself."""
    finished = (job.trained / run_folder.METRICS).exists() and (job.trained / run_folder.CHECKPOINTS).exists()
    if finished and not (job.folder / run_folder.CHECKPOINTS).exists():
        shutil.copy(job.trained / run_folder.CONFIG, job.folder)
        shutil.copytree(job.trained / run_folder.CHECKPOINTS, job.folder / run_folder.CHECKPOINTS)


def _told(job: Job) -> str:
    if job.methods:
        return "done"
    metrics = run_folder.read_metrics(job.folder)
    auroc = metrics.get("image_auroc")
    figure = "none" if auroc is None else f"{auroc:.3f}"
    return f"AUROC {figure}, {metrics['train_seconds']:.0f} s of training"
