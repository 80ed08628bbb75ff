"""What the engines have in common: an exported function to call, and the steps of one search with it."""

import numpy as np

from semi_anogan.export.runtime.bundle import BundleError


class Program:
    """One exported function.

    Attributes: inputs, outputs: name -> shape, as in bundle.json; where: the file, for messages.
    """

    def __init__(self, entry: dict, where: str):
        self.inputs = {name: tuple(shape) for name, shape in entry["inputs"].items()}
        self.outputs = {name: tuple(shape) for name, shape in entry["outputs"].items()}
        self.where = where

    def check(self, inputs: dict[str, tuple], outputs: dict[str, tuple], dtypes):
        """BundleError unless the engine found these names and shapes in the file, and float32 everywhere."""
        for kind, found, expected in (("inputs", inputs, self.inputs), ("outputs", outputs, self.outputs)):
            if found != expected:
                raise BundleError(f"{self.where}: has the {kind} {found}, bundle.json says {expected}")
        if set(dtypes) - {"float32"}:
            raise BundleError(
                f"{self.where}: inputs and outputs must be float32, it has {', '.join(sorted(set(dtypes)))}"
            )

    def checked_inputs(self, inputs: dict) -> dict[str, np.ndarray]:
        """The arrays as float32; ValueError for names or shapes that the function does not take."""
        arrays = {name: np.ascontiguousarray(value, np.float32) for name, value in inputs.items()}
        shapes = {name: array.shape for name, array in arrays.items()}
        if shapes != self.inputs:
            raise ValueError(f"{self.where}: takes {self.inputs}, got {shapes}")
        return arrays

    def steps(self, fixed: dict, latents: np.ndarray) -> "Steps":
        """Of search_step: the steps of one search, from these latents; fixed: the inputs that stay."""
        return Steps(self, fixed, latents)


class Steps:
    """The steps of one search with the state in arrays of the host.

    Attributes: latents: after the last step.
    """

    def __init__(self, program: Program, fixed: dict, latents: np.ndarray):
        self._program, self._fixed, self.latents = program, fixed, latents
        self._moment = self._velocity = np.zeros_like(latents)

    def __call__(self, index: int) -> np.ndarray:
        """Moves the latents; returns the loss [N] they had before."""
        state = {"latents": self.latents, "moment": self._moment, "velocity": self._velocity}
        out = self._program({**self._fixed, **state, "step": np.float32([index])})
        self.latents, self._moment, self._velocity = (out[f"new_{name}"] for name in state)
        return out["loss"]
