"""The classifier of whole images."""

import numpy as np
import pytest

from semi_anogan.scoring.classifier import INVERSE_STRENGTH, Classifier, pooled


def vectors(rng, count, offset=0.0):
    """Pooled features of images of one tile, [1, 3] each; the second, the largest by far, has the offset."""
    scale, mean = (1, 100, 1), (0, 100 * offset, 5)
    return [(rng.normal(0, 1, (1, 3)) * scale + mean).astype(np.float32) for _ in range(count)]


def test_means_come_first_then_standard_deviations():
    """By hand: one feature of 0, 2, 4 and 6, mean 3, squares 9, 1, 1 and 9; two of a single position."""
    fine, coarse = np.float32([0, 2, 4, 6]).reshape(1, 2, 2, 1), np.float32([7, -1]).reshape(1, 1, 1, 2)
    expected = [[3, 7, -1, 5**0.5, 1e-6, 1e-6]]
    np.testing.assert_allclose(np.asarray(pooled([fine, coarse])), expected, rtol=1e-6)


def test_log_odds_are_the_product_with_the_pooled_features():
    rng = np.random.default_rng(0)
    features = [rng.normal(0, 1, shape).astype(np.float32) for shape in ((2, 4, 4, 2), (2, 2, 2, 3))]
    weights = rng.normal(0, 1, 10)
    wide = [f.astype(np.float64) for f in features]
    pooled_by_hand = np.concatenate([f.mean((1, 2)) for f in wide] + [f.std((1, 2)) for f in wide], axis=1)
    found = np.asarray(Classifier(weights, -0.5).values(features))
    np.testing.assert_allclose(found, pooled_by_hand @ weights - 0.5, rtol=1e-5, atol=1e-5)


def test_it_is_the_logistic_regression_on_standardised_features():
    """Its loss, by hand, has no slope there: |w|^2 / 2 + C times the losses, each kind half of the weight."""
    rng = np.random.default_rng(1)
    normal, abnormal = vectors(rng, 40), vectors(rng, 10, 2.0)
    found = Classifier.fit(normal, abnormal)
    x = np.concatenate(normal + abnormal).astype(np.float64)
    center, scale = x.mean(axis=0), x.std(axis=0)
    w = found.weights * scale
    z = (x - center) / scale
    label = np.where(np.arange(50) < 40, -1.0, 1.0)
    weight = np.where(label < 0, 50 / 2 / 40, 50 / 2 / 10)
    pull = weight * label / (1 + np.exp(label * (z @ w + found.bias + center @ found.weights)))
    np.testing.assert_allclose(w, INVERSE_STRENGTH * pull @ z, rtol=2e-2, atol=2e-4)
    assert pull.sum() == pytest.approx(0, abs=0.05)  # the bias is not shrunk
    assert w[1] > 2 * np.abs(w[[0, 2]]).max()  # where the offset is


def test_a_feature_that_is_constant_in_normal_images_is_not_blown_up():
    """0 in them, to the last digit, and 1 in a tenth of the abnormal ones: it weighs no more than others."""
    rng = np.random.default_rng(3)
    normal, abnormal = vectors(rng, 100), vectors(rng, 20, 2.0)
    for vector in normal + abnormal:
        vector[0, 2] = 0.0
    for vector in abnormal[:2]:
        vector[0, 2] = 1.0
    found = Classifier.fit(normal, abnormal)
    assert 0 < found.weights[2] < 5
    assert np.abs(np.concatenate(normal + abnormal) @ found.weights + found.bias).max() < 5


def test_of_an_abnormal_image_of_several_tiles_the_most_abnormal_one_counts():
    rng = np.random.default_rng(2)
    normal, defects = vectors(rng, 60), vectors(rng, 12, 6.0)
    rest = [np.concatenate(vectors(rng, 3)) for _ in defects]
    of_four = [np.concatenate([r[:1], d, r[1:]]) for r, d in zip(rest, defects, strict=True)]
    tiled = Classifier.fit(normal, of_four)
    alone = Classifier.fit(normal, defects)
    np.testing.assert_allclose(tiled.weights, alone.weights, rtol=1e-6)
    assert tiled.bias == alone.bias


def test_refusals():
    with pytest.raises(ValueError, match="needs normal and abnormal images, got 1 and 0"):
        Classifier.fit([np.zeros((1, 3), np.float32)], [])
    with pytest.raises(ValueError, match=r"got shapes \(1, 2\) and \(\)"):
        Classifier(np.zeros((1, 2)), 0.0)


def test_an_image_of_several_tiles_has_the_log_odds_of_the_most_abnormal_one():
    from semi_anogan.networks.model import SemiAnoGAN
    from semi_anogan.networks.pretrained.load import load_features
    from semi_anogan.scoring.detector import Detector
    from semi_anogan.scoring.feature_reader import FeatureReader

    features = {"name": "efficientnet_lite0", "resolution": 32, "trainable_blocks": 1}
    sizes = {"resolution": 16, "latent_channels": 8, "filters_base": 64, "filters_cap": 8}
    model = SemiAnoGAN(**sizes, features=features, seed=1)
    images = np.random.default_rng(4).uniform(-1, 0, (8, 16, 24, 1)).astype(np.float32)
    images[5:, :, :8] += 1.0
    reader = FeatureReader(model, tile=True, batch_size=4)
    classifier = Classifier.fit(reader.pooled(images[:5]), reader.pooled(images[5:]))
    settings = {"components": ("discriminator", "classifier"), "tile": True, "batch_size": 4}
    detector = Detector(model, **settings, classifier=classifier)
    parts = [np.stack(list(reader.preparation.cut(image))) for image in images]
    expected = [np.asarray(classifier.values(load_features()(p))) for p in parts]
    assert {len(values) for values in expected} == {2}
    found = [m.components[1] for m in detector.measure(images)]
    np.testing.assert_allclose(found, [values.max() for values in expected], rtol=1e-4, atol=1e-4)
    assert min(found[5:]) > max(found[:5])
