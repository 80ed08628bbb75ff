"""How a detector comes to its memory, its likeness and its classifier: from pretrained features of the
training images.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from keras import ops

from semi_anogan.backend import compile_function
from semi_anogan.scoring import patch_samples as normal_patches
from semi_anogan.scoring.classifier import Classifier, pooled
from semi_anogan.scoring.likeness import Likeness
from semi_anogan.scoring.memory import Memory
from semi_anogan.scoring.patch_samples import NormalPatches


class FeatureFitting:
    """The part of Detector that makes `memory`, `likeness` and `classifier`, and the components of those
    names with them.
    """

    def wants(self, name: str) -> bool:
        """Whether the settings ask for a "memory", a "likeness" or a "classifier" that is not there yet."""
        settings = self.model.options["features"]
        wanted = (
            bool(settings.get("name")) and settings.get(name) and (not self._chosen or name in self._chosen)
        )
        return bool(wanted) and getattr(self, name) is None

    def draw(self, images: Iterable, seed: int = 0) -> list[NormalPatches]:
        """Random patches of each of the normal training images (as in `measure`): what `remember` and
        `recognise` take.
        """
        return normal_patches.draw(self._features(images), seed)

    def remember(
        self,
        normal: Sequence[NormalPatches],
        size: int,
        seed: int = 0,
        trim_share: float = 0.0,
        checked: Sequence[bool] = (),
    ):
        """Makes the memory of normal patches, and the component "memory" with it.

        Args: normal: of normal training images, as `draw` gives them; size: patches to keep; trim_share: of
          the images left out, the
          least like all others; checked: which of them are normal for certain and stay, none by default.
        """
        self._adopt("memory", Memory.fit([p.memory for p in normal], size, seed, trim_share, checked))

    def recognise(self, normal: Sequence[NormalPatches], abnormal: Iterable, most_images: int = 500):
        """Makes the likeness to the known defects, and the component "likeness" with it.

        Args: normal: of normal training images, as `draw` gives them; abnormal: pairs of an image (as in
          `measure`) and its mask, bool
          [H, W], or None where that is not known; most_images: of the abnormal ones, the first that are used.
        """
        masks = []

        def images():
            for image, mask in itertools.islice(abnormal, most_images):
                masks.append(mask)
                yield image

        def bags():
            for tiles in self._features(images()):
                mask = masks.pop(0)
                where = [None] * len(tiles)
                if mask is not None and mask.any():
                    drawn = np.repeat(2.0 * mask[..., None].astype(np.float32) - 1.0, self.channels, axis=-1)
                    where = [part[..., 0] > -0.99 for part in self.cut(drawn)]
                yield list(zip(tiles, where, strict=True))

        self._adopt("likeness", Likeness.fit([p.likeness for p in normal], bags()))

    def tell_apart(self, normal: Iterable, abnormal: Iterable):
        """Makes the classifier of whole images, and the component "classifier" with it.

        Args: normal, abnormal: training images, as in `measure`.
        """
        extract = compile_function(lambda x: [pooled(self.graph.network.tuned_and_frozen(x)[1])], self.model)
        of_normal, of_abnormal = (
            [np.concatenate(tiles) for tiles in self._of_tiles(images, extract)]
            for images in (normal, abnormal)
        )
        self._adopt("classifier", Classifier.fit(of_normal, of_abnormal))

    def _adopt(self, name: str, fitted):
        """Makes the component of that name of what was fitted."""
        setattr(self, name, fitted)
        self.names = self._names()
        self._compile()

    def _features(self, images: Iterable) -> Iterator[list[list[np.ndarray]]]:
        """Of each image, for each of its tiles, the pretrained features: lists of [h, w, C], finest first."""
        if self._extract is None:
            self._extract = compile_function(lambda x: self.graph.network(x), self.model)
        return self._of_tiles(images, self._extract)

    def _of_tiles(self, images: Iterable, extract) -> Iterator[list[list[np.ndarray]]]:
        """Of each image, for each of its tiles, what `extract` makes of it: a list of arrays; extract: a
        batch of tiles -> arrays [N, ...].
        """
        counts = []  # tiles of the images read and not yet given back

        def parts():
            for image in images:
                found = self.cut(image)
                counts.append(len(found))
                yield from found

        tiles, waiting = [], parts()
        while batch := list(itertools.islice(waiting, self.batch_size)):
            filled = batch + [batch[0]] * (self.batch_size - len(batch))
            outputs = [ops.convert_to_numpy(o) for o in extract(np.stack(filled))]
            for found in itertools.islice(zip(*outputs, strict=True), len(batch)):
                tiles.append(list(found))
                if len(tiles) == counts[0]:
                    yield tiles
                    tiles = []
                    del counts[0]
