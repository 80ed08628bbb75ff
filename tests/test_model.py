"""SemiAnoGAN: fit with all forms of data, losses by hand, growth, moving averages, Keras' save and load."""

import keras
import numpy as np
import pytest
from keras import ops

from helpers.trained import tiny_model
from semi_anogan.networks import objective
from semi_anogan.networks.augmentation import DRAWS
from semi_anogan.networks.averaged import Averaged
from semi_anogan.networks.model import SemiAnoGAN

EAGER = keras.backend.backend() == "tensorflow"  # JAX knows no steps that are not traced
# Neither synthetic images, trimming nor reconstruction (test_objective.py), and averages that are slower than
# the configuration's.
MIXTURE_ALONE = {
    "average_decay": 0.995,
    "synthetic_weight": 0.0,
    "trim_share": 0.0,
    "reconstruction_weight": 0.0,
}
LOGS = {
    "discriminator_loss",
    "generator_loss",
    "penalty",
    "normal_logit",
    "generated_logit",
    "abnormal_logit",
    "variety",
}


def images_of(count, seed=0, low=-1.0, high=1.0):
    return np.random.default_rng(seed).uniform(low, high, (count, 8, 8, 1)).astype(np.float32)


def compiled(alpha=0.5, adversarial="non_saturating", seed=0, eager=True, **settings):
    """A compiled model, with the same weights each time; its loss is the mixture alone, or as set.

    eager: steps are not traced, which is faster for a few.
    """
    model = tiny_model(seed=seed)
    settings = {**MIXTURE_ALONE, **settings}
    model.compile(alpha=alpha, adversarial=adversarial, **settings, run_eagerly=eager and EAGER)
    return model


def batch(normal=6, abnormal=2, seed=0):
    """What train_step and losses take: nothing is left to be drawn."""
    rng = np.random.default_rng(seed)
    return {
        "images": images_of(normal + abnormal, seed),
        "labels": np.repeat(np.float32([0, 1]), [normal, abnormal]),
        "latents": rng.uniform(-1, 1, (normal, 8)).astype(np.float32),
        "mix": rng.random((normal, 1, 1, 1), dtype=np.float32),
    }


def train(model, data, steps=1):
    """Steps on a dict batch, as fit takes them; the last one's losses."""
    for _ in range(steps):
        logs = model.train_step(data) if model.run_eagerly else model.train_on_batch(data, return_dict=True)
    return {name: float(value) for name, value in logs.items()}


def softplus(x):
    return np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0)


def weights_of(network):
    return [np.array(w) for w in network.weights]


# Losses


def logits_by_hand(model, data):
    """(logits of the images, of the generated ones) with the batch statistics that training uses."""
    normal = 1 - data["labels"]
    generated = model.generator(data["latents"])
    of_generated = model.discriminator(generated, weights=np.ones(len(data["latents"]), np.float32))[0]
    return (
        np.asarray(model.discriminator(data["images"], weights=normal)[0]),
        np.asarray(of_generated),
        np.asarray(generated),
    )


@pytest.mark.parametrize("alpha", [0.3, 1.0])
def test_losses_are_the_mixture_by_hand(alpha):
    """E_pd[softplus(-l)] + alpha E_pg[softplus(l)] + (1 - alpha) E_pa[softplus(l)]; generator:
    E_pg[softplus(-l)].
    """
    model, data = compiled(alpha, penalty_weight=0.0), batch()
    logits, generated, images = logits_by_hand(model, data)
    discriminator_loss, generator_loss, logs = model.losses(model.unpack(data))
    expected = (
        softplus(-logits[:6]).mean()
        + alpha * softplus(generated).mean()
        + (1 - alpha) * softplus(logits[6:]).mean()
    )
    assert float(discriminator_loss) == pytest.approx(expected, rel=1e-4)
    assert float(generator_loss) == pytest.approx(softplus(-generated).mean(), rel=1e-4)
    assert float(logs["normal_logit"]) == pytest.approx(logits[:6].mean(), rel=1e-3, abs=1e-4)
    assert float(logs["abnormal_logit"]) == pytest.approx(logits[6:].mean(), rel=1e-3, abs=1e-4)
    assert float(logs["generated_logit"]) == pytest.approx(generated.mean(), rel=1e-3, abs=1e-4)
    spread = [np.std(x, axis=0).mean() for x in (images, data["images"][:6])]
    assert float(logs["variety"]) == pytest.approx(spread[0] / spread[1], rel=1e-3)
    assert set(logs) == LOGS


def test_a_batch_of_one_says_nothing_of_variety():
    model, data = compiled(0.5), batch()
    one = {
        "images": data["images"][:1],
        "labels": data["labels"][:1],
        "latents": data["latents"][:1],
        "mix": data["mix"][:1],
    }
    assert set(model.losses(model.unpack(one))[2]) == LOGS - {"variety"}


def test_wasserstein_losses_by_hand():
    model, data = compiled(0.25, "wgan_gp", penalty_weight=0.0), batch()
    logits, generated, _ = logits_by_hand(model, data)
    discriminator_loss, generator_loss, _ = model.losses(model.unpack(data))
    expected = (
        -logits[:6].mean()
        + 0.001 * (logits[:6] ** 2).mean()
        + 0.25 * generated.mean()
        + 0.75 * logits[6:].mean()
    )
    assert float(discriminator_loss) == pytest.approx(expected, rel=1e-3, abs=1e-4)
    assert float(generator_loss) == pytest.approx(-generated.mean(), rel=1e-4)


def numeric_gradient_norms(model, images):
    """||d logit / d image|| of each image [N], by central differences along every pixel."""
    steps = 0.002 * np.eye(64, dtype=np.float32).reshape(1, 64, 8, 8, 1)
    up, down = (
        np.asarray(model.discriminator((images[:, None] + sign * steps).reshape(-1, 8, 8, 1))[0], np.float64)
        for sign in (1, -1)
    )
    return np.sqrt((((up - down) / 0.004).reshape(len(images), 64) ** 2).sum(axis=1))


def test_r1_penalty_is_on_normal_images_of_the_first_share(monkeypatch):
    """1/2 ||grad||^2 of the first quarter of 8 images, of which one is abnormal and does not count."""
    model = compiled(0.5, penalty_weight=3.0, penalty_share=0.25)
    # With running batch statistics the logits do not depend on each other, so that differences give the
    # gradient.
    call = model.discriminator.call
    monkeypatch.setattr(
        model.discriminator, "call", lambda x, weights=None, update=False, **stage: call(x, **stage)
    )
    data = {**batch(8, 0), "labels": np.float32([0, 1, 0, 0, 1, 0, 0, 0])}
    data["images"] = 0.5 * data["images"]
    norms = numeric_gradient_norms(model, data["images"][:2])
    discriminator_loss, _, logs = model.losses(model.unpack(data))
    assert float(logs["penalty"]) == pytest.approx(0.5 * norms[0] ** 2, rel=0.05)
    model.compile(alpha=0.5, penalty_weight=0.0, **MIXTURE_ALONE)
    without = model.losses(model.unpack(data))[0]
    assert float(discriminator_loss) == pytest.approx(float(without) + 3 * float(logs["penalty"]), rel=1e-4)


def test_default_penalty_weights():
    assert compiled(adversarial="non_saturating").objective["penalty_weight"] == 0.1
    assert compiled(adversarial="wgan_gp").objective["penalty_weight"] == 10.0
    assert compiled(penalty_weight=0.5, adversarial="wgan_gp").objective["penalty_weight"] == 0.5


def test_a_batch_without_abnormal_images_is_plain_anogan():
    """Whatever alpha: the generated images then count whole, and the steps are the same bit by bit."""
    data = batch(8, 0)
    results = []
    for alpha in (0.3, 1.0):
        model = compiled(alpha)
        results.append((train(model, data, 2), weights_of(model)))
    (logs, weights), (plain_logs, plain_weights) = results
    assert logs == plain_logs
    assert all(np.array_equal(a, b) for a, b in zip(weights, plain_weights, strict=True))
    assert logs["abnormal_logit"] == 0.0


def test_with_alpha_1_abnormal_images_teach_nothing():
    """Their pixels may be anything: the discriminator's gradients, and so the weights, are the same."""
    weights = []
    for seed in (1, 2):
        model, data = compiled(1.0), batch()
        data["images"][6:] = images_of(2, seed)
        train(model, data)
        model.trim_rate.assign(0.0)  # an estimate that the known images make, of what is not trimmed here
        weights.append(weights_of(model))
    for a, b in zip(*weights, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_with_smaller_alpha_abnormal_images_do_teach():
    weights = []
    for seed in (1, 2):
        model, data = compiled(0.5), batch()
        data["images"][6:] = images_of(2, seed)
        train(model, data)
        weights.append(weights_of(model.discriminator))
    assert max(np.abs(a - b).max() for a, b in zip(*weights, strict=True)) > 1e-4


@pytest.mark.parametrize("alpha", [0.0, -0.1, 1.1, float("nan")])
def test_alpha_outside_its_range_is_named(alpha):
    with pytest.raises(ValueError, match=rf"objective.alpha must be in \(0, 1\], got {alpha}"):
        tiny_model().compile(alpha=alpha)


def test_unknown_objective_is_named():
    with pytest.raises(ValueError, match="wgan_gp.*'hinge'"):
        tiny_model().compile(adversarial="hinge")


def test_wasserstein_training_stays_finite():
    model = compiled(0.5, "wgan_gp")
    logs = [train(model, batch(seed=n)) for n in range(3)]
    assert all(np.isfinite(list(values.values())).all() for values in logs)
    assert all(np.isfinite(w).all() for w in weights_of(model))
    assert logs[0]["penalty"] > 0


# fit


def check(history, steps, logs=frozenset(LOGS)):
    assert set(history.history) == logs
    assert all(len(values) == steps and np.isfinite(values).all() for values in history.history.values())
    return {name: values[-1] for name, values in history.history.items()}


def test_fit_on_arrays_alone_and_with_labels():
    model, images = compiled(), images_of(16)
    last = check(model.fit(images, batch_size=8, verbose=0), 1)
    assert last["abnormal_logit"] == 0.0  # none is known
    assert int(model.optimizer.iterations) == 2
    labels = np.arange(16) % 4 == 0
    last = check(model.fit(images, labels, batch_size=8, epochs=2, shuffle=False, verbose=0), 2)
    assert last["abnormal_logit"] != 0.0
    assert int(model.optimizer.iterations) == 6


def test_fit_on_tf_data_of_tuples_and_dicts():
    tf = pytest.importorskip("tensorflow")
    data = batch()
    pairs = tf.data.Dataset.from_tensors((data["images"], data["labels"].astype(np.int64)))
    model = compiled()
    assert check(model.fit(pairs, verbose=0), 1)["abnormal_logit"] != 0.0
    everything = tf.data.Dataset.from_tensors(data)
    some = tf.data.Dataset.from_tensors({"images": data["images"], "labels": data["labels"][:, None]})
    expected = train(compiled(), data)
    model = compiled()
    last = check(model.fit(everything, verbose=0), 1)
    assert last == pytest.approx(expected, rel=1e-5)  # nothing was drawn, so it is the same step
    assert check(model.fit(some, verbose=0), 1)["abnormal_logit"] != 0.0


def test_training_tells_known_abnormal_images_from_normal_ones():
    """Dark is normal and bright is not: after 40 steps the logits and the averaged networks say so."""
    normal, abnormal = images_of(48, 1, -0.8, -0.2), images_of(16, 2, 0.2, 0.8)
    images, labels = np.concatenate([normal, abnormal]), np.repeat([0, 1], [48, 16])
    model = compiled(0.5, eager=False, optimizer=keras.optimizers.Adam(0.01, 0.0, 0.99))
    last = check(model.fit(images, labels, batch_size=16, epochs=10, verbose=0), 10)
    assert last["normal_logit"] > last["abnormal_logit"] + 0.5
    new_normal, new_abnormal = images_of(8, 3, -0.8, -0.2), images_of(8, 4, 0.2, 0.8)
    for network in (model.discriminator, model.discriminator_average):
        assert np.asarray(network(new_normal)[0]).min() > np.asarray(network(new_abnormal)[0]).max()
    # The generator, which began near the abnormal ones, makes dark images too.
    latents = np.random.default_rng(0).uniform(-1, 1, (32, 8)).astype(np.float32)
    assert np.asarray(compiled()(latents)).mean() > 0.1
    assert np.asarray(model(latents)).mean() < -0.1


@pytest.mark.parametrize("shape", [(4, 16, 16, 1), (4, 8, 8, 3), (4, 8, 8)])
def test_wrong_image_shape_is_named(shape):
    model = compiled()
    with pytest.raises(ValueError) as caught:
        model.fit(np.zeros(shape, np.float32), verbose=0)
    assert "[N, 8, 8, 1]" in str(caught.value) and ", ".join(map(str, shape[1:])) in str(caught.value)


def test_unpack_draws_what_is_missing():
    model = compiled()
    images, labels, masks, latents, mix, augmentation, features = model.unpack(images_of(5))
    assert augmentation is None and features is None
    assert masks is None  # nothing says where abnormal images are abnormal
    assert np.asarray(labels).tolist() == [0] * 5
    assert latents.shape == (5, 8) and np.abs(np.asarray(latents)).max() <= 1
    assert mix.shape == (5, 1, 1, 1)
    assert np.asarray(mix).min() >= 0 and np.asarray(mix).max() <= 1
    again = model.unpack(images_of(5))[3]
    assert not np.allclose(np.asarray(latents), np.asarray(again))  # others in each step
    np.testing.assert_array_equal(
        np.asarray(latents), np.asarray(compiled().unpack(images_of(5))[3])
    )  # seeded
    assert not np.allclose(np.asarray(latents), np.asarray(compiled(seed=1).unpack(images_of(5))[3]))
    data = {**batch(), "masks": np.random.default_rng(0).integers(0, 2, (8, 8, 8, 1)).astype(np.float32)}
    for name, taken in zip(
        ("images", "labels", "masks", "latents", "mix"), model.unpack(data)[:5], strict=True
    ):
        np.testing.assert_array_equal(data[name], np.asarray(taken))
    flat = model.unpack({**data, "masks": data["masks"][..., 0] > 0})[2]  # [N, S, S], bool
    np.testing.assert_array_equal(data["masks"], np.asarray(flat))


# Moving averages


def test_averages_begin_at_the_weights():
    model = tiny_model()
    for network, average in (
        (model.generator, model.generator_average),
        (model.discriminator, model.discriminator_average),
    ):
        for a, b in zip(weights_of(network), weights_of(average), strict=True):
            np.testing.assert_array_equal(a, b)
    assert (
        not model.generator_average.trainable_variables
        and not model.discriminator_average.trainable_variables
    )


def test_an_average_by_hand():
    """It starts as a copy of the weights, and moving it keeps `decay` of it; the weights stay as they are."""

    def make(name):
        return keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)], name=name)

    pair = Averaged(make, "network")
    assert (pair.trained.name, pair.average.name) == ("network", "network_average")
    assert pair.trained.trainable_variables and not pair.average.trainable_variables
    pair.trained.set_weights([np.float32([[1], [2]]), np.float32([3])])
    pair.start()
    pair.trained.set_weights([np.float32([[5], [6]]), np.float32([7])])

    def values():
        return [
            np.concatenate([w.ravel() for w in weights_of(n)]).tolist() for n in (pair.average, pair.trained)
        ]

    assert values() == [[1, 2, 3], [5, 6, 7]]
    pair.move(0.75)  # 3/4 of 1 and 1/4 of 5, and so on
    assert values() == [[2, 3, 4], [5, 6, 7]]
    pair.move(1.0)
    assert values() == [[2, 3, 4], [5, 6, 7]]
    pair.move(0.0)
    assert values() == [[5, 6, 7], [5, 6, 7]]


def test_averages_by_hand():
    """Decay of step t is min(average_decay, (1 + t) / (10 + t)): 2/11, 3/12, then 0.3 instead of 4/13."""
    model = compiled(average_decay=0.3)
    networks = (model.generator, model.discriminator)
    expected = [w for network in networks for w in weights_of(network)]
    for step, decay in enumerate((2 / 11, 3 / 12, 0.3)):
        train(model, batch(seed=step))
        now = [w for network in networks for w in weights_of(network)]
        expected = [decay * a + (1 - decay) * b for a, b in zip(expected, now, strict=True)]
        averages = weights_of(model.generator_average) + weights_of(model.discriminator_average)
        for a, b in zip(averages, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert any(np.abs(a - b).max() > 1e-3 for a, b in zip(averages, now, strict=True))


def test_bfloat16_is_for_training_alone():
    """One step has the losses of float32 but for rounding; averages, and so scores, stay as they are."""
    settings = {"reconstruction_weight": 5.0, "latent_noise": 0.0}
    found, drawn = [], []
    for precision in ("float32", "bfloat16"):
        model = tiny_model(precision=precision)
        model.compile(alpha=0.5, **{**MIXTURE_ALONE, **settings}, run_eagerly=EAGER)
        assert all(w.dtype == "float32" for w in model.trainable_variables)
        drawn.append(np.asarray(model(batch()["latents"])))
        found.append(train(model, batch()))
    np.testing.assert_array_equal(*drawn)
    assert found[1] == pytest.approx(found[0], rel=0.03, abs=0.03)
    assert max(abs(found[1][name] - found[0][name]) for name in found[0]) > 1e-4
    with pytest.raises(ValueError, match="model.precision must be one of float32, bfloat16, got 'float16'"):
        tiny_model(precision="float16")


def test_call_is_the_averaged_generator():
    model = compiled()
    train(model, batch(), 2)
    latents = batch()["latents"]
    np.testing.assert_array_equal(np.asarray(model(latents)), np.asarray(model.generator_average(latents)))
    assert np.abs(np.asarray(model(latents)) - np.asarray(model.generator(latents))).max() > 1e-5


# Growth


def changed_layers(model, steps=1):
    """Names of the layers whose kernels a step moves."""
    before = {
        (n.name, layer.name): np.array(layer.kernel)
        for n in (model.generator, model.discriminator)
        for layer in n._flatten_layers()
        if hasattr(layer, "kernel")
    }
    train(model, batch(), steps)
    after = {
        (n.name, layer.name): np.array(layer.kernel)
        for n in (model.generator, model.discriminator)
        for layer in n._flatten_layers()
        if hasattr(layer, "kernel")
    }
    return {name for (_, name) in (key for key in before if not np.array_equal(before[key], after[key]))}


def test_grow_decides_what_a_step_trains():
    model = compiled()
    model.grow(4)
    low = changed_layers(model)
    assert {"conv_4", "to_image_4", "from_image_4", "dense", "to_logit"} <= low
    assert not {name for name in low if "_8" in name}
    model.grow(8)
    model.fade.assign(0.5)  # both stages are in use
    both = {"narrow_8", "conv_8", "to_image_8", "from_image_8", "to_evidence_8", "conv_8_0", "to_image_4"}
    assert both <= changed_layers(model)
    model.fade.assign(1.0)
    assert "to_image_4" not in changed_layers(compiled())  # fully grown, the lower picture is unused


def test_images_are_brought_to_the_stage():
    """At 4 x 4 means of 2 x 2 pixels; at 8 x 8 and fade 0.25 a quarter the image, the rest those means."""
    images = images_of(3)
    means = images.reshape(3, 4, 2, 4, 2).mean(axis=(2, 4))[..., None]
    faded = 0.25 * images + 0.75 * means.repeat(2, axis=1).repeat(2, axis=2)
    for resolution, fade, expected in ((4, 1.0, means), (8, 0.25, faded), (8, 1.0, images)):
        found = objective.at_stage(ops.convert_to_tensor(images), resolution, fade)
        np.testing.assert_allclose(np.asarray(found), expected, atol=1e-6)


def test_fading_is_a_continuous_change():
    """At fade 0 the new stage says what the old one said, on the same images."""
    model = compiled()
    latents = batch()["latents"]
    old = np.asarray(model.generator(latents, resolution=4))
    new = np.asarray(model.generator(latents, resolution=8, fade=0.0))
    np.testing.assert_allclose(new, old.repeat(2, axis=1).repeat(2, axis=2), atol=1e-6)
    old_logits = np.asarray(model.discriminator(old, resolution=4)[0])
    np.testing.assert_allclose(
        np.asarray(model.discriminator(new, resolution=8, fade=0.0)[0]), old_logits, atol=1e-4
    )


def test_fit_goes_on_at_the_next_stage():
    """The compiled step of one stage is not used for the next."""
    model = compiled(eager=False)
    model.grow(4)
    model.fit(images_of(8), batch_size=8, verbose=0)
    before = weights_of(model.generator)
    model.grow(8)
    model.fit(images_of(8), batch_size=8, verbose=0)
    kernel = [np.array_equal(a, b) for a, b in zip(before, weights_of(model.generator), strict=True)]
    names = [w.path for w in model.generator.weights]
    assert not any(
        same for same, name in zip(kernel, names, strict=True) if "conv_8" in name and "kernel" in name
    )


@pytest.mark.parametrize("resolution", [16, 2, 5])
def test_grow_beyond_the_model_is_named(resolution):
    with pytest.raises(ValueError, match=rf"\[4, 8\], got {resolution}"):
        tiny_model().grow(resolution)


@pytest.mark.parametrize(
    ("sizes", "words"), [({"resolution": 12}, "12"), ({"channels": 2}, "2"), ({"resolution": 2048}, "2048")]
)
def test_bad_sizes_are_named(sizes, words):
    with pytest.raises(ValueError, match=f"got {words}"):
        tiny_model(**sizes)


# Keras' save and load


def test_a_model_that_was_never_compiled_is_saved_too(tmp_path):
    model = tiny_model(seed=3)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for a, b in zip(weights_of(model), weights_of(loaded), strict=True):
        np.testing.assert_array_equal(a, b)


def test_save_and_load_of_a_trained_model(tmp_path):
    model = tiny_model(seed=5)
    optimizer = keras.optimizers.Adam(0.002, beta_1=0.1, beta_2=0.98)
    settings = {
        "alpha": 0.3,
        "adversarial": "wgan_gp",
        "penalty_weight": 4.0,
        "penalty_share": 0.5,
        "average_decay": 0.9,
    }
    settings |= {"synthetic_weight": 0.25, "trim_share": None, "augment": "color,cutout"}
    settings |= {"reconstruction_weight": 30.0, "push_weight": 0.5, "latent_noise": 0.25}
    model.compile(optimizer, **settings, run_eagerly=EAGER)
    rng = np.random.default_rng(0)
    drawn = {"augment": rng.random((8, DRAWS)), "augment_generated": rng.random((6, DRAWS))}
    data = {**batch(), **drawn}
    train(model, data, 2)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert type(loaded) is SemiAnoGAN and loaded is not model
    assert loaded.get_config() == model.get_config()
    assert loaded.objective == model.objective == settings
    assert loaded.optimizer.get_config() == pytest.approx(model.optimizer.get_config())
    assert int(loaded.optimizer.iterations) == 2
    for a, b in zip(
        model.variables + model.optimizer.variables,
        loaded.variables + loaded.optimizer.variables,
        strict=True,
    ):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
    np.testing.assert_array_equal(np.asarray(model(data["latents"])), np.asarray(loaded(data["latents"])))
    for a, b in zip(
        model.discriminator(data["images"])[1], loaded.discriminator(data["images"])[1], strict=True
    ):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
    # Training goes on as it would have without.
    loaded.run_eagerly = EAGER
    assert train(loaded, data) == pytest.approx(train(model, data), rel=1e-4, abs=1e-5)
    for a, b in zip(weights_of(model), weights_of(loaded), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    check(loaded.fit(data["images"], data["labels"], batch_size=4, verbose=0), 1, LOGS | {"reconstruction"})


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (None, "format 1 is read by semi_anogan 0.1; {}, or install that version"),
        (3, "format 3 is newer than this version reads; {}, or install a newer version"),
    ],
)
def test_a_model_saved_in_another_format_is_refused_in_one_line(tmp_path, monkeypatch, number, told):
    model, of_now = compiled(), SemiAnoGAN.get_config
    assert of_now(model)["format"] == 2

    def of_then(self):
        config = {**of_now(self), "format": number}
        return {key: value for key, value in config.items() if value is not None}

    with monkeypatch.context() as patch:
        patch.setattr(SemiAnoGAN, "get_config", of_then)
        model.save(tmp_path / "model.keras")
    with pytest.raises(ValueError) as error:
        keras.saving.load_model(tmp_path / "model.keras")
    told = told.format("this is 0.2, which reads format 2: train again")
    assert str(error.value) == f"saved SemiAnoGAN: {told}"


def test_same_seed_same_model():
    a, b = compiled(seed=4), compiled(seed=4)
    logs = train(a, batch()), train(b, batch())
    assert logs[0] == logs[1]
    assert all(np.array_equal(x, y) for x, y in zip(weights_of(a), weights_of(b), strict=True))
