"""The patch discriminator, and a whole model and detector with pretrained features."""

import dataclasses
import types

import numpy as np
import pytest
import tensorflow as tf

from semi_anogan.backend import Trainer, make_strategy
from semi_anogan.config import default_config
from semi_anogan.errors import ConfigError
from semi_anogan.networks import losses, objective
from semi_anogan.networks.model import SemiAnoGAN
from semi_anogan.networks.objective import Batch
from semi_anogan.networks.patch_discriminator import PatchDiscriminator
from semi_anogan.runs import folder as run_folder
from semi_anogan.runs.build import resolve
from semi_anogan.runs.check_config import check
from semi_anogan.scoring.detector import Detector
from semi_anogan.scoring.feature_reader import FeatureReader
from semi_anogan.scoring.fit_calibration import HeldOut
from semi_anogan.scoring.memory import Memory
from semi_anogan.scoring.views import places_of

FEATURES = {
    "name": "efficientnet_lite0",
    "resolution": 32,
    "trainable_blocks": 1,
    "patch_discriminator": True,
}


def test_the_logit_is_the_bias_less_the_worst_patches():
    network = PatchDiscriminator(top_share=0.5)
    network.build()
    network.bias.assign(2.0)
    evidence = [np.float32([1, 5, 3, -1]).reshape(1, 2, 2, 1), np.float32([7]).reshape(1, 1, 1, 1)]
    np.testing.assert_allclose(network.logits(evidence), [2 - (5 + 3) / 2 - 7])
    where = np.zeros((1, 2, 2, 1), np.float32)
    where[0, 0, 0] = 1  # only the first patch counts; the coarse patch holds it too
    np.testing.assert_allclose(network.logits(evidence, where), [2 - 1 - 7])


def test_top_mean_where_nothing_is():
    evidence = np.zeros((1, 2, 2, 1), np.float32)
    np.testing.assert_allclose(losses.top_mean(evidence, 0.5, np.zeros((1, 4, 4, 1), np.float32)), [-1e4])


def test_kept_shares_by_hand():
    # 0.375 of 4 losses are 1.5: the largest is left out and half of the next.
    np.testing.assert_allclose(losses.kept_shares(tf.constant([1.0, 4.0, 2.0, 3.0]), 0.375), [1, 0, 1, 0.5])
    np.testing.assert_allclose(losses.kept_shares(tf.constant([1.0, 4.0]), 0.0), [1, 1])


@pytest.mark.parametrize(("known", "blocks"), [(0, 0), (10, 0), (51, 3), (102, 6), (500, 6)])
def test_how_much_is_fine_tuned_follows_how_much_is_known(known, blocks):
    config = default_config()
    resolve(config, known)
    assert config.features.trainable_blocks == blocks
    resolve(config, 10)
    assert config.features.trainable_blocks == blocks  # once settled it stays


def test_more_known_images_do_not_change_what_a_run_has_begun_to_fine_tune(tmp_path):
    """Reviewed ones or new files: nobody has given the setting, so it refuses nobody."""
    begun = default_config()
    resolve(begun, 40, tmp_path)
    run_folder.claim(tmp_path, begun)
    for reviewed in ("suspicious.csv", None):
        config = default_config()
        config.data.reviewed = reviewed
        resolve(config, 80, tmp_path)
        assert config.features.trainable_blocks == 2


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("features.resolution", 100),
        ("features.top_share", 0.0),
        ("objective.trim_share", 1.0),
        ("search.init", "random"),
    ],
)
def test_settings_out_of_range_are_named(key, value):
    config = default_config()
    config.update_from_flattened_dict({key: value})
    with pytest.raises(ConfigError, match=f"{key} must be .*{value}"):
        check(config)


@pytest.fixture(scope="module")
def trained():
    """A model with features after two steps, and its training images."""
    model = SemiAnoGAN(
        resolution=16, latent_channels=8, filters_base=64, filters_cap=8, features=FEATURES, seed=3
    )
    model.compile(synthetic_weight=0.5, trim_share=None)
    rng = np.random.default_rng(0)
    batch = {
        "images": rng.uniform(-1, 1, (12, 32, 32, 1)).astype(np.float32),
        "labels": np.repeat(np.float32([0, 1, 2]), [6, 4, 2]),
        "masks": np.ones((12, 32, 32, 1), np.float32),
        "latents": rng.uniform(-1, 1, (6, 8)).astype(np.float32),
        "mix": rng.random((6, 1, 1, 1)).astype(np.float32),
    }
    batch["masks"][6:, :, 16:] = 0
    before = [np.array(v) for v in model.variables]
    trainer = Trainer(model, make_strategy("one_device")[0])
    logs = [{k: float(v) for k, v in trainer(batch).items()} for _ in range(2)]
    return model, batch["images"], before, logs


def test_a_step_trains_every_part(trained):
    model, _, before, logs = trained
    assert all(np.isfinite(list(entry.values())).all() for entry in logs)
    assert logs[0]["patch_loss"] > 0 and logs[0]["reconstruction"] > 0 and logs[0]["feature_residual"] > 0
    changed = {id(v) for v, old in zip(model.variables, before, strict=True) if np.any(np.asarray(v) != old)}
    trained, average = model.patch_discriminator, model.patch_discriminator_average
    for part in (
        model.encoder.to_latents,
        model.feature_generator.enter,
        trained.to_evidence[0],
        average.enter[0],
    ):
        assert id(part.kernel) in changed, part.name
    assert id(trained.features.offsets["block15/project/bias"]) in changed


def test_the_mixture_by_hand(trained):
    model = trained[0]
    logits, labels = tf.constant([0.0, 1.0, -1.0, 2.0]), tf.constant([0.0, 0.0, 1.0, 2.0])
    normal = (np.log(2) + np.log1p(np.exp(-1))) / 2
    expected = normal + 0.5 * 0.75 + 0.5 * np.log1p(np.exp(-1)) + 0.5 * np.log1p(np.exp(2))
    model.trim_rate.assign(0.0)
    np.testing.assert_allclose(objective.mixture(model, logits, labels, 0.75), expected, rtol=1e-5)
    model.trim_rate.assign(0.5)  # half of the two normal images: the one with the larger loss
    expected += np.log1p(np.exp(-1)) - normal
    np.testing.assert_allclose(objective.mixture(model, logits, labels, 0.75), expected, rtol=1e-5)


def softplus(x):
    return np.log1p(np.exp(x))


@pytest.mark.parametrize(
    ("alpha", "labels", "expected"),
    [  # logits 0, 1, -1, 2
        (0.5, (0, 0, 1, 2), (softplus(0) + softplus(-1)) / 2 + (softplus(-1) + 0.25 * softplus(2)) / 1.25),
        (0.5, (0, 0, 1, 1), (softplus(0) + softplus(-1)) / 2 + (softplus(-1) + softplus(2)) / 2),
        (0.5, (0, 0, 2, 2), (softplus(0) + softplus(-1)) / 2 + (softplus(-1) + softplus(2)) / 2),
        (1.0, (0, 0, 1, 2), (softplus(0) + softplus(-1)) / 2 + softplus(2)),  # known ones count for nothing
        (0.5, (0, 0, 0, 0), (softplus(0) + softplus(-1) + softplus(1) + softplus(-2)) / 4),
    ],
)
def test_the_loss_of_the_patch_discriminator_by_hand(alpha, labels, expected):
    logits = tf.constant([0.0, 1.0, -1.0, 2.0])
    stand_in = types.SimpleNamespace(
        patch_discriminator=lambda images, where: (logits, None, None),
        objective={"alpha": alpha, "synthetic_weight": 0.25, "trim_share": 0.0},
        sizes={"resolution": 64},
        stage_resolution=32,
    )
    batch = Batch(None, tf.constant(labels, tf.float32), None, None, None, None)
    loss, logs = objective.of_patch_discriminator(stand_in, batch)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    np.testing.assert_allclose(logs["normal_patch_logit"], 0.5)


@pytest.mark.slow
def test_each_of_the_two_trainings_moves_its_own_part_only(trained):
    model, images, _, _ = trained
    batch = {"images": images, "labels": np.repeat(np.float32([0, 1, 2]), [6, 4, 2])}
    state = [np.array(v) for v in model.variables]
    parts = {
        "gan": (
            model.generator,
            model.discriminator,
            model.encoder,
            model.feature_generator,
            model.standardization,
            model.generator_average,
            model.feature_generator_average,
            model.encoder_average,
            model.discriminator_average,
        ),
        "patch_discriminator": (model.patch_discriminator, model.patch_discriminator_average),
    }
    for trains, other in (("gan", "patch_discriminator"), ("patch_discriminator", "gan")):
        model.grow(16, trains)
        before = {v.path: np.array(v) for v in model.variables}
        logs = Trainer(model, make_strategy("one_device")[0])(model_batch(model, batch))
        moved = {v.path for v in model.variables if np.any(np.asarray(v) != before[v.path])}
        assert ("patch_loss" in logs) == (trains == "patch_discriminator")
        assert ("generator_loss" in logs) == (trains == "gan")
        for network in parts[trains]:
            assert moved & {v.path for v in network.variables}, network.name
        for network in parts[other]:
            assert not moved & {v.path for v in network.variables}, network.name
    model.grow(16)
    for variable, value in zip(model.variables, state, strict=True):
        variable.assign(value)


def model_batch(model, batch):
    rng = np.random.default_rng(1)
    latents = rng.uniform(-1, 1, (6, 8)).astype(np.float32)
    return {**batch, "latents": latents, "mix": rng.random((6, 1, 1, 1)).astype(np.float32)}


def test_what_is_trained_is_one_of_three():
    model = SemiAnoGAN(resolution=8, latent_channels=8, filters_base=64, filters_cap=8)
    for wrong in ("patch_discriminator", "generator"):  # it has no patch discriminator
        with pytest.raises(ValueError, match=f"trains must be .*{wrong}"):
            model.grow(8, wrong)


def test_the_detector_with_memory_and_without_search(trained):
    model, images, _, _ = trained
    drawn = FeatureReader(model, tile=False, batch_size=4).patch_samples(images[:6])
    memory = Memory.fit(model.memory_sizes, [p.memory for p in drawn], places_of(model), 20, seed=0)
    detector = Detector(model, search={"iterations": 1}, batch_size=4, memory=memory)
    of_networks = ("residual", "feature_residual", "feature_distance", "discriminator", "patches")
    assert detector.names == (*of_networks, "memory")
    calibrated = detector.calibrate(HeldOut(images[:5], images[6:9]), 0.2)
    assert calibrated.calibration.names == detector.names and calibrated.calibration.normals == 5
    quick = Detector(model, batch_size=4, components=("discriminator", "patches", "memory"), memory=memory)
    whole, few = next(iter(detector.measure(images[3:4]))), list(quick.measure(images[:4]))[3]
    np.testing.assert_allclose(few.components, whole.components[[3, 4, 5]], rtol=1e-4)
    assert few.reconstruction is None and few.difference is None and whole.difference.shape == (16, 16)
    # Two resolutions, three strides, the memory.
    assert quick.search is None and few.layers.shape == (16, 16, 2 + 3 + 1)
    with pytest.raises(ValueError, match="score.components must be among .*, got foo"):
        Detector(model, components=("foo",))


def test_what_locates_makes_the_map_or_else_the_weights_of_the_score_do(trained):
    model, images, _, _ = trained
    settings = {"batch_size": 4, "components": ("discriminator", "patches")}
    fitted = Detector(model, **settings).calibrate(HeldOut(images[:5]), 0.2).calibration
    detector = Detector(model, **settings, calibration=dataclasses.replace(fitted, weights=(0.5, 1.5)))
    np.testing.assert_allclose(detector._map_weights(), [0, 0, 1 / 3, 1 / 3, 1 / 3], rtol=1e-6)
    settings["components"] = ("discriminator",)
    fitted = Detector(model, **settings).calibrate(HeldOut(images[:5]), 0.2).calibration
    np.testing.assert_allclose(Detector(model, **settings, calibration=fitted)._map_weights(), [0.5, 0.5])
