"""A progress bar around anything that is iterated, and around what threads do."""

import concurrent.futures
from collections.abc import Callable, Sequence


def shown(items, total: int | None, what: str, unit: str = "img"):
    """Iterates `items` under a progress bar on stderr with rate and time left.

    An empty total shows none; neither does an edge device, where tqdm is not installed.
    """
    try:
        from tqdm import tqdm
    except ModuleNotFoundError:
        return items
    return tqdm(
        items, total=total, desc=what, unit=unit, mininterval=1.0, dynamic_ncols=True, disable=total == 0
    )


def in_threads(function: Callable, items: Sequence, what: str) -> list:
    """[function(item), ...], under a progress bar that says what."""
    pool = concurrent.futures.ThreadPoolExecutor()
    try:
        return list(shown(pool.map(function, items), len(items), what))
    finally:
        pool.shutdown(cancel_futures=True)
