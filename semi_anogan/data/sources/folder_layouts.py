"""The two layouts of folders, and where one is that has not been found in the folder that was given."""

import os
import shlex
from collections.abc import Callable

from semi_anogan.data.listing import subfolders
from semi_anogan.data.sources import folder_names
from semi_anogan.data.sources.folder_names import plain
from semi_anogan.errors import DataError

LAYOUTS = """
  A  train/good/*.png              normal images to learn from
     train/<defect>/*.png          optional: known abnormal images to learn from
     test/good/*.png               normal test images
     test/<defect>/*.png           abnormal test images
     ground_truth/<defect>/*.png   optional: masks of both, <name>_mask.png or <name>.png for <name>.png;
                                   ground_truth/train/<defect>/ and ground_truth/test/<defect>/ where the
                                   same name is in train/<defect>/ and in test/<defect>/
     ignore/train/good/*.png ...   optional: masks of what does not count, at the path of their image
  B  normal/*.png                  split by file name into training and test images
     abnormal/*.png                likewise; those that fall to training are the known abnormal ones
  Both may also lie in a folder images/, with their masks in a folder masks/ beside it.
  Images that lie otherwise can be listed in a CSV with the columns path, split, label and, if you like, mask:
  --config.data.name=manifest --config.data.path=LIST.csv --config.data.root=FOLDER"""
FAR = 3  # folders above or below the one that was given, where a layout is looked for
MOST = 200  # folders below it that are looked at


def above(root: str) -> str:
    """The nearest folder above the root that has a layout with splits, the root within one; or ""."""
    place = os.path.abspath(root)
    for _ in range(FAR):
        inside, place = os.path.basename(place), os.path.dirname(place)
        names = _folders(place)
        is_split = plain(inside) in folder_names.TRAIN | folder_names.TEST
        if is_split and any(plain(name) in folder_names.TRAIN for name in names):
            return with_masks(place) or place
    return ""


def with_masks(root: str) -> str:
    """The folder above the root that has masks of it, where the root is named images or the like; or ""."""
    above, name = os.path.split(os.path.abspath(root))
    beside = folder_names.says_nothing(name) and any(map(folder_names.is_masks, _folders(above)))
    return above if beside else ""


def below(root: str, is_good: Callable[[str], bool]) -> list[str]:
    """The folders below the root that can be read as one; is_good: whether a name means normal."""
    found, waiting = [], [(root, 0)]
    for place, depth in waiting:
        names = _folders(place)
        for name in names if depth < FAR and len(waiting) < MOST else ():
            path = os.path.join(place, name)
            inside = _folders(path)
            is_layout = any(plain(n) in folder_names.TRAIN for n in inside)
            if (
                is_layout
                or any(map(is_good, inside))
                and not any(plain(n) in folder_names.TEST for n in names)
            ):
                found.append(_outermost(path, root))
            else:
                waiting.append((path, depth + 1))
    return found


def _outermost(place: str, root: str) -> str:
    """The folder that is read as one below it, whose masks may lie beside that."""
    while folder_names.says_nothing(os.path.basename(place)) and not os.path.samefile(
        os.path.dirname(place), root
    ):
        place = os.path.dirname(place)
    return place


def neither(root: str, tops: list[str], here: int, is_good: Callable[[str], bool]) -> DataError:
    """An error that says what there is instead of a layout; tops: folders; here: images beside them."""
    found = ", ".join(tops[:20]) or "none"
    other = above(root)
    lying = ""
    if here and not other:
        lying = f"; {here} images lie directly in it: put them into {os.path.join(root, 'train', 'good')}"
    others = [other] if other else below(root, is_good)
    other = (others or [""])[0]
    hint = f"; one of them is in {other}: --config.data.root={shlex.quote(other)}" if other else ""
    if len(others) > 1:
        hint += f"; {len(others) - 1} more folders have one, such as {others[1]}: each is trained on its own"
    masks = [name for name in tops if folder_names.is_masks(name)]
    if other.startswith(os.path.join(root, "")) and masks:
        hint += f", from where the masks in {masks[0]} are not found; named images, it is read with these"
    return DataError(
        f"{root}: neither of the known layouts (folders found: {found}{lying}){hint}. They are:{LAYOUTS}"
    )


def _folders(place: str) -> list[str]:
    try:
        return subfolders(place)
    except DataError:  # cannot be listed
        return []
