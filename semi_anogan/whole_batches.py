"""Whole batches for functions of a fixed batch size: the last is filled up, and cut again."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np


def batch_rows(count: int, size: int) -> Iterator[np.ndarray]:
    """Row numbers of batches of exactly `size`, in order; the last is filled from the first row on."""
    for start in range(0, count, size):
        yield np.arange(start, start + size) % count


def filled(items: Sequence, size: int) -> list:
    """Exactly `size` items: those given (1 to `size`), from the first on again where they are fewer."""
    return [items[row] for row in next(batch_rows(len(items), size))]


def in_whole_batches(function: Callable, size: int, *arrays: np.ndarray) -> np.ndarray:
    """function(*batches) of arrays [N, ...], batch by batch, its outputs [size, ...] joined to [N, ...]."""
    count = len(arrays[0])
    outputs = [np.asarray(function(*(a[rows] for a in arrays))) for rows in batch_rows(count, size)]
    return np.concatenate(outputs)[:count]
