"""The objective: each term by hand, and the paper's optimum on a distribution small enough to solve."""

import math
import types

import numpy as np
import pytest
from keras import ops

from semi_anogan.backend import compile_function, input_gradients
from semi_anogan.networks import losses


def tensor(values):
    return ops.convert_to_tensor(np.asarray(values, np.float32))


def close(actual, expected, **options):
    np.testing.assert_allclose(
        ops.convert_to_numpy(actual), expected, **{"rtol": 1e-5, "atol": 1e-6, **options}
    )


def test_non_saturating_by_hand():
    logits = tensor([0.0, math.log(3)])  # D = 1/2 and 3/4
    close(losses.NonSaturating.real(logits), [math.log(2), math.log(4 / 3)])
    close(losses.NonSaturating.generated(logits), [math.log(2), math.log(4)])
    close(losses.NonSaturating.generator(logits), [math.log(2), math.log(4 / 3)])
    close(losses.NonSaturating.drift(logits), [0.0, 0.0])
    assert losses.NonSaturating.penalty_on == "normal"


def test_non_saturating_stays_finite_at_extreme_logits():
    logits = tensor([-200.0, 200.0])
    close(losses.NonSaturating.real(logits), [200.0, 0.0])
    close(losses.NonSaturating.generated(logits), [0.0, 200.0])


def test_wasserstein_by_hand():
    logits = tensor([-2.0, 3.0])
    close(losses.WassersteinGP.real(logits), [2.0, -3.0])
    close(losses.WassersteinGP.generated(logits), [-2.0, 3.0])
    close(losses.WassersteinGP.generator(logits), [2.0, -3.0])
    close(losses.WassersteinGP.drift(logits), [0.004, 0.009])
    assert losses.WassersteinGP.penalty_on == "mixed"


def test_alpha_mixture_by_hand():
    assert losses.alpha_mixture(1.0, 10.0, 100.0, 0.25) == pytest.approx(1 + 2.5 + 75)
    assert losses.alpha_mixture(1.0, 10.0, 100.0, 1.0) == pytest.approx(11.0)  # plain AnoGAN


def test_weighted_mean_by_hand():
    close(losses.weighted_mean(tensor([1.0, 2.0, 100.0]), tensor([1.0, 3.0, 0.0])), 7 / 4)
    close(losses.weighted_mean(tensor([5.0, 6.0]), tensor([0.0, 0.0])), 0.0)


def test_variety_by_hand():
    # Two pixels. Images with a weight: (0, 0) and, three times as heavy, (4, 0): standard deviations sqrt(3),
    # 0. Generated: 1 and 2.
    images = np.float32([[0, 0], [4, 0], [90, 70]]).reshape(3, 2, 1, 1)
    generated = np.float32([[5, 7], [7, 3]]).reshape(2, 2, 1, 1)
    found = float(losses.variety(generated, images, np.float32([1, 3, 0])))
    assert found == pytest.approx(1.5 / (math.sqrt(3) / 2), rel=1e-5)
    assert (
        float(losses.variety(np.ones_like(generated), images, np.float32([1, 3, 0]))) == 0.0
    )  # one image only
    assert float(losses.variety(generated, images, np.float32([0, 1, 0]))) == 0.0  # nothing to compare with
    assert float(losses.variety(generated, images, np.zeros(3, np.float32))) == 0.0


def test_kept_shares_by_hand():
    values = tensor([3.0, 9.0, 1.0, 7.0])
    close(losses.kept_shares(values, 0.0), [1, 1, 1, 1])
    close(losses.kept_shares(values, 0.25), [1, 0, 1, 1])  # one of four
    close(losses.kept_shares(values, 0.3), [1, 0, 1, 0.8])  # 1.2 of four: the next one counts in part
    close(losses.kept_shares(values, 0.125), [1, 0.5, 1, 1])
    close(losses.kept_shares(values, 1.0), [0, 0, 0, 0])
    close(losses.kept_shares(values, tensor(0.5)), [1, 0, 1, 0])  # a share that is a tensor


def test_kept_shares_have_no_gradient():
    """They only choose: what is left out teaches nothing, what is kept as much as without."""
    values = tensor([3.0, 9.0, 1.0, 7.0])
    total = input_gradients(lambda x: ops.square(x) * losses.kept_shares(x, 0.375), values)[1]
    close(total, [6.0, 0.0, 2.0, 7.0])  # 2 x, and half of it for 7


def test_top_mean_by_hand():
    values = np.arange(64, dtype=np.float32)
    maps = np.stack([np.random.default_rng(0).permutation(values), np.full(64, -2.0, np.float32)]).reshape(
        2, 8, 8, 1
    )
    maps = ops.convert_to_tensor(maps)
    close(losses.top_mean(maps, 0.01), [63.0, -2.0])  # 0.64 values: at least one
    close(losses.top_mean(maps, 0.05), [62.0, -2.0])  # 3.2 values: 61, 62, 63
    close(losses.top_mean(maps, 0.055), [61.5, -2.0])  # 3.52 values: four
    close(losses.top_mean(maps, 1.0), [31.5, -2.0])


def test_top_mean_where_by_hand():
    """Values 0 to 15 on 4 x 4; a quarter, four of them, would count."""
    maps = tensor(np.tile(np.arange(16.0).reshape(1, 4, 4, 1), (3, 1, 1, 1)))
    where = np.zeros((3, 4, 4, 1), np.float32)
    where[0, 1:3] = 1.0  # 4 to 11: the highest four are 8 to 11
    where[1, 0, 1], where[1, 2, 2] = 1.0, 1.0  # 1 and 10: fewer than asked for, so both
    close(losses.top_mean(maps, 0.25, tensor(where)), [9.5, 5.5, -1e4])  # none at all in the third
    close(losses.top_mean(maps, 0.25, tensor(np.ones((3, 4, 4, 1)))), [13.5] * 3)


def test_top_mean_where_at_another_size():
    """A patch counts if any of its pixels does: on 2 x 2 patches of a mask of 8 x 8 pixels."""
    maps = tensor(np.float32([5.0, -1.0, 2.0, 7.0]).reshape(1, 2, 2, 1))
    where = np.zeros((1, 8, 8, 1), np.float32)
    where[0, 3, 7] = 1.0  # the last pixel of the patch at the upper right
    close(losses.top_mean(maps, 1.0, tensor(where)), [-1.0])
    where[0, 4, 0] = 1.0
    close(losses.top_mean(maps, 1.0, tensor(where)), [0.5])


def test_top_mean_teaches_the_highest_inside_only():
    maps = tensor(np.arange(4.0).reshape(1, 2, 2, 1))
    where = tensor(np.float32([1, 1, 1, 0]).reshape(1, 2, 2, 1))
    gradient = input_gradients(lambda x: losses.top_mean(x, 0.5, where), maps)[1]
    close(ops.reshape(gradient, (-1,)), [0.0, 0.5, 0.5, 0.0])
    none = input_gradients(lambda x: losses.top_mean(x, 0.5, 0.0 * where), maps)[1]
    close(ops.reshape(none, (-1,)), [0.0] * 4)


GRADIENTS = np.float32([[3, 4, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]]).reshape(3, 2, 2, 1)


def test_penalties_by_hand():
    close(losses.r1_penalty(tensor(GRADIENTS)), [12.5, 0.5, 0.0])
    close(losses.gradient_norm_penalty(tensor(GRADIENTS)), [16.0, 0.0, 1.0], atol=1e-5)
    close(losses.NonSaturating.penalty(tensor(GRADIENTS)), [12.5, 0.5, 0.0])
    close(losses.WassersteinGP.penalty(tensor(GRADIENTS)), [16.0, 0.0, 1.0], atol=1e-5)


def test_r1_of_a_quadratic():
    """f = 1/2 sum a x^2 has the gradient a x, R1 is 1/2 sum (a x)^2 and its own gradient a^2 x."""
    rng = np.random.default_rng(0)
    a, x = (
        rng.standard_normal((2, 2, 3)).astype(np.float32),
        rng.standard_normal((4, 2, 2, 3)).astype(np.float32),
    )

    def function(x):
        return 0.5 * ops.sum(a * ops.square(x), axis=(1, 2, 3))

    values, gradients = input_gradients(function, tensor(x))
    close(values, 0.5 * (a * x**2).sum((1, 2, 3)))
    close(gradients, a * x)
    close(losses.r1_penalty(gradients), 0.5 * ((a * x) ** 2).sum((1, 2, 3)))
    second = input_gradients(lambda x: losses.r1_penalty(input_gradients(function, x)[1]), tensor(x))[1]
    close(second, a**2 * x)


def test_gradient_norm_penalty_of_a_linear_function():
    """f = w . x has the gradient w everywhere, so the penalty is (|w| - 1)^2: 0 for a 1-Lipschitz critic."""
    x = np.random.default_rng(0).standard_normal((3, 2, 2, 1)).astype(np.float32)
    for norm, expected in ((3.0, 4.0), (1.0, 0.0), (0.5, 0.25)):
        w = norm * np.float32([0.5, -0.5, 0.5, 0.5]).reshape(2, 2, 1)
        gradients = input_gradients(lambda x, w=w: ops.sum(w * x, axis=(1, 2, 3)), tensor(x))[1]
        close(losses.gradient_norm_penalty(gradients), [expected] * 3, atol=1e-5)


IMAGES = np.float32([[[[0.0], [1.0]], [[-1.0], [0.5]]], [[[0.0], [0.0]], [[0.0], [0.0]]]])  # [2, 2, 2, 1]
RECONSTRUCTIONS = np.float32([[[[0.0], [-1.0]], [[-1.0], [1.0]]], [[[0.1], [0.1]], [[0.1], [0.1]]]])
# Two scales; differences of the first image: 0, 4 (mean 2) and 1 (mean 1); of the second: none and 3.
FEATURES = [np.zeros((2, 1, 2, 1), np.float32), np.zeros((2, 1, 1, 1), np.float32)]
RECONSTRUCTION_FEATURES = [
    np.float32([0, -4, 0, 0]).reshape(2, 1, 2, 1),
    np.float32([1, -3]).reshape(2, 1, 1, 1),
]


def test_residual_by_hand():
    close(losses.residual(tensor(IMAGES), tensor(RECONSTRUCTIONS)), [(2.0 + 0.5) / 4, 0.1])


def test_feature_distance_by_hand():
    close(losses.feature_distance(FEATURES, RECONSTRUCTION_FEATURES), [(2 + 1) / 2, (0 + 3) / 2])
    with pytest.raises(ValueError):  # not the same scales
        losses.feature_distance(FEATURES, RECONSTRUCTION_FEATURES[:1])


@pytest.mark.parametrize("weight", [0.0, 0.1, 1.0])
def test_search_loss_by_hand(weight):
    expected = [(1 - weight) * 0.625 + weight * 1.5, (1 - weight) * 0.1 + weight * 1.5]
    images, reconstructions = tensor(IMAGES), tensor(RECONSTRUCTIONS)
    close(losses.search_loss(images, reconstructions, FEATURES, RECONSTRUCTION_FEATURES, weight), expected)


# Places of two channels: parallel, opposite, orthogonal to (2, 0), then one more opposite; 4 x 4 and 2 x 2.
def feature_maps():
    """(features, drawn) of two scales: 1 - cosine is 0, 2, 1, 2 in the four columns of the first, 1 and 0 in
    the rows of the second.
    """
    fine = np.zeros((1, 4, 4, 2), np.float32) + np.float32([2, 0])
    drawn = np.broadcast_to(np.float32([[5, 0], [-0.5, 0], [0, 3], [-1, 0]]), (1, 4, 4, 2))
    coarse = np.float32([[[[1, 1], [1, 1]], [[1, 1], [1, 1]]]])
    coarse_drawn = np.float32([[[[1, -1], [-2, 2]], [[3, 3], [0.5, 0.5]]]])
    return [tensor(fine), tensor(coarse)], [tensor(drawn), tensor(coarse_drawn)]


def test_feature_residual_maps_by_hand():
    fine, coarse = losses.feature_residual_maps(*feature_maps())
    close(fine[0, ..., 0], [[0, 2, 1, 2]] * 4, atol=1e-5)
    close(coarse[0, ..., 0], [[1, 1], [0, 0]], atol=1e-5)
    zero = tensor(np.zeros((1, 1, 1, 2)))
    close(losses.feature_residual_maps([zero], [zero + 1.0])[0], [[[[1.0]]]])  # no direction, no cosine
    with pytest.raises(ValueError):  # not the same scales
        losses.feature_residual_maps(feature_maps()[0], feature_maps()[1][:1])


def test_feature_residual_by_hand():
    maps = losses.feature_residual_maps(*feature_maps())
    close(losses.feature_residual(maps), [(1.25 + 0.5) / 2])


@pytest.mark.parametrize(
    ("margin", "share", "expected"),
    [
        (3.0, 1.0, 3 - (1.25 + 0.5) / 2),
        (3.0, 0.5, 3 - (2 + 1) / 2),  # the highest half: 8 of 16, 2 of 4
        (3.0, 0.75, 3 - ((8 * 2 + 4 * 1) / 12 + 2 / 3) / 2),
        (1.0, 0.5, 0.0),  # away already
        (1.0, 1.0, 1 - 0.875),
        (3.0, 0.05, 3 - (2 + 1) / 2),  # one place of each scale
    ],
)
def test_push_by_hand(margin, share, expected):
    maps = losses.feature_residual_maps(*feature_maps())
    close(losses.push(maps, margin, share), [expected], atol=1e-5)


def test_push_teaches_only_up_to_the_margin():
    map_ = tensor(np.float32([0.5, 1.5, 0.1, 0.3]).reshape(1, 2, 2, 1))
    for margin, expected in ((2.0, [-0.5, -0.5, 0.0, 0.0]), (0.9, [0.0] * 4)):
        gradient = input_gradients(lambda m, margin=margin: losses.push([m], margin, 0.5), map_)[1]
        close(ops.reshape(gradient, (-1,)), expected)


def test_adversarial_by_name():
    assert losses.adversarial("non_saturating") is losses.NonSaturating
    assert losses.adversarial("wgan_gp") is losses.WassersteinGP
    with pytest.raises(ValueError, match=r"objective\.adversarial.*non_saturating.*'hinge'"):
        losses.adversarial("hinge")


# The paper's claims on four kinds of image, the last two mostly abnormal. Known abnormal images come from
# p_a; some are among the "normal" ones too. The least alpha at which (p_d - (1 - alpha) p_a) / alpha is
# nowhere negative is 0.75.
P_D = np.float64([0.40, 0.30, 0.15, 0.15])
P_A = np.float64([0.00, 0.10, 0.30, 0.60])
P_G = np.float64([0.25, 0.25, 0.25, 0.25])


def mixture(p_g, alpha):
    return alpha * p_g + (1 - alpha) * P_A


def descend(function, table, steps, rate):
    """Plain gradient descent on a table of logits."""
    step = compile_function(
        lambda t: t - rate * input_gradients(function, t)[1], types.SimpleNamespace(variables=[])
    )
    for _ in range(steps):
        table = step(table)
    return table


@pytest.mark.parametrize("alpha", [1.0, 0.75, 0.3])
def test_trained_discriminator_is_the_papers_optimum(alpha):
    """D* = p_d / (p_d + alpha p_g + (1 - alpha) p_a), by descent on the terms that training uses."""
    p_d, p_g, p_a = (tensor(p) for p in (P_D, P_G, P_A))
    terms = losses.NonSaturating

    def objective(logits):
        return losses.alpha_mixture(
            losses.weighted_mean(terms.real(logits), p_d),
            losses.weighted_mean(terms.generated(logits), p_g),
            losses.weighted_mean(terms.generated(logits), p_a),
            alpha,
        )

    logits = descend(objective, tensor(np.zeros(4)), steps=300, rate=6.0)
    close(ops.sigmoid(logits), P_D / (P_D + mixture(P_G, alpha)), rtol=0, atol=1e-3)
    # At the optimum the loss is log 4 - 2 JSD(p_d || alpha p_g + (1 - alpha) p_a).
    middle = (P_D + mixture(P_G, alpha)) / 2
    divergence = sum(0.5 * np.sum(p * np.log(p / middle)) for p in (P_D, mixture(P_G, alpha)))
    close(objective(logits), math.log(4) - 2 * divergence, rtol=0, atol=1e-4)


def train_generator(alpha, term):
    """A table generator, softmax over the kinds, against the optimal discriminator of every step."""
    p_d, p_a = tensor(P_D), tensor(P_A)

    def objective(table):
        p_g = ops.softmax(table)
        other = ops.stop_gradient(alpha * p_g + (1 - alpha) * p_a)
        return ops.sum(p_g * term(ops.log(p_d / other)))  # the discriminator's logit is log(p_d / other)

    return ops.convert_to_numpy(ops.softmax(descend(objective, tensor(np.zeros(4)), steps=400, rate=4.0)))


# The paper's min-max game (the generator maximises the discriminator's loss on generated images, descending
# on 2 JSD(p_d || alpha p_g + (1 - alpha) p_a)), and the generator term that training uses in its place.
TERMS = {
    "minimax": lambda logits: -losses.NonSaturating.generated(logits),
    "trained": losses.NonSaturating.generator,
}


@pytest.mark.parametrize("term", TERMS)
def test_generator_arrives_at_the_papers_minimum_and_moves_with_alpha(term):
    """p_g = (p_d - (1 - alpha) p_a) / alpha: a smaller alpha takes more of the abnormal images out."""
    found = {alpha: train_generator(alpha, TERMS[term]) for alpha in (1.0, 0.9, 0.8)}
    np.testing.assert_allclose(found[1.0], P_D, atol=2e-3)
    np.testing.assert_allclose(found[0.9], [0.4444, 0.3222, 0.1333, 0.1000], atol=2e-3)
    np.testing.assert_allclose(found[0.8], [0.5000, 0.3500, 0.1125, 0.0375], atol=2e-3)


def test_generator_leaves_out_what_would_be_negative():
    """At alpha 0.5 the formula gives -0.3 for the last kind: the generator does not make it."""
    found = train_generator(0.5, TERMS["trained"])
    assert found[3] < 1e-3 and found[2] < 0.05 and found[0] > 0.5
