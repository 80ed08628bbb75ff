"""Lists image files: those in a folder, those a CSV file names, and those one argument of a command means."""

import csv
import os
import re

from semi_anogan.data.image_files import SUFFIXES
from semi_anogan.errors import DataError


def list_inputs(path: str, root: str | None = None) -> list[str]:
    """The image files meant by one argument of the score command.

    Args:
      path: an image file (any name); a folder (every file below it with an image suffix); or a .csv file with
        a column path. Files are not opened, and rows of a CSV file may name files that do not exist: that is
        found on reading.
      root: folder the CSV file's paths are relative to; by default the folder of the CSV file.

    Raises:
      DataError: path does not exist, or names no image.
    """
    path = os.fspath(path)
    if os.path.isdir(path):
        files = [os.path.join(path, name) for name in images_below(path)]
        if not files:
            raise DataError(f"{path}: no image files below this folder (looked for {' '.join(SUFFIXES)})")
        return files
    if path.lower().endswith(".csv"):
        root = os.path.dirname(path) if root is None else os.fspath(root)
        return [os.path.join(root, row["path"]) for _, row in csv_rows(path, ("path",))]
    if not os.path.lexists(path):
        raise DataError(f"{path}: no such file or folder")
    return [path]


def image_names(folder: str) -> list[str]:
    """Names of the image files directly in a folder, in natural order; none if the folder does not exist."""
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return sorted((n for n in names if _is_image_name(n)), key=_natural)


def csv_rows(path: str, columns: tuple[str, ...], errors: str = "strict") -> list[tuple[int, dict[str, str]]]:
    """(line number, {column: stripped text}) of each row of a CSV file that is not blank.

    Args:
      path: the file: UTF-8, commas, a header.
      columns: must exist, the column path among them, which must be filled in every row.
      errors: what to do with bytes that are not UTF-8, as for open.

    Raises:
      DataError: unreadable, not CSV, a column or value missing, or no rows.
    """
    rows = []
    try:
        # -sig: Excel writes a byte order mark.
        with open(path, encoding="utf-8-sig", errors=errors, newline="") as file:
            reader = csv.reader(file, strict=True)
            header = [name.strip() for name in next(reader, [])]
            absent = [name for name in columns if name not in header]
            if absent:
                raise DataError(
                    f"{path}: row 1: no column {', '.join(absent)}; the columns are {header}, "
                    "separated by commas"
                )
            line = reader.line_num + 1
            for cells in reader:
                # A row may be shorter or longer than the header.
                row = {name: cell.strip() for name, cell in zip(header, cells, strict=False)}
                if any(row.values()):
                    _check_row(f"{path}: row {line}", header, columns, cells, row)
                    rows.append((line, row))
                line = reader.line_num + 1  # a quoted cell may span lines
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text: {error}") from None
    except csv.Error as error:
        raise DataError(f"{path}: row {reader.line_num}: not CSV: {error}") from None
    if not rows:
        raise DataError(f"{path}: no rows")
    return rows


def _check_row(where: str, header: list[str], columns: tuple[str, ...], cells: list[str], row: dict) -> None:
    if any(name not in row for name in columns):
        raise DataError(f"{where}: {len(cells)} values for {len(header)} columns: {cells}")
    if not row["path"]:
        raise DataError(f"{where}: the path is empty")


def images_below(folder: str) -> list[str]:
    """Image files at any depth, relative to folder with forward slashes, in natural order."""
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        relative = os.path.relpath(parent, folder).replace(os.sep, "/")
        found += [name if relative == "." else f"{relative}/{name}" for name in names if _is_image_name(name)]
    return sorted(found, key=_natural)


def subfolders(folder: str) -> list[str]:
    """Names of the folders directly in a folder, in natural order; none if the folder does not exist."""
    names = os.listdir(folder) if os.path.isdir(folder) else []
    found = [n for n in names if not n.startswith(".") and os.path.isdir(os.path.join(folder, n))]
    return sorted(found, key=_natural)


def _is_image_name(name: str) -> bool:
    return not name.startswith(".") and name.lower().endswith(SUFFIXES)


def _natural(name: str) -> tuple:
    """Sort key that puts img2 before img10; split() alternates text and digits, so that like meets like."""
    return [int(part) if i % 2 else part for i, part in enumerate(re.split(r"(\d+)", name))], name
