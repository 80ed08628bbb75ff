"""Shared settings of the tests."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported, here and in the commands' processes

# The files that take longest, first: a process that is given one of them last would end alone, long after the other.
LONG = (
    "export_docs", "training", "commands", "export_runtime", "distribution", "jax", "run_with_features", "patches", "update_order", "detector"
)


def pytest_collection_modifyitems(items):
    order = {f"test_{name}": rank for rank, name in enumerate(LONG)}
    items.sort(key=lambda item: order.get(item.path.stem, len(LONG)))
