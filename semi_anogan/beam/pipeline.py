"""The pipeline: addresses of images -> scores, regions, pictures, and what could not be scored."""

import contextlib
import csv
import io
import json
import os
import pathlib
import tempfile
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import apache_beam as beam
from apache_beam.io import fileio
from apache_beam.metrics import Metrics
from apache_beam.utils.shared import Shared

from semi_anogan.beam import storage
from semi_anogan.beam.scorer import Item, Scorer, Settings
from semi_anogan.data import masks_or_images
from semi_anogan.data.listing import delimiter_of, is_ignore
from semi_anogan.data.notes import Notes
from semi_anogan.errors import DataError
from semi_anogan.scoring import files as score_files
from semi_anogan.scoring import outputs as output_files
from semi_anogan.scoring.calibration import ABNORMAL, LOOK, NORMAL

NAMES = SCORES, ERRORS, REGIONS, NOTES = "scores", "errors", "regions", "notes"
COUNTERS = (*(LABELS := (NORMAL, LOOK, ABNORMAL)), ERRORS, LEFT_OUT := "left_out")
NAMESPACE = "semi_anogan"
ERROR_COLUMNS = ("path", "error", "time")
NAMED_ELSEWHERE = (
    "{n} files are named as masks, such as {first}: scored all the same, since files that are not local are "
    "not looked at for it; a narrower pattern or a manifest leaves them out"
)
AT_ONCE = 64  # images that a step of a worker is given; the detector makes its own batches of them
NUMBERS = ("score", "threshold", "p_value", output_files.LOOK_COLUMN)


class Inputs(NamedTuple):
    """Where the addresses come from.

    Attributes:
      pattern: of files; or manifest: a CSV file, header: its columns, delimiter: between its values.
      root: folder below which the images lie.
    """

    root: str
    pattern: str | None = None
    manifest: str | None = None
    header: tuple[str, ...] = ()
    delimiter: str = ","


class Written(NamedTuple):
    """What is written, and where: as the options of the command.

    Attributes: columns: of the scores; shards: of each table, 0 for as many as the runner likes.
    """

    output: str
    columns: tuple[str, ...]
    parquet: bool = False
    shards: int = 0
    maps: bool = False
    overlays: str = output_files.NONE
    overlay_format: str = "png"
    min_area: int = 0


def build(pipeline: beam.Pipeline, settings: Settings, inputs: Inputs, written: Written):
    """Adds all steps to a pipeline."""
    if inputs.pattern is not None:
        found = pipeline | "match" >> fileio.MatchFiles(inputs.pattern)
        listing = beam.ParDo(FromFiles(inputs.root, written.output))
    else:
        coder = beam.coders.BytesCoder()
        found = pipeline | "manifest" >> beam.io.ReadFromText(
            inputs.manifest, skip_header_lines=1, coder=coder
        )
        listing = beam.ParDo(FromRows(inputs))
    items = found | "list" >> listing.with_outputs(ERRORS, main="items")
    batches = (
        items["items"]
        # Before they are spread: a runner that keeps the list in memory then has less to say of each.
        | "batch" >> beam.BatchElements(min_batch_size=AT_ONCE, max_batch_size=AT_ONCE)
        # Elsewhere a worker would score all that it has listed.
        | "spread" >> beam.Reshuffle()
    )
    noted = []
    if inputs.pattern is not None:  # what a manifest names is meant
        looked_at = beam.ParDo(WithoutMasks(inputs.root, settings.max_pixels))
        found = batches | "masks" >> looked_at.with_outputs(NOTES, main="batches")
        batches, noted = found["batches"], [found[NOTES]]
    outcomes = batches | "score" >> beam.ParDo(Score(settings, written)).with_outputs(
        ERRORS, REGIONS, NOTES, main=SCORES
    )
    _write_scores(outcomes[SCORES], written)
    errors = (items[ERRORS], outcomes[ERRORS]) | "errors" >> beam.Flatten()
    _write_text(errors, written, ERRORS, ".csv", header=_csv_row(ERROR_COLUMNS))
    _write_text(outcomes[REGIONS], written, REGIONS, ".jsonl")
    notes = (outcomes[NOTES], *noted) | "notes" >> beam.Flatten()
    notes = notes | "count notes" >> beam.CombinePerKey(_joined) | "tell notes" >> beam.Map(_note)
    _write_text(notes, written, NOTES, ".txt", shards=1)


class FromFiles(beam.DoFn):
    """Files that were matched -> packed Items; not masks of what is ignored, nor what is written here."""

    def __init__(self, root: str, output: str):
        self._root, self._output = root, output.rstrip("/") + "/"
        self._left_out = Metrics.counter(NAMESPACE, LEFT_OUT)

    def process(self, file):
        inside = output_files.relative(file.path, self._root) or file.path
        if file.path.startswith(self._output) or any(map(is_ignore, inside.split("/")[:-1])):
            self._left_out.inc()
        else:
            yield _packed(Item(file.path))


class WithoutMasks(beam.DoFn):
    """Lists of packed Items -> the same without masks, and notes. Files elsewhere are told by name alone."""

    def __init__(self, root: str, max_pixels: int):
        self._root, self._max_pixels = root, max_pixels

    def process(self, items: Sequence[tuple]):
        notes = Notes()
        kept = [item for item in items if not self._is_mask(_unpacked(item).path, notes)]
        yield from _notes_of(notes)
        if kept:
            yield kept

    def _is_mask(self, path: str, notes: Notes) -> bool:
        if storage.is_local(path):
            with contextlib.suppress(DataError):  # told where it is read to be scored
                return masks_or_images.is_mask(path, self._root or ".", notes, self._max_pixels)
        else:
            inside = output_files.relative(path, self._root) or path
            notes.add(NAMED_ELSEWHERE, path, masks_or_images.is_named_as_mask(inside))
        return False


class FromRows(beam.DoFn):
    """Lines of a manifest -> packed Items; one that is no row is an error."""

    def __init__(self, inputs: Inputs):
        self._inputs = inputs
        self._failed = Metrics.counter(NAMESPACE, ERRORS)

    def process(self, line: bytes):
        try:
            row = self._row(line)
        except (ValueError, csv.Error) as error:
            self._failed.inc()
            told = f"{self._inputs.manifest}: a row cannot be read: {error}"
            values = (line.decode("utf-8", "replace"), told, output_files.now())
            yield beam.pvalue.TaggedOutput(ERRORS, _csv_row(values))
            return
        if row:
            mask = row.get("ignore")
            yield _packed(Item(self._address(row["path"]), self._address(mask) if mask else None))

    def _row(self, line: bytes) -> dict[str, str]:
        """{column: value}; empty of a blank line."""
        reader = csv.reader([line.decode("utf-8")], delimiter=self._inputs.delimiter, strict=True)
        cells = [cell.strip() for cell in next(reader, [])]
        if not any(cells):
            return {}
        if len(cells) != len(self._inputs.header):
            raise ValueError(f"{len(cells)} values for {len(self._inputs.header)} columns")
        row = dict(zip(self._inputs.header, cells, strict=True))
        if not row["path"]:
            raise ValueError("the path is empty")
        return row

    def _address(self, path: str) -> str:
        if not storage.is_local(path) or os.path.isabs(path):
            return path
        return f"{self._inputs.root}/{path}" if self._inputs.root else path


def _packed(item: Item) -> tuple:
    """An Item in less than half the bytes that Beam takes for one; a name may be no UTF-8."""
    return tuple(text and text.encode("utf-8", "surrogateescape") for text in item)


def _unpacked(values: tuple) -> Item:
    return Item(*(data and data.decode("utf-8", "surrogateescape") for data in values))


class Score(beam.DoFn):
    """Lists of packed Items -> rows of scores, and beside them rows of errors, lines of regions and notes.

    Rows are bytes, or values for Parquet: a path that is not UTF-8 is no text that Beam can pass on. Pictures
    are written as the images come; of an image that is scored again they are the same.
    """

    def __init__(self, settings: Settings, written: Written):
        self._settings, self._written, self._shared = settings, written, Shared()
        self._counters = {name: Metrics.counter(NAMESPACE, name) for name in COUNTERS}

    def setup(self):
        # One for all threads of the process: its memory is that of one detector.
        self._scorer = self._shared.acquire(lambda: Scorer(self._settings))

    def process(self, items: Sequence[tuple]):
        notes, tagged = Notes(), beam.pvalue.TaggedOutput
        for outcome in self._scorer(list(map(_unpacked, items)), notes):
            outcome = score_files.without_small(outcome, self._written.min_area, notes)
            when, detector = output_files.now(), self._scorer.detectors.get(outcome.product)
            if outcome.error is not None:
                self._counters[ERRORS].inc()
                yield tagged(ERRORS, _csv_row((outcome.path, outcome.error, when)))
                continue
            self._counters[outcome.label].inc()
            looks = output_files.LOOK_COLUMN in self._written.columns
            row = score_files.score_row(outcome, detector, when, looks)
            more = [outcome.product or self._settings.product] if "product" in self._written.columns else []
            row = [*row, *more]
            yield _values(row, self._written.columns) if self._written.parquet else _csv_row(row)
            for number, region in enumerate(outcome.regions or (), 1):
                line = output_files.region_line(outcome.path, number, region, outcome.anomaly_map.shape)
                yield tagged(REGIONS, json.dumps(line).encode("ascii"))
            self._write_pictures(outcome, detector.pixel_threshold)
        yield from _notes_of(notes)

    def _write_pictures(self, outcome: score_files.Scored, pixel_threshold: float | None):
        written = self._written
        wanted = written.overlays == output_files.ALL or outcome.label != NORMAL
        overlays = written.overlays != output_files.NONE and wanted and pixel_threshold is not None
        if not (overlays or written.maps):
            return
        name = output_files.picture_name(outcome.path, self._settings.root)
        with tempfile.TemporaryDirectory(prefix="semi_anogan_") as folder:
            made = pathlib.Path(folder, "picture")
            if written.maps:
                score_files.write_map(made, outcome.anomaly_map)
                for suffix in (".npy", ".png"):
                    storage.store(f"{made}{suffix}", f"{written.output}/{output_files.MAPS}/{name}{suffix}")
            if overlays:
                suffix = output_files.SUFFIXES[written.overlay_format]
                made = made.with_name("overlay" + suffix)
                score_files.write_overlay(made, outcome, pixel_threshold)
                storage.store(made, f"{written.output}/{output_files.OVERLAYS}/{name}{suffix}")


def _write_scores(rows, written: Written):
    if not written.parquet:
        _write_text(rows, written, SCORES, ".csv", header=_csv_row(written.columns))
        return
    import pyarrow

    kinds = {"regions": pyarrow.int64(), **dict.fromkeys(NUMBERS, pyarrow.float64())}
    schema = pyarrow.schema([(name, kinds.get(name, pyarrow.string())) for name in written.columns])
    path, shards = f"{written.output}/{SCORES}", written.shards
    _ = rows | f"write {SCORES}" >> beam.io.WriteToParquet(
        path, schema, file_name_suffix=".parquet", num_shards=shards
    )


def _write_text(lines, written: Written, name: str, suffix: str, header=None, shards: int | None = None):
    """Writes lines, bytes, as OUTPUT/NAME-00000-of-00001SUFFIX and so on."""
    _ = lines | f"write {name}" >> beam.io.WriteToText(
        f"{written.output}/{name}",
        file_name_suffix=suffix,
        num_shards=written.shards if shards is None else shards,
        coder=beam.coders.BytesCoder(),
        header=header,
    )


def _csv_row(values: Sequence) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow(values)  # with its end of line, else a name with one in it is not quoted
    return text.getvalue().removesuffix("\r\n").encode("utf-8", "surrogateescape")


def _values(row: Sequence, columns: Sequence[str]) -> dict:
    """{column: value} with numbers as such; empty ones are None."""
    found = {}
    for name, value in zip(columns, row, strict=True):
        number = float if name in NUMBERS else int if name == "regions" else _text
        found[name] = None if value == "" or value is None else number(value)
    return found


def _text(value) -> str:
    """The value as Parquet takes it: what is not UTF-8 in escapes."""
    return os.fsencode(str(value)).decode("utf-8", "backslashreplace")


def _notes_of(notes: Notes) -> Iterator[beam.pvalue.TaggedOutput]:
    """Each kind of notes, as `_joined` puts those of all workers together."""
    for text, n, first in notes.counted():
        yield beam.pvalue.TaggedOutput(NOTES, (os.fsencode(text), (n, os.fsencode(str(first)))))


def _joined(found) -> tuple[int, bytes]:
    """Of notes of one kind how many there are, and an example that does not depend on their order."""
    counts, firsts = zip(*found, strict=True) if (found := list(found)) else ((0,), (b"",))
    return sum(counts), min((first for first in firsts if first), default=b"")


def _note(counted) -> bytes:
    text, (n, first) = counted
    notes = Notes()
    notes.add(os.fsdecode(text), os.fsdecode(first), n)
    return "\n".join(notes.lines()).encode("utf-8", "surrogateescape")


def columns_of(settings: Settings, products: Sequence[str]) -> tuple[str, ...]:
    """The columns of the scores."""
    looks = [output_files.LOOK_COLUMN] if settings.review_band else []
    return (*output_files.COLUMNS, *looks, *(["product"] if products or settings.product else []))


def earlier(output: str) -> Iterator[str]:
    """What an earlier call has written to an output, but for pictures; also what it had begun to write."""
    for name in NAMES:
        yield from storage.listed(f"{output}/{name}-*-of-*")
        yield from storage.listed(f"{output}/beam-temp-{name}-*/**")


def checked_header(manifest: str) -> tuple[tuple[str, ...], str]:
    """(columns in lower case, what separates values) of a manifest; DataError where it is none."""
    line = storage.begin_of(manifest).decode("utf-8-sig", "replace").partition("\n")[0]
    if "\r" in line.rstrip("\r"):
        raise DataError(f"{manifest}: row 1: ends in a carriage return alone; save it with line feeds")
    delimiter = delimiter_of(line, ("path",))
    header = tuple(name.strip().casefold() for name in next(csv.reader([line], delimiter=delimiter), []))
    if "path" not in header:
        raise DataError(
            f"{manifest}: row 1: no column path; the columns are {list(header)}, separated by commas, "
            "semicolons or tabs"
        )
    for name in ("path", "ignore"):
        if header.count(name) > 1:
            raise DataError(f"{manifest}: row 1: the column {name} is there twice")
    return header, delimiter
