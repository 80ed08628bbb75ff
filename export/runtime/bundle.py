"""bundle.json: what a bundle holds, and the check that its files are what was exported."""

import hashlib
import json
import os
import pathlib

from semi_anogan import files
from semi_anogan.errors import UserError
from semi_anogan.versions import BUNDLES, refusal

NAME = "bundle.json"
PLACES = "products"  # folder with a folder for each product, for what has to lie there as files


class BundleError(UserError, ValueError):
    """A bundle that cannot be used; the message names the file and what is wrong with it."""


class Bundle:
    """An exported run.

    Every file is compared with its size and SHA-256 in bundle.json when the bundle is opened, and again when
    it is read for an engine, which is given the very bytes that were compared. A bundle of several products
    has files in parts, of which equal ones are stored once; each part is compared, and what they make up.

    Args:
      folder: what `python -m semi_anogan.export --output` wrote.
      product: which one of a bundle of several; None for a bundle of one.

    Attributes: folder; product; values: the content of bundle.json, of the product.

    Raises: BundleError naming the file that is missing, damaged, exchanged, outside the folder, or of another
      format; or the product that there is not.
    """

    def __init__(self, folder, product: str | None = None):
        self.folder, self.product = pathlib.Path(folder), product
        whole = read_values(self.folder / NAME)
        self.values = _of_product(self.folder / NAME, whole, product)
        self._files = {file["path"]: file for file in self.values["files"]}
        self._stored = {file["path"]: file for file in whole["files"]}
        for path in [*self._files, *self._stored]:
            self._checked_path(path)
        for program in self.values["programs"]:
            if program["path"] not in self._files:
                raise BundleError(
                    f"{self.folder / NAME}: {program['path']!r} of {_title(program)} is not among its files"
                )
        for path in dict.fromkeys(part for file in self._files.values() for part in self._parts(file)):
            self._compare(self.folder / path, self._stored[path], *_fingerprint(self._checked_path(path)))

    def program(
        self, engine: str, precision: str, function: str, batch: int, flavour: str | None = None
    ) -> dict:
        """The entry of one exported function; BundleError says what there is where it is missing.

        flavour: of TensorRT, which is taken where there are engines of several.
        """
        wanted = (engine, precision, function, batch)
        keys = ("format", "precision", "function", "batch")
        found = [p for p in self.values["programs"] if tuple(p[key] for key in keys) == wanted]
        if found:
            return next((p for p in found if p.get("flavour") == flavour), found[0])
        there = sorted({(p["format"], p["precision"], p["batch"]) for p in self.values["programs"]})
        listed = ", ".join(f"{f} {p} batch {b}" for f, p, b in there) or "none"
        raise BundleError(
            f"{self.folder / NAME}: has no {function} for {engine} {precision} batch {batch}; it has {listed}"
        )

    def batches(self, engine: str, precision: str) -> list[int]:
        """The batch sizes exported for an engine, ascending."""
        programs = self.values["programs"]
        return sorted({p["batch"] for p in programs if (p["format"], p["precision"]) == (engine, precision)})

    def read(self, path: str) -> bytes:
        """The content of a file of the bundle, compared with bundle.json."""
        if path not in self._files:
            raise BundleError(f"{self.folder / NAME}: has no file {path!r}")
        file = self._files[path]
        data, *weights = (self._read(part) for part in self._parts(file))
        if weights:
            starts = [start for start, _ in file["weights"]]
            data = assembled(data, list(zip(starts, weights, strict=True)))
        self._compare(self.title(path), file, len(data), hashlib.sha256(data).hexdigest())
        return data

    def title(self, path: str) -> str:
        """What messages call a file of the bundle."""
        product = "" if self.product is None else f" of product {self.product}"
        return f"{self.folder / path}{product}"

    def place(self, path: str) -> pathlib.Path:
        """Where a folder of the bundle lies whose files others read, such as saved_model."""
        return self.folder / ("" if self.product is None else f"{PLACES}/{self.product}") / path

    def _parts(self, file: dict) -> list[str]:
        """The stored files that a file is made of: what is around its weights, then these."""
        parts = [file.get("stored", file["path"]), *(path for _, path in file.get("weights", ()))]
        if absent := [path for path in parts if path not in self._stored]:
            raise BundleError(
                f"{self.folder / NAME}: {absent[0]!r} of {file['path']!r} is not among its files"
            )
        return parts

    def _read(self, path: str) -> bytes:
        """The content of a stored file, compared with bundle.json."""
        try:
            data = self._checked_path(path).read_bytes()
        except OSError as error:
            raise BundleError(f"{self.folder / path}: cannot be read: {error.strerror or error}") from error
        self._compare(self.folder / path, self._stored[path], len(data), hashlib.sha256(data).hexdigest())
        return data

    def _checked_path(self, path: str) -> pathlib.Path:
        """The file's path, which must lie in the bundle whatever links it goes through."""
        where = f"{self.folder / NAME}: file {path!r}"
        if (
            not isinstance(path, str)
            or not path
            or os.path.isabs(path)
            or ".." in pathlib.PurePosixPath(path).parts
        ):
            raise BundleError(f"{where} is not a path inside the bundle")
        full = self.folder / path
        if not full.resolve().is_relative_to(self.folder.resolve()):
            raise BundleError(f"{where} leads out of the bundle, to {full.resolve()}")
        return full

    def _compare(self, title, expected: dict, size: int, digest: str):
        if size != expected["bytes"]:
            raise BundleError(f"{title}: has {size} bytes, bundle.json says {expected['bytes']}")
        if digest != expected["sha256"]:
            raise BundleError(
                f"{title}: is not the file that was exported: its SHA-256 is {digest}, "
                f"bundle.json says {expected['sha256']}"
            )


def products_of(folder) -> tuple[str, ...]:
    """The names of the products of a bundle; none for a bundle of one. BundleError as in Bundle."""
    return tuple(read_values(pathlib.Path(folder) / NAME).get("products", ()))


def assembled(rest: bytes, weights: list[tuple[int, bytes]]) -> bytes:
    """A file put together of its weights, each with where it begins, ascending, and the rest around them."""
    whole, taken = bytearray(), 0
    for start, data in weights:
        before = start - len(whole)
        whole += rest[taken : taken + before]
        whole += data
        taken += before
    return bytes(whole + rest[taken:])


def _of_product(path: pathlib.Path, whole: dict, product: str | None) -> dict:
    """The values of one product in bundle.json; BundleError with the names that there are."""
    products = whole.get("products")
    if products is None:
        if product is not None:
            raise BundleError(f"{path}: is of one product, which has no name; got product {product!r}")
        return whole
    if product not in products:
        asked = "name one" if product is None else f"there is no {product!r}"
        raise BundleError(f"{path}: is of several products: {asked}; they are {', '.join(products)}")
    return products[product]


def read_values(path: pathlib.Path) -> dict:
    """The content of bundle.json.

    Raises: BundleError where it is missing, of another format, or not as it was written.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BundleError(f"{path}: no such file; is {path.parent} what the export command wrote?") from None
    except (OSError, ValueError) as error:
        raise BundleError(f"{path}: cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise BundleError(f"{path}: is not the description of a bundle")
    if told := refusal(path, values.get("format"), BUNDLES, "export the run again"):
        raise BundleError(told)
    if values.get("digest") != digest_of(values):
        raise BundleError(
            f"{path}: was changed after the export: its digest is {digest_of(values)}, "
            f"it says {values.get('digest')!r}"
        )
    return values


def digest_of(values: dict) -> str:
    """SHA-256 of everything in bundle.json but the digest itself."""
    content = {key: value for key, value in values.items() if key != "digest"}
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def write_values(path: pathlib.Path, values: dict):
    """Writes bundle.json with its digest, atomically; BundleError where it cannot be written."""
    values = json.loads(json.dumps({**values, "format": max(BUNDLES)}))
    text = json.dumps({**values, "digest": digest_of(values)}, indent=1) + "\n"
    with files.atomically(path, BundleError) as temporary:
        temporary.write_text(text, encoding="utf-8")


def file_entries(folder: pathlib.Path) -> list[dict]:
    """Path, size and SHA-256 of every file below a folder but bundle.json itself."""
    entries = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != NAME):
        size, digest = _fingerprint(path)
        entries.append({"path": path.relative_to(folder).as_posix(), "bytes": size, "sha256": digest})
    return entries


def _fingerprint(path: pathlib.Path) -> tuple[int, str]:
    try:
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return file.tell(), digest
    except FileNotFoundError:
        raise BundleError(f"{path}: missing, but listed in bundle.json") from None
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror or error}") from error


def _title(program: dict) -> str:
    return f"{program['function']} ({program['format']} {program['precision']} batch {program['batch']})"
