"""A progress bar around anything that is iterated."""


def shown(items, total: int | None, what: str, unit: str = "img"):
    """Iterates `items` under a progress bar on stderr with rate and time left; an empty total shows none."""
    from tqdm import tqdm

    return tqdm(
        items, total=total, desc=what, unit=unit, mininterval=1.0, dynamic_ncols=True, disable=total == 0
    )
