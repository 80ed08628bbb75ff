"""Trains the segmentation: normal images with synthetic defects, and known defects with their masks.

Zavrtanik et al. 2021 (DRAEM) segment synthetic defects; here frozen features stand for the reconstruction.
"""

import concurrent.futures
import math

import keras
import numpy as np
from keras import ops

from semi_anogan.backend import compile_function
from semi_anogan.config import words
from semi_anogan.data.batches import Batches
from semi_anogan.data.synthetic import KINDS
from semi_anogan.networks.segmentation import SegmentationNetwork
from semi_anogan.progress import shown
from semi_anogan.runs import build
from semi_anogan.scoring.segmentation import Segmentation

BATCH_SIZE = 8  # images in a step, or fewer of as many pixels as schedule.batch_pixels allows
NORMAL_SHARE, KNOWN_SHARE = 0.375, 0.25  # of a batch; the others have synthetic defects
# Many known defects take more batches to learn: each is seen so often, for at most so many times the batches.
SEEN, LONGEST = 28, 3
PASTED_SHARE = 0.5  # of the known ones: their defects are pasted into normal images
LEARNING_RATE = 0.002
# Where there is a former segmentation: it knows the data but for some images and labels.
CONTINUED_SHARE, CONTINUED_RATE = 0.2, 0.5  # of the batches and of the learning rate
LIGHT = 0.1  # contrast and brightness of an image change by up to this much
FOCUS = 2.0  # gamma of the focal loss (Lin et al. 2017): places that are clear already count less
FOCAL_WEIGHT, OVERLAP_WEIGHT = 4.0, 0.5
# A place is abnormal if this share of its pixels is. Of one with fewer it is not clear: it counts little.
ABNORMAL_SHARE, DOUBTFUL_WEIGHT = 0.25, 0.2
STANDARDISED_ON = 64  # images


def fit_segmentation(
    config, model, dataset, splits, trimmed=(), steps: int = 0, former: Segmentation | None = None
) -> Segmentation | None:
    """The segmentation of the frozen features at the map_shape of a model; None without any defects.

    Args: config: resolved; model: a SemiAnoGAN with pretrained features; dataset, splits: as build.load_data
      gives; trimmed: normal images that look abnormal, which are left out; steps: batches, or more where many
      defects are known (`batch_count`); former: one that was fitted to other images of the same data: it is
      trained on, for a fifth of the batches.
    """
    batches = make_batches(config, model, dataset, splits, trimmed)
    if not steps or not (batches.abnormal or batches.synthetic_share):
        return None
    steps = batch_count(steps, len(batches.abnormal))
    network, rate, first = (
        SegmentationNetwork(*_statistics(model, batches), seed=config.seed),
        LEARNING_RATE,
        0,
    )
    if former is not None and network.start_from(former.arrays()):
        first = steps  # batches that it has not seen
        steps, rate = math.ceil(CONTINUED_SHARE * steps), CONTINUED_RATE * rate
    trained = _Trained(model.pretrained, network)
    trained.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, steps)),
        loss=segmentation_loss,
        jit_compile=keras.backend.backend() == "jax",
    )
    stride = model.pretrained.strides[0]
    size = _batch_size(config, model)
    with concurrent.futures.ThreadPoolExecutor(1) as others:  # draws the next batch while one is learned
        waiting = others.submit(training_batch, batches, first, size, stride)
        for step in shown(range(1, steps + 1), steps, "segmentation", unit="batch"):
            images, shares = waiting.result()
            if step < steps:
                waiting = others.submit(training_batch, batches, first + step, size, stride)
            trained.train_on_batch(images, shares)
    return Segmentation(network.arrays())


def batch_count(steps: int, known: int) -> int:
    """How many batches are learned: `steps`, or more where many `known` defects have a mask."""
    return min(LONGEST * steps, max(steps, math.ceil(SEEN * known / (KNOWN_SHARE * BATCH_SIZE))))


def make_batches(config, model, dataset, splits, trimmed=()) -> Batches:
    """Batches at the model's map_shape of normal, known and synthetic images with masks.

    Known abnormal images without a mask say nothing of where they are abnormal: they are left out.
    """
    masked = [e for e in splits.abnormal if config.batches.masks and _has_mask(dataset, e)]
    synthetic = 1.0 - NORMAL_SHARE - (KNOWN_SHARE if masked else 0.0)
    left_out = set(trimmed)
    return Batches(
        build.image_store(config, dataset, image_size=min(model.map_shape)),
        [e for e in splits.normal if e not in left_out],
        masked,
        latent_size=1,
        abnormal_share=KNOWN_SHARE / NORMAL_SHARE,
        synthetic_share=synthetic / NORMAL_SHARE if config.objective.synthetic_weight else 0.0,
        synthetic_kinds=words(config.batches.synthetic_kinds) or KINDS,
        flips="hv",
        masks=True,
        pasted_share=PASTED_SHARE,
        seed=config.seed,
    )


def training_batch(batches: Batches, step: int, size: int, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """(images [N, H, W, C] in another light, the share of abnormal pixels of each place [N, h, w, 1]).

    A pure function of its arguments. size: images in all, about; stride: pixels of a place.
    """
    count = max(1, round(NORMAL_SHARE * size))
    batch = batches.batch(step * count, count)
    rng = np.random.default_rng([batches.seed, 6, step])
    images, masks = batch["images"], batch["masks"] * (batch["labels"] > 0)[:, None, None, None]
    contrast, brightness = rng.uniform(-LIGHT, LIGHT, (2, len(images), 1, 1, 1)).astype(np.float32)
    mean = images.mean(axis=(1, 2, 3), keepdims=True)
    images = np.clip((images - mean) * (1 + contrast) + mean + brightness, -1, 1)
    return images, places(masks, stride)


def places(masks: np.ndarray, stride: int) -> np.ndarray:
    """The mean of each place of `stride` x `stride` pixels: [N, H, W, 1] -> [N, h, w, 1].

    A place at the border may be smaller: its pixels beyond the image are not abnormal.
    """
    count, height, width, _ = masks.shape
    rows, columns = -(-height // stride), -(-width // stride)
    around = [(0, 0), (0, rows * stride - height), (0, columns * stride - width), (0, 0)]
    cells = np.pad(masks, around).reshape(count, rows, stride, columns, stride, 1)
    return cells.mean(axis=(2, 4), dtype=np.float32)


def segmentation_loss(shares, logits):
    """Focal loss (Lin et al. 2017) and overlap (Milletari et al. 2016, Dice) of an image's places: [N].

    Args: shares: [N, h, w, 1] of abnormal pixels; logits: [N, h, w, 1].
    """
    truth = ops.cast(shares >= ABNORMAL_SHARE, "float32")
    weight = ops.where((shares > 0) & (shares < ABNORMAL_SHARE), DOUBTFUL_WEIGHT, 1.0)
    probability = ops.sigmoid(logits)
    missed = truth + (1.0 - 2.0 * truth) * probability  # 1 - the probability of the truth
    entropy = ops.softplus(logits) - truth * logits
    axes = (1, 2, 3)
    focal = ops.mean(weight * entropy * missed**FOCUS, axis=axes)
    both = ops.sum(weight * probability * truth, axis=axes)
    either = ops.sum(weight * probability, axis=axes) + ops.sum(weight * truth, axis=axes)
    return FOCAL_WEIGHT * focal + OVERLAP_WEIGHT * (1.0 - (2.0 * both + 1.0) / (either + 1.0))


class _Trained(keras.Model):
    """Images -> log-odds: a frozen network, then the one that is trained."""

    def __init__(self, pretrained, network):
        super().__init__(name="segmentation_training")
        self.frozen, self.network = pretrained, network

    def build(self, input_shape=None):
        self.built = True

    def call(self, images):
        return self.network(self.frozen(images))


def _has_mask(dataset, example) -> bool:
    mask = dataset.read_mask(example)
    return mask is not None and bool(mask.any())


def _batch_size(config, model) -> int:
    height, width = model.map_shape
    return max(3, min(BATCH_SIZE, config.schedule.batch_pixels // (height * width)))


def _statistics(model, batches: Batches) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """(mean, standard deviation) of each channel of the features of normal images: lists of float32 [C]."""
    extract = compile_function(model.pretrained, model)
    chosen = np.linspace(0, len(batches.normal) - 1, min(STANDARDISED_ON, len(batches.normal))).astype(int)
    examples = [batches.normal[i] for i in chosen]
    rng = np.random.default_rng([batches.seed, 7])
    found = []
    for example in examples:
        image = batches.normal_image(example, rng)
        features = [ops.convert_to_numpy(f) for f in extract(image[None])]
        found.append([(f.mean(axis=(0, 1, 2)), np.square(f).mean(axis=(0, 1, 2))) for f in features])
    moments = [np.mean(scale, axis=0, dtype=np.float64) for scale in zip(*found, strict=True)]
    center = [first.astype(np.float32) for first, _ in moments]
    deviation = [np.sqrt(np.maximum(second - first**2, 0.0)) + 1e-3 for first, second in moments]
    return center, [d.astype(np.float32) for d in deviation]
