"""The terms of the objective and of the search: adversarial, alpha mixture, penalties, residual, features.

Every function returns one value per example [N] unless it says otherwise; the caller reduces. Gradients
arrive as arguments.
"""

from keras import ops

from semi_anogan.config import check_ranges


class NonSaturating:
    """The GAN of Goodfellow et al. 2014 in its non-saturating form.

    The discriminator minimises -log D on normal images and -log(1 - D) on the others, D = sigmoid(logit); the
    generator -log D of what it generates. Penalty: R1 on normal images (Mescheder et al. 2018).
    """

    penalty_on = "normal"

    @staticmethod
    def real(logits):
        return ops.softplus(-logits)

    @staticmethod
    def generated(logits):
        return ops.softplus(logits)

    @staticmethod
    def generator(logits):
        return ops.softplus(-logits)

    @staticmethod
    def penalty(gradients):
        return r1_penalty(gradients)

    @staticmethod
    def drift(logits):
        return ops.zeros_like(logits)


class WassersteinGP:
    """WGAN-GP (Gulrajani et al. 2017): the critic's mean difference.

    Its gradient norm is held at 1 between normal and generated images.

    With the drift term of Karras et al. 2017 (appendix A.1), 0.001 logit^2 on normal images.
    """

    penalty_on = "mixed"

    @staticmethod
    def real(logits):
        return -logits

    @staticmethod
    def generated(logits):
        return ops.convert_to_tensor(logits)

    @staticmethod
    def generator(logits):
        return -logits

    @staticmethod
    def penalty(gradients):
        return gradient_norm_penalty(gradients)

    @staticmethod
    def drift(logits):
        return 0.001 * ops.square(logits)


ADVERSARIAL = {"non_saturating": NonSaturating, "wgan_gp": WassersteinGP}


def alpha_mixture(normal, generated, abnormal, alpha):
    """Scalar E_pd[normal] + alpha E_pg[generated] + (1 - alpha) E_pa[abnormal] (Kimura & Yanagihara 2018).

    Args: the three expectations (scalars); alpha in (0, 1], 1 is plain AnoGAN.
    """
    return normal + alpha * generated + (1.0 - alpha) * abnormal


def weighted_mean(values, weights):
    """Scalar mean of values [N] under weights [N] >= 0; 0 where no example has a weight."""
    return ops.sum(values * weights) / ops.maximum(ops.sum(weights), 1e-6)


def variety(generated, images, weights):
    """Scalar: how much generated images differ, in units of how much the images with a weight do.

    Each as the standard deviation over the batch, averaged over the pixels. About 1 for a generator that
    knows all the images, near 0 for one that draws a single image; 0 where there are not two images of each.

    Args: generated [M, H, W, C]; images [N, H, W, C]; weights [N] >= 0.
    """
    weights = ops.reshape(weights, (-1, 1, 1, 1)) / ops.maximum(ops.sum(weights), 1e-6)
    variance = ops.sum(
        weights * ops.square(images - ops.sum(weights * images, axis=0, keepdims=True)), axis=0
    )
    spread = ops.mean(ops.sqrt(variance))
    return ops.where(spread > 0, ops.mean(ops.std(generated, axis=0)) / ops.maximum(spread, 1e-6), 0.0)


def kept_shares(losses, trim_share):
    """How much of each loss a trimmed mean keeps, 0 to 1: [N] -> [N]; the largest are left out.

    trim_share: scalar in [0, 1]; where it is no whole number of losses, the next one counts in part.
    """
    count = ops.cast(ops.shape(losses)[0], "float32")
    larger = ops.sum(ops.cast(losses[None, :] > losses[:, None], "float32"), axis=1)
    return 1.0 - ops.clip(trim_share * count - larger, 0.0, 1.0)


def top_mean(evidence, share: float, where=None):
    """Mean of the highest values of each map, multiple-instance pooling: [N, h, w, 1] -> [N].

    Args:
      share: of the map's values, in (0, 1]; at least one value.
      where: [N, H, W, 1] of 0 and 1, H and W multiples of h and w; only values whose patch holds a 1 count,
        and where that are fewer than `share` asks for, all of them. A map without any gives about -1e4.
    """
    _, height, width, _ = evidence.shape
    values = ops.reshape(evidence, (-1, height * width))
    count = max(1, round(share * height * width))
    if where is None:
        return ops.mean(ops.top_k(values, count, sorted=False)[0], axis=-1)
    inside = where
    factors = inside.shape[1] // height, inside.shape[2] // width
    if max(factors) > 1:  # Keras' own default of the strides fails under JAX
        inside = ops.max_pool(inside, factors, strides=factors, data_format="channels_last")
    inside = ops.reshape(inside, (-1, height * width))
    top = ops.top_k(ops.where(inside > 0.5, values, -1e4), count, sorted=False)[0]
    counted = ops.cast(top > -0.5e4, "float32")
    total = ops.sum(counted, axis=-1)
    return ops.where(total > 0, ops.sum(top * counted, axis=-1) / ops.maximum(total, 1.0), -1e4)


def r1_penalty(gradients):
    """1/2 ||grad||^2 per image (Mescheder et al. 2018, eq. 9, without its gamma): [N, H, W, C] -> [N]."""
    return 0.5 * ops.sum(ops.square(gradients), axis=(1, 2, 3))


def gradient_norm_penalty(gradients):
    """(||grad|| - 1)^2 per image (Gulrajani et al. 2017, eq. 3): [N, H, W, C] -> [N]."""
    norm = ops.sqrt(ops.sum(ops.square(gradients), axis=(1, 2, 3)) + 1e-12)
    return ops.square(norm - 1.0)


def residual(images, reconstructions):
    """Residual loss L_R (Schlegl et al. 2017, eq. 3), as a mean over the pixels: [N]."""
    return ops.mean(ops.abs(images - reconstructions), axis=(1, 2, 3))


def feature_distance(features, reconstruction_features):
    """Feature matching loss L_D (Schlegl et al. 2017, eq. 5) over several scales.

    Args: two lists of [N, h, w, c]. Returns [N]: the mean absolute difference of each scale, averaged over
      the scales.
    """
    return sum(residual(a, b) for a, b in zip(features, reconstruction_features, strict=True)) / len(features)


def feature_residual_maps(features, reconstruction_features):
    """1 - cosine of the feature vectors at each place (Deng & Li 2022, eq. 1), in [0, 2].

    Args: two lists of [N, h, w, C], standardised. Returns a list of [N, h, w, 1].
    """

    def cosine(a, b):
        product = ops.sum(a * b, axis=-1, keepdims=True)
        lengths = ops.sum(ops.square(a), axis=-1, keepdims=True) * ops.sum(
            ops.square(b), axis=-1, keepdims=True
        )
        return product * ops.power(lengths + 1e-6, -0.5)

    return [1.0 - cosine(a, b) for a, b in zip(features, reconstruction_features, strict=True)]


def feature_residual(maps):
    """Mean over the places and the scales of what feature_residual_maps gives: [N]."""
    return sum(ops.mean(m, axis=(1, 2, 3)) for m in maps) / len(maps)


def push(maps, margin: float, share: float):
    """How far an abnormal image's reconstruction is from being `margin` away from it: [N], 0 from there on.

    Args: maps: as feature_residual_maps gives; share: of each map that counts, its highest values, which must
      be away on the mean.
    """
    away = sum(top_mean(m, share) for m in maps) / len(maps)
    return ops.maximum(margin - ops.maximum(away, 0.0), 0.0)


def search_loss(images, reconstructions, features, reconstruction_features, feature_weight):
    """(1 - lambda) L_R + lambda L_D (Schlegl et al. 2017, eq. 6): [N]; feature_weight is lambda in [0, 1].

    Without features (at 4 x 4 the discriminator has none) it is L_R.
    """
    if not features:
        return residual(images, reconstructions)
    return (1.0 - feature_weight) * residual(images, reconstructions) + feature_weight * feature_distance(
        features, reconstruction_features
    )


def adversarial(name: str):
    """The adversarial terms by name: "non_saturating" or "wgan_gp"."""
    check_ranges("objective", adversarial=name)
    return ADVERSARIAL[name]
