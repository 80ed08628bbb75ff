"""Labels of images by their names in other programs, and which image each is of."""

import dataclasses
import itertools
import os
from collections.abc import Callable, Iterable

import numpy as np

from semi_anogan.errors import DataError

JOINED = "__"  # stands between folders in a path that is written as one name


@dataclasses.dataclass(frozen=True)
class Labelled:
    """An image and what was said of it.

    Attributes:
      name: as the other program names it, or as it is to be named: relative, with forward slashes.
      label: "normal" or "abnormal". kind: of the defect, or "".
      mask: gives bool [H, W] of the image's own size, True where abnormal; None without one.
      file: the image file; "" where only its name is known.
      where: the place that errors name.
    """

    name: str
    label: str
    kind: str = ""
    mask: Callable[[], np.ndarray] | None = None
    file: str = ""
    where: str = ""


def matched(found: Iterable[Labelled], paths: Iterable[str]) -> list[tuple[Labelled, str]]:
    """Each with the path of its image among `paths`: the one that ends as its name does.

    A relative name must fit as far as both go: `a/1.png` is `parts/a/1.png`, and so is `1.png` where no other
    folder has one; `a__1.png` may be `a/1.png` too. Of an absolute name, as of another machine, and of one
    that begins with `../`, two parts must fit, and more that fit decide.

    Raises: DataError for one that is none of them or could be several, and for two that are the same.
    """
    by_base: dict[str, list[str]] = {}
    for path in dict.fromkeys(paths):
        by_base.setdefault(parts_of(path)[-1], []).append(path)
    pairs, owner, unknown = [], {}, []
    for one in found:
        given = parts_of(one.name)
        parts = list(itertools.dropwhile(lambda part: part in (".", ".."), given)) or given
        elsewhere = parts[0] == "" or parts[0].endswith(":") or ".." in given
        alike = _alike(parts, by_base, elsewhere)
        if not alike and JOINED in parts[-1]:
            alike = _alike_joined(parts[-1], by_base)
        if not alike:
            unknown.append(one)
            continue
        best = [path for path, same in alike.items() if same == max(alike.values())]
        if len(best) > 1:
            raise DataError(f"{one.where}: {one.name!r} could be {best[0]} or {best[1]}; name its folder too")
        if best[0] in owner:
            raise DataError(f"{one.where}: {one.name!r} and {owner[best[0]]!r} are both {best[0]}")
        owner[best[0]] = one.name
        pairs.append((one, best[0]))
    if unknown:
        raise DataError(
            f"{unknown[0].where}: {unknown[0].name!r} is none of the images here "
            f"({len(unknown)} of {len(unknown) + len(pairs)} are not)"
        )
    return pairs


def _alike(parts: list[str], by_base: dict[str, list[str]], elsewhere: bool = False) -> dict[str, int]:
    """Path -> how many last parts it has in common with a name, of the paths that the name may mean."""
    found = {}
    for path in by_base.get(parts[-1], []):
        length, same = min(len(parts), len(parts_of(path))), _same_end(parts, parts_of(path))
        if same >= (min(2, length) if elsewhere else length):
            found[path] = same
    return found


def _alike_joined(name: str, by_base: dict[str, list[str]]) -> dict[str, int]:
    """Path -> how much of a name fits, of the paths that it may be with their folders in one name.

    Folders and files may have JOINED in their own names.
    """
    found, pieces = {}, name.split(JOINED)
    for start in range(len(pieces)):
        for path in by_base.get(JOINED.join(pieces[start:]), []):
            one, other = sorted((JOINED + name, JOINED + JOINED.join(parts_of(path))), key=len)
            if other.endswith(one):
                found[path] = len(one)
    return found


def parts_of(name: str) -> list[str]:
    """The folders and the file of a path, with slashes of either kind."""
    return name.replace("\\", "/").split("/")


def _same_end(one: list[str], other: list[str]) -> int:
    """How many last parts are the same."""
    count = 0
    for a, b in zip(reversed(one), reversed(other), strict=False):
        if a != b:
            break
        count += 1
    return count


def names(paths: Iterable[str]) -> dict[str, str]:
    """Path -> the name to give it: of absolute ones it begins with the folder that holds them all."""
    paths = list(paths)
    absolute = [path for path in paths if os.path.isabs(path)]
    root = os.path.dirname(os.path.commonpath([os.path.dirname(p) for p in absolute])) if absolute else ""
    return {
        path: os.path.relpath(path, root).replace(os.sep, "/") if os.path.isabs(path) else path
        for path in paths
    }
