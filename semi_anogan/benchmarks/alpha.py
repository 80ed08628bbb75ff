"""The point of the paper: plain AnoGAN (alpha 1) against the alpha mixture, over the contamination of the
training data.
"""

import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys

import numpy as np

from semi_anogan.benchmarks.results import machine, table

SCORES = ("residual", "fused")


def run(folder, output, settings: list[str], alphas, contaminations, seeds, jobs: int = 2) -> str:
    """Trains one run per setting, each with one thread, `jobs` at a time; finished runs in `folder` are not
    run again.

    Args: folder: of the run folders; output: folder for the figure alpha.png; settings: flags of the train
      command for all runs;
      alphas, contaminations, seeds: every combination is run.
    Returns: Markdown with a table.
    """
    folder = pathlib.Path(folder)
    cases = [(a, c, s) for s in seeds for c in contaminations for a in alphas]
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        metrics = dict(zip(cases, pool.map(lambda case: _train(folder, settings, *case), cases), strict=True))

    def values(alpha, contamination, score):
        found = [metrics[alpha, contamination, s] for s in seeds]
        return np.array([m["image_auroc"] if score == "fused" else m["components"][score] for m in found])

    rows = []
    for contamination in contaminations:
        for alpha in alphas:
            cells = [values(alpha, contamination, score) for score in (*SCORES, "discriminator")]
            rows.append(
                [f"{contamination:.0%}", f"{alpha:g}", *(f"{v.mean():.3f} ± {v.std():.3f}" for v in cells)]
            )
    _figure(pathlib.Path(output) / "alpha.png", values, alphas, contaminations)
    seconds = np.mean([m["train_seconds"] for m in metrics.values()])
    return (
        f"Settings: `{' '.join(settings)}`, seeds {', '.join(map(str, seeds))}; image AUROC on the test images, mean ± standard deviation "
        f"over the seeds; {seconds:.0f} s of training per run with one thread. Machine: {machine()}.\n\n"
        + table(["contamination", "alpha", "residual score", "fused score", "discriminator alone"], rows)
        + "\n![alpha](alpha.png)\n"
    )


def _train(folder, settings, alpha, contamination, seed) -> dict:
    workdir = folder / f"alpha{alpha:g}_contamination{contamination:g}_seed{seed}"
    if not (workdir / "metrics.json").exists():
        workdir.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "semi_anogan.train", *settings, f"--config.objective.alpha={alpha}"]
        command += [
            f"--config.data.contamination={contamination}",
            f"--config.seed={seed}",
            f"--config.data.seed={seed}",
        ]
        threads = {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
        with open(workdir / "output.txt", "w") as log:
            code = subprocess.call(
                [*command, f"--workdir={workdir}"],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **threads},
            )
        if code:
            raise RuntimeError(f"{workdir / 'output.txt'}: the training ended with exit code {code}")
        print(f"done: {workdir}", flush=True)
    return json.loads((workdir / "metrics.json").read_text())


def _figure(path, values, alphas, contaminations):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for axis, score in zip(figure.subplots(1, len(SCORES), sharey=True), SCORES, strict=True):
        for alpha, color in zip(alphas, ("#555555", "#D55E00", "#0072B2", "#009E73"), strict=False):
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
