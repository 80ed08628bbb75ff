"""ALOCC: losses and score of networks known by hand, and that R learns to remove noise."""

import numpy as np
import pytest
from keras import ops

from semi_anogan.benchmarks.baselines import alocc


@pytest.fixture
def by_hand():
    """Images of one pixel: R halves it, and D's logit is half of it."""
    model = alocc.Alocc((1, 1, 1))
    weights = {"reconstructor": 0.5, "discriminator": 0.5}
    for network in (model.reconstructor, model.discriminator):
        kernel, bias = network.weights
        middle = np.zeros(kernel.shape, np.float32)
        middle[tuple(side // 2 for side in middle.shape)] = weights[network.name]
        kernel.assign(middle)
        bias.assign(np.zeros(bias.shape, np.float32))
    return model


def test_losses(by_hand):
    images, noisy = np.full((2, 1, 1, 1), 2.0, np.float32), np.ones((2, 1, 1, 1), np.float32)
    of_discriminator, of_reconstructor, logs = by_hand.losses({"images": images, "noisy": noisy})
    redrawn = np.tanh(0.5)  # of a pixel of 1, through R's tanh
    drawn = redrawn / 2  # D's logit
    # D(x) has the logit 1.
    np.testing.assert_allclose(of_discriminator, np.log1p(np.exp(-1)) + np.log1p(np.exp(drawn)), rtol=1e-5)
    error = (2 - redrawn) ** 2
    np.testing.assert_allclose(of_reconstructor, np.log1p(np.exp(-drawn)) + 0.4 * error, rtol=1e-5)
    np.testing.assert_allclose(logs["error"], error, rtol=1e-5)


def test_score_is_the_logit_of_the_redrawn_image(by_hand):
    images = np.array([1.0, -2.0], np.float32).reshape(2, 1, 1, 1)
    np.testing.assert_allclose(by_hand(images), np.tanh([0.5, -1.0]) / 2, rtol=1e-5)


def test_the_variables_of_both_networks_are_divided():
    model = alocc.Alocc((16, 12, 3))
    assert len(model.trainable_variables) == len(model.generating_variables) + len(
        model.discriminating_variables
    )
    images = np.zeros((2, 16, 12, 3), np.float32)
    assert model.reconstructor(images).shape == images.shape  # 12 is halved twice only
    before = [ops.convert_to_numpy(v) for v in model.trainable_variables]
    model.train_on_batch({"images": images + 0.5, "noisy": images + 0.4})
    after = [ops.convert_to_numpy(v) for v in model.trainable_variables]
    assert all((a != b).any() for a, b in zip(before, after, strict=True))


def test_it_learns_and_depends_on_its_seed_alone():
    rng = np.random.default_rng(0)
    normal = np.repeat(rng.choice(np.float32([-0.8, 0.8]), (16, 8, 1, 1)), 8, axis=2)  # horizontal lines
    scores = alocc.alocc(normal, normal[:5], steps=3, flips="h", seed=1)
    assert scores.shape == (5,) and scores.dtype == np.float64
    np.testing.assert_allclose(alocc.alocc(normal, normal[:5], steps=3, flips="h", seed=1), scores, atol=1e-5)
    model = alocc.Alocc(normal.shape[1:])
    noisy = normal + alocc.NOISE * rng.standard_normal(normal.shape, np.float32)
    errors = [float(model.train_on_batch({"images": normal, "noisy": noisy}, return_dict=True)["error"])]
    for _ in range(60):
        found = model.train_on_batch({"images": normal, "noisy": noisy}, return_dict=True)
        errors.append(float(found["error"]))
    # 64 * 0.64 at first, where R draws grey.
    assert errors[0] == pytest.approx(41, abs=4) and errors[-1] < 0.8 * errors[0]


def test_without_normal_images():
    images = np.zeros((2, 8, 8, 1), np.float32)
    with pytest.raises(ValueError, match="needs normal images, got none"):
        alocc.alocc(images[:0], images)
