"""The point of the paper: plain AnoGAN (alpha 1) and the alpha mixture, over contaminated training data."""

import concurrent.futures
import pathlib
import sys

import numpy as np

from semi_anogan.benchmarks.results import machine, table
from semi_anogan.benchmarks.suites.jobs import OUTPUT, launch
from semi_anogan.errors import RunError
from semi_anogan.runs import folder as run_folder

SCORES = ("residual", "fused")
COLORS = ("#555555", "#D55E00", "#0072B2", "#009E73")


def run(folder, output, settings: list[str], alphas, contaminations, seeds, jobs: int = 2) -> str:
    """Trains a run for every alpha, contamination and seed, with one thread each; Markdown with a table.

    Args:
      folder: of the run folders; what is finished there is not run again.
      output: folder for the figure alpha.png.
      settings: flags of the train command for all runs.
      alphas, contaminations, seeds: every combination is run.
      jobs: trainings at a time.

    Raises: RunError where a training fails.
    """
    folder = pathlib.Path(folder)
    cases = [(a, c, s) for s in seeds for c in contaminations for a in alphas]
    for case in cases:
        run_folder.check_format(_workdir(folder, *case), "give another --folder")
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        metrics = dict(zip(cases, pool.map(lambda case: _train(folder, settings, *case), cases), strict=True))

    def values(alpha, contamination, score):
        found = [metrics[alpha, contamination, s] for s in seeds]
        return np.array([m["image_auroc"] if score == "fused" else m["components"][score] for m in found])

    rows = []
    for contamination in contaminations:
        for alpha in alphas:
            found = [values(alpha, contamination, score) for score in (*SCORES, "discriminator")]
            cells = [f"{v.mean():.3f} ± {v.std():.3f}" for v in found]
            rows.append([f"{contamination:.0%}", f"{alpha:g}", *cells])
    _draw(pathlib.Path(output) / "alpha.png", values, alphas, contaminations)
    seconds = np.mean([m["train_seconds"] for m in metrics.values()])
    return (
        f"Settings: `{' '.join(settings)}`, seeds {', '.join(map(str, seeds))}; image AUROC on the test "
        "images, mean ± standard deviation over the seeds; "
        f"{seconds:.0f} s of training per run with one thread. Machine: {machine()}.\n\n"
        + table(["contamination", "alpha", "residual score", "fused score", "discriminator alone"], rows)
        + "\n![alpha](alpha.png)\n"
    )


def _workdir(folder: pathlib.Path, alpha, contamination, seed) -> pathlib.Path:
    return folder / f"alpha{alpha:g}_contamination{contamination:g}_seed{seed}"


def _train(folder: pathlib.Path, settings, alpha, contamination, seed) -> dict:
    """The metrics of a run, which is trained where it is not finished."""
    workdir = _workdir(folder, alpha, contamination, seed)
    if not (workdir / run_folder.METRICS).exists():
        workdir.mkdir(parents=True, exist_ok=True)
        own = {
            "objective.alpha": alpha,
            "data.contamination": contamination,
            "seed": seed,
            "data.seed": seed,
        }
        command = [sys.executable, "-m", "semi_anogan.train", *settings]
        command += [f"--config.{key}={value}" for key, value in own.items()]
        code = launch([*command, f"--workdir={workdir}"], workdir, threads=1)
        if code:
            raise RunError(f"{workdir / OUTPUT}: the training ended with exit code {code}")
        print(f"done: {workdir}", flush=True)
    return run_folder.read_metrics(workdir)


def _draw(path: pathlib.Path, values, alphas, contaminations):
    """A plot of the AUROC over the contamination for each score, with a line for each alpha."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for axis, score in zip(figure.subplots(1, len(SCORES), sharey=True), SCORES, strict=True):
        for alpha, color in zip(alphas, COLORS, strict=False):
            found = [values(alpha, c, score) for c in contaminations]
            axis.errorbar(
                [100 * c for c in contaminations],
                [v.mean() for v in found],
                [v.std() for v in found],
                marker="o",
                capsize=3,
                color=color,
                label=f"alpha = {alpha:g}" + (" (plain AnoGAN)" if alpha == 1 else ""),
            )
        axis.set(title=f"{score} score", xlabel="contamination of the normal training images, %")
        axis.grid(alpha=0.3)
    figure.axes[0].set_ylabel("image AUROC")
    figure.axes[-1].legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
