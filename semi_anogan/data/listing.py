"""Lists image files: those in a folder, those a CSV file names, and those one argument of a command means."""

import contextlib
import csv
import io
import os
import re
from collections.abc import Callable, Iterator

from semi_anogan.data import mask_names, masks_or_images
from semi_anogan.data.image_files import MAX_PIXELS, OTHER_SUFFIXES, SUFFIXES, begins_as_image
from semi_anogan.data.notes import Notes
from semi_anogan.errors import DataError

OUTPUTS = "folders that a command here has written"
HIDDEN = "hidden folders"
# Columns of a CSV file of images: what must be there, and what may.
OPTIONAL = ("mask", "kind", "ignore")
FILES = ("path", "mask", "ignore")  # those that name files
# Names that other programs give the column path, with "_" and blanks left out.
PATHS = frozenset("image imagepath imagefile img file filepath filename".split())
USED = ("path", "split", "label", *OPTIONAL)


def list_inputs(
    path: str, root: str | None = None, notes: Notes | None = None, max_pixels: int = MAX_PIXELS
) -> list[str]:
    """The image files meant by one argument of the score command.

    Args:
      path: an image file (any name); a folder (every file below it with an image suffix, but for masks); or a
        .csv file with a column path, whose rows may name files that do not exist: that is found on reading.
      root: folder the CSV file's paths are relative to; by default the folder of the CSV file.
      notes: get a line for each kind of what is left out of a folder. So is a folder below it that cannot be
        listed.
      max_pixels: of a file that is looked at to see whether it is a mask.

    Raises:
      DataError: path does not exist, cannot be listed, or names no image.
    """
    path = os.fspath(path)
    if os.path.isdir(path):
        files = [os.path.join(path, name) for name in images_below(path, notes, is_ignore, tolerant=True)]
        if not files:
            raise DataError(f"{path}: no image files below this folder (looked for {' '.join(SUFFIXES)})")
        return masks_or_images.without_masks(files, path, notes or Notes(), max_pixels)
    if path.lower().endswith(".csv"):
        root = os.path.dirname(path) if root is None else os.fspath(root)
        rows = csv_rows(path, ("path",), notes=notes, root=root)
        return [os.path.join(root, row["path"]) for _, row in rows]
    if not os.path.lexists(path):
        raise DataError(f"{path}: no such file or folder")
    return [path]


def is_output(folder: str) -> bool:
    """Whether a folder is what a command here has written: a run, a bundle, or pictures of one or of scores.

    Such a folder may lie among the images, and its pictures are none to learn from.
    """
    parent, name = os.path.split(os.path.abspath(folder))
    if name in ("maps", "overlays"):
        with contextlib.suppress(OSError), open(os.path.join(parent, "scores.csv"), "rb") as file:
            return file.read(17) == b"path,score,label,"
    if name == "plots" and _is_run(parent):
        return True
    return _is_run(folder) or os.path.isfile(os.path.join(folder, "bundle.json"))


def _is_run(folder: str) -> bool:
    return all(os.path.exists(os.path.join(folder, name)) for name in ("config.json", "checkpoints"))


def is_ignore(name: str) -> bool:
    """Whether a folder is one of masks of what is ignored (data/ignore_files.py), by its name."""
    return name == "ignore"


def image_names(folder: str) -> list[str]:
    """Names of the image files directly in a folder, in natural order; none if the folder does not exist."""
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return sorted((n for n in names if is_image_name(n)), key=_natural)


def csv_rows(
    path: str,
    columns: tuple[str, ...],
    errors: str = "strict",
    notes: Notes | None = None,
    root: str | None = None,
) -> list[tuple[int, dict[str, str]]]:
    """(line number, {column: stripped text}) of each row of a CSV file that is not blank.

    Args:
      path: the file: UTF-8, a header, whose names count without case, and commas; or semicolons or tabs,
        where these give the columns.
      columns: must exist, the column path among them, which must be filled in every row. Where there is none,
        one of PATHS is taken as it.
      errors: what to do with bytes that are not UTF-8, as for open.
      notes: get a line where there are columns that no one uses: a name of one may be misspelt; where another
        column is taken as path; where values are not separated by commas; and of root.
      root: folder that files are relative to. Of their names backslashes, as Windows writes them, are read as
        slashes where only that is there. None leaves names as they are.

    Raises:
      DataError: unreadable, not CSV, a column or value missing, a column twice, or no rows.
    """
    rows = []
    try:
        # -sig: Excel writes a byte order mark.
        with open(path, encoding="utf-8-sig", errors=errors, newline="") as file:
            text = file.read()
            delimiter = delimiter_of(text, columns)
            if delimiter != "," and notes is not None:
                notes.add(f"{path}: values are separated by {delimiter!r}, and not by ','")
            reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
            found = [name.strip() for name in next(filter(any, reader), [])]
            first, header = max(1, reader.line_num), _named([name.casefold() for name in found])
            renamed = [name for name, as_path in zip(found, header, strict=True) if as_path == "path"]
            if renamed and renamed[0].casefold() != "path" and notes is not None:
                notes.add(f"{path}: the column {renamed[0]} is taken as path")
            absent = [name for name in columns if name not in header]
            if absent:
                raise DataError(
                    f"{path}: row {first}: no column {', '.join(absent)}; the columns are {found}, "
                    "separated by commas, semicolons or tabs"
                )
            twice = [name for name in columns + OPTIONAL if header.count(name) > 1]
            if twice:
                raise DataError(f"{path}: row {first}: the column {twice[0]} is there twice")
            unused = [name for name, own in zip(found, header, strict=True) if name and own not in USED]
            if unused and notes is not None:
                notes.add(f"{path}: columns that are not used: {', '.join(unused)} (used: {', '.join(USED)})")
            line = reader.line_num + 1
            for cells in reader:
                # A row may be shorter than the header, or have empty values more.
                row = {name: cell.strip() for name, cell in zip(header, cells, strict=False)}
                if any(row.values()):
                    _check_row(f"{path}: row {line}", header, columns, cells, row)
                    if root is not None:
                        row |= {n: _with_slashes(root, row[n], notes) for n in FILES if row.get(n)}
                    rows.append((line, row))
                line = reader.line_num + 1  # a quoted cell may span lines
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text; save it as CSV UTF-8: {error}") from None
    except csv.Error as error:
        raise DataError(f"{path}: row {reader.line_num}: not CSV: {error}") from None
    if not rows:
        raise DataError(f"{path}: no rows")
    return rows


def _with_slashes(root: str, name: str, notes: Notes | None) -> str:
    """The name of a file with slashes for backslashes, where only that is there."""
    found = name.replace("\\", "/")
    if os.sep == "\\" or found == name or os.path.lexists(os.path.join(root, name)):
        return name
    if not os.path.exists(os.path.join(root, found)):
        return name
    if notes is not None:
        notes.add("{n} paths are read with / for \\, such as {first}", found)
    return found


def _named(header: list[str]) -> list[str]:
    """The header, where the one column that is named as images elsewhere is path if there is none."""
    others = [name for name in header if re.sub(r"[_ -]", "", name) in PATHS]
    if "path" in header or len(others) != 1:
        return header
    return ["path" if name == others[0] else name for name in header]


def delimiter_of(text: str, columns: tuple[str, ...]) -> str:
    """What separates the values of a CSV file: what gives most of the columns in its first line, or ","."""
    line = text.lstrip().partition("\n")[0]

    def columns_of(delimiter: str) -> int:
        names = [name.strip().strip('"').strip().casefold() for name in line.split(delimiter)]
        return len(set(columns).intersection(_named(names)))

    return max((",", ";", "\t"), key=columns_of)


def _check_row(where: str, header: list[str], columns: tuple[str, ...], cells: list[str], row: dict) -> None:
    # More values than columns: one that has the separator in it, and no quotes around it, is in two.
    if any(name not in row for name in columns) or any(cell.strip() for cell in cells[len(header) :]):
        raise DataError(f"{where}: {len(cells)} values for {len(header)} columns: {cells}")
    if not row["path"]:
        raise DataError(f"{where}: the path is empty")
    if "\0" in "".join(row.values()):
        raise DataError(f"{where}: not text: it holds a zero byte")


def images_below(
    folder: str,
    notes: Notes | None = None,
    leave_out: Callable[[str], bool] = lambda name: False,
    tolerant: bool = False,
    wanted: Callable[[str], bool] | None = None,
    others: bool = False,
) -> list[str]:
    """Image files at any depth, relative to folder with forward slashes, in natural order.

    Args:
      notes: get a line for each kind of what is left out.
      leave_out: whether a folder is, by its name; hidden ones are always.
      tolerant: a folder below it that cannot be listed is left out, too.
      wanted: whether a file is listed, by its name; image files are without this.
      others: whether notes get a line on files, too, that could not be images.

    Raises: DataError for a folder that cannot be listed.
    """
    notes, found, wanted = notes or Notes(), [], wanted or is_image_name

    def not_listed(error: DataError):
        if not tolerant:
            raise error
        notes.add("{n} folders are left out: {first}", str(error))

    for place, folders, names in _places(folder, leave_out, not_listed):
        inside = "" if place == "." else f"{place}/"
        found += [inside + name for name in names if wanted(name)]
        for name in names:
            if not wanted(name):
                note_left_out(notes, os.path.join(folder, inside, name), others)
        for name in folders:
            count = len(_images_under(os.path.join(folder, inside, name)))
            if name.startswith("."):
                kind = HIDDEN
            elif is_output(os.path.join(folder, inside, name)):
                kind = OUTPUTS
            else:
                kind = "folders named as those of masks, ignored regions or thumbnails"
            place = os.path.join(folder, inside, name)
            notes.add(f"{{n}} images in {kind} are left out, such as those in {{first}}", place, count)
    return sorted(found, key=_natural)


def note_left_out(notes: Notes, path: str, others: bool = False):
    """Adds a line where a file that is none to read, by its name, could be an image all the same.

    others: a line too where it could not.
    """
    name = os.path.basename(path).lower()
    if name.startswith("."):
        if name.endswith(SUFFIXES):
            notes.add("{n} hidden files are left out, such as {first}", path)
    elif name.endswith(OTHER_SUFFIXES):
        notes.add(
            f"{{n}} files of formats that are not read are left out, such as {{first}}; read are "
            f"{' '.join(SUFFIXES)}",
            path,
        )
    elif begins_as_image(path):
        notes.add(
            "{n} files are images, but not by their names, and are left out, such as {first}; images are "
            f"named {' '.join(SUFFIXES)}",
            path,
        )
    elif others and name.endswith(mask_names.POLYGONS):
        notes.add(
            "{n} JSON files are left out, such as {first}; polygons of labelme are read as masks, or as what "
            "is ignored, where image files with masks would be",
            path,
        )
    elif others and name not in ("thumbs.db", "desktop.ini"):
        notes.add("{n} files that are no images, by their names, are left out, such as {first}", path)


def _places(
    folder: str, leave_out: Callable[[str], bool], not_listed: Callable[[DataError], None]
) -> Iterator[tuple[str, list[str], list[str]]]:
    """(place relative to folder, its folders that are left out, its files) of a folder and all below it.

    Links to folders are followed, each folder once. not_listed: gets the error of one below that cannot be.
    """
    seen, waiting = set(), ["."]
    while waiting:
        place = waiting.pop(0)
        full = folder if place == "." else os.path.join(folder, place)
        if os.path.realpath(full) in seen:
            continue
        seen.add(os.path.realpath(full))
        try:
            names = listed(full)
        except DataError as error:
            if place == ".":
                raise
            not_listed(error)
            continue
        folders = [name for name in names if os.path.isdir(os.path.join(full, name))]
        out = [
            name
            for name in folders
            if name.startswith(".") or leave_out(name) or is_output(os.path.join(full, name))
        ]
        inside = "" if place == "." else f"{place}/"
        waiting += [inside + name for name in folders if name not in out]
        yield place, out, [name for name in names if name not in set(folders)]


def _images_under(folder: str) -> list[str]:
    return [name for _, _, names in os.walk(folder) for name in names if is_image_name(name)]


def listed(folder: str) -> list[str]:
    """Names in a folder, in natural order; DataError where it cannot be listed."""
    try:
        return sorted(os.listdir(folder), key=_natural)
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed: {error.strerror}") from None


def subfolders(folder: str, outputs: bool = False) -> list[str]:
    """Names of the folders directly in a folder, in natural order; none if the folder does not exist.

    Without hidden ones, and without what a command here has written; outputs: these alone.
    """
    names = listed(folder) if os.path.isdir(folder) else []
    names = [n for n in names if not n.startswith(".") and os.path.isdir(os.path.join(folder, n))]
    return [name for name in names if is_output(os.path.join(folder, name)) == outputs]


def note_outputs(notes: Notes, folder: str):
    """Adds a line on the folders directly in a folder that a command here has written, and on hidden ones."""
    hidden = [name for name in listed(folder) if name.startswith(".")]
    for kind, names in ((OUTPUTS, subfolders(folder, outputs=True)), (HIDDEN, hidden)):
        for path in (os.path.join(folder, name) for name in names):
            told = f"{{n}} images in {kind} are left out, such as those in {{first}}"
            notes.add(told, path, len(_images_under(path)))


def is_image_name(name: str) -> bool:
    """Whether a file counts as an image, by its name."""
    return not name.startswith(".") and name.lower().endswith(SUFFIXES)


def _natural(name: str) -> tuple:
    """Sort key that puts img2 before img10; split() alternates text and digits, so that like meets like."""
    return [int(part) if i % 2 else part for i, part in enumerate(re.split(r"(\d+)", name))], name
