"""Outlier detection by subspaces, on points whose subspace or scores are known by hand."""

import types

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from semi_anogan.benchmarks.baselines import comparison, subspace

NORMAL = np.array([1.0, 2.0, 2.0]) / 3
PLANE = np.array([[2.0, 1.0, -2.0], [2.0, -2.0, 1.0]]) / 3  # at right angles to NORMAL, and to each other
# Three points on a line, two on another at right angles; lengths do not count.
CROSS = np.array([[1.0, 0.0], [2.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -3.0]])


@pytest.fixture
def plane():
    """Forty points on the plane, twenty anywhere."""
    rng = np.random.default_rng(0)
    return np.concatenate([rng.normal(size=(40, 2)) @ PLANE, rng.normal(size=(20, 3))])


def test_coherence_pursuit():
    # As unit vectors (1, 0), (0.6, 0.8), (0, 1): cosines 0.6, 0 and 0.8.
    scores = subspace.coherence_pursuit([[2.0, 0.0], [3.0, 4.0], [0.0, 5.0]])
    np.testing.assert_allclose(scores, [-0.6, -1.0, -0.8])
    # sqrt(0.36 + 0.36) of a point with two like itself; nothing in common with a point of length 0.
    scores = subspace.coherence_pursuit([[1.0, 0.0], [0.6, 0.8], [0.6, -0.8], [0.0, 0.0]])
    np.testing.assert_allclose(scores, [-np.sqrt(0.72), -np.hypot(0.6, 0.28), -np.hypot(0.6, 0.28), 0.0])


def test_reaper_finds_the_plane(plane):
    basis = subspace.reaper_subspace(plane, 2)
    np.testing.assert_allclose(basis @ basis.T, np.eye(2), atol=1e-12)
    np.testing.assert_allclose(basis @ NORMAL, 0, atol=1e-6)
    expected = np.abs(plane @ NORMAL) / np.linalg.norm(plane, axis=1)
    np.testing.assert_allclose(subspace.reaper(plane, 2), expected, atol=1e-6)
    # The direction of least variance is not the normal: the outliers tilt it.
    assert abs(np.linalg.svd(plane)[2][-1] @ NORMAL) < 1 - 1e-4


def test_reaper_takes_the_line_of_more_points():
    # P = diag(p, 1 - p) has the sum 3 (1 - p) + 2 p, least at p = 1.
    np.testing.assert_allclose(np.abs(subspace.reaper_subspace(CROSS, 1)), [[1, 0]], atol=1e-6)
    np.testing.assert_allclose(subspace.reaper(CROSS, 1), [0, 0, 0, 1, 1], atol=1e-6)


@pytest.mark.parametrize(
    ("values", "dimension", "shares"),
    [
        ([4.0, 1.0, 0.5], 1, [0.8, 0.2, 0]),  # t = 1 / (1/4 + 1) = 0.8, above 0.5
        ([4.0, 1.0, 1.0], 1, [7 / 9, 1 / 9, 1 / 9]),  # t = 2 / (1/4 + 1 + 1) = 8/9
        ([4.0, 1.0, 0.0], 2, [1, 1, 0]),
        ([4.0, 0.0, 0.0], 2, [1, 0, 0]),
    ],
)
def test_shares_of_the_eigenvalues(values, dimension, shares):
    np.testing.assert_allclose(subspace._shares(np.array(values), dimension), shares)


def test_dual_vectors_are_normal_to_the_plane(plane):
    (normal,) = subspace.dual_vectors(plane, 1)
    np.testing.assert_allclose(normal * np.sign(normal @ NORMAL), NORMAL, atol=1e-6)
    expected = np.abs(plane @ NORMAL) / np.linalg.norm(plane, axis=1)
    np.testing.assert_allclose(subspace.dual_principal_components(plane, 2), expected, atol=1e-6)


def test_what_is_normal_to_all_points_does_not_count(plane):
    """The same points in ten dimensions have the same scores; a fourth normal there is not."""
    axes = np.linalg.qr(np.random.default_rng(1).normal(size=(10, 3)))[0].T
    for method in (subspace.dual_principal_components, subspace.reaper):
        np.testing.assert_allclose(method(plane @ axes, 2), method(plane, 2), atol=1e-6)
    assert subspace.dual_vectors(plane @ axes, 3).shape == (3, 10)
    with pytest.raises(ValueError, match="count must be 1 to 3, what the points span, got 4"):
        subspace.dual_vectors(plane @ axes, 4)
    assert subspace.dual_principal_components(plane, 3).tolist() == [0.0] * 60


def test_low_rank_representation():
    # Two equal points and one at right angles. Z's block of the two is t/2 everywhere, so that they cost
    # t + 2 w (1 - t): represented if 2 w > 1. The third costs t + w (1 - t): represented if w > 1.
    points = np.array([[2.0, 0, 0], [1, 0, 0], [0, 3, 0]])
    for weight, scores in ((0.3, [1, 1, 1]), (0.7, [0, 0, 1]), (1.5, [0, 0, 0])):
        found = subspace.low_rank_representation(points, weight)
        np.testing.assert_allclose(found, scores, atol=1e-5)


def test_low_rank_representation_by_default_takes_half_of_the_points():
    """Ten points for each of five directions, and 10 * 0.2 > 1; fifty others have no two alike."""
    rng = np.random.default_rng(0)
    inliers = np.repeat(np.eye(100)[:5], 10, axis=0)
    outliers = np.concatenate([np.zeros((50, 5)), rng.normal(size=(50, 95))], axis=1)
    scores = subspace.low_rank_representation(np.concatenate([inliers, outliers]))
    assert scores[:50].max() < 1e-3 < 0.5 < scores[50:].min()


def test_self_representation():
    # a and b have the cosine 0.8, c has 0.1 with a and 0.08 with b; alpha = 2 leaves each its nearest alone.
    # Of one point r = cosine (1 - 1 / alpha) / (1 + 0.05 cosine / (0.95 alpha)).
    points = np.array([[1.0, 0, 0], [4, 3, 0], [0.1, 0, np.sqrt(0.99)]])
    near, far = 0.4 / (1 + 0.04 / 1.9), 0.05 / (1 + 0.005 / 1.9)
    found = subspace.self_representation(points, alpha=2)
    np.testing.assert_allclose(found, [[0, near, 0], [near, 0, 0], [far, 0, 0]], atol=1e-12)
    # The walk is at a or b after the first step, and changes between them.
    np.testing.assert_allclose(subspace.r_graph(points, alpha=2, steps=10), [-0.5, -0.5, 0])


def test_self_representation_is_the_elastic_net():
    """As scikit-learn's coordinate descent has it, whose loss is divided by the number of coordinates."""
    from sklearn.linear_model import ElasticNet

    points = np.random.default_rng(0).normal(size=(8, 5))
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    found = subspace.self_representation(points, alpha=5, l1_ratio=0.7)
    for j in range(8):
        others = [i for i in range(8) if i != j]
        gamma = 5 * 0.7 / np.abs(unit[others] @ unit[j]).max()
        model = ElasticNet(alpha=1 / (5 * gamma), l1_ratio=0.7, fit_intercept=False, tol=1e-12)
        model.fit(unit[others].T, unit[j])
        np.testing.assert_allclose(found[j, others], model.coef_, atol=1e-6)


def test_r_graph_keeps_subspaces_apart():
    """Two planes at right angles: none represents the other, and outliers, that use both, are not used."""
    rng = np.random.default_rng(0)
    inliers, outliers = np.zeros((30, 12)), rng.normal(size=(6, 12))
    inliers[:15, :2], inliers[15:, 2:4] = rng.normal(size=(15, 2)), rng.normal(size=(15, 2))
    found = subspace.self_representation(inliers)
    assert not found[:15, 15:].any() and not found[15:, :15].any() and found.any(axis=1).all()
    points = np.concatenate([inliers, outliers])
    truth = np.repeat([0, 1], [30, 6])
    assert roc_auc_score(truth, subspace.r_graph(points)) == 1


def test_a_walk_ends_where_nothing_represents_a_point():
    points = np.array([[1.0, 0, 0], [4, 3, 0], [0, 0, 1.0]])
    assert not subspace.self_representation(points)[2].any()
    # Two thirds of the walks go on between the first two, for ever.
    np.testing.assert_allclose(subspace.r_graph(points, steps=10), [-1 / 3, -1 / 3, 0])


def test_outliers_score_higher():
    """Half of the points near a subspace of ten dimensions, half anywhere in fifty."""
    rng = np.random.default_rng(0)
    inliers = rng.normal(size=(40, 10)) @ rng.normal(size=(10, 50)) / 3 + rng.normal(0, 0.1, (40, 50))
    points, truth = np.concatenate([inliers, rng.normal(size=(40, 50))]), np.repeat([0, 1], 40)
    images = types.SimpleNamespace(features=comparison.Groups(None, None, points))  # of no training image
    for name, method in comparison.OUTLIER_DETECTORS.items():
        if method.transductive:
            assert roc_auc_score(truth, method.score(images)) > 0.99, name
    transductive = [name for name, method in comparison.ALL.items() if method.transductive]
    assert transductive == ["CoP", "REAPER", "LRR", "DPCP", "R-graph"]


def test_wrong_arguments_are_refused(plane):
    for method in (subspace.reaper, subspace.dual_principal_components, subspace.reaper_subspace):
        with pytest.raises(ValueError, match="dimension must be at least 1, got 0"):
            method(plane, 0)
    with pytest.raises(ValueError, match="weight must be above 0, got 0"):
        subspace.low_rank_representation(plane, 0)
