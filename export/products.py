"""Joins bundles of one product each to one bundle of several, where what is equal is stored once.

A file of a format is stored as its weights and what is around them, the graph. Each of these is a file whose
name is its SHA-256, so that two which are equal, of whatever products, formats or batch sizes, are one.
"""

import collections
import hashlib
import pathlib
import re
import shutil
from collections.abc import Iterator, Sequence

import semi_anogan
from semi_anogan.errors import UserError
from semi_anogan.export.runtime.bundle import NAME, PLACES, Bundle, assembled, file_entries, write_values

SHARED = "shared"  # folder of what is stored by its digest
LEAST = 1024  # bytes of weights that are worth a file
FOLDERS = ("saved_model",)  # whose files others read: they stay as they are


class ProductsError(UserError, ValueError):
    """Products that cannot be in one bundle; the message names them."""


def named(workdirs: Sequence[str], names: Sequence[str] = ()) -> dict[str, str]:
    """{name of a product: its run folder}; names: in place of the folders' own.

    Raises: ProductsError for names that are missing, the same, or none of a folder.
    """
    if names and len(names) != len(workdirs):
        raise ProductsError(f"--products names {len(names)}, --workdirs {len(workdirs)}: give one for each")
    names = names or [pathlib.Path(workdir).resolve().name for workdir in workdirs]
    found = {}
    for name, workdir in zip(names, workdirs, strict=True):
        if not re.fullmatch(r"[^\s/\\:,][^/\\:,]*", name) or name in (".", ".."):
            raise ProductsError(f"product {name!r}: must be the name of a folder, without / \\ : and commas")
        # Images are found by folders of these names, and some file systems know no case.
        if same := [other for other in found if other.casefold() == name.casefold()]:
            raise ProductsError(
                f"{found[same[0]]} and {workdir}: two runs of product {name!r}; --products=a,b names them"
            )
        found[name] = workdir
    return found


def join(parts: dict[str, pathlib.Path], output: pathlib.Path) -> list[str]:
    """Writes one bundle of several, each product's by its name; returns lines that say what was written.

    output: a folder that is not there.
    """
    products, written, owners = {}, {}, collections.defaultdict(set)
    output.mkdir(parents=True)
    (output / SHARED).mkdir()

    def stored(data: bytes, product: str) -> str:
        digest = hashlib.sha256(data).hexdigest()
        path = f"{SHARED}/{digest}"
        owners[path].add(product)
        if path not in written:
            written[path] = len(data)
            (output / path).write_bytes(data)
        return path

    for product, folder in parts.items():
        bundle = Bundle(folder)
        values = {k: v for k, v in bundle.values.items() if k not in ("format", "digest")}
        files = []
        for file in values["files"]:
            path, data = file["path"], bundle.read(file["path"])
            if path.split("/")[0] in FOLDERS:
                place = output / PLACES / product / path
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(data)
                files.append({**file, "stored": f"{PLACES}/{product}/{path}"})
                continue
            rest, weights = cut(data, list(_weights(path, data)))
            entry = {**file, "stored": stored(rest, product)}
            if weights:
                entry["weights"] = [[start, stored(part, product)] for start, part in weights]
            files.append(entry)
        products[product] = {**values, "files": files}
    whole = {"package_version": semi_anogan.__version__, "products": products, "files": file_entries(output)}
    write_values(output / NAME, whole)
    alone = sum(file["bytes"] for values in products.values() for file in values["files"])
    several = [path for path, names in owners.items() if len(names) > 1]
    return [
        f"{len(products)} products: {', '.join(products)}",
        f"{_megabytes(sum(file['bytes'] for file in whole['files']))}, in bundles of their own "
        f"{_megabytes(alone)}; {len(several)} files of {_megabytes(sum(map(written.get, several)))} are of "
        "several products",
    ]


def replace(folder: pathlib.Path, output: pathlib.Path):
    """Puts a bundle in the place of one that is there."""
    shutil.rmtree(output, ignore_errors=True)
    folder.rename(output)


def cut(data: bytes, places: list[tuple[int, int]]) -> tuple[bytes, list[tuple[int, bytes]]]:
    """(rest, weights) of a file, as `assembled` takes them; places: (start, end) of weights, in any order."""
    rest, weights, taken = bytearray(), [], 0
    for start, end in sorted(set(places)):
        if end - start < LEAST or start < taken:
            continue
        rest += data[taken:start]
        weights.append((start, data[start:end]))
        taken = end
    rest += data[taken:]
    assert assembled(bytes(rest), weights) == data
    return bytes(rest), weights


def _weights(path: str, data: bytes) -> Iterator[tuple[int, int]]:
    """(start, end) of the weights in a file of a format; none of any other file."""
    suffix = pathlib.PurePosixPath(path).suffix
    return {".onnx": _onnx_weights, ".tflite": _tflite_weights}.get(suffix, lambda data: iter(()))(data)


def _onnx_weights(data: bytes) -> Iterator[tuple[int, int]]:
    import onnx

    def tensors(graph):
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.type == onnx.AttributeProto.TENSOR:
                    yield attribute.t
        yield from graph.initializer

    place = 0  # of the next: they lie in this order
    for tensor in tensors(onnx.load_from_string(data).graph):
        raw = tensor.raw_data
        start = data.find(raw, place) if len(raw) >= LEAST else -1
        if start >= 0:
            place = start + len(raw)
            yield start, place


def _tflite_weights(data: bytes) -> Iterator[tuple[int, int]]:
    import numpy as np
    from tensorflow.lite.python import schema_py_generated as schema

    begin = np.frombuffer(data, np.uint8).__array_interface__["data"][0]
    model = schema.Model.GetRootAs(data, 0)
    for index in range(model.BuffersLength()):
        buffer = model.Buffers(index)
        if buffer.DataLength():
            start = buffer.DataAsNumpy().__array_interface__["data"][0] - begin
            yield start, start + buffer.DataLength()


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
