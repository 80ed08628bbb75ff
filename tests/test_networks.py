"""Generator and discriminator: what growth promises, evidence by hand, gradients, saving."""

import keras
import numpy as np
import pytest
from keras import ops

from semi_anogan.backend import input_gradients
from semi_anogan.networks.gan import Discriminator, Generator, first_resolution, resolutions_up_to
from semi_anogan.networks.layers import downscale, upscale
from semi_anogan.networks.losses import r1_penalty

SIZES = {"resolution": 16, "channels": 3, "filters_base": 64, "filters_cap": 8}
LATENTS = {"latent_shape": (1, 1, 6)}


def with_weights(network, seed=0):
    """Builds a network and fills every weight, biases too, with N(0, 1) / 2 values."""
    network.build()
    rng = np.random.default_rng(seed)
    for variable in network.trainable_variables:
        variable.assign(0.5 * rng.standard_normal(variable.shape))
    return network


@pytest.fixture
def generator():
    return with_weights(Generator(**SIZES, **LATENTS))


@pytest.fixture
def discriminator():
    network = with_weights(Discriminator(**SIZES, top_share=0.05))
    network.minibatch_stddev.moving_stddev.assign(0.7)
    return network


def tensor(*shape, seed=1):
    return ops.convert_to_tensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def uniform(*shape, seed=1):
    """Latents as training draws them."""
    return ops.convert_to_tensor(np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32))


def numpy(x):
    return ops.convert_to_numpy(x)


@pytest.mark.parametrize("resolution", [8, 16])
def test_generator_fade_goes_from_the_upscaled_stage_before_to_the_new_one(generator, resolution):
    latents = tensor(3, 6)
    old = numpy(upscale(generator(latents, resolution=resolution // 2)))
    new = numpy(generator(latents, resolution=resolution))
    assert new.shape == (3, resolution, resolution, 3) and np.abs(new - old).max() > 0.1
    np.testing.assert_array_equal(numpy(generator(latents, resolution=resolution, fade=0.0)), old)
    np.testing.assert_allclose(numpy(generator(latents, resolution=resolution, fade=1.0)), new, atol=1e-5)
    np.testing.assert_allclose(
        numpy(generator(latents, resolution=resolution, fade=0.3)),
        0.7 * old + 0.3 * new,
        rtol=1e-4,
        atol=1e-5,
    )


def test_first_stage_has_nothing_to_fade_from(generator, discriminator):
    latents, images = tensor(2, 6), tensor(2, 4, 4, 3)
    for network, x in ((generator, latents), (discriminator, images)):
        faded, whole = (keras.tree.flatten(network(x, resolution=4, fade=fade))[0] for fade in (0.0, None))
        np.testing.assert_array_equal(numpy(faded), numpy(whole))


@pytest.mark.parametrize("resolution", [8, 16])
def test_discriminator_fade_goes_from_the_stage_before_on_reduced_images_to_the_new_one(
    discriminator, resolution
):
    images = tensor(3, resolution, resolution, 3)
    logits, features, evidence = discriminator(images, resolution=resolution, fade=0.0)
    old_logits, old_features, old_evidence = discriminator(downscale(images), resolution=resolution // 2)
    np.testing.assert_allclose(numpy(logits), numpy(old_logits), rtol=1e-6)
    # The finest scale comes on top of those of the stage before.
    for new, old in ((features, old_features), (evidence, old_evidence)):
        assert [x.shape[1] for x in new] == [resolution // 2**k for k in range(len(new))] and len(new) == len(
            old
        ) + 1
        for a, b in zip(new[1:], old, strict=True):
            np.testing.assert_allclose(numpy(a), numpy(b), rtol=1e-5, atol=1e-6)

    new_logits = numpy(discriminator(images, resolution=resolution)[0])
    assert np.abs(new_logits - numpy(logits)).min() > 1e-2
    np.testing.assert_allclose(
        numpy(discriminator(images, resolution=resolution, fade=1.0)[0]), new_logits, rtol=1e-4
    )


def test_default_stage_is_the_full_resolution(generator, discriminator):
    latents, images = tensor(2, 6), tensor(2, 16, 16, 3)
    np.testing.assert_array_equal(numpy(generator(latents)), numpy(generator(latents, resolution=16)))
    np.testing.assert_array_equal(
        numpy(discriminator(images)[0]), numpy(discriminator(images, resolution=16)[0])
    )


def next_stage(network, x):
    """Images or logits at the beginning of the stage 16 x 16."""
    return numpy(keras.tree.flatten(network(x, resolution=16, fade=0.0))[0])


def test_weights_of_a_stage_are_those_of_the_next(generator, discriminator):
    latents, images = tensor(2, 6), tensor(2, 16, 16, 3)
    variables = [generator.variables, discriminator.variables]
    before = next_stage(generator, latents), next_stage(discriminator, images)
    for kernel in (generator.get_layer("conv_8").kernel, discriminator.get_layer("conv_8_1").kernel):
        kernel.assign(2.0 * numpy(kernel) + 0.1)  # "training" at 8 x 8
    small, logits = (
        numpy(generator(latents, resolution=8)),
        numpy(discriminator(downscale(images), resolution=8)[0]),
    )
    np.testing.assert_array_equal(next_stage(generator, latents), small.repeat(2, 1).repeat(2, 2))
    np.testing.assert_allclose(next_stage(discriminator, images), logits, rtol=1e-6)
    assert (
        np.abs(next_stage(generator, latents) - before[0]).max() > 0.01
        and np.abs(logits - before[1]).max() > 5e-3
    )
    for network, earlier in zip(
        (generator, discriminator), variables, strict=True
    ):  # a call makes no new ones
        assert [id(v) for v in network.variables] == [id(v) for v in earlier]


def test_filters_by_base_and_cap():
    sizes = {"resolution": 64, "filters_base": 64, "filters_cap": 12}
    generator, discriminator = Generator(latent_shape=(1, 1, 5), **sizes), Discriminator(**sizes)
    # 64 / 4 = 16 is over the cap; 64 / 32 = 2 is under the least number, 4.
    assert [generator.filters(r) for r in generator.resolutions] == [12, 8, 4, 4, 4]
    generator.build()
    discriminator.build()
    shapes = {layer.name: tuple(layer.kernel.shape) for layer in generator.layers}
    assert shapes["enter"] == (5, 16 * 12)
    assert shapes["narrow_8"] == (3, 3, 12, 8) and shapes["conv_8"] == (3, 3, 8, 8)
    assert shapes["conv_16"] == (3, 3, 4, 4) and shapes["to_image_8"] == (1, 1, 8, 1)
    layers = [layer for layer in discriminator.layers if layer.name != "minibatch_stddev"]
    shapes = {layer.name: tuple(layer.kernel.shape) for layer in layers}
    assert shapes["from_image_4"] == (1, 1, 1, 8) and shapes["from_image_16"] == (1, 1, 1, 4)
    assert shapes["from_image_32"] == (1, 1, 2, 4) and shapes["from_image_64"] == (
        1,
        1,
        2,
        4,
    )  # the image and its detail
    assert shapes["conv_8_0"] == (3, 3, 4, 8) and shapes["conv_8_1"] == (3, 3, 8, 8)
    assert shapes["conv_4"] == (3, 3, 8 + 1, 12) and shapes["to_evidence_8"] == (1, 1, 8, 1)


@pytest.mark.parametrize("resolution", [4, 16, 64])
def test_untrained_images_vary_about_as_much_as_photographs(resolution):
    keras.utils.set_random_seed(0)
    generator = Generator(resolution=64)
    generator.build()
    images = numpy(generator(uniform(64, 16), resolution=resolution))
    assert 0.08 < images.std(axis=0).mean() < 0.3


@pytest.mark.parametrize("resolution, smaller", [(64, 16), (64, 8), (16, 8)])
def test_detail_counts_from_32_pixels_on_and_at_full_resolution(resolution, smaller):
    """Ten times the contrast leaves `detail` as it was: with the image's own kernel at 0 nothing changes."""
    discriminator = with_weights(Discriminator(resolution=resolution, filters_base=64, filters_cap=8))
    images = tensor(2, resolution, resolution, 1)
    kernel = discriminator.get_layer(f"from_image_{resolution}").kernel
    kernel.assign(numpy(kernel) * np.float32([0, 1])[:, None])
    first, second = (numpy(discriminator(c * images)[0]) for c in (1.0, 10.0))
    np.testing.assert_allclose(first, second, rtol=0.05)
    assert discriminator.get_layer(f"from_image_{smaller}").kernel.shape[2] == 1
    small = [
        numpy(discriminator(c * tensor(2, smaller, smaller, 1), resolution=smaller)[0]) for c in (1.0, 10.0)
    ]
    assert np.abs(small[0] - small[1]).max() > 0.1


@pytest.mark.parametrize(
    ("latent_shape", "first", "resolutions", "kernel"),
    [
        ((1, 1, 6), 4, [4, 8, 16, 32], (6, 16 * 8)),
        ((2, 2, 3), 4, [4, 8, 16, 32], (12, 16 * 8)),  # the whole grid draws 4 x 4
        ((4, 4, 3), 4, [4, 8, 16, 32], (3, 3, 3, 8)),
        ((8, 8, 3), 8, [8, 16, 32], (3, 3, 3, 8)),
        ((64, 64, 3), 32, [32], (3, 3, 3, 4)),  # larger than the images: it is reduced
    ],
)
def test_the_first_feature_map_follows_the_grid_of_latents(latent_shape, first, resolutions, kernel):
    sizes = {"resolution": 32, "channels": 3, "filters_base": 64, "filters_cap": 8}
    generator = with_weights(Generator(latent_shape=latent_shape, **sizes))
    assert generator.first == first_resolution(32, latent_shape[0]) == first
    assert generator.resolutions == resolutions
    assert generator.latent_size == np.prod(latent_shape)
    assert tuple(generator.enter.kernel.shape) == kernel
    latents = uniform(2, generator.latent_size)
    for r in resolutions:
        assert generator(latents, resolution=r).shape == (2, r, r, 3)
    assert numpy(generator(latents)).std(axis=0).min() > 0  # every place depends on the latents
    with pytest.raises(ValueError, match=str(first // 2)):
        generator(latents, resolution=first // 2)


def influence(latent_shape):
    """bool [32, 32]: where an image changes with the latents in the upper left corner of their grid."""
    generator = with_weights(
        Generator(latent_shape=latent_shape, resolution=32, filters_base=64, filters_cap=8)
    )
    latents = numpy(uniform(1, *latent_shape))
    changed = latents.copy()
    changed[:, 0, 0] = -changed[:, 0, 0]
    images = numpy(generator(ops.convert_to_tensor(np.concatenate([latents, changed]).reshape(2, -1))))
    return np.abs(images[0] - images[1])[..., 0] > 1e-5


def test_latents_of_a_place_draw_what_is_there():
    """From 8 x 8 on it spreads by 1 place of 4 pixels a layer, then of 2, of 1: 4 (1 + 2) - 1 + 2 + 1."""
    where = influence((8, 8, 3))
    assert where[:4, :4].all()
    reached = np.argwhere(where).max(axis=0)
    # enter, conv_8 and narrow_16 at 8 x 8; conv_16 and narrow_32 at 16 x 16; conv_32 at 32 x 32
    assert reached.tolist() == [4 * (1 + 3) + 2 * 2 + 1 - 1] * 2
    assert not where[-8:, -8:].any()
    assert influence((2, 2, 3))[-1, -1]  # a smaller grid draws all of it


def test_resolutions_by_hand():
    assert resolutions_up_to(4) == [4]
    assert resolutions_up_to(64) == [4, 8, 16, 32, 64]
    assert resolutions_up_to(1024)[-1] == 1024


@pytest.mark.parametrize("network", [Generator, Discriminator])
@pytest.mark.parametrize("resolution", [0, 2, 12, 2048])
def test_bad_resolution_is_named(network, resolution):
    with pytest.raises(ValueError, match=f"power of two.*got {resolution}$"):
        network(resolution=resolution)


@pytest.mark.parametrize("network", [Generator, Discriminator])
def test_bad_channels_are_named(network):
    with pytest.raises(ValueError, match="channels.*got 2"):
        network(channels=2)


@pytest.mark.parametrize("share", [0, -0.5, 1.5])
def test_bad_top_share_is_named(share):
    with pytest.raises(ValueError, match=f"top_share.*got {share}"):
        Discriminator(top_share=share)


def test_a_stage_that_the_network_does_not_have_is_named(generator, discriminator):
    with pytest.raises(ValueError, match="32"):
        generator(tensor(1, 6), resolution=32)
    with pytest.raises(ValueError, match="32"):
        discriminator(tensor(1, 32, 32, 3), resolution=32)


def test_save_and_load_in_safe_mode(generator, discriminator, tmp_path):
    latents, images = tensor(2, 6), tensor(2, 16, 16, 3)
    for network, x in ((generator, latents), (discriminator, images)):
        network(x)
        network.save(tmp_path / "network.keras")
        loaded = keras.models.load_model(tmp_path / "network.keras", safe_mode=True)
        assert type(loaded) is type(network) and loaded.get_config() == network.get_config()
        for a, b in zip(keras.tree.flatten(loaded(x)), keras.tree.flatten(network(x)), strict=True):
            np.testing.assert_allclose(numpy(a), numpy(b), rtol=1e-6)
        for r in (4, 8):  # the stages that the saved call did not use
            y = x if network is generator else tensor(2, r, r, 3)
            for a, b in zip(
                *(keras.tree.flatten(n(y, resolution=r)) for n in (loaded, network)), strict=True
            ):
                np.testing.assert_allclose(numpy(a), numpy(b), rtol=1e-6)


def test_logit_without_weights_does_not_depend_on_the_batch(discriminator):
    images = tensor(4, 16, 16, 3)
    others = ops.concatenate([images[:1], 50.0 * images[1:]], axis=0)
    alone = numpy(discriminator(images[:1])[0])[0]
    for batch in (images, others):
        assert numpy(discriminator(batch)[0])[0] == pytest.approx(alone, rel=1e-5)
    weights = np.ones(4, np.float32)
    a, b = (numpy(discriminator(batch, weights=weights)[0])[0] for batch in (images, others))
    assert abs(a - b) > 1e-3  # with weights the batch statistic counts


def test_features_and_evidence_never_see_the_batch_statistic(discriminator):
    images = tensor(2, 16, 16, 3)
    with_statistic = discriminator(images, weights=np.ones(2, np.float32))
    without = discriminator(images)
    for a, b in zip(with_statistic[1] + with_statistic[2], without[1] + without[2], strict=True):
        np.testing.assert_array_equal(numpy(a), numpy(b))


def test_evidence_is_taken_off_the_logit(discriminator):
    images = tensor(3, 16, 16, 3)
    logits, _, evidence = discriminator(images)
    assert [e.shape for e in evidence] == [(3, 16, 16, 1), (3, 8, 8, 1)]
    # 5 % of 256 pixels is 12.8, of 64 it is 3.2.
    worst = sum(
        np.sort(numpy(e).reshape(3, -1))[:, -k:].mean(1) for e, k in zip(evidence, (13, 3), strict=True)
    )
    for layer in discriminator.to_evidence:
        layer.kernel.assign(np.zeros(layer.kernel.shape))
        layer.bias.assign([0.0])
    without = numpy(discriminator(images)[0])
    np.testing.assert_allclose(numpy(logits), without - worst, rtol=1e-4, atol=1e-5)

    # Evidence of 2 everywhere on the finest scale: all of it when grown, a quarter of it at fade 0.25, none
    # at 0.
    discriminator.get_layer("to_evidence_16").bias.assign([2.0])
    np.testing.assert_allclose(numpy(discriminator(images)[0]), without - 2.0, rtol=1e-5, atol=1e-5)
    for fade in (0.0, 0.25):
        shifted = numpy(discriminator(images, fade=fade)[0])
        discriminator.get_layer("to_evidence_16").bias.assign([0.0])
        np.testing.assert_allclose(
            shifted, numpy(discriminator(images, fade=fade)[0]) - 2 * fade, rtol=1e-5, atol=1e-5
        )
        discriminator.get_layer("to_evidence_16").bias.assign([2.0])


def test_only_evidence_where_asked_for_counts(discriminator):
    """13 of 256 pixels count at 16 x 16, 3 of 64 at 8 x 8; the mask has 4 of the former, 1 of the latter."""
    images = tensor(2, 16, 16, 3)
    logits, _, evidence = discriminator(images)
    where = np.zeros((2, 16, 16, 1), np.float32)
    where[:, 4:6, 8:10] = 1.0
    fine, coarse = (numpy(e)[..., 0] for e in evidence)
    everywhere = sum(
        np.sort(e.reshape(2, -1))[:, -k:].mean(1) for e, k in zip((fine, coarse), (13, 3), strict=True)
    )
    inside = fine[:, 4:6, 8:10].mean((1, 2)) + coarse[:, 2, 4]
    found = numpy(discriminator(images, where=ops.convert_to_tensor(where))[0])
    np.testing.assert_allclose(found, numpy(logits) + everywhere - inside, rtol=1e-4, atol=1e-5)
    whole = numpy(discriminator(images, where=ops.ones((2, 16, 16, 1)))[0])
    np.testing.assert_allclose(whole, numpy(logits), rtol=1e-5)


def test_evidence_map_says_where(discriminator):
    """A change of one pixel changes the evidence only around it (the unit of `detail` is left out here)."""
    images = tensor(1, 16, 16, 3)
    kernel = discriminator.get_layer("from_image_16").kernel
    kernel.assign(numpy(kernel) * np.repeat(np.float32([1, 0]), 3)[:, None])
    changed = numpy(images).copy()
    changed[0, 3, 11] += 5.0
    a, b = (numpy(discriminator(ops.convert_to_tensor(x))[2][0])[0, :, :, 0] for x in (images, changed))
    where = np.argwhere(np.abs(a - b) > 1e-6)
    assert len(where) and np.abs(where - [3, 11]).max() <= 2  # two 3 x 3 convolutions


LAYERS = [
    "from_image_16",
    "conv_16_0",
    "conv_16_1",
    "to_evidence_16",
    "conv_8_0",
    "conv_4",
    "dense",
    "to_logit",
]


@pytest.mark.parametrize("name", LAYERS)
def test_logit_has_a_gradient_for_every_layer_of_the_stage(discriminator, name):
    """Against a central difference along the gradient."""
    images, kernel = tensor(2, 16, 16, 3), discriminator.get_layer(name).kernel

    def logits(value):
        with keras.StatelessScope(state_mapping=[(kernel, value)]):
            return discriminator(images)[0]

    start = ops.convert_to_tensor(numpy(kernel))
    gradient = numpy(input_gradients(logits, start)[1])
    norm = np.linalg.norm(gradient)
    assert np.isfinite(gradient).all() and norm > 1e-3
    step = np.float32(2e-3 / norm) * gradient / norm  # changes the sum by about 0.002
    high, low = (numpy(logits(ops.convert_to_tensor(numpy(start) + s * step))).sum() for s in (1, -1))
    assert high - low == pytest.approx(4e-3, rel=0.1)


@pytest.mark.parametrize("name", ["from_image_16", "conv_16_0", "conv_16_1", "to_evidence_16", "conv_8_0"])
def test_gradient_penalty_has_a_gradient(discriminator, name):
    """R1 is a gradient itself, so training needs the second order; nonzero also for the finest layers."""
    images, kernel = tensor(2, 16, 16, 3), discriminator.get_layer(name).kernel

    def penalty(value):
        with keras.StatelessScope(state_mapping=[(kernel, value)]):
            return r1_penalty(input_gradients(lambda x: discriminator(x)[0], images)[1])

    values, gradient = input_gradients(penalty, ops.convert_to_tensor(numpy(kernel)))
    assert (numpy(values) > 0).all()
    assert np.isfinite(numpy(gradient)).all() and np.abs(numpy(gradient)).max() > 1e-3 * numpy(values).sum()


def test_generated_images_have_a_gradient_for_the_latents(generator):
    """The latent search needs it: against central differences, coordinate by coordinate."""
    latents = numpy(tensor(1, 6))

    def total(z):
        return ops.sum(generator(z), axis=(1, 2, 3))

    gradient = numpy(input_gradients(total, ops.convert_to_tensor(latents))[1])[0]
    for index in range(6):
        step = 1e-2 * np.eye(6, dtype=np.float32)[index]
        high, low = (
            numpy(generator(ops.convert_to_tensor(latents + s * step))).sum(dtype=np.float64) for s in (1, -1)
        )
        assert (high - low) / 2e-2 == pytest.approx(gradient[index], rel=0.05, abs=0.5)
