"""What a training step minimises: the terms of losses.py, put together for the networks of a SemiAnoGAN.

The functions take the model, whose `objective` holds the settings of `compile`, and a Batch.
"""

import math
from typing import NamedTuple

from keras import ops

from semi_anogan.backend import input_gradients
from semi_anogan.config import words
from semi_anogan.networks import losses
from semi_anogan.networks.augmentation import augment
from semi_anogan.networks.layers import bounded, downscale, lerp, reduced, upscale

MOST_TRIMMED = 0.2  # of the normal images, when the share is estimated
# Abnormal images are pushed from their reconstruction until the worst PUSH_SHARE of their places are MARGIN
# away on the mean (1 - cosine): beyond, there is nothing more to gain.
MARGIN, PUSH_SHARE = 0.6, 0.05
PROJECTED_RESOLUTION = 32  # smallest stage whose images the projected discriminator judges


class Batch(NamedTuple):
    """The model's inputs in one step.

    images [N, H, W, C] in [-1, 1]; labels [N]: 0 normal, 1 known abnormal, 2 synthetic abnormal; masks [N, H,
    W, 1]: 1 where an abnormal image is abnormal, or None; latents [M, L]; mix [M, 1, 1, 1] in [0, 1], between
    normal and generated images; augmentation: draws [N, DRAWS] of the images and [M, DRAWS] of the generated
    ones, or None; features: the pretrained features of the first K images, list of [K, h, w, C], or None
    where the step is to compute those of all; the others are not drawn again.
    """

    images: object
    labels: object
    masks: object
    latents: object
    mix: object
    augmentation: tuple | None
    features: list | None = None


def of_gan(model, batch):
    """(discriminator_loss, generator_loss, logs) of the generator with its encoder, and the discriminator."""
    adversarial = losses.adversarial(model.objective["adversarial"])
    stage = {"resolution": model.stage_resolution, "fade": model.fade}
    images = at_stage(batch.images, **stage)
    masks = None if batch.masks is None else _reduced_mask(batch.masks, model.stage_resolution)
    normal = ops.cast(batch.labels < 0.5, "float32")

    def logits_of(x, **statistics):
        return model.discriminator(x, **statistics, **stage)[0]

    generated = model.generator(batch.latents, **stage)
    unchanged, drawn = images, generated
    redrawn, reconstruction_loss, reconstruction_logs = reconstruction(model, batch, images, stage)
    if batch.augmentation is not None:
        kinds = words(model.objective["augment"])
        images, masks = augment(images, batch.augmentation[0], kinds, masks)
        generated, _ = augment(generated, batch.augmentation[1], kinds)
        if redrawn is not None:
            redrawn, _ = augment(redrawn, batch.augmentation[0][: _drawn_again(batch) : 2], kinds)
    # Reconstructions are generated images too: half of what the discriminator sees of these.
    judged = generated if redrawn is None else ops.concatenate([generated[::2], redrawn[::2]], axis=0)
    generated_logits = logits_of(judged, weights=ops.ones_like(judged[:, 0, 0, 0]))
    logits = logits_of(images, weights=normal, update=True, where=masks)
    if model.projected is not None and model.stage_resolution >= PROJECTED_RESOLUTION:
        generated_logits = generated_logits + model.projected(judged)[0]
        logits = logits + model.projected(images, where=masks)[0]
    penalty = _penalty(model, adversarial, logits_of, images, generated, normal, batch)

    if model.patch_discriminator is None or model.trains == "gan":
        update_trim_rate(model, logits, batch.labels)
    on_generated = ops.mean(adversarial.generated(generated_logits))
    discriminator_loss = mixture(model, logits, batch.labels, on_generated)
    discriminator_loss += model.objective["penalty_weight"] * penalty
    generator_loss = ops.mean(adversarial.generator(generated_logits))
    logs = {
        "discriminator_loss": discriminator_loss,
        "generator_loss": generator_loss,
        "penalty": penalty,
        "normal_logit": losses.weighted_mean(logits, normal),
        "generated_logit": ops.mean(generated_logits),
        "abnormal_logit": losses.weighted_mean(logits, 1.0 - normal),
    }
    if batch.latents.shape[0] != 1:  # a single image differs from none
        logs["variety"] = losses.variety(drawn, unchanged, normal)
    return discriminator_loss, generator_loss + reconstruction_loss, {**logs, **reconstruction_logs}


def reconstruction(model, batch, images, stage):
    """(reconstructions [M, r, r, C], loss, logs) of the encoder and of both drawings.

    Normal images are to be drawn again, in pretrained features and, of every other image, in pixels: the mean
    of |x - G(E(x))| plus the feature residual. The encoder learns from the features alone, where the model
    has any. Known abnormal ones are to be drawn as something else, with the weight 1 - alpha: their features
    are pushed away from the image's own (losses.push), wherever they are most so. Masks do not tell where:
    features around a defect see it too, and are not to be drawn again.

    Args: images [N, r, r, C]: those of the batch at the stage's resolution; stage: keyword arguments of the
      generator. Returns: (None, 0, {}) where reconstruction_weight is 0.
    """
    weight = model.objective["reconstruction_weight"]
    if not weight:
        return None, 0.0, {}
    first = _drawn_again(batch)
    inputs, images = batch.images[:first], images[:first]
    normal, known, _ = _kinds(batch.labels[:first])
    features = None
    if model.feature_generator is not None:
        features = model.pretrained_features(inputs) if batch.features is None else batch.features
        features = [ops.stop_gradient(f) for f in features]
        statistics = model.standardization.moved(features, normal)
        features = model.standardization(features, statistics)
        model.standardization.assign(statistics)
        encoded = bounded(model.encoder(features))
    else:
        encoded = bounded(model.encoder(reduced(inputs, model.sizes["resolution"])))
    encoded = _noisy(encoded, batch.latents, model.objective["latent_noise"])
    # The features decide what the latents say; pixels and the discriminator would draw them off that.
    of_pixels = encoded[::2] if features is None else ops.stop_gradient(encoded[::2])
    redrawn = model.generator(of_pixels, **stage)
    loss = losses.weighted_mean(losses.residual(images[::2], redrawn), normal[::2])
    logs = {"reconstruction": _of_mean_image(loss, images[::2], normal[::2])}
    if features is not None:
        maps = losses.feature_residual_maps(features, model.feature_generator(encoded))
        of_scales = [losses.weighted_mean(ops.mean(m, axis=(1, 2, 3)), normal) for m in maps]
        model.move_residual_scales(of_scales, normal)
        logs["feature_residual"] = sum(of_scales) / len(of_scales)
        loss += logs["feature_residual"]
        known_weight = model.objective["push_weight"] * (1.0 - model.objective["alpha"])
        if known_weight:
            away = losses.push(maps, MARGIN, PUSH_SHARE)
            loss += known_weight * losses.weighted_mean(away, known)
    return redrawn, weight * loss, logs


def _drawn_again(batch) -> int | None:
    """How many images of a batch are, its first; None: all."""
    return None if batch.features is None else batch.features[0].shape[0]


def _noisy(encoded, latents, amount: float):
    """Encoded latents [N, L] with uniform noise, within their bound; latents [M, L] from U(-1, 1) are it.

    What a place can say is limited by it, and latents near each other draw alike.
    """
    if not amount:
        return encoded
    count, given = ops.shape(encoded)[0], ops.shape(latents)[0]
    noise = ops.take(latents, ops.arange(count) % given, axis=0)
    return ops.clip(encoded + amount * noise, -1.0, 1.0)


def _of_mean_image(residual, images, weights):
    """A residual, scalar, in units of that of the mean of the images with a weight; 0 if they are alike."""
    shares = ops.reshape(weights, (-1, 1, 1, 1)) / ops.maximum(ops.sum(weights), 1e-6)
    mean = ops.sum(images * shares, axis=0, keepdims=True)
    unit = losses.weighted_mean(losses.residual(images, mean), weights)
    return ops.where(unit > 1e-6, residual / ops.maximum(unit, 1e-6), 0.0)


def _penalty(model, adversarial, logits_of, images, generated, normal, batch):
    """The gradient penalty, on the first `penalty_share` of the batch."""
    share, count = model.objective["penalty_share"], ops.shape(batch.latents)[0]
    if isinstance(count, int):
        count = math.ceil(share * count)
    else:  # a tensor only in a TensorFlow graph that leaves the batch size open; JAX slices by plain numbers
        count = ops.cast(ops.ceil(share * ops.cast(count, "float32")), "int32")
    where, weights = images[:count], normal[:count]
    if adversarial.penalty_on == "mixed":
        where = lerp(where, ops.stop_gradient(generated[:count]), batch.mix[:count])
    gradients = input_gradients(lambda x: logits_of(x, weights=weights), where)[1]
    return losses.weighted_mean(adversarial.penalty(gradients), weights)


def mixture(model, logits, labels, generated):
    """The alpha mixture of a batch's logits; `generated`: the term of the generated images."""
    adversarial = losses.adversarial(model.objective["adversarial"])
    normal, known, synthetic = _kinds(labels)
    # Without known abnormal images in the batch it is plain AnoGAN: alpha 1.
    alpha = ops.where(ops.sum(known) > 0, model.objective["alpha"], 1.0)
    on_normal = adversarial.real(logits) + adversarial.drift(logits)
    on_abnormal = adversarial.generated(logits)
    return losses.alpha_mixture(
        losses.weighted_mean(on_normal, _kept(model, on_normal, normal)),
        generated,
        losses.weighted_mean(on_abnormal, known),
        alpha,
    ) + model.objective["synthetic_weight"] * losses.weighted_mean(on_abnormal, synthetic)


def of_patch_discriminator(model, batch):
    """(loss, logs) of the patch discriminator: logistic; both kinds of images weigh the same.

    Of the abnormal ones, synthetic images weigh `synthetic_weight` times the known ones. Where masks say
    which pixels are abnormal, only their patches are treated so, and all others as normal.
    """
    labels, masks = batch.labels, batch.masks
    adversarial = losses.adversarial("non_saturating")
    logits, _, evidence = model.patch_discriminator(batch.images, where=masks)
    update_trim_rate(model, logits, labels)
    normal, known, synthetic = _kinds(labels)
    on_normal, on_abnormal = adversarial.real(logits), adversarial.generated(logits)
    weights = [
        (ops.cast(ops.sum(kind) > 0, "float32") * weight, losses.weighted_mean(on_abnormal, kind))
        for kind, weight in (
            (known, float(model.objective["alpha"] < 1)),
            (synthetic, model.objective["synthetic_weight"]),
        )
    ]
    abnormal = sum(w * mean for w, mean in weights) / ops.maximum(sum(w for w, _ in weights), 1e-6)
    loss = losses.weighted_mean(on_normal, _kept(model, on_normal, normal)) + abnormal
    if masks is not None:
        # Abnormal images whose mask leaves something out
        abnormal_ones = ops.cast(labels > 0.5, "float32")
        partly = abnormal_ones * ops.cast(ops.mean(masks, axis=(1, 2, 3)) < 0.9, "float32")
        around = 1.0 - ops.max_pool(masks, 3, strides=1, padding="same", data_format="channels_last")
        loss += losses.weighted_mean(
            adversarial.real(model.patch_discriminator.logits(evidence, around)), partly
        )
    logs = {
        "patch_loss": loss,
        "normal_patch_logit": losses.weighted_mean(logits, normal),
        "abnormal_patch_logit": losses.weighted_mean(logits, 1.0 - normal),
    }
    return loss, logs


def update_trim_rate(model, logits, labels):
    """Moves the estimate of how many normal images are not.

    It is the share of them that lie beyond the middle to the known abnormal ones.
    """
    if model.stage_resolution < model.sizes["resolution"]:
        return
    normal, known, _ = _kinds(labels)
    middle = 0.5 * (losses.weighted_mean(logits, normal) + losses.weighted_mean(logits, known))
    beyond = losses.weighted_mean(ops.cast(logits < middle, "float32"), normal)
    seen = ops.stop_gradient(ops.where(ops.sum(known) > 0, ops.minimum(beyond, MOST_TRIMMED), 0.0))
    model.trim_rate.assign(lerp(seen, model.trim_rate, 0.99))


def at_stage(images, resolution: int, fade):
    """Real images at a stage's resolution, faded like the generated ones (Karras et al. 2017, appendix A)."""
    images = reduced(images, resolution)
    return images if resolution == 4 else lerp(upscale(downscale(images)), images, fade)


def _kept(model, on_normal, normal):
    """Weights [N] of the normal images' losses: 0 for those trimmed, which is none before full resolution."""
    share = model.objective["trim_share"]
    if model.stage_resolution < model.sizes["resolution"] or share == 0:
        return normal
    share = model.trim_rate if share is None else share
    share = share * ops.cast(model.fade >= 1.0, "float32") * ops.mean(normal)
    return normal * losses.kept_shares(on_normal * normal - 1e6 * (1.0 - normal), share)


def _kinds(labels):
    """float32 masks [N] of the normal, the known abnormal and the synthetic abnormal images."""
    return [ops.cast(ops.abs(labels - label) < 0.5, "float32") for label in (0, 1, 2)]


def _reduced_mask(masks, side: int):
    """Masks whose short side is `side`, 1 where any of the pixels is: [N, H, W, 1] -> [N, h, w, 1]."""
    factor = min(masks.shape[1:3]) // side
    # Keras' own default of the strides fails under JAX.
    return ops.max_pool(masks, factor, strides=factor, data_format="channels_last") if factor > 1 else masks
