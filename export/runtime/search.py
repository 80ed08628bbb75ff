"""The latent search on the host: exported steps in a loop.

Early stop, best latents and restarts are those of semi_anogan.networks.latent_search.LatentSearch.
"""

import time

import numpy as np

COMPARED = ("images", "features")  # inputs of search_step that stay; it has those that its loss looks at


class Search:
    """Images -> latents, as LatentSearch finds them.

    Args: encode, search_step: the exported functions; settings: the section `search` of bundle.json.
    """

    def __init__(self, encode, search_step, settings: dict):
        self._encode, self._step = encode, search_step
        self.iterations, self.patience = settings["iterations"], settings["patience"]
        self.restarts = settings["restarts"]
        self._step_seconds = 0.0

    def __call__(self, images: np.ndarray, deadline: float | None = None) -> tuple[np.ndarray, np.ndarray]:
        """(latents [N, L] of the lowest loss seen, steps [N] of which they are the result).

        deadline: time.perf_counter() by which to be done, with the best latents found until then.
        """
        start = self._encode({"images": images})
        given = {"images": images, **start}
        fixed = {name: given[name] for name in COMPARED if name in self._step.inputs}
        latents, steps = start["latents"][:, 0], np.zeros(len(images), np.int64)
        if self.iterations == 0 and self.restarts == 1:
            return latents, steps
        best_loss = np.full(len(images), np.inf, np.float32)
        for run in range(self.restarts):
            if run and self._too_late(deadline):
                break
            found, loss, taken = self._run(fixed, np.ascontiguousarray(start["latents"][:, run]), deadline)
            better = loss < best_loss
            latents = np.where(better[:, None], found, latents)
            best_loss, steps = np.where(better, loss, best_loss), np.maximum(steps, taken)
        return latents, steps

    def _run(self, fixed: dict, latents: np.ndarray, deadline: float | None):
        """One search from the given latents: (best latents, their loss, steps until each image stopped)."""
        steps = self._step.steps(fixed, latents)
        best, best_loss = latents, np.full(len(latents), np.inf, np.float32)
        stale, taken = np.zeros(len(latents), np.int64), np.zeros(len(latents), np.int64)
        for index in range(self.iterations + 1):  # the last one only judges where the one before it led
            active = stale < self.patience if self.patience else np.ones(len(latents), bool)
            if not active.any() or self._too_late(deadline):
                break
            before, begun = steps.latents, time.perf_counter()
            loss = steps(index)
            self._step_seconds = time.perf_counter() - begun
            taken += active & (index > 0)
            better = active & (loss < best_loss)
            progress = active & (loss < best_loss * np.float32(1.0 - 1e-3))
            best = np.where(better[:, None], before, best)
            best_loss = np.where(better, loss, best_loss)
            stale = np.where(progress, 0, stale + 1)
        return best, best_loss, taken

    def _too_late(self, deadline: float | None) -> bool:
        return deadline is not None and time.perf_counter() + self._step_seconds > deadline
