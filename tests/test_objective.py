"""The objective put together: the reconstruction by hand, what the discriminator judges, who learns what."""

import keras
import numpy as np
import pytest
from keras import ops

from helpers.trained import tiny_model
from semi_anogan.backend import Trainer, make_strategy
from semi_anogan.networks import losses, objective
from semi_anogan.networks.model import SemiAnoGAN
from semi_anogan.networks.objective import PUSH_SHARE

EAGER = keras.backend.backend() == "tensorflow"
FEATURES = {"name": "efficientnet_lite0", "resolution": 32}
STAGE = {"resolution": 8, "fade": 1.0}
# The pixels of every other image are drawn again: two normal ones, a known and a synthetic one.
LABELS = np.float32([0, 1, 0, 2, 1, 0, 2, 0])


@pytest.fixture(autouse=True)
def wide_margin(monkeypatch):
    """Reconstructions of untrained networks are beyond the real one, where there is no push."""
    monkeypatch.setattr(objective, "MARGIN", 1.9)


def numpy(x):
    return np.asarray(x, np.float64)


def model_of(features=None, seed=0, **settings):
    """A compiled model; with features it takes images of 32 x 32."""
    model = tiny_model(features=features, seed=seed)
    given = {"trim_share": 0.0, "penalty_weight": 0.0, "latent_noise": 0.0, **settings}
    model.compile(run_eagerly=EAGER, **given)
    return model


def batch_of(model, labels=LABELS, masks=True):
    """The model's Batch of noise; masks, where wanted, leave the right half of the abnormal images out."""
    rng = np.random.default_rng(0)
    count, side = len(labels), model.image_size
    data = {
        "images": rng.uniform(-1, 1, (count, side, side, 1)).astype(np.float32),
        "labels": np.float32(labels),
        "latents": rng.uniform(-1, 1, (4, model.latent_size)).astype(np.float32),
        "mix": rng.random((4, 1, 1, 1), dtype=np.float32),
    }
    if masks:
        data["masks"] = np.ones((count, side, side, 1), np.float32)
        data["masks"][data["labels"] > 0, :, side // 2 :] = 0.0
    return data


def reconstructed(model, data):
    """(reconstructions, loss, logs) of the batch, as numbers."""
    batch = model.unpack(data)
    images = objective.at_stage(batch.images, **STAGE)
    redrawn, loss, logs = objective.reconstruction(model, batch, images, STAGE)
    return numpy(redrawn), float(loss), {name: float(value) for name, value in logs.items()}


def reduced(images, side=8):
    factor = images.shape[1] // side
    return images.reshape(len(images), side, factor, side, factor, 1).mean(axis=(2, 4))


def features_by_hand(model, images, normal):
    """Pretrained features standardised over the normal ones, as the first step does."""
    found = []
    for f in map(numpy, model.pretrained_features(images)):
        mean, square = (np.mean(x[normal], axis=(0, 1, 2)) for x in (f, f**2))
        found.append((f - mean) / np.sqrt(np.maximum(square - mean**2, 0) + 1e-6))
    return found


def maps_by_hand(features, drawn):
    """1 - cosine of each place."""
    found = []
    for a, b in zip(features, map(numpy, drawn), strict=True):
        lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
        found.append((1 - (a * b).sum(axis=-1) / np.maximum(lengths, 1e-9))[..., None])
    return found


def parts_by_hand(model, data):
    """(reconstructions, residual [M]) of every other image, (maps, what is pushed [N]) of all."""
    images = data["images"]
    features = features_by_hand(model, images, data["labels"] == 0)
    encoded = np.tanh(model.encoder([ops.convert_to_tensor(np.float32(f)) for f in features]))
    redrawn = numpy(model.generator(encoded[::2]))
    residual = np.abs(reduced(images[::2]) - redrawn).mean(axis=(1, 2, 3))
    maps = maps_by_hand(features, model.feature_generator(encoded))
    tensors = [ops.convert_to_tensor(np.float32(m)) for m in maps]
    away = numpy(losses.push(tensors, objective.MARGIN, PUSH_SHARE))
    return redrawn, residual, maps, away


# Reconstruction


@pytest.mark.parametrize("masks", [True, False])
@pytest.mark.parametrize("alpha", [0.3, 1.0])
def test_reconstruction_by_hand(alpha, masks):
    model = model_of(FEATURES, alpha=alpha, reconstruction_weight=7.0, push_weight=0.5)
    data = batch_of(model, masks=masks)
    images, residual, maps, away = parts_by_hand(model, data)
    redrawn, loss, logs = reconstructed(model, data)
    np.testing.assert_allclose(redrawn, images, rtol=1e-3, atol=1e-4)
    of_pixels = residual[:2].mean()
    normal, known = (data["labels"] == label for label in (0, 1))
    of_features = np.mean([m[normal].mean() for m in maps])
    push = (1 - alpha) * away[known].mean()
    assert loss == pytest.approx(7 * (of_pixels + of_features + 0.5 * push), rel=1e-3)
    assert away[known].mean() > 0.1
    normal = reduced(data["images"][::2][:2])
    unit = np.abs(normal - normal.mean(axis=0)).mean()
    assert logs["reconstruction"] == pytest.approx(of_pixels / unit, rel=1e-3)
    assert logs["feature_residual"] == pytest.approx(of_features, rel=1e-3)


def test_with_alpha_1_known_images_add_nothing():
    """Another known one, and none at all, leave the loss as it is."""
    found = []
    for change in (0.0, 0.5):
        model = model_of(FEATURES, alpha=1.0)
        data = batch_of(model)
        data["images"][4] = np.clip(data["images"][4] + change, -1, 1)
        found.append(reconstructed(model, data)[1])
    assert found[0] == pytest.approx(found[1], rel=1e-5)
    model = model_of(FEATURES, alpha=0.5)
    assert abs(reconstructed(model, data)[1] - found[0]) > 1e-3


def test_without_a_push_abnormal_images_add_nothing():
    model = model_of(FEATURES, push_weight=0.0, reconstruction_weight=2.0)
    data = batch_of(model)
    _, residual, maps, _ = parts_by_hand(model, data)
    expected = 2 * (residual[:2].mean() + np.mean([m[data["labels"] == 0].mean() for m in maps]))
    assert reconstructed(model, data)[1] == pytest.approx(expected, rel=1e-3)


def test_images_after_those_with_features_are_judged_only():
    """As synthetic ones are in training: the same reconstruction as without them, and all of the logits."""
    model = model_of(FEATURES)
    data = batch_of(model, labels=[0, 1, 0, 0, 1, 2, 2, 2], masks=False)
    first = {name: value if name in ("latents", "mix") else value[:5] for name, value in data.items()}
    images, expected, _ = reconstructed(model, first)
    features = map(numpy, model.pretrained_features(data["images"][:5]))
    model = model_of(FEATURES)
    given = {**data, **{f"features_{i}": np.float32(f) for i, f in enumerate(features)}}
    redrawn, loss, _ = reconstructed(model, given)
    assert loss == pytest.approx(expected, rel=1e-4) and len(redrawn) == 3
    np.testing.assert_allclose(redrawn, images, rtol=1e-3, atol=1e-4)
    normal = np.float32(data["labels"] == 0)
    logits = numpy(model.discriminator(reduced(data["images"]), weights=normal)[0])
    judged = model.losses(model.unpack(given))[2]["abnormal_logit"]
    assert float(judged) == pytest.approx(logits[normal == 0].mean(), rel=1e-3)


def test_without_a_weight_there_is_none():
    model = model_of(FEATURES, reconstruction_weight=0.0)
    batch = model.unpack(batch_of(model))
    images = objective.at_stage(batch.images, **STAGE)
    assert objective.reconstruction(model, batch, images, STAGE) == (None, 0.0, {})


def test_without_pretrained_features_the_images_are_encoded():
    model = model_of(reconstruction_weight=3.0)
    data = batch_of(model, masks=False)
    images = data["images"][::2]
    encoded = np.tanh(model.encoder(images))
    expected = np.abs(images - numpy(model.generator(encoded))).mean(axis=(1, 2, 3))
    redrawn, loss, logs = reconstructed(model, data)
    np.testing.assert_allclose(redrawn, numpy(model.generator(encoded)), rtol=1e-4, atol=1e-5)
    assert loss == pytest.approx(3 * expected[:2].mean(), rel=1e-4)
    assert set(logs) == {"reconstruction"}


def test_reconstruction_at_an_earlier_stage():
    """The images are those of the stage; the encoder sees them whole."""
    model = model_of(reconstruction_weight=1.0)
    data = batch_of(model, masks=False)
    batch, stage = model.unpack(data), {"resolution": 4, "fade": 1.0}
    redrawn, loss, _ = objective.reconstruction(
        model, batch, objective.at_stage(batch.images, **stage), stage
    )
    encoded = np.tanh(model.encoder(data["images"][::2]))
    expected = numpy(model.generator(encoded, resolution=4))
    np.testing.assert_allclose(numpy(redrawn), expected, rtol=1e-4, atol=1e-5)
    residual = np.abs(reduced(data["images"][::2], 4) - expected).mean(axis=(1, 2, 3))
    assert float(loss) == pytest.approx(residual[:2].mean(), rel=1e-4)


def test_images_that_are_all_alike_say_nothing_of_the_reconstruction():
    """Nor does a single one: there is no difference to compare with, and no division by it."""
    model = model_of()
    data = batch_of(model, masks=False)
    data["images"][:] = data["images"][:1]
    assert reconstructed(model, data)[2]["reconstruction"] == 0.0
    single = batch_of(model, labels=[0, 0], masks=False)
    assert reconstructed(model, single)[2]["reconstruction"] == 0.0


def test_noisy_by_hand():
    encoded = ops.convert_to_tensor(np.float32([[0.5, -0.5], [0.0, 0.9], [-0.9, 0.1]]))
    latents = ops.convert_to_tensor(np.float32([[1.0, -1.0], [0.5, 0.25]]))
    np.testing.assert_array_equal(numpy(objective._noisy(encoded, latents, 0.0)), numpy(encoded))
    found = numpy(objective._noisy(encoded, latents, 0.4))  # the third takes the first's again; 1.0 is most
    np.testing.assert_allclose(found, [[0.9, -0.9], [0.2, 1.0], [-0.5, -0.3]], rtol=1e-5)


def test_the_noise_is_on_what_the_generator_draws():
    model = model_of(latent_noise=0.5)
    data = batch_of(model, masks=False)
    noise = np.tile(data["latents"], (2, 1))  # eight images, four latents
    encoded = np.clip(np.tanh(model.encoder(data["images"])) + 0.5 * noise, -1, 1)
    expected = numpy(model.generator(ops.convert_to_tensor(np.float32(encoded[::2]))))
    np.testing.assert_allclose(reconstructed(model, data)[0], expected, rtol=1e-3, atol=1e-4)


def test_a_step_keeps_statistics_and_the_scales_of_the_residual():
    model = model_of(FEATURES)
    data = batch_of(model)
    _, _, maps, _ = parts_by_hand(model, data)
    of_scales = np.array([m[data["labels"] == 0].mean() for m in maps])
    reconstructed(model, data)
    np.testing.assert_allclose(numpy(model.residual_scales), 0.98 + 0.02 * of_scales, rtol=1e-4)
    normal = numpy(model.pretrained_features(data["images"][data["labels"] == 0])[0])
    np.testing.assert_allclose(
        numpy(model.standardization.means[0]), normal.mean(axis=(0, 1, 2)), rtol=1e-3, atol=1e-4
    )
    assert float(model.standardization.steps) == 1
    before = numpy(model.residual_scales)
    reconstructed(model, data)
    np.testing.assert_allclose(numpy(model.residual_scales), 0.98 * before + 0.02 * of_scales, rtol=1e-3)


def test_a_batch_without_normal_images_moves_no_statistics():
    model = model_of(FEATURES)
    reconstructed(model, batch_of(model))
    kept = [*model.standardization.variables, model.residual_scales]
    before = [numpy(v) for v in kept]
    _, loss, logs = reconstructed(model, batch_of(model, labels=[1, 1, 2, 2]))
    for variable, value in zip(kept, before, strict=True):
        np.testing.assert_array_equal(numpy(variable), value)
    assert np.isfinite(loss) and logs == {"reconstruction": 0.0, "feature_residual": 0.0}


def test_the_encoder_learns_from_the_features_alone_where_there_are_any(monkeypatch):
    """What is said of pixels moves the generator, and the encoder only of a model without features."""

    def pixels_alone(self, batch):
        redrawn, _, logs = objective.reconstruction(self, batch, batch.images[:, ::4, ::4], STAGE)
        return 0.0 * ops.mean(redrawn), ops.mean(ops.abs(redrawn)), logs

    for features in (None, FEATURES):
        model = model_of(features, optimizer=keras.optimizers.SGD(0.1))
        data = batch_of(model)
        if features is None:
            data = {
                k: v.repeat(4, 1).repeat(4, 2) if k in ("images", "masks") else v for k, v in data.items()
            }
            monkeypatch.setattr(model, "image_shape", (32, 32))
        monkeypatch.setattr(SemiAnoGAN, "losses", pixels_alone)
        before = [[numpy(v) for v in n.trainable_variables] for n in (model.generator, model.encoder)]
        Trainer(model, make_strategy("one_device")[0])(data)
        networks = (model.generator, model.encoder)
        moved = [
            any(np.any(numpy(v) != w) for v, w in zip(n.trainable_variables, old, strict=True))
            for n, old in zip(networks, before, strict=True)
        ]
        assert moved == [True, features is None]
        monkeypatch.undo()


# What the discriminator judges


def test_losses_with_reconstructions_by_hand():
    """Half of what it judges as generated is generated, half reconstructed: every other of each."""
    settings = {"alpha": 0.3, "synthetic_weight": 0.0, "reconstruction_weight": 5.0}
    model = model_of(**settings)
    data = batch_of(model, labels=[0, 0, 0, 1, 0, 1], masks=False)
    redrawn, reconstruction, _ = reconstructed(model, data)
    generated = numpy(model.generator(data["latents"]))
    judged = ops.convert_to_tensor(np.float32(np.concatenate([generated[::2], redrawn[::2]])))
    assert judged.shape[0] == 2 + 2
    on_generated = numpy(model.discriminator(judged, weights=np.ones(4, np.float32))[0])
    normal = np.float32(data["labels"] == 0)
    logits = numpy(model.discriminator(data["images"], weights=normal)[0])
    discriminator_loss, generator_loss, logs = model.losses(model.unpack(data))
    softplus = losses.NonSaturating.generated
    expected = (
        numpy(softplus(-logits[normal > 0])).mean()
        + 0.3 * numpy(softplus(on_generated)).mean()
        + 0.7 * numpy(softplus(logits[normal == 0])).mean()
    )
    assert float(discriminator_loss) == pytest.approx(expected, rel=1e-4)
    adversarial = numpy(softplus(-on_generated)).mean()
    assert float(generator_loss) == pytest.approx(adversarial + reconstruction, rel=1e-4)
    assert float(logs["generator_loss"]) == pytest.approx(adversarial, rel=1e-4)  # the adversarial part alone
    spread = [np.std(x, axis=0).mean() for x in (generated, data["images"][normal > 0])]
    assert float(logs["variety"]) == pytest.approx(spread[0] / spread[1], rel=1e-3)


# Which loss trains what


def test_the_generating_variables_come_first():
    for features in (None, FEATURES, {**FEATURES, "patch_discriminator": True, "projected": True}):
        model = tiny_model(features=features)
        count = len(model.generating_variables)
        networks = [model.generator, model.feature_generator, model.encoder]
        expected = [v for n in networks if n is not None for v in n.trainable_variables]
        first, rest = model.trainable_variables[:count], model.trainable_variables[count:]
        assert (
            [id(v) for v in first] == [id(v) for v in model.generating_variables] == [id(v) for v in expected]
        )
        assert [id(v) for v in rest] == [id(v) for v in model.discriminating_variables]
        assert {id(v) for v in model.discriminator.trainable_variables} <= {id(v) for v in rest}


@pytest.mark.parametrize("which", ["generator", "discriminator"])
def test_each_loss_trains_its_own_networks_alone(which, monkeypatch):
    both = SemiAnoGAN.losses

    def one(self, batch):
        discriminator_loss, generator_loss, logs = both(self, batch)
        of_generator = which == "generator"
        return discriminator_loss * (not of_generator), generator_loss * of_generator, logs

    monkeypatch.setattr(SemiAnoGAN, "losses", one)
    model = model_of(FEATURES, optimizer=keras.optimizers.SGD(0.01), penalty_weight=1.0)
    data = batch_of(model)
    before = {v.path: numpy(v) for v in model.trainable_variables}
    Trainer(model, make_strategy("one_device")[0])(data)
    moved = {v.path for v in model.trainable_variables if np.any(numpy(v) != before[v.path])}
    networks = {
        "generator": (model.generator, model.feature_generator, model.encoder),
        "discriminator": (model.discriminator,),
    }
    kernels = {v.path for n in networks[which] for v in n.trainable_variables if v.path.endswith("kernel")}
    unused = {path for path in kernels if "to_image_4" in path or "from_image_4" in path}
    assert kernels - unused <= moved  # every layer but those of the smaller stage
    assert moved <= {v.path for n in networks[which] for v in n.trainable_variables}


@pytest.mark.slow
def test_training_draws_the_images_and_features_again():
    """After 60 steps on eight images both residuals are clearly lower."""
    model = tiny_model(features=FEATURES)
    optimizer = keras.optimizers.Adam(0.003, 0.0, 0.99)
    model.compile(optimizer, trim_share=0.0, latent_noise=0.0, average_decay=0.9)
    rng = np.random.default_rng(0)
    flat = rng.uniform(-0.8, 0.8, (8, 4, 4, 1)).astype(np.float32).repeat(8, axis=1).repeat(8, axis=2)
    data = {**batch_of(model, labels=[0] * 8, masks=False), "images": flat}
    trainer = Trainer(model, make_strategy("one_device")[0])
    logs = [{k: float(v) for k, v in trainer(data).items()} for _ in range(60)]
    trainer.sync()
    assert logs[-1]["reconstruction"] < 0.7 * logs[0]["reconstruction"]
    assert logs[-1]["feature_residual"] < 0.7 * logs[0]["feature_residual"]


# fit


@pytest.mark.slow
def test_fit_with_features_and_an_unknown_batch_size():
    tf = pytest.importorskip("tensorflow")
    model = tiny_model(features={**FEATURES, "patch_discriminator": True})
    model.compile(augment="color,translation")
    given = batch_of(model, labels=[0, 1, 0, 0, 0, 2, 0])  # batches of 3, 3 and 1
    pairs = tf.data.Dataset.from_tensor_slices((given["images"], given["labels"])).batch(3)
    assert pairs.element_spec[0].shape[0] is None
    history = model.fit(pairs, epochs=2, verbose=0).history
    assert {"reconstruction", "feature_residual", "patch_loss", "variety"} <= set(history)
    assert all(len(v) == 2 and np.isfinite(v).all() for v in history.values())
    assert float(model.standardization.steps) == 6
    assert history["reconstruction"][-1] < 100  # a batch of one image does not count as a divergence
