"""Whether every image of a job can be read, found out before time is spent on the others."""

import concurrent.futures
from collections.abc import Sequence

from semi_anogan.data.dataset import Dataset, Example
from semi_anogan.errors import DataError
from semi_anogan.progress import shown


def read_all(dataset: Dataset, examples: Sequence[Example], most: int = 20):
    """Reads image and mask of each example, under a progress bar.

    Raises: DataError that says what is wrong with each bad file, the first `most` of them, and how many there
      are.
    """
    pool = concurrent.futures.ThreadPoolExecutor()
    try:
        found = list(
            shown(pool.map(lambda e: _problem(dataset, e), examples), len(examples), "files checked")
        )
    finally:
        pool.shutdown(cancel_futures=True)
    problems = [problem for problem in found if problem]
    if len(problems) == 1:
        raise DataError(problems[0])
    if problems:
        told = "".join(f"\n  {problem}" for problem in problems[:most])
        rest = f"\n  and {len(problems) - most} more" if len(problems) > most else ""
        raise DataError(f"{len(problems)} of {len(examples)} images cannot be used:{told}{rest}")


def _problem(dataset: Dataset, example: Example) -> str:
    """What is wrong with an example's files; empty if nothing is."""
    try:
        dataset.read_image(example)
        dataset.read_mask(example)
    except DataError as error:
        return str(error)
    return ""
