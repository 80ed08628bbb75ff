"""The latent search against numbers by hand on a linear generator, and with small real networks."""

import keras
import numpy as np
import pytest
from keras import ops

from helpers.trained import tiny_model
from semi_anogan.backend import compile_function
from semi_anogan.errors import ConfigError
from semi_anogan.networks import losses
from semi_anogan.networks.feature_generator import FeatureGenerator, Standardization
from semi_anogan.networks.latent_search import MOST, LatentSearch
from semi_anogan.networks.layers import bounded


def draw(rows: int, columns: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, rows, columns]).standard_normal((rows, columns), dtype=np.float32)


MATRIX = draw(3, 16)
FEATURES = draw(16, 5)


class LinearGenerator:
    """z -> z A as an image [side, side, 1]."""

    variables = ()

    def __init__(self, matrix=MATRIX):
        self.matrix = matrix
        self.latent_size = len(matrix)
        self.side = round(matrix.shape[1] ** 0.5)

    def __call__(self, latents):
        return ops.reshape(ops.matmul(latents, self.matrix), (-1, self.side, self.side, 1))


class LinearDiscriminator:
    """One scale of features: x B."""

    def __call__(self, images):
        features = ops.matmul(ops.reshape(images, (-1, FEATURES.shape[0])), FEATURES)
        return None, [ops.reshape(features, (-1, 1, 1, FEATURES.shape[1]))], []


def reach(rate, iterations):
    """The reach of a search whose first step has this rate: the rate falls linearly to a tenth."""
    return 0.55 * rate * max(iterations, 1)


def linear_search(iterations=10, rate=0.1, **settings):
    given = {"candidates": 8, "feature_weight": 0.25, "patience": 20, "reach": reach(rate, iterations)}
    networks = LinearGenerator(), LinearDiscriminator()
    return LatentSearch(*networks, iterations=iterations, **{**given, **settings})


def images_of(latents, matrix=MATRIX):
    """Images of latents before their bound: tanh(u) A."""
    side = round(matrix.shape[1] ** 0.5)
    return (np.tanh(latents) @ matrix).reshape(-1, side, side, 1).astype(np.float32)


def starts(search, images):
    """Where the searches of images start, [N, restarts, L]."""
    return np.asarray(search.start(images, search.targets(images)))


def loss_and_gradient(image, latent, weight):
    """(1 - w) mean |x - zA| + w mean |xB - zAB| and its gradient for u, z = tanh(u), in float64."""
    image, latent, matrix, features = (
        np.asarray(a, np.float64) for a in (image.ravel(), latent, MATRIX, FEATURES)
    )
    z = np.tanh(latent)
    difference = z @ matrix - image
    in_features = difference @ features
    loss = (1 - weight) * np.abs(difference).mean() + weight * np.abs(in_features).mean()
    gradient = (1 - weight) * matrix @ np.sign(difference) / 16 + weight * matrix @ features @ np.sign(
        in_features
    ) / 5
    return loss, gradient * (1 - z**2)


def adam_by_hand(image, latent, weight, rate, iterations, steps):
    """Latents and losses at each step of Kingma & Ba 2015, algorithm 1; the rate falls to a tenth."""
    latent = np.asarray(latent, np.float64)
    moment, velocity, latents, found = 0.0, 0.0, [latent], []
    for t in range(1, steps + 1):
        loss, gradient = loss_and_gradient(image, latent, weight)
        moment = 0.9 * moment + 0.1 * gradient
        velocity = 0.999 * velocity + 0.001 * gradient**2
        rate_now = rate * (1 - 0.9 * (t - 1) / iterations)
        latent = latent - rate_now * (moment / (1 - 0.9**t)) / (np.sqrt(velocity / (1 - 0.999**t)) + 1e-8)
        latents.append(latent)
        found.append(loss)
    return latents, found


def test_first_two_steps_are_adams_by_hand():
    search = linear_search(iterations=10, feature_weight=0.25, rate=0.1)
    images = images_of(draw(2))
    start = ops.convert_to_tensor(draw(2, seed=1))
    targets = search.targets(images)
    zeros = ops.zeros_like(start)
    first = search.search_step(images, targets, start, zeros, zeros, 0.0)
    second = search.search_step(images, targets, *first[:3], 1.0)
    start, first, second = np.asarray(start), [np.asarray(a) for a in first], [np.asarray(a) for a in second]
    for n in range(2):
        latents, found = adam_by_hand(images[n], start[n], 0.25, 0.1, 10, 2)
        np.testing.assert_allclose(first[0][n], latents[1], rtol=1e-5)
        np.testing.assert_allclose(second[0][n], latents[2], atol=1e-5)
        np.testing.assert_allclose([first[3][n], second[3][n]], found, rtol=1e-5)
        # the first step of Adam is the rate against the gradient's sign, the second's rate is 0.1 * 0.91
        _, gradient = loss_and_gradient(images[n], start[n], 0.25)
        np.testing.assert_allclose(first[0][n], start[n] - 0.1 * np.sign(gradient), rtol=1e-4)


def test_search_is_the_best_of_adams_path_by_hand():
    search = linear_search(iterations=25, patience=0, restarts=1, rate=0.3)
    images = images_of(draw(3))
    latents, loss, steps = (np.asarray(a) for a in search(images))
    start = starts(search, images)[:, 0]
    for n in range(3):
        path, _ = adam_by_hand(images[n], start[n], 0.25, 0.3, 25, 25)
        path_losses = [
            loss_and_gradient(images[n], z, 0.25)[0] for z in path
        ]  # 26: the last step's latents count too
        assert loss[n] == pytest.approx(min(path_losses), rel=1e-3)
        np.testing.assert_allclose(latents[n], path[int(np.argmin(path_losses))], atol=2e-3)
    assert steps.tolist() == [25, 25, 25]


@pytest.mark.parametrize("feature_weight", [0.0, 1.0])
def test_ends_of_the_feature_weight(feature_weight):
    search = linear_search(iterations=0, feature_weight=feature_weight)
    image = images_of(draw(1))
    latent, loss, _ = (np.asarray(a) for a in search(image))
    assert loss[0] == pytest.approx(loss_and_gradient(image, latent[0], feature_weight)[0], rel=1e-5)


def test_no_iterations_leave_the_nearest_candidate():
    search = linear_search(iterations=0, candidates=8)
    images = images_of(draw(4))
    latents, _, steps = (np.asarray(a) for a in search(images))
    distances = ((images_of(search.candidates)[None] - images[:, None]) ** 2).sum(axis=(2, 3, 4))
    np.testing.assert_array_equal(latents, search.candidates[distances.argmin(axis=1)])
    assert steps.tolist() == [0] * 4


def test_starts_are_the_nearest_candidates_in_order():
    search = linear_search(candidates=20, restarts=3)
    images = images_of(draw(5))
    distances = ((images_of(search.candidates)[None] - images[:, None]) ** 2).sum(axis=(2, 3, 4))
    nearest = np.argsort(distances, axis=1)[:, :3]
    np.testing.assert_array_equal(starts(search, images), search.candidates[nearest])


def test_large_images_are_compared_at_16_pixels():
    """By their block means: what differs within a block of 2 x 2 pixels does not count."""
    matrix = np.random.default_rng(0).standard_normal((3, 32 * 32)).astype(np.float32)
    search = LatentSearch(LinearGenerator(matrix), None, feature_weight=0.0, candidates=12)
    assert search._candidate_images.shape == (12, 16 * 16)
    images = images_of(draw(4), matrix)

    def reduced(x):
        return x.reshape(-1, 16, 2, 16, 2).mean(axis=(2, 4))

    candidates = reduced(images_of(search.candidates, matrix))
    nearest = ((candidates[None] - reduced(images)[:, None]) ** 2).sum(axis=(2, 3)).argmin(axis=1)
    np.testing.assert_array_equal(starts(search, images)[:, 0], search.candidates[nearest])
    checkers = 5.0 * (np.indices((32, 32)).sum(axis=0) % 2 * 2 - 1)[None, :, :, None]  # mean 0 in each block
    np.testing.assert_array_equal(
        starts(search, images + checkers.astype(np.float32)), starts(search, images)
    )


def test_candidates_are_at_least_the_restarts():
    search = linear_search(candidates=1, restarts=4)
    assert search.candidates.shape == (4, 3)
    found = starts(search, images_of(draw(1)))[0]
    assert sorted(found.tolist()) == sorted(search.candidates.tolist())


def test_candidates_are_uniform_within_the_bound():
    drawn = np.tanh(linear_search(candidates=4000).candidates)
    assert np.abs(drawn).max() <= MOST + 1e-6 and np.abs(drawn).max() > 0.99
    np.testing.assert_allclose(np.quantile(drawn, [0.25, 0.5, 0.75]), [-0.5, 0, 0.5], atol=0.03)


def test_many_candidates_are_all_considered():
    """They are generated in parts; each must stay beside its own image."""
    search = linear_search(candidates=200, iterations=0)
    picked = np.array([0, 63, 64, 130, 199])
    latents, loss, _ = search(images_of(search.candidates[picked]))
    np.testing.assert_array_equal(np.asarray(latents), search.candidates[picked])
    np.testing.assert_allclose(np.asarray(loss), 0.0, atol=1e-5)


def test_seed_decides_the_candidates():
    images = images_of(draw(2))
    first, again, other = (linear_search(seed=seed, iterations=3) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.candidates, again.candidates)
    assert not np.array_equal(first.candidates, other.candidates)
    for a, b in zip(first(images), again(images), strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
    assert not np.allclose(np.asarray(first(images)[0]), np.asarray(other(images)[0]))


def test_restarts_never_make_it_worse():
    """The first of three starts is the only one of a single start, so three can only be as good or better."""
    images = images_of(draw(40))
    one = np.asarray(linear_search(restarts=1, candidates=3, iterations=1)(images)[1])
    latents, three, _ = (np.asarray(a) for a in linear_search(restarts=3, candidates=3, iterations=1)(images))
    assert (three <= one * (1 + 1e-6)).all() and (three < one * 0.999).any()
    for n in range(40):  # and the latents are those of the best one
        assert three[n] == pytest.approx(loss_and_gradient(images[n], latents[n], 0.25)[0], rel=1e-4)


class Bowl:
    """One latent, whose bound is undone, as four equal pixels: the loss is |x - u|.

    Adam's path overshoots and comes back.
    """

    latent_size = 1
    variables = ()

    def __call__(self, latents):
        free = 0.5 * ops.log((1.0 + latents) / (1.0 - latents))
        return ops.ones((1, 2, 2, 1)) * ops.reshape(free, (-1, 1, 1, 1))


def bowl_search(**settings):
    return LatentSearch(Bowl(), LinearDiscriminatorOfNothing(), feature_weight=0.0, candidates=1, **settings)


class LinearDiscriminatorOfNothing:
    def __call__(self, images):
        return None, [images], []


def bowl_path(target, start, rate, iterations):
    """The latents of Adam on |x - u|, by hand."""
    z, moment, velocity, path = start, 0.0, 0.0, [start]
    for t in range(1, iterations + 1):
        gradient = np.sign(z - target)
        moment, velocity = 0.9 * moment + 0.1 * gradient, 0.999 * velocity + 0.001 * gradient**2
        z -= (
            rate
            * (1 - 0.9 * (t - 1) / iterations)
            * moment
            / (1 - 0.9**t)
            / np.sqrt(velocity / (1 - 0.999**t))
        )
        path.append(z)
    return np.array(path)


def stopped_by_hand(target, path, patience):
    """(best loss, steps) with an early stop: once `patience` latents of the path in a row were no better."""
    best, stale, steps = np.inf, 0, 0
    for z in path[:-1]:
        loss = abs(z - target)
        stale = 0 if loss < best * (1 - 1e-3) else stale + 1
        best, steps = min(best, loss), steps + 1
        if stale == patience:
            return best, steps
    return min(best, abs(path[-1] - target)), steps


def test_patience_stops_an_image_whatever_the_others_do():
    """A stopped image stays as it was while the batch goes on, though a better place would come later."""
    rate, iterations, patience = 0.1, 60, 3
    search = bowl_search(iterations=iterations, patience=patience, reach=reach(rate, iterations))
    start = float(search.candidates[0, 0])
    near, far = start + 0.1375, start + 3.5  # the far one gets nearer in each step
    path = bowl_path(near, start, rate, iterations)
    best, steps = stopped_by_hand(near, path, patience)
    assert (
        steps < 15 and np.abs(path[steps + 1 :] - near).min() < best * 0.8
    )  # so that stopping can be seen at all
    assert abs(path[-1] - near) < best * 0.8  # the very last one too, which is judged after the loop

    def searched(*targets):
        images = np.float32(targets).reshape(-1, 1, 1, 1) * np.ones((1, 2, 2, 1), np.float32)
        return [np.asarray(a) for a in search(images)]

    for alone, index in ((searched(near), 0), (searched(far, near), 1), (searched(near, far, far), 0)):
        latents, loss, count = alone
        assert loss[index] == pytest.approx(best, rel=1e-3)
        assert abs(latents[index, 0] - near) == pytest.approx(best, rel=1e-3)
        assert count[index] == steps
    assert searched(far, near)[2].tolist() == [iterations, steps]


def test_patience_zero_never_stops():
    search = bowl_search(iterations=60, patience=0, reach=reach(0.4, 60))
    start = float(search.candidates[0, 0])
    path = bowl_path(start + 0.55, start, 0.4, 60)
    _, loss, steps = (np.asarray(a) for a in search(np.full((1, 2, 2, 1), start + 0.55, np.float32)))
    assert steps.tolist() == [60]
    assert loss[0] == pytest.approx(np.abs(path - start - 0.55).min(), rel=1e-2, abs=1e-4)


def test_an_image_its_own_start_makes_has_nothing_to_improve():
    search = bowl_search(iterations=50, patience=4)
    image = search.generator(bounded(ops.convert_to_tensor(search.candidates)))
    latents, loss, steps = (np.asarray(a) for a in search(image))
    assert loss.tolist() == [0.0] and latents.tolist() == search.candidates.tolist()
    assert steps.tolist() == [5]  # the first is progress, four are not


def test_creeping_is_no_progress_but_counts():
    """Each step gains 1e-4 of the loss, less than 1e-3: the image stops, with the best latents judged."""
    search = bowl_search(iterations=50, patience=6, reach=reach(0.01, 50))
    start = float(search.candidates[0, 0])
    path = bowl_path(start + 100, start, 0.01, 50)
    _, loss, steps = (np.asarray(a) for a in search(np.full((1, 2, 2, 1), start + 100, np.float32)))
    assert steps.tolist() == [7]
    assert loss[0] == pytest.approx(start + 100 - path[6], abs=1e-4) and loss[0] < 99.95


@pytest.fixture(scope="module")
def networks():
    model = tiny_model(seed=3)
    return model.generator_average, model.discriminator_average


@pytest.fixture(scope="module")
def own_images(networks):
    """Images that the generator itself made."""
    latents = np.random.default_rng(11).uniform(-1, 1, (6, 8)).astype(np.float32)
    return np.asarray(networks[0](latents))


def test_real_networks_recover_what_they_generated(networks, own_images):
    settings = {"candidates": 64, "restarts": 4, "patience": 0, "reach": reach(0.2, 150)}
    before = np.asarray(LatentSearch(*networks, iterations=0, **settings)(own_images)[1])
    search = LatentSearch(*networks, iterations=150, **settings)
    latents, loss, _ = (np.asarray(a) for a in compile_function(search, None)(own_images))
    assert (loss < 0.05 * before).all()
    # the loss is that of the latents returned
    reconstructions = networks[0](bounded(latents))
    features, theirs = networks[1](own_images)[1], networks[1](reconstructions)[1]
    np.testing.assert_allclose(
        np.asarray(losses.search_loss(own_images, reconstructions, features, theirs, 0.1)),
        loss,
        rtol=1e-4,
        atol=1e-6,
    )


def test_more_iterations_are_no_worse(networks, own_images):
    """By image against the start, of which the search keeps the best; on average between two counts."""
    found = []
    settings = {"candidates": 4, "patience": 0, "feature_weight": 0.0}
    for iterations in (0, 5, 30):
        far = reach(0.1, iterations)
        search = LatentSearch(*networks, iterations=iterations, reach=far, **settings)
        found.append(np.asarray((compile_function(search, None) if iterations else search)(own_images)[1]))
    start, some, many = found
    assert (some <= start).all() and (many <= start).all()
    assert many.mean() < 0.8 * some.mean() < 0.8 * start.mean()


@pytest.mark.parametrize("iterations", [10, 100])
def test_however_many_steps_no_latent_moves_further_than_the_reach(iterations):
    """Far from its target every Adam step is its whole rate: the sum of the rates is the reach."""
    search = bowl_search(iterations=iterations, patience=0, reach=0.5)
    start = starts(search, np.zeros((1, 2, 2, 1), np.float32))[0, 0, 0]
    found = np.asarray(search(np.full((1, 2, 2, 1), start + 9.0, np.float32))[0])[0, 0]
    # The sum of the rates by hand: rate (1 - 0.9 k / n) over n steps.
    rates = 0.5 / (0.55 * iterations) * (1 - 0.9 * np.arange(iterations) / iterations)
    assert found - start == pytest.approx(rates.sum(), rel=1e-3)
    assert rates.sum() == pytest.approx(0.5, rel=0.09)


def test_weights_stay_as_they_are(networks, own_images):
    before = [np.asarray(w).copy() for network in networks for w in network.weights]
    LatentSearch(*networks, iterations=2, candidates=4)(own_images)
    after = [np.asarray(w) for network in networks for w in network.weights]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"feature_weight": 1.5}, ["search.feature_weight", "1.5"]),
        ({"feature_weight": -0.1}, ["search.feature_weight", "-0.1"]),
        ({"feature_weight": float("nan")}, ["search.feature_weight", "nan"]),
        ({"iterations": -1}, ["search.iterations", "-1"]),
        ({"restarts": 0}, ["search.restarts", "0"]),
        ({"candidates": 0}, ["search.candidates", "0"]),
        ({"patience": -2}, ["search.patience", "-2"]),
        ({"pretrained_weight": -1.0}, ["search.pretrained_weight", "-1.0"]),
    ],
)
def test_bad_settings_are_named(settings, words):
    with pytest.raises(ValueError) as caught:
        linear_search(**settings)
    assert all(word in str(caught.value) for word in words)


# With pretrained features


LATENT_SHAPE, SHAPES = (2, 2, 3), [(4, 4, 5), (2, 2, 7)]


class Blank:
    """Images that say nothing of the latents."""

    latent_size, variables = 12, ()

    def __call__(self, latents):
        return ops.zeros((1, 4, 4, 1)) * ops.reshape(latents[:, 0], (-1, 1, 1, 1))


@pytest.fixture(scope="module")
def feature_generator():
    keras.utils.set_random_seed(0)
    network = FeatureGenerator(LATENT_SHAPE, SHAPES)
    network.build()
    for layer in network.layers:  # with biases of 0 it would draw the same from half the latents
        layer.bias.assign(0.5 * keras.random.normal(layer.bias.shape))
    return network


def feature_search(feature_generator, **settings):
    """The search of pretrained features alone; their standardisation changes them."""
    standardization = Standardization([shape[2] for shape in SHAPES])
    standardization.build()
    standardization.means[0].assign([1.0] * 5)
    standardization.squares[0].assign([5.0] * 5)
    given = {"feature_weight": 0.0, "candidates": 4, "patience": 0, "standardization": standardization}
    return LatentSearch(Blank(), None, feature_generator=feature_generator, **{**given, **settings})


def raw(standardised):
    """What feature_search standardises to these: mean 1, deviation 2 of the first, 0 and 1 of the second."""
    return [2.0 * standardised[0] + 1.0, standardised[1]]


def test_targets_are_the_discriminators_and_the_standardised_pretrained_features(feature_generator):
    features = [tensor_of(2, *shape, seed=i) for i, shape in enumerate(SHAPES)]
    search = feature_search(feature_generator)
    for found, expected in zip(search.targets(None, raw(features)), features, strict=True):
        np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=1e-4, atol=1e-5)
    images = images_of(draw(2))
    both = LatentSearch(
        LinearGenerator(),
        LinearDiscriminator(),
        feature_generator=feature_generator,
        standardization=search.standardization,
        candidates=1,
        image_weight=1.0,
    ).targets(images, raw(features))
    assert [t.shape[1:] for t in both] == [(1, 1, 5), *SHAPES]
    np.testing.assert_allclose(
        np.asarray(both[0]), np.asarray(LinearDiscriminator()(images)[1][0]), rtol=1e-5
    )


def tensor_of(*shape, seed=0):
    return ops.convert_to_tensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def test_the_loss_adds_the_feature_residual(feature_generator):
    features = [tensor_of(3, *shape, seed=i) for i, shape in enumerate(SHAPES)]
    images, latents = tensor_of(3, 4, 4, 1), tensor_of(3, 12)
    drawn = feature_generator(np.tanh(latents))
    of_features = losses.feature_residual(losses.feature_residual_maps(features, drawn))
    of_images = np.abs(np.asarray(images)).mean(axis=(1, 2, 3))
    # None: images count where nothing else does.
    for of_image, weight, counts in ((None, 0.0, 1), (None, 2.5, 0), (0.0, 1.0, 0), (0.5, 2.5, 0.5)):
        search = feature_search(feature_generator, pretrained_weight=weight, image_weight=of_image)
        found = search.loss(images, search.targets(images, raw(features)), latents)
        expected = counts * of_images + weight * np.asarray(of_features)
        np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-4)


def test_a_search_that_compares_no_images_looks_at_none(feature_generator):
    """Neither generator nor discriminator is called, and its step takes no images."""
    features = [tensor_of(3, *shape, seed=i) for i, shape in enumerate(SHAPES)]
    search, latents, zeros = feature_search(feature_generator), tensor_of(3, 12), ops.zeros((3, 12))
    search.generator = search.discriminator = None
    targets = search.targets(None, raw(features))
    _, moment, _, loss = search.search_step(None, targets, latents, zeros, zeros, 0.0)
    expected = losses.feature_residual(
        losses.feature_residual_maps(features, feature_generator(np.tanh(latents)))
    )
    np.testing.assert_allclose(np.asarray(loss), np.asarray(expected), rtol=1e-4)
    assert (np.abs(np.asarray(moment)).max(axis=1) > 0).all()


def test_a_search_that_compares_nothing_is_refused(feature_generator):
    with pytest.raises(ConfigError, match="image_weight is 0 and so is pretrained_weight"):
        feature_search(feature_generator, pretrained_weight=0.0, image_weight=0.0)
    with pytest.raises(ConfigError, match="image_weight is 0 and no pretrained features are drawn"):
        linear_search(image_weight=0.0)


def test_the_search_reaches_latents_whose_features_were_drawn(feature_generator):
    """Within the bound, and lower than where it started; the latents themselves are found again."""
    latents = np.random.default_rng(5).uniform(-0.8, 0.8, (3, 12)).astype(np.float32)
    pretrained = raw(feature_generator(ops.convert_to_tensor(latents)))
    images = np.zeros((3, 4, 4, 1), np.float32)

    def searched(iterations):
        search = feature_search(
            feature_generator, iterations=iterations, reach=reach(0.1, iterations), candidates=1
        )
        found = compile_function(search, feature_generator)(images, pretrained)
        return np.tanh(np.asarray(found[0])), np.asarray(found[1])

    (first, before), (found, after) = searched(0), searched(250)
    assert (after < 0.02 * before).all() and (np.abs(found) < 1).all()
    assert np.abs(found - latents).mean() < 0.15 * np.abs(first - latents).mean()


def test_the_search_stays_within_the_bound():
    """However far away what it is to draw is."""
    search = linear_search(iterations=40, rate=1.0, patience=0, feature_weight=0.0)
    latents, loss, _ = (np.asarray(a) for a in search(100.0 * images_of(draw(3))))
    assert np.isfinite(latents).all() and np.abs(np.tanh(latents)).max() <= 1
    assert (
        loss < np.asarray(linear_search(iterations=0, feature_weight=0.0)(100.0 * images_of(draw(3)))[1])
    ).all()


class Half:
    """An encoder: the mean of what it sees is all its latents, and of features that of the first scale."""

    def __init__(self, length):
        self.length = length

    def __call__(self, seen):
        seen = seen[0] if isinstance(seen, list) else seen
        return ops.mean(seen, axis=(1, 2, 3))[:, None] * ops.ones((1, self.length))


def test_the_encoder_says_where_the_first_search_starts(feature_generator):
    images = images_of(draw(4))
    mean = images.mean(axis=(1, 2, 3))
    for restarts in (1, 3):
        search = linear_search(encoder=Half(3), restarts=restarts)
        found = starts(search, images)
        assert found.shape == (4, restarts, 3)
        np.testing.assert_allclose(found[:, 0], np.repeat(mean[:, None], 3, axis=1), rtol=1e-4, atol=1e-6)
        others = starts(linear_search(restarts=3), images)  # the rest are the nearest candidates
        np.testing.assert_array_equal(found[:, 1:], others[:, : restarts - 1])
    # Of features it reads the standardised ones.
    features = [tensor_of(2, *shape, seed=i) for i, shape in enumerate(SHAPES)]
    search = feature_search(feature_generator, encoder=Half(12))
    found = np.asarray(search.start(None, search.targets(None, raw(features))))
    mean = np.asarray(features[0]).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(found[:, 0], np.repeat(mean[:, None], 12, axis=1), rtol=1e-3, atol=1e-5)


# The search of a model


def test_of_model_takes_the_averages_and_starts_where_init_says():
    model = tiny_model()
    search = LatentSearch.of_model(model, iterations=3, candidates=4, seed=5)
    assert search.generator is model.generator_average
    assert search.discriminator is model.discriminator_average
    assert search.encoder is model.encoder_average
    assert search.feature_generator is None and search.standardization is None
    assert (search.iterations, search.candidates.shape, search.seed) == (3, (4, 8), 5)
    assert LatentSearch.of_model(model, init="candidates", candidates=4).encoder is None


def test_of_model_takes_the_pretrained_features_from_stride_8_on():
    features = {"name": "efficientnet_lite0", "resolution": 16, "patch_discriminator": False}
    model = tiny_model(features=features)
    search = LatentSearch.of_model(model)
    assert search.feature_generator is model.feature_generator_average
    assert search.standardization is model.standardization
    assert search.image_weight == 0 and LatentSearch.of_model(model, image_weight=1.0).image_weight == 1
    images = np.random.default_rng(0).uniform(-1, 1, (1, 16, 16, 1)).astype(np.float32)
    small = images[:, ::2, ::2]
    found = search.targets(small, model.pretrained_features(images))
    assert [f.shape[1:] for f in found] == [(2, 2, 40), (1, 1, 112), (1, 1, 320)]
    assert np.isfinite(np.asarray(search(small, model.pretrained_features(images))[1])).all()


def test_of_model_names_an_unknown_init():
    with pytest.raises(ValueError, match="search.init must be one of encoder, candidates, got 'noise'"):
        LatentSearch.of_model(tiny_model(), init="noise")
