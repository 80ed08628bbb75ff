"""Outlier detection by subspaces: the inliers among unlabelled points lie near one of few dimensions.

All are transductive: they take the points to be scored, inliers and outliers together without labels, and
learn from these alone. A point is scaled to unit length first, so that its direction counts; one of length 0
stays as it is. What is not given with the points is how large the subspace of the inliers is: by default
DIMENSION, whatever the data.
"""

import numpy as np

DIMENSION = 10  # of the inliers' subspace
_NEGLIGIBLE = 1e-10  # of a singular value, relative to the largest


def coherence_pursuit(points: np.ndarray) -> np.ndarray:
    """How little a point has in common with all the others: CoP (Rahmani & Atia 2017, with the 2-norm).

    Args:
      points: [N, D].

    Returns:
      [N] scores from -sqrt(N - 1) to 0: the negative Euclidean norm of a point's cosines with the others.
    """
    unit = _unit(points)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, 0.0)
    return -np.linalg.norm(cosines, axis=1)


def reaper(points: np.ndarray, dimension: int = DIMENSION) -> np.ndarray:
    """Distance to the subspace of `reaper_subspace`: [N, D] -> [N] in [0, 1]; ValueError as there."""
    return _distances(_unit(points), reaper_subspace(points, dimension))


def reaper_subspace(points: np.ndarray, dimension: int, iterations: int = 200) -> np.ndarray:
    """The subspace to which the sum of distances is least, relaxed: REAPER (Lerman et al. 2015).

    The sum over the points of |x - P x| is least under 0 <= P <= 1, trace P = dimension, which is
    convex, by iteratively reweighted least squares. The subspace is that of the largest eigenvalues of P.

    Args:
      points: [N, D].
      dimension: of the subspace, 1 or more; no more are found than the points span.
      iterations: most of them; they end as soon as no entry of P moves by 1e-10.

    Returns:
      [d, D], orthonormal rows.

    Raises:
      ValueError: dimension is less than 1.
    """
    _check_dimension(dimension)
    coordinates, axes = _in_their_span(_unit(points))
    weights, former = np.ones(len(coordinates)), None
    for _ in range(iterations):
        values, vectors = _scatter(coordinates, weights)
        projection = (vectors * _shares(values, dimension)) @ vectors.T
        if former is not None and np.abs(projection - former).max() < 1e-10:
            break
        weights, former = _reweighted(coordinates - coordinates @ projection), projection
    vectors = np.linalg.eigh(projection)[1][:, ::-1]
    return vectors[:, :dimension].T @ axes


def dual_principal_components(points: np.ndarray, dimension: int = DIMENSION) -> np.ndarray:
    """Length of a point along the normal vectors of `dual_vectors`: [N, D] -> [N] in [0, 1].

    There are as many of them as directions that the points span, less `dimension`; without any all scores
    are 0. ValueError for a dimension of less than 1.
    """
    _check_dimension(dimension)
    unit = _unit(points)
    count = len(_in_their_span(unit)[1]) - dimension
    return np.linalg.norm(unit @ dual_vectors(points, count).T, axis=1) if count > 0 else np.zeros(len(unit))


def dual_vectors(points: np.ndarray, count: int, iterations: int = 200) -> np.ndarray:
    """Vectors normal to the inliers' subspace: DPCP (Tsakiris & Vidal 2018).

    The sum over the points of |B x| is least for orthonormal rows B, by iteratively reweighted least squares
    (DPCP-IRLS) in the space that the points span, where what is normal to all points does
    not count. The problem is not convex; it starts from the directions of least variance.

    Args:
      points: [N, D].
      count: vectors, from 1 to the number of directions that the points span.
      iterations: most of them; they end as soon as no entry of B' B moves by 1e-10.

    Returns:
      [count, D], B.

    Raises:
      ValueError: no such count.
    """
    coordinates, axes = _in_their_span(_unit(points))
    if not 1 <= count <= len(axes):
        raise ValueError(f"count must be 1 to {len(axes)}, what the points span, got {count}")
    weights, former = np.ones(len(coordinates)), None
    for _ in range(iterations):
        normals = _scatter(coordinates, weights)[1][:, -count:]
        projection = normals @ normals.T
        if former is not None and np.abs(projection - former).max() < 1e-10:
            break
        weights, former = _reweighted(coordinates @ normals), projection
    return normals.T @ axes


def low_rank_representation(
    points: np.ndarray, weight: float | None = None, iterations: int = 500
) -> np.ndarray:
    """What of a point the others do not represent: LRR (Liu, Lin & Yu 2010).

    The nuclear norm of Z plus `weight` times the sum of the lengths of E's columns is least under
    X = X Z + E, points as columns of X; by the method of augmented Lagrange multipliers. A point's score is
    the length of its column of E.

    Args:
      points: [N, D].
      weight: above 0. A direction shared by m points of unit length is represented if m * weight > 1. None:
        2 * DIMENSION / N, so that half of the points, evenly along DIMENSION directions, are on the border.
      iterations: most of them; they end where both constraints hold to 1e-7.

    Returns:
      [N] scores >= 0.

    Raises:
      ValueError: weight is not above 0.
    """
    weight = 2 * DIMENSION / max(1, len(points)) if weight is None else weight
    if not weight > 0:
        raise ValueError(f"weight must be above 0, got {weight}")
    x = _in_their_span(_unit(points))[0].T  # [rank, N]
    z, e, of_x, of_z = np.zeros((x.shape[1],) * 2), np.zeros_like(x), np.zeros_like(x), 0.0
    solve, penalty = np.linalg.inv(np.eye(x.shape[1]) + x.T @ x), 1e-2
    for _ in range(iterations):
        left, values, right = np.linalg.svd(z + of_z / penalty, full_matrices=False)
        low_rank = (left * np.maximum(values - 1 / penalty, 0.0)) @ right
        z = solve @ (x.T @ (x - e) + low_rank + (x.T @ of_x - of_z) / penalty)
        rest = x - x @ z
        e = _shrunk(rest + of_x / penalty, weight / penalty)
        of_x, of_z = of_x + penalty * (rest - e), of_z + penalty * (z - low_rank)
        if max(np.abs(rest - e).max(initial=0.0), np.abs(z - low_rank).max(initial=0.0)) < 1e-7:
            break
        penalty = min(1.1 * penalty, 1e6)
    return np.linalg.norm(e, axis=0)


def r_graph(points: np.ndarray, alpha: float = 50.0, l1_ratio: float = 0.95, steps: int = 1000) -> np.ndarray:
    """How seldom a random walk along `self_representation` is at a point: R-graph (You et al. 2017).

    A walk starts at any point, and goes from each to those that represent it, by the shares of their
    coefficients. Inliers are represented by inliers, so that it does not come back to outliers. It ends at a
    point that nothing represents.

    Args:
      points: [N, D].
      alpha, l1_ratio: as for self_representation.
      steps: of the walk; an even number, so that one between two points counts both alike.

    Returns:
      [N] scores from -1 to 0: the negative mean probability of being at a point after 1, 2, ... steps.
    """
    coefficients = np.abs(self_representation(points, alpha, l1_ratio))
    totals = coefficients.sum(axis=1, keepdims=True)
    transitions = np.divide(coefficients, totals, out=np.zeros_like(coefficients), where=totals > 0)
    at = np.full(len(transitions), 1 / max(1, len(transitions)))
    mean = np.zeros_like(at)
    for _ in range(steps):
        at = at @ transitions
        mean += at / steps
    return -mean


def self_representation(points: np.ndarray, alpha: float = 50.0, l1_ratio: float = 0.95) -> np.ndarray:
    """Each point as a combination of few others, by the elastic net (You et al. 2017).

    Of r, without the point x itself: l1_ratio |r|_1 + (1 - l1_ratio) / 2 |r|^2 + gamma / 2 |x - X r|^2, where
    gamma is alpha times that at which r begins to be other than 0.

    Args:
      points: [N, D].
      alpha: above 1.
      l1_ratio: in (0, 1], lambda of the paper.

    Returns:
      [N, N], row j has the coefficients of point j, 0 on the diagonal; all 0 where a point is at right
      angles to all others.
    """
    from sklearn.linear_model import lars_path_gram

    unit = _unit(points)
    cosines = unit @ unit.T
    found = np.zeros_like(cosines)
    for j in range(len(unit)):
        others = np.delete(np.arange(len(unit)), j)
        largest = np.abs(cosines[j, others]).max(initial=0.0)
        if largest < _NEGLIGIBLE:
            continue
        # All over gamma: the squared part of the penalty then joins the squares of the error.
        gamma = alpha * l1_ratio / largest
        gram = cosines[np.ix_(others, others)] + (1 - l1_ratio) / gamma * np.eye(len(others))
        found[j, others] = lars_path_gram(
            cosines[j, others],
            gram,
            n_samples=1,
            max_iter=10 * len(unit),
            alpha_min=l1_ratio / gamma,
            method="lasso",
            return_path=False,
        )[2]
    return found


def _unit(points) -> np.ndarray:
    points = np.asarray(points, np.float64)
    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    return np.divide(points, lengths, out=np.zeros_like(points), where=lengths > 0)


def _in_their_span(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(coordinates [N, R], axes [R, D]), points = coordinates @ axes: all lengths and angles are kept."""
    left, values, axes = np.linalg.svd(points, full_matrices=False)
    kept = values > _NEGLIGIBLE * values.max(initial=0.0)
    return left[:, kept] * values[kept], axes[kept]


def _scatter(points: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues, descending and at least 0, and eigenvectors (columns) of the weighted sum of x x'."""
    values, vectors = np.linalg.eigh((points * weights[:, None]).T @ points)
    return np.maximum(values[::-1], 0.0), vectors[:, ::-1]


def _shares(values: np.ndarray, dimension: int) -> np.ndarray:
    """Eigenvalues of REAPER's P: max(0, 1 - t / values), whose sum is `dimension`.

    values: descending. Where no more than `dimension` of them count, these have 1 and the others 0.
    """
    count = np.count_nonzero(values > _NEGLIGIBLE**2 * values.max(initial=0.0))
    shares = np.zeros(len(values))
    if count <= dimension:
        shares[:count] = 1.0
        return shares
    inverse = np.cumsum(1 / values[:count])
    # t is the level that leaves `dimension` among the i largest; it holds for the first i whose next value
    # is below it.
    for i in range(dimension + 1, count + 1):
        level = (i - dimension) / inverse[i - 1]
        if i == count or level >= values[i]:
            break
    shares[:i] = np.maximum(1 - level / values[:i], 0.0)
    return shares


def _reweighted(residuals: np.ndarray) -> np.ndarray:
    """Weights of the next least squares: one over each residual's length."""
    return 1 / np.maximum(np.linalg.norm(residuals, axis=1), 1e-10)


def _shrunk(columns: np.ndarray, by: float) -> np.ndarray:
    """Each column shorter by this much, at least 0."""
    lengths = np.linalg.norm(columns, axis=0)
    return columns * np.maximum(1 - by / np.maximum(lengths, 1e-300), 0.0)


def _distances(points: np.ndarray, basis: np.ndarray) -> np.ndarray:
    return np.linalg.norm(points - points @ basis.T @ basis, axis=1)


def _check_dimension(dimension: int):
    if dimension < 1:
        raise ValueError(f"dimension must be at least 1, got {dimension}")
