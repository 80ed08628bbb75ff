"""The segmentation: its decoder, its loss and its batches by hand, and what it learns to locate."""

import dataclasses
import math

import numpy as np
import pytest
from keras import ops

from helpers import strange as made_up
from semi_anogan import components as table
from semi_anogan.data.dataset import Dataset
from semi_anogan.networks.segmentation import SegmentationNetwork, decoded
from semi_anogan.scoring.detector import Detector
from semi_anogan.scoring.fit_calibration import HeldOut
from semi_anogan.scoring.likeness import Likeness
from semi_anogan.scoring.segmentation import Segmentation
from semi_anogan.training.segmentation import (
    batch_count,
    fit_segmentation,
    make_batches,
    places,
    segmentation_loss,
    training_batch,
)

STRIPE = np.s_[24:34, 8:56]


def one(size, value):
    """A kernel of one channel, 0 but in the middle."""
    kernel = np.zeros((size, size, 1, 1), np.float32)
    kernel[size // 2, size // 2] = value
    return kernel


def by_hand() -> dict[str, np.ndarray]:
    """Weights of two scales of one channel: 5 leaky(leaky(2 coarse + 1) + 3 fine - 4) + 0.5."""
    values = {"enter0": (1, 3.0, -4.0), "enter1": (1, 2.0, 1.0), "mix0": (3, 1.0, 0.0), "exit": (1, 5.0, 0.5)}
    found = {f"{name}/kernel": one(size, value) for name, (size, value, _) in values.items()}
    return found | {f"{name}/bias": np.float32([bias]) for name, (_, _, bias) in values.items()}


def masked(paths_without=()):
    """(config, model, Dataset with masks of the stripes, Splits with six known)."""
    config, model, dataset, splits = made_up.make()
    known = made_up.of_known(6)

    def read_mask(example):
        if not example.abnormal or example.path in paths_without:
            return None
        mask = np.zeros((64, 64), bool)
        mask[STRIPE] = True
        return mask

    dataset = Dataset("strange", dataset.examples, made_up.read_image, read_mask)
    normal = [e for e in splits.normal if not e.mislabelled]
    return config, model, dataset, dataclasses.replace(splits, normal=normal, abnormal=known)


def test_the_decoder_adds_finer_features_to_coarser_ones():
    fine = np.float32([[1.0, 2.0], [0.0, -1.0]]).reshape(1, 2, 2, 1)
    coarse = np.float32([[3.0]]).reshape(1, 1, 1, 1)
    found = np.asarray(decoded([fine, coarse], by_hand()))[0, :, :, 0]
    # Coarse: 2 x 3 + 1 = 7 everywhere. 7 + 3 x fine - 4: 6, 9, 3, 0.
    np.testing.assert_allclose(found, [[30.5, 45.5], [15.5, 0.5]])
    # 2 x -3 + 1 = -5, leaky -1. -1 + 3 x fine - 4: -2, 1, -5, -8; times 0.2 where negative.
    found = np.asarray(decoded([fine, -coarse], by_hand()))[0, :, :, 0]
    np.testing.assert_allclose(found, [[-1.5, 5.5], [-4.5, -7.5]], rtol=1e-6)


def test_the_component_is_the_mean_of_the_highest_places():
    fine = np.zeros((1, 20, 20, 1), np.float32)
    fine[0, 3, 4:8, 0] = [1, 2, 3, 4]
    value, layer = Segmentation(by_hand()).measured([fine, np.zeros((1, 10, 10, 1), np.float32)])
    # Of 400 places 4 count; 1 + 3 x fine - 4: 0, 3, 6, 9; times 5, plus 0.5.
    assert float(value[0]) == pytest.approx(5 * 4.5 + 0.5)
    assert tuple(layer.shape) == (1, 20, 20, 1) and float(layer[0, 0, 0, 0]) == pytest.approx(-2.5)


def test_trained_weights_take_features_as_they_are():
    rng = np.random.default_rng(0)
    center, deviation = ([rng.uniform(1, 2, c).astype(np.float32) for c in (3, 5, 7)] for _ in range(2))
    network = SegmentationNetwork(center, deviation, seed=3)
    sides = zip((5, 3, 2), (3, 5, 7), strict=True)  # odd: what is doubled is cut
    features = [rng.standard_normal((2, side, side, c)).astype(np.float32) for side, c in sides]
    found = Segmentation(network.arrays()).measured(features)[1]
    np.testing.assert_allclose(found, network(features), rtol=1e-4, atol=1e-4)
    again = Segmentation.of_arrays(**Segmentation(network.arrays()).arrays())
    np.testing.assert_array_equal(found, again.measured(features)[1])
    others = [SegmentationNetwork(center, deviation, seed).arrays()["mix0/kernel"] for seed in (3, 4)]
    np.testing.assert_array_equal(others[0], network.arrays()["mix0/kernel"])
    assert not np.array_equal(*others)


@pytest.mark.parametrize("name", ["exit/bias", "mix0/kernel", "enter1/bias"])
def test_missing_and_unknown_weights_are_named(name):
    weights = by_hand()
    del weights[name]
    with pytest.raises(ValueError, match=f"weights do not fit: .*{name}"):
        Segmentation(weights)
    with pytest.raises(ValueError, match="weights do not fit: other/kernel"):
        Segmentation({**by_hand(), "other/kernel": one(1, 1.0)})


def test_places_are_shares_of_pixels_with_nothing_beyond_the_border():
    mask = np.zeros((1, 3, 5, 1), np.float32)
    mask[0, :, 1:3] = 1
    found = places(mask, 2)[0, :, :, 0]
    np.testing.assert_allclose(found, [[0.5, 0.5, 0.0], [0.25, 0.25, 0.0]])


def test_the_loss_by_hand():
    # Log-odds of 0: a probability of 0.5, an entropy of log 2, of which (1 - 0.5)^2 counts.
    shares, logits = np.float32([[1, 0], [0, 0]]).reshape(1, 2, 2, 1), np.zeros((1, 2, 2, 1), np.float32)
    focal = math.log(2) / 4
    overlap = 1 - (2 * 0.5 + 1) / (4 * 0.5 + 1 + 1)
    assert float(segmentation_loss(shares, logits)[0]) == pytest.approx(4 * focal + 0.5 * overlap)
    # A fifth of a place's pixels: it is not abnormal, and counts a fifth.
    shares[0, 0, 1] = 0.2
    focal = math.log(2) / 4 * (3 + 0.2) / 4
    overlap = 1 - (2 * 0.5 + 1) / (3.2 * 0.5 + 1 + 1)
    assert float(segmentation_loss(shares, logits)[0]) == pytest.approx(4 * focal + 0.5 * overlap)
    # What is right already hardly counts; what is wrong counts in full.
    shares, sure = np.ones((1, 1, 1, 1), np.float32), np.full((1, 1, 1, 1), 8.0, np.float32)
    p = 1 / (1 + math.exp(-8))
    right = 4 * -math.log(p) * (1 - p) ** 2 + 0.5 * (1 - (2 * p + 1) / (p + 2))
    wrong = 4 * -math.log(1 - p) * p**2 + 0.5 * (1 - (2 * (1 - p) + 1) / (1 - p + 2))
    assert float(segmentation_loss(shares, sure)[0]) == pytest.approx(right, abs=1e-6)
    assert float(segmentation_loss(shares, -sure)[0]) == pytest.approx(wrong, rel=1e-5)


def test_a_batch_is_normal_known_and_synthetic_in_another_light():
    config, model, dataset, splits = masked()
    batches = make_batches(config, model, dataset, splits)
    images, shares = training_batch(batches, step=4, size=8, stride=4)
    assert images.shape == (8, 64, 64, 1) and shares.shape == (8, 16, 16, 1)
    # Three normal ones, two known, whose stripe of 480 of 4096 pixels is their mask, three synthetic.
    assert not shares[:3].any() and (shares[5:].sum(axis=(1, 2, 3)) > 0).all()
    of_known = shares[3:5].mean(axis=(1, 2, 3)) * 4096 / 480  # a pasted stripe is up to 1.5 times as long
    assert of_known[0] == pytest.approx(1) and 1 / 1.5**2 < of_known[1] < 1.5**2
    assert all(
        images[i][np.kron(shares[i, :, :, 0] == 1, np.ones((4, 4), bool))].mean() > 0.6 for i in (3, 4)
    )
    # The same again; another step has other images.
    again = training_batch(make_batches(config, model, dataset, splits), 4, 8, 4)
    np.testing.assert_array_equal(images, again[0])
    np.testing.assert_array_equal(shares, again[1])
    assert not np.array_equal(images, training_batch(batches, 5, 8, 4)[0])


def test_many_known_defects_take_more_batches():
    # Each is seen 28 times, two of them in a batch: 14 batches each; at most three times as many as asked.
    assert [batch_count(300, known) for known in (0, 10, 21, 22, 64)] == [300, 300, 300, 308, 896]
    assert [batch_count(300, known) for known in (65, 500)] == [900, 900] and batch_count(0, 64) == 0


def test_known_images_without_a_mask_and_suspicious_ones_are_left_out():
    config, model, dataset, splits = masked(paths_without={"known/2000", "known/2003"})
    batches = make_batches(config, model, dataset, splits, trimmed=splits.normal[:2])
    assert [e.path for e in batches.abnormal] == ["known/2001", "known/2002", "known/2004", "known/2005"]
    assert batches.normal == splits.normal[2:]
    assert batches.synthetic_size(3) == 3 and batches.abnormal_size(3) == 2
    config.batches.masks = False
    batches = make_batches(config, model, dataset, splits)
    assert batches.abnormal == [] and batches.synthetic_size(3) == 5
    config.objective.synthetic_weight = 0.0
    assert fit_segmentation(config, model, dataset, splits, steps=5) is None


@pytest.fixture(scope="module")
def fitted():
    """(model, the segmentation after 60 batches)."""
    config, model, dataset, splits = masked()
    return model, fit_segmentation(config, model, dataset, splits, steps=60)


def test_it_locates_the_known_defects_in_images_it_has_not_seen(fitted):
    from sklearn.metrics import roc_auc_score

    model, segmentation = fitted
    images = np.stack([made_up.read_image(e) for e in [*made_up.of_known(20)[8:]]])
    _, maps = segmentation.measured(model.pretrained(images))
    truth = np.zeros((64, 64), bool)
    truth[STRIPE] = True
    truth = truth.reshape(16, 4, 16, 4).mean(axis=(1, 3))
    clear = (truth == 0) | (truth == 1)
    maps = np.asarray(maps)[..., 0]
    aurocs = [roc_auc_score(truth[clear] == 1, m[clear]) for m in maps]
    assert min(aurocs) > 0.95
    assert (maps[:, truth == 1].mean(axis=1) > 0).all() and (maps[:, truth == 0].mean(axis=1) < 0).all()


def test_fitting_again_gives_the_same_bits(fitted):
    config, model, dataset, splits = masked()
    first, second = (fit_segmentation(config, model, dataset, splits, steps=3).arrays() for _ in range(2))
    assert first.keys() == second.keys()
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name])


def test_a_former_one_is_trained_on_with_a_fifth_of_the_batches(fitted, monkeypatch):
    """It starts from the same log-odds, whatever it is standardised by; its batches are new ones."""
    from semi_anogan.training import segmentation as training

    model, former = fitted
    features = [np.asarray(f) for f in model.pretrained(made_up.read_image(made_up.of_known(1)[0])[None])]
    channels = [f.shape[-1] for f in features]
    network = SegmentationNetwork([np.full(c, 0.3) for c in channels], [np.full(c, 2.0) for c in channels])
    assert network.start_from(former.arrays())
    np.testing.assert_allclose(np.asarray(network(features)), decoded(features, former.weights), atol=1e-3)
    assert not network.start_from({"exit/bias": np.zeros(2)})

    seen, batch = [], training.training_batch
    monkeypatch.setattr(
        training, "training_batch", lambda b, step, *a: seen.append(step) or batch(b, step, *a)
    )
    config, _, dataset, splits = masked()
    again = fit_segmentation(config, model, dataset, splits, steps=12, former=former)
    assert seen == list(range(36, 44))  # 36 batches for six known; a fifth of them, rounded up
    moved = np.abs(again.weights["exit/kernel"] - former.weights["exit/kernel"])
    assert 0 < moved.max() < 0.01  # eight steps of at most 0.001


def test_it_makes_the_map_and_stays_where_it_weighs_nothing(fitted):
    model, segmentation = fitted
    names = ("discriminator", "segmentation")
    detector = Detector(model, components=names, segmentation=segmentation, batch_size=8)
    normal = [made_up.read_image(made_up.example(f"normal/{i}")) for i in range(200, 212)]
    detector = detector.calibrate(HeldOut(normal), 0.2, base=("discriminator",))
    assert detector.calibration.weights == (1.0, 0.0)
    count = detector.graph.layer_counts["discriminator"]
    np.testing.assert_allclose(detector._map_weights(), [*[0.0] * count, 1.0], rtol=1e-6)
    pruned = detector.pruned()
    assert pruned.names == names
    striped = np.stack([made_up.read_image(e) for e in made_up.of_known(4)])
    before, after = detector(striped), pruned(striped)
    np.testing.assert_array_equal(before.scores, after.scores)
    np.testing.assert_array_equal(before.maps, after.maps)


def test_known_images_that_trained_it_do_not_weigh_it(fitted):
    """It tells them apart best, as the discriminator does: it has seen them. The likeness alone may weigh."""
    assert "segmentation" in table.names_where(trained_on_known=True, fitted=True, locates=True)
    model, segmentation = fitted
    names = ("discriminator", "likeness", "segmentation")
    likeness = Likeness([np.ones(c) for c in model.pretrained.channels[:-1]], 0.0, left_out=[2.0, 2.5])
    detector = Detector(model, components=names, likeness=likeness, segmentation=segmentation)
    rows = np.random.default_rng(0).standard_normal((60, 3))
    weights = detector.evidence(HeldOut(rows, known=np.full((2, 3), 9.0))).calibration(0.05).weights
    assert weights[0] == weights[2] == 0 < weights[1]


def test_the_loss_is_one_value_an_image():
    assert tuple(segmentation_loss(ops.zeros((3, 2, 2, 1)), ops.zeros((3, 2, 2, 1))).shape) == (3,)
