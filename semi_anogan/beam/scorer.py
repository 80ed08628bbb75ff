"""What a worker scores with: the detectors of a run or a bundle, loaded once in each process."""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from semi_anogan.beam import storage
from semi_anogan.data import ignore, ignore_files
from semi_anogan.data.images import Reader
from semi_anogan.data.notes import Notes
from semi_anogan.errors import ConfigError, DataError
from semi_anogan.scoring import files as score_files
from semi_anogan.scoring.judging import Judging
from semi_anogan.scoring.regions import MISSING


class Item(NamedTuple):
    """An image that is to be scored: its address, and that of its own mask of what is ignored."""

    path: str
    mask: str | None = None


class Settings(NamedTuple):
    """What is scored with. One of workdir, a run folder, and bundle; the rest as the options of the command.

    root: folder that the images lie in. masked: an --input as ignore_files.of_input takes it, or None where
    no masks are looked for.
    """

    workdir: str | None
    bundle: str | None
    engine: str | None
    root: str
    masked: str | None = None
    precision: str = "float32"
    batch: int | None = None
    threads: int = 1
    product: str | None = None
    threshold: float | None = None
    false_alarm_rate: float | None = None
    review_band: str | None = None
    max_pixels: int = 100_000_000
    keep_images: bool = False

    @property
    def judging(self) -> Judging:
        """UserError for what cannot be."""
        return Judging.of_options(self.threshold, self.false_alarm_rate, self.review_band)


class Scorer:
    """Scores images by the detector of a run or a bundle, or by that of their product.

    Attributes: detectors: {product: its detector}, of one product {None: it}; products: the names of several,
      else none; lines: what is to be told of them: thresholds that were asked for, what is ignored of every
      image, regions that they cannot find.
    """

    def __init__(self, settings: Settings):
        self._settings, self._kept = settings, contextlib.ExitStack()
        self._turn = threading.Lock()
        self.products, self.lines = (), []
        self.detectors = {}
        for product, detector in self._loaded():
            self.detectors[product], lines = settings.judging.applied(detector)
            if detector.ignore is not None:
                lines = [*lines, ignore.told(detector.ignore, ignore.NAME)]
            if detector.pixel_threshold is None:
                lines = [*lines, MISSING]
            self.lines += [score_files.of_product(product, line) for line in lines]
        masked = settings.masked
        self._mask_of = ignore_files.of_input(masked) if masked is not None else lambda path: None

    def _loaded(self) -> Iterator[tuple]:
        settings = self._settings
        if settings.workdir is not None:
            from semi_anogan.scoring.detector import Detector

            folder = self._kept.enter_context(storage.local_folder(settings.workdir))
            yield None, Detector.load(folder).pruned()
            return
        from semi_anogan.export.runtime.bundle import products_of
        from semi_anogan.export.runtime.detector import EdgeDetector

        folder = self._kept.enter_context(storage.local_folder(settings.bundle))
        self.products = () if settings.product else products_of(folder)
        if self.products and settings.threshold is not None:
            names = ", ".join(self.products)
            raise ConfigError(
                f"--threshold is for one product, {settings.bundle} has {names}: give --product"
            )
        options = settings.engine, settings.precision, settings.batch, settings.threads
        for product in self.products or (None,):
            yield product, EdgeDetector(folder, *options, product=product or settings.product)

    def __call__(self, items: Sequence[Item], notes: Notes) -> Iterator[score_files.Scored]:
        """An outcome for each item, in order; notes: get what is unusual in the files.

        Several threads may do so at once. They take turns at decoding and scoring: a detector is for one of
        them at a time. Copying files, and what is done with outcomes, goes on beside it.
        """
        addresses = [address for item in items for address in item if address]
        with storage.fetched(addresses) as paths:
            own = Notes()
            for line in self.lines:
                notes.add(line)
            outcomes = self._outcomes(items, paths, own)
            while True:
                with self._turn:
                    outcome = next(outcomes, None)
                    for detector in self.detectors.values():
                        getattr(detector, "search_steps", []).clear()  # nobody asks for them
                if outcome is None:
                    break
                yield outcome
            for text, count, first in own.counted():
                for address, path in paths.items():
                    first = str(first).replace(str(path), address)  # copies have names of their own
                notes.add(text, first, count)

    def _outcomes(self, items, paths: dict, notes: Notes) -> Iterator[score_files.Scored]:
        """paths: {address: path of its file, or why there is none}."""
        keep = float("inf") if self._settings.keep_images else 0
        readers = {product: self._reader(product, paths, notes) for product in self.detectors}
        if not self.products:
            (detector,) = self.detectors.values()
            return score_files.scored(detector, items, readers[None], _path, keep_images=keep)
        from semi_anogan.export.runtime import products

        def of_none(item, channels):
            products.product_of(item.path, self._settings.root, self.products)

        readers[None] = of_none
        root = self._settings.root
        return products.scored(self.detectors, items, readers.__getitem__, _path, root, keep)

    def _reader(self, product: str | None, paths: dict, notes: Notes):
        detector = self.detectors[product]
        shape = None if detector.tile else detector.shape
        reader = Reader(detector.scale, self._settings.max_pixels, notes, min(detector.shape), shape)
        masked = ignore_files.MaskedReader(reader, detector.ignore)

        def found(address: str) -> str:
            path = paths.get(address, address)
            if isinstance(path, DataError):
                raise path
            return path

        def read(item: Item, channels: int):
            path, mask = found(item.path), item.mask or self._mask_of(item.path)
            try:
                image = reader(path, channels)
                return masked.masked(image, path, found(mask) if mask else None)
            except DataError as error:
                told = str(error).replace(path, item.path)
                raise DataError(told.replace(found(mask), mask) if mask else told) from error

        return read


def _path(item: Item) -> str:
    return item.path
