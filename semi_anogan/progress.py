"""A progress bar around anything that is iterated."""


def shown(items, total: int | None, what: str):
    """Iterates `items` under a progress bar on stderr with rate and time left; an empty total shows none."""
    from tqdm import tqdm

    return tqdm(
        items, total=total, desc=what, unit="img", mininterval=1.0, dynamic_ncols=True, disable=total == 0
    )
