"""How much each component counts: by regression, by agreement with an anchor, or all groups alike."""

from collections.abc import Sequence

import numpy as np

from semi_anogan.scoring.threshold import plausible

FIT_CLIP = 5.0
# Of the regression's weights: a component of less is not worth its computation, least of all that of a
# search.
LEAST_SHARE = 0.025
# Agreement with the anchor that a trusted component is taken to have at least (docs/experiments.md, "No known
# defects").
TRUSTED = 0.75


def group_shares(groups: Sequence) -> np.ndarray:
    """Weights [K] that sum to 1: each group's are the same together, and within it."""
    _, inverse, counts = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    return 1.0 / len(counts) / counts[inverse]


def agreement_weights(
    z_normal: np.ndarray, anchor: int, groups: Sequence, trusted: Sequence[int] = ()
) -> np.ndarray:
    """Weights [K] that sum to 1, by how far each group of components agrees with an anchor.

    A group's weight is its highest correlation with the anchor over the held-out normal images: 1 for the
    anchor's own group, at least TRUSTED for a trusted component's. It is divided within the group in
    proportion to the correlations, among the trusted components where it has some. What is uncorrelated with
    the anchor, or less, has no weight.
    """
    groups, deviations = np.asarray(groups), z_normal.std(axis=0)
    centered = (z_normal - z_normal.mean(axis=0)) / np.maximum(deviations, 1e-12)
    agreement = np.maximum(centered.T @ centered[:, anchor] / len(z_normal), 0.0)
    agreement[list(trusted)] = np.maximum(agreement[list(trusted)], TRUSTED)
    agreement[anchor] = 1.0
    weights = np.zeros(len(groups))
    for group in set(groups.tolist()):
        mine = groups == group
        chosen = mine & np.isin(np.arange(len(groups)), trusted)
        mine = chosen if chosen.any() else mine
        weights[mine] = agreement[mine].max() * agreement[mine] / max(agreement[mine].sum(), 1e-12)
    return weights / weights.sum()


def regression_weights(
    z_normal: np.ndarray, sources: Sequence[np.ndarray], candidates: Sequence[int]
) -> tuple[np.ndarray, float]:
    """Non-negative weights [K] and bias of a logistic regression; all 0 where none points the right way.

    Components are built so that higher is more abnormal. A negative weight says that a component is noise or
    corrects another one in this sample, so it is dropped and the rest refitted. So are, once all are
    positive, those of less than LEAST_SHARE of the weights. C = 0.01 was the best of 0.01, 0.1 and 1 in
    simulations with 4 to 64 abnormal images: few images and correlated components want strong shrinkage.
    Values count up to FIT_CLIP only, so that the components with the longest tails do not take all the
    weight.

    Args: z_normal: [N, K], standardised; sources: arrays [M, K] of abnormal images. The normal images weigh
      as much as the abnormal ones together, and of these each source the same. candidates: the components
      that are used. The second pass is without the normal images that look mislabelled to the first.
    """
    from sklearn.linear_model import LogisticRegression

    weights, bias, keep = np.zeros(z_normal.shape[1]), 0.0, np.ones(len(z_normal), bool)
    for _ in range(2):
        z = np.clip(np.concatenate([z_normal[keep], *sources]), -FIT_CLIP, FIT_CLIP)
        count = np.count_nonzero(keep)
        label = np.arange(len(z)) >= count
        of_each = [np.full(len(s), 0.5 * len(z) / len(sources) / len(s)) for s in sources]
        importance = np.concatenate([np.full(count, 0.5 * len(z) / count), *of_each])
        used = np.array(candidates, int)
        while len(used):
            model = LogisticRegression(C=0.01, max_iter=1000).fit(z[:, used], label, sample_weight=importance)
            coefficients = model.coef_[0]
            least = LEAST_SHARE * coefficients.sum() if (coefficients > 0).all() else 0.0
            if (coefficients > least).all():
                break
            used = used[coefficients > least]
        weights = np.zeros(z.shape[1])
        if not len(used):
            return weights, 0.0
        weights[used], bias = model.coef_[0], float(model.intercept_[0])
        keep = plausible(bias + z_normal @ weights)
    return weights, bias
