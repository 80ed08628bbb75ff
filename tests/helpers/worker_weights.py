"""python worker_weights.py OUTPUT.npz [semi_anogan.train's arguments]: it also keeps its own weights."""

import runpy
import sys

import numpy as np

from semi_anogan import cli

output = sys.argv.pop(1)
cli.load_framework()

from semi_anogan.training.loop import Training  # noqa: E402

run = Training.run


def run_and_keep(self):
    model = run(self)
    np.savez(output, *[np.asarray(v) for v in model.variables], worker=self.worker, workers=self.workers)
    return model


Training.run = run_and_keep
runpy.run_module("semi_anogan.train", run_name="__main__", alter_sys=True)
