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
from semi_anogan.networks.layers import downscale, lerp, reduced, upscale

MOST_TRIMMED = 0.2  # of the normal images, when the share is estimated
ENCODER_FEATURE_WEIGHT = 0.1  # lambda in the encoder's loss
PROJECTED_RESOLUTION = 32  # smallest stage whose images the projected discriminator judges


class Batch(NamedTuple):
    """The model's inputs in one step.

    images [N, H, W, C] in [-1, 1]; labels [N]: 0 normal, 1 known abnormal, 2 synthetic abnormal; masks [N, H,
    W, 1]: 1 where an abnormal image is abnormal, or None; latents [M, L]; mix [M, 1, 1, 1] in [0, 1], between
    normal and generated images; augmentation: draws [N, DRAWS] of the images and [M, DRAWS] of the generated
    ones, or None.
    """

    images: object
    labels: object
    masks: object
    latents: object
    mix: object
    augmentation: tuple | None


def of_gan(model, batch):
    """(discriminator_loss, generator_loss, logs) of generator, discriminator and encoder."""
    adversarial = losses.adversarial(model.objective["adversarial"])
    stage = {"resolution": model.stage_resolution, "fade": model.fade}
    images = at_stage(batch.images, **stage)
    masks = None if batch.masks is None else _reduced_mask(batch.masks, model.stage_resolution)
    normal = ops.cast(batch.labels < 0.5, "float32")
    every = ops.ones_like(batch.mix[:, 0, 0, 0])

    def logits_of(x, **statistics):
        return model.discriminator(x, **statistics, **stage)[0]

    generated = model.generator(batch.latents, **stage)
    unchanged, drawn = images, generated
    if batch.augmentation is not None:
        kinds = words(model.objective["augment"])
        images, masks = augment(images, batch.augmentation[0], kinds, masks)
        generated, _ = augment(generated, batch.augmentation[1], kinds)
    generated_logits = logits_of(generated, weights=every)
    logits = logits_of(images, weights=normal, update=True, where=masks)
    if model.projected is not None and model.stage_resolution >= PROJECTED_RESOLUTION:
        generated_logits = generated_logits + model.projected(generated)[0]
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
    if model.encoder is not None:
        full = model.stage_resolution == model.sizes["resolution"]
        logs["encoder_loss"] = of_encoder(model, unchanged, normal) if full else ops.zeros_like(penalty)
        discriminator_loss += logs["encoder_loss"]
    return discriminator_loss, generator_loss, logs


def _penalty(model, adversarial, logits_of, images, generated, normal, batch):
    """The gradient penalty, on the first `penalty_share` of the batch."""
    count = model.objective["penalty_share"] * ops.shape(batch.latents)[0]
    # A tensor only in a TensorFlow graph that leaves the batch size open; JAX slices by plain numbers.
    count = math.ceil(count) if isinstance(count, (int, float)) else ops.cast(ops.ceil(count), "int32")
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


def of_encoder(model, images, normal):
    """The search's loss at the encoder's latents (izi_f, Schlegl et al. 2019), of every other image."""
    images, normal = images[::2], normal[::2]
    latents = model.encoder(images)
    reconstructions = model.generator_average(latents)
    features, reconstruction_features = (model.discriminator_average(x)[1] for x in (images, reconstructions))
    loss = losses.search_loss(
        images, reconstructions, features, reconstruction_features, ENCODER_FEATURE_WEIGHT
    )
    return losses.weighted_mean(loss + 0.01 * losses.latent_norm(latents), normal)


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
