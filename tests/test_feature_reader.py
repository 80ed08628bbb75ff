"""Pretrained features of images of several sizes, tile by tile."""

import numpy as np
import pytest

from helpers.trained import tiny_model
from semi_anogan.networks.pretrained.load import load_features
from semi_anogan.scoring import likeness
from semi_anogan.scoring.classifier import pooled
from semi_anogan.scoring.feature_reader import FeatureReader

FEATURES = {"name": "efficientnet_lite0", "patch_discriminator": True, "resolution": 32}
TILES = [1, 8, 2]  # of 16 x 16 pixels that overlap by half, of the images below


@pytest.fixture(scope="module")
def images():
    """16 x 16, 24 x 40 and 16 x 20 pixels: 1, 2 x 4 and 1 x 2 tiles."""
    rng = np.random.default_rng(0)
    return [rng.uniform(-1, 1, (*size, 1)).astype(np.float32) for size in ((16, 16), (24, 40), (16, 20))]


@pytest.fixture(scope="module")
def reader():
    """Of a model whose last features are fine-tuned to be 1 higher; batches of 3 hold tiles of two images."""
    model = tiny_model(resolution=16, features={**FEATURES, "trainable_blocks": 1})
    offset = model.patch_discriminator_average.features.offsets["block15/project/bias"]
    offset.assign(np.full(offset.shape, 100.0, np.float32))  # in hundredths
    return FeatureReader(model, tile=True, batch_size=3)


def frozen_features(reader, image):
    """The frozen network's features of an image's tiles, finest first: list of [tiles, h, w, C]."""
    return [np.asarray(f) for f in load_features()(np.stack(list(reader.preparation.cut(image))))]


def test_the_features_of_each_tile_are_those_of_the_fine_tuned_network(reader, images):
    found = list(reader.features(iter(images)))
    assert [len(tiles) for tiles in found] == TILES
    for image, tiles in zip(images, found, strict=True):
        *finer, last = frozen_features(reader, image)
        for features, expected in zip(zip(*tiles, strict=True), [*finer, last + 1.0], strict=True):
            np.testing.assert_allclose(np.stack(features), expected, rtol=1e-3, atol=1e-3)


def test_pooled_are_the_frozen_features_of_each_tile(reader, images):
    found = reader.pooled(iter(images))
    assert [len(tiles) for tiles in found] == TILES
    for image, tiles in zip(images, found, strict=True):
        expected = np.asarray(pooled(frozen_features(reader, image)))
        np.testing.assert_allclose(tiles, expected, rtol=1e-3, atol=1e-3)


def test_patches_of_all_tiles_are_drawn(reader, images):
    drawn = reader.patch_samples(iter(images), seed=1)
    assert len(drawn) == 3
    both = zip(drawn, reader.features(images), reader.views(images), strict=True)
    for patches, tiles, views in both:
        of_likeness = np.concatenate([likeness.patches_of(tile) for tile in tiles])
        of_memory = np.concatenate([view.reshape(-1, view.shape[-1]) for (view,) in views])
        (of_view,) = patches.memory
        for found, expected in ((of_view, of_memory), (patches.likeness, of_likeness)):
            order, expected_order = (np.lexsort(np.round(a, 3).T) for a in (found, expected))
            np.testing.assert_allclose(found[order], expected[expected_order], rtol=1e-3, atol=1e-3)


def test_the_mask_of_an_abnormal_image_is_cut_like_the_image(reader, images):
    """Of the second image 4 x 6 pixels at its top are abnormal; its tiles are enlarged twofold."""
    mask = np.zeros((24, 40), bool)
    mask[:4, 10:16] = True
    empty = np.zeros((16, 20), bool)
    bags = list(reader.bags(zip(images, (None, mask, empty), strict=True)))
    assert [len(bag) for bag in bags] == TILES
    for bag, tiles in zip(bags, reader.features(images), strict=True):
        for (features, _), expected in zip(bag, tiles, strict=True):
            for a, b in zip(features, expected, strict=True):
                np.testing.assert_array_equal(a, b)
    # What is not known, and a mask that says nothing, are None.
    assert all(where is None for bag in (bags[0], bags[2]) for _, where in bag)
    # Tiles start at rows 0 and 8, and at columns 0, 8, 16 and 24.
    for (_, where), left in zip(bags[1][:2], (0, 8), strict=True):
        first, last = 2 * (10 - left), 2 * (16 - left)
        assert where.shape == (32, 32) and where[:8, first:last].all()
        assert not where[8:].any() and not where[:, :first].any() and not where[:, last:].any()
    assert not any(where.any() for _, where in bags[1][2:])


def test_no_more_abnormal_images_than_asked_for_are_read(reader, images):
    read = []

    def abnormal():
        for index in range(100):
            read.append(index)
            yield images[0], None

    assert len(list(reader.bags(abnormal(), most_images=4))) == 4
    assert read == [0, 1, 2, 3]


def test_a_model_without_a_patch_discriminator_has_frozen_features_of_whole_images(images):
    """Without tiles an image of any size is resized; five make a last batch of one."""
    model = tiny_model(resolution=16, features={**FEATURES, "patch_discriminator": False})
    reader = FeatureReader(model, tile=False, batch_size=4)
    five = [*images, *images[1:]]
    found = list(reader.features(five))
    assert [len(tiles) for tiles in found] == [len(tiles) for tiles in reader.pooled(five)] == [1] * 5
    for image, (features,) in zip(five, found, strict=True):
        for scale, expected in zip(features, frozen_features(reader, image), strict=True):
            np.testing.assert_allclose(scale, expected[0], rtol=1e-3, atol=1e-3)
    assert list(reader.features([])) == [] and reader.pooled([]) == []
