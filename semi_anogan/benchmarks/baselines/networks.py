"""Baselines that need a network: pretrained features, a memory of patches, and two supervised classifiers.

All take float32 images [., H, W, 1 or 3] in [-1, 1]: normal and known abnormal training images and the images
to be scored. All give [N] scores, higher = more abnormal, and depend on nothing but their arguments.
"""

import keras
import numpy as np
from keras import ops

from semi_anogan.backend import compile_function
from semi_anogan.benchmarks.baselines import classical
from semi_anogan.image_shape import shape_of
from semi_anogan.networks.pretrained.efficientnet_lite0 import OFFSET_SCALE, PretrainedFeatures
from semi_anogan.whole_batches import batch_rows

SMALL_SIDE, LARGE_SIDE = 128, 256  # what the pretrained network is given
_TURNS = {  # of [N, H, W, C]; a quarter turn fits squares only
    "h": lambda images: images[:, :, ::-1],
    "v": lambda images: images[:, ::-1],
    "r": lambda images: np.rot90(images, 1 if images.shape[1] == images.shape[2] else 2, axes=(1, 2)),
}
_TRUNK_RATE, _HEAD_RATE = 1e-4, 1e-3  # learning rates of the pretrained network and of its new head


def trunk_side(side: int) -> int:
    """Short side of what the pretrained network is given, by that of the images: 256 above 128, else 128."""
    return LARGE_SIDE if side > SMALL_SIDE else SMALL_SIDE


def pooled_features(images: np.ndarray, batch_size: int = 32) -> np.ndarray:
    """Pretrained features of whole images, means over two scales each: [N, H, W, C] -> [N, 112 + 320]."""
    trunk = PretrainedFeatures(15)

    def pool(x):
        return ops.concatenate([ops.mean(f, axis=(1, 2)) for f in trunk(x)[-2:]], axis=-1)

    return np.concatenate([np.empty((0, 432), np.float32), *_each_batch(trunk, pool, images, batch_size)])


def nearest_patches(
    normal, images, memory_size: int = 2000, most_patches: int = 50_000, seed: int = 0
) -> np.ndarray:
    """Distance of an image's patches to the nearest normal ones: PatchCore (Roth et al. 2022) in short.

    Local features are two scales of the pretrained network (strides 8 and 16), averaged over 3 x 3
    neighbours, at the finer grid. The memory is a greedy coreset of a random part of the normal images'
    patches, standardised.

    Args:
      normal: [M, H, W, C], the normal training images.
      images: [N, H, W, C], to be scored.
      memory_size: patches kept.
      most_patches: patches to choose them from, about (one per image at least).
      seed: of all random choices.

    Returns:
      [N]: the mean over the farthest 5 % of the patches.
    """
    trunk, rng, candidates = PretrainedFeatures(10), np.random.default_rng([seed, 0]), []
    for features in _each_batch(trunk, lambda x: _local_features(trunk(x)), normal):
        count = max(1, min(features.shape[1], most_patches // len(normal)))
        candidates += [patches[rng.permutation(len(patches))[:count]] for patches in features]
    candidates = np.concatenate(candidates)
    (memory,) = classical.standardised(candidates, candidates)
    memory = memory[classical.greedy_coreset(memory, memory_size, seed)]
    scores = []
    for features in _each_batch(trunk, lambda x: _local_features(trunk(x)), images):
        (patches,) = classical.standardised(candidates, features.reshape(-1, features.shape[-1]))
        distances = classical.nearest_distances(patches, memory).reshape(features.shape[:2])
        scores.append(classical.highest_mean(distances))
    return np.concatenate(scores)


def small_cnn(normal, abnormal, images, steps: int = 500, flips: str = "", seed: int = 0) -> np.ndarray:
    """Logit of four convolutions trained from random weights; see `_train` for the arguments."""
    keras.utils.set_random_seed(seed)
    x = inputs = keras.Input(images.shape[1:])
    for i, filters in enumerate((32, 64, 128, 128)):
        x = keras.layers.Conv2D(
            filters, 3, padding="same", activation="relu", kernel_initializer="he_normal"
        )(x)
        if i < 3 and min(x.shape[1:3]) > 1:
            x = keras.layers.MaxPooling2D()(x)
    # The mean sees what a whole image has, the maximum a small defect.
    x = keras.layers.Concatenate()(
        [keras.layers.GlobalAveragePooling2D()(x), keras.layers.GlobalMaxPooling2D()(x)]
    )
    model = keras.Model(inputs, keras.layers.Dense(1)(x)[:, 0])
    _train(model, normal, abnormal, steps, 1e-3, flips, seed)
    return _logits(model, images)


def finetuned_classifier(
    normal, abnormal, images, steps: int = 500, flips: str = "", seed: int = 0, trainable_blocks: int = 6
) -> np.ndarray:
    """Logit of the pretrained network fine-tuned as a plain classifier; see `_train` for the arguments.

    The image's logit is the mean of the highest 5 % of its patches' (one at least), each linear in the last
    features. The learning rate begins at 1e-4 for the network's last `trainable_blocks` blocks and at 1e-3
    for the new head.
    """
    keras.utils.set_random_seed(seed)
    inputs = keras.Input(images.shape[1:])
    x = PretrainedFeatures(15, trainable_blocks=trainable_blocks)(_for_trunk(inputs))[-1]
    x = keras.layers.LayerNormalization(center=False, scale=False)(x)
    # Under Adam a factor on weights that start at 0 is one on their learning rate. The network's offsets have
    # such a factor, too.
    rate = _TRUNK_RATE / OFFSET_SCALE
    logits = _HEAD_RATE / rate * keras.layers.Conv2D(1, 1, kernel_initializer="zeros")(x)  # [N, h, w, 1]
    logits = ops.reshape(logits, (-1, logits.shape[1] * logits.shape[2]))
    logits = ops.mean(ops.top_k(logits, max(1, round(0.05 * logits.shape[1])))[0], axis=-1)
    model = keras.Model(inputs, logits)
    _train(model, normal, abnormal, steps, rate, flips, seed)
    return _logits(model, images)


def _train(
    model, normal, abnormal, steps: int, learning_rate: float, flips: str, seed: int, batch_size: int = 32
):
    """Trains a classifier of logits [N] on binary cross-entropy, half of each batch abnormal.

    Args:
      model: images -> logits [N].
      normal, abnormal: images, one at least of each.
      steps: batches.
      learning_rate: at the beginning; it falls to 0 like a cosine.
      flips: at random: "h" mirror left-right, "v" top-bottom, "r" turn by a right angle, or
        by half a turn where images are not square; also together, "hv".
      seed: of batches and flips.

    Raises:
      ValueError: no normal or no abnormal images.
    """
    if not len(normal) or not len(abnormal):
        raise ValueError(
            f"a classifier needs images of both kinds, got {len(normal)} normal, {len(abnormal)} abnormal"
        )
    rate = keras.optimizers.schedules.CosineDecay(learning_rate, steps)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    # XLA is slow on CPU, but without it JAX compiles nothing.
    model.compile(keras.optimizers.Adam(rate), loss, jit_compile=keras.backend.backend() == "jax")
    rng, half = np.random.default_rng([seed, 1]), batch_size // 2
    labels = np.repeat(np.float32([0, 1]), half)
    for _ in range(steps):
        batch = np.concatenate([part[rng.integers(len(part), size=half)] for part in (normal, abnormal)])
        for name, turned in _TURNS.items():
            if name in flips:
                chosen = rng.random(len(batch)) < 0.5
                batch[chosen] = turned(batch[chosen])
        model.train_on_batch(batch, labels)


def _logits(model, images) -> np.ndarray:
    return model.predict(images, batch_size=32, verbose=0).astype(np.float64)


def _for_trunk(x):
    height, width = x.shape[1:3]
    side = trunk_side(min(height, width))
    shape = shape_of(side, width / height, side)
    if (height, width) == shape:
        return x
    return ops.image.resize(x, shape, interpolation="bilinear", antialias=True, data_format="channels_last")


def _local_features(features):
    """The features of strides 8 and 16, 3 x 3 means, at the finer grid: list -> [N, h * w, 40 + 112]."""
    fine, coarse = (
        ops.average_pool(f, 3, strides=1, padding="same", data_format="channels_last") for f in features[-2:]
    )
    times = fine.shape[1] // coarse.shape[1]
    coarse = ops.repeat(ops.repeat(coarse, times, axis=1), times, axis=2)
    joined = ops.concatenate([fine, coarse], axis=-1)
    return ops.reshape(joined, (-1, joined.shape[1] * joined.shape[2], joined.shape[3]))


def _each_batch(trunk, function, images, batch_size: int = 32):
    """function(images at the trunk's side), compiled once: yields numpy arrays, batch by batch in order."""
    trunk.build()
    compiled = compile_function(lambda x: function(_for_trunk(x)), trunk)
    for rows in batch_rows(len(images), batch_size):
        found = np.asarray(compiled(ops.convert_to_tensor(images[rows])))
        yield found[: len(images) - rows[0]]
