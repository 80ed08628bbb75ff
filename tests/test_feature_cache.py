"""Features of training images: the network's own, computed once for each image, whatever its company."""

import numpy as np
import pytest

from helpers.tiny_runs import tiny_config
from helpers.trained import tiny_model
from semi_anogan.networks.patch_discriminator import FeatureSettings
from semi_anogan.runs import build
from semi_anogan.training import loop
from semi_anogan.training.feature_cache import BATCH, FeatureCache


@pytest.fixture(scope="module")
def model():
    return tiny_model(features={"name": "efficientnet_lite0", "resolution": 32})


def images(count, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (count, 32, 32, 1)).astype(np.float32)


def test_features_are_those_of_the_frozen_network(model):
    found = FeatureCache(model, 1)(images(5))
    expected = model.pretrained_features(images(5))
    assert list(found) == ["features_0", "features_1", "features_2"]
    for values, wanted in zip(found.values(), expected, strict=True):
        np.testing.assert_allclose(values, np.asarray(wanted), rtol=2e-3, atol=2e-3)  # float16
        np.testing.assert_array_equal(values, values.astype(np.float16))


def test_an_image_is_read_once_and_is_the_same_in_any_company(model):
    cache, batches = FeatureCache(model, 1), []
    extract = cache._extract
    cache._extract = lambda x: batches.append(len(x)) or extract(x)
    first = cache(images(3))
    again = cache(np.concatenate([images(2, seed=1), images(3)[::-1]]))
    assert batches == [BATCH, BATCH]  # the second for the two new ones alone
    for name, values in again.items():
        np.testing.assert_array_equal(values[2:], first[name][::-1])
    cache(images(3))
    assert len(batches) == 2
    fresh = FeatureCache(model, 1)(images(3)[2:])
    for name, values in fresh.items():
        np.testing.assert_array_equal(values[0], first[name][2])
    # A mirrored image is another one.
    assert np.abs(cache(images(3)[:, ::-1])["features_0"] - first["features_0"]).max() > 0.01


def test_without_memory_features_are_computed_again_and_the_same(model):
    cache = FeatureCache(model, 0)
    first, second = cache(images(2)), cache(images(2))
    assert not cache._kept
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name])


@pytest.mark.parametrize(("changes", "kept"), [({}, 64), ({"batches__shift_px": 2}, 0)])
def test_features_of_shifted_images_are_not_kept(tmp_path, changes, kept):
    """They hardly ever come again."""
    config = tiny_config(features__name="efficientnet_lite0", features__resolution=32, **changes)
    config.images.cache_megabytes = 64
    _, splits, store = build.load_data(config)
    build.resolve(config, len(splits.abnormal))
    assert loop.Training(config, tmp_path, splits, store).features._left == kept * 2**20


def test_a_step_takes_given_features(model):
    """The loss of a batch with its features is that of the batch alone, which computes them."""
    model.compile(alpha=0.5, latent_noise=0.0)
    batch = {"images": images(6), "labels": np.float32([0, 0, 0, 0, 1, 2])}
    batch["latents"] = np.zeros((4, model.latent_size), np.float32)
    batch["mix"] = np.zeros((4, 1, 1, 1), np.float32)
    alone = [float(x) for x in model.losses(model.unpack(batch))[:2]]
    model.standardization.steps.assign(0.0)
    given = model.unpack({**batch, **FeatureCache(model, 1)(batch["images"])})
    assert given.features is not None and isinstance(model.features, FeatureSettings)
    assert [float(x) for x in model.losses(given)[:2]] == pytest.approx(alone, rel=0.02)
