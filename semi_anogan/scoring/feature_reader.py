"""Pretrained features of images, tile by tile: what memory, likeness and classifier are fitted to."""

import concurrent.futures
import itertools
from collections.abc import Iterable, Iterator

import numpy as np
from keras import ops

from semi_anogan.backend import compile_function
from semi_anogan.data.masks import resized
from semi_anogan.networks.pretrained.load import load_features
from semi_anogan.scoring import patch_samples
from semi_anogan.scoring.base_detector import Preparation
from semi_anogan.scoring.classifier import pooled
from semi_anogan.scoring.memory import Memory
from semi_anogan.scoring.patch_samples import PatchSamples
from semi_anogan.scoring.views import scaled, views_of
from semi_anogan.whole_batches import filled


def feature_network(model):
    """A SemiAnoGAN's pretrained network: its patch discriminator's, averaged, or else a frozen one."""
    if model.patch_discriminator is not None:
        return model.patch_discriminator_average.features
    return load_features(model.features.name, model.features.weights)


class FeatureReader:
    """Reads the pretrained features of images of any size.

    Args: model: a SemiAnoGAN with pretrained features; tile: whether images larger than the model's
      shape are cut into overlapping tiles, instead of reduced; batch_size: images or tiles at once.
    """

    def __init__(self, model, tile: bool, batch_size: int):
        self.preparation = Preparation.of_model(model, tile)
        self.batch_size = batch_size
        self._model = model
        self._values = None  # (a memory, what gives its values)
        network, shape = feature_network(model), model.image_shape
        self._shape, self._sizes = shape, len(model.memory_sizes)

        def features_and_views(images):
            tuned, frozen = network.tuned_and_frozen(scaled(images, shape))
            return [*views_of(model, images, {shape: frozen}), *tuned]

        self._extract = compile_function(lambda x: network(scaled(x, shape)), model)
        self._extract_all = compile_function(features_and_views, model)
        self._extract_views = compile_function(lambda x: views_of(model, x), model)
        self._pool = compile_function(
            lambda x: [pooled(network.tuned_and_frozen(scaled(x, shape))[1])], model
        )

    def features(self, images: Iterable) -> Iterator[list[list[np.ndarray]]]:
        """Of each image, for each of its tiles, the features: lists of [h, w, C], finest first."""
        return self._of_tiles(images, self._extract)

    def views(self, images: Iterable) -> Iterator[list[list[np.ndarray]]]:
        """Of each image, for each of its tiles, the memory's views: a list of [h, w, D], one a size."""
        return self._of_tiles(images, self._extract_views)

    def patch_samples(self, images: Iterable, seed: int = 0) -> list[PatchSamples]:
        """Random patches of each normal image: what Memory.fit and Likeness.fit take."""
        found = self._of_tiles(images, self._extract_all)
        n = self._sizes
        return patch_samples.draw(([(t[n:], t[:n]) for t in tiles] for tiles in found), seed)

    def memory_samples(self, images: Iterable, most: int, seed: int = 0) -> list[tuple[np.ndarray, ...]]:
        """At most `most` random patches of each image at each of the memory's sizes: tuples of [n, D]."""
        rng = np.random.default_rng(seed)
        return [patch_samples.of_views(tiles, rng, most) for tiles in self.views(images)]

    def memory_values(self, memory: Memory, images: Iterable) -> np.ndarray:
        """Of each image the memory's value at each size, that of its farthest tile: float64 [N, S]."""
        if self._values is None or self._values[0] is not memory:  # compiled once for all calls with it
            self._values = memory, compile_function(lambda *views: [memory.values(views)], self._model)
        found = self._of_tiles(images, lambda x: self._values[1](*self._extract_views(x)))
        return np.array([np.max([v for (v,) in tiles], axis=0) for tiles in found], np.float64).reshape(
            -1, self._sizes
        )

    def memory_left_out(self, memory: Memory, images: Iterable, own: Iterable[int]) -> np.ndarray:
        """The component `memory` of images that it was fitted to, without the patches of each: float64 [N].

        own: of each image its number among the owners of patches.
        """
        values = compile_function(lambda own, *views: [memory.measured(views, own)[0]], self._model)
        found = self._of_tiles(images, lambda x, own: values(own, *self._extract_views(x)), own)
        return np.array([max(float(v) for (v,) in tiles) for tiles in found], np.float64)

    def bags(self, abnormal: Iterable, most_images: int = 500) -> Iterator[list]:
        """Of each abnormal image its tiles' (features, where it is abnormal): what Likeness.fit takes.

        Args: abnormal: pairs of an image and its mask, bool [H, W], or None where that is not known;
          most_images: the first that are used.
        """
        masks = []

        def images():
            for image, mask in itertools.islice(abnormal, most_images):
                masks.append(mask)
                yield image

        for tiles in self.features(images()):
            mask = masks.pop(0)
            where = [None] * len(tiles)
            if mask is not None and mask.any():
                where = [resized(part, *self._shape) for part in self.preparation.cut_mask(mask)]
            yield list(zip(tiles, where, strict=True))

    def pooled(self, images: Iterable) -> list[np.ndarray]:
        """Of each image its tiles' pooled frozen features, float32 [tiles, D]: what Classifier.fit takes."""
        return [np.concatenate(tiles) for tiles in self._of_tiles(images, self._pool)]

    def _of_tiles(
        self, images: Iterable, extract, numbers: Iterable[int] | None = None
    ) -> Iterator[list[list[np.ndarray]]]:
        """Of each image, for each of its tiles, what `extract` makes of it.

        extract: a batch of tiles -> arrays [N, ...]; numbers: of each image one, of which `extract` takes
          those of the tiles, int32 [N], after them.
        """
        counts = []  # tiles of the images read and not yet given back

        def parts():
            numbered = ((i, 0) for i in images) if numbers is None else zip(images, numbers, strict=True)
            for image, number in numbered:
                found = self.preparation.cut(image)
                counts.append(len(found))
                yield from ((tile, number) for tile in found)

        def extracted(batch):
            of_tiles, of_numbers = zip(*filled(batch, self.batch_size), strict=True)
            given = [np.stack(of_tiles)] + ([] if numbers is None else [np.array(of_numbers, np.int32)])
            outputs = [ops.convert_to_numpy(o) for o in extract(*given)]
            return list(itertools.islice(zip(*outputs, strict=True), len(batch)))

        def batches():
            """What was found in each batch; the next one is read meanwhile."""
            waiting, running = parts(), None
            with concurrent.futures.ThreadPoolExecutor(1) as others:
                while batch := list(itertools.islice(waiting, self.batch_size)):
                    ready, running = running, others.submit(extracted, batch)
                    if ready is not None:
                        yield ready.result()
                if running is not None:
                    yield running.result()

        tiles = []
        for found in itertools.chain.from_iterable(batches()):
            tiles.append(list(found))
            if len(tiles) == counts[0]:
                yield tiles
                tiles = []
                del counts[0]
