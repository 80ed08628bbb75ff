"""The protocol of one and the same configuration on several data sets of the user's own."""

import dataclasses
import os
from collections.abc import Iterable

from semi_anogan.benchmarks.suites.jobs import slug
from semi_anogan.benchmarks.suites.protocols import NONE_KNOWN, ON_ANY_DATA, Suite
from semi_anogan.data.catalog import load
from semi_anogan.data.listing import csv_rows
from semi_anogan.errors import DataError, RunError

KNOWN = (0, 10, 64)  # known abnormal images of the cases


@dataclasses.dataclass(frozen=True)
class DataSet:
    """A data set and what there is to train with.

    Attributes:
      name: in tables and folders.
      path, root: data.path and data.root of the source manifest.
      normal, known: how many normal and known abnormal training images there are.
    """

    name: str
    path: str
    root: str
    normal: int
    known: int


def read(path: str | os.PathLike) -> list[DataSet]:
    """The data sets that a CSV file lists, each with its manifest read.

    Args:
      path: UTF-8 with the columns name, path (of a manifest) and, if need be, root (the folder its paths are
        relative to; by default the manifest's). Relative ones count from the folder of this file.

    Raises:
      DataError: naming the file and its row; what is wrong with a manifest follows.
    """
    path = os.fspath(path)
    folder = os.path.dirname(os.path.abspath(path))
    found: dict[str, DataSet] = {}
    for line, row in csv_rows(path, ("name", "path")):
        where, name = f"{path}: row {line}", row["name"]
        if not slug(name) or "," in name or ":" in name:
            raise DataError(f"{where}: name {name!r} must have a letter or digit, and neither , nor :")
        if slug(name) in found:
            raise DataError(f"{where}: name {name!r} is that of {found[slug(name)].name!r} again")
        manifest = os.path.join(folder, row["path"])
        root = os.path.join(folder, row["root"]) if row.get("root") else os.path.dirname(manifest)
        try:
            dataset = load("manifest", 1, path=manifest, root=root)
        except DataError as error:
            raise DataError(f"{where}: {error}") from error
        if not dataset.select("test"):
            raise DataError(f"{where}: {manifest}: has no test images")
        counts = (len(dataset.select("train", label)) for label in ("normal", "abnormal"))
        found[slug(name)] = DataSet(name, manifest, root, *counts)
    return list(found.values())


def suite_on(
    sets: Iterable[DataSet], config_name: str, contaminations: Iterable[float] = (0.0,)
) -> tuple[Suite, list[str]]:
    """(the protocol, lines that tell where a data set has too few known defects for a case).

    A case is a data set with a number of known defects, 0, 10 and 64 or all that there are, and perhaps a
    share of hidden ones among the normal training images. For these the data set's last known ones are taken.

    Args:
      config_name: of the configuration that all of them have.
      contaminations: shares in [0, 1) of hidden ones.

    Raises: RunError for a share out of range, or where no data set has enough defects to hide.
    """
    cases, told = {}, []
    for contamination in contaminations:
        if not 0.0 <= contamination < 1.0:
            raise RunError(f"contaminations: {contamination!r} is not in [0, 1)")
        hidden_told = f" and {100 * contamination:g} % hidden" if contamination else ""
        for data in sets:
            left = data.known - round(contamination / (1.0 - contamination) * data.normal)
            if left < 0:
                told.append(
                    f"{data.name}: left out with {100 * contamination:g} % hidden, which takes "
                    f"{data.known - left} of the known abnormal images, but there are {data.known}"
                )
                continue
            counts = sorted({min(count, left) for count in KNOWN})
            if left < KNOWN[-1]:
                wanted = " and ".join(str(count) for count in KNOWN if count > left)
                told.append(
                    f"{data.name}{hidden_told}: {left or 'no'} known abnormal images instead of {wanted}"
                )
            for count in counts:
                known = f"{count} known" if count else NONE_KNOWN
                cases[f"{data.name}: {known}{hidden_told}"] = {
                    "data.name": "manifest",
                    "data.path": data.path,
                    "data.root": data.root,
                    "data.abnormal_count": count,
                    **({"data.contamination": contamination} if contamination else {}),
                }
    if not cases:
        raise RunError("; ".join(told))
    variants, baselines, note = ON_ANY_DATA["transfer"]
    known_told = f" {'; '.join(told)}." if told else ""
    return (
        Suite(
            config_name,
            cases=cases,
            variants=variants,
            baselines=baselines,
            one_table=True,
            note=f"{note} No setting but those of the data differs between the cases.{known_told}",
        ),
        told,
    )
