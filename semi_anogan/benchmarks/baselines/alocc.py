"""ALOCC (Sabokrou et al. 2018): a denoising autoencoder R, and a discriminator D that judges what it redraws.

R learns to remove noise from normal images so that D takes them for real. What R has not learned it redraws
badly, and D tells.
"""

import keras
import numpy as np
from keras import ops

from semi_anogan.backend import TrainStep

FILTERS = (16, 32, 64)
NOISE = 0.3  # standard deviation, of values in [-1, 1]
RECONSTRUCTION_WEIGHT = 0.4  # lambda of the paper


def alocc(
    normal, images, steps: int = 500, flips: str = "", seed: int = 0, batch_size: int = 32
) -> np.ndarray:
    """How little D takes R(x) for a real image.

    Args:
      normal: [M, H, W, C] in [-1, 1], the normal training images, 1 or more.
      images: [N, H, W, C], to be scored.
      steps: batches that both networks are trained for, each once a batch.
      flips: "h" in it: training images are mirrored left-right at random; other turns are not made.
      seed: of weights, batches and noise.

    Returns:
      [N], the negative logit of D(R(x)), x without noise; higher means more abnormal.

    Raises:
      ValueError: no normal images.
    """
    if not len(normal):
        raise ValueError("ALOCC needs normal images, got none")
    keras.utils.set_random_seed(seed)
    model, rng = Alocc(normal.shape[1:]), np.random.default_rng([seed, 2])
    for _ in range(steps):
        batch = normal[rng.integers(len(normal), size=batch_size)]
        if "h" in flips:
            chosen = rng.random(len(batch)) < 0.5
            batch[chosen] = batch[chosen, :, ::-1]
        noisy = batch + NOISE * rng.standard_normal(batch.shape, np.float32)
        model.train_on_batch({"images": batch, "noisy": noisy})
    return -model.predict(images, batch_size=batch_size, verbose=0).astype(np.float64)


class Alocc(TrainStep, keras.Model):
    """R and D of images [N, H, W, C]; called, it gives the logit [N] of D(R(x)), above 0 for a real image.

    shape: (H, W, C). There are as many halvings as filters, fewer where a side is odd before.
    """

    def __init__(self, shape: tuple[int, int, int]):
        super().__init__()
        halvings = 0
        while halvings < len(FILTERS) and not any(side % 2 ** (halvings + 1) for side in shape[:2]):
            halvings += 1
        filters = FILTERS[:halvings]
        # The train step divides the variables here: those of R come first.
        self.reconstructor, self.discriminator = (
            _reconstructor(shape, filters),
            _discriminator(shape, filters),
        )
        self.built = True
        # XLA is slow on CPU, but without it JAX compiles nothing.
        self.compile(keras.optimizers.Adam(2e-4, 0.5), jit_compile=keras.backend.backend() == "jax")
        self.optimizer.build(self.trainable_variables)

    def call(self, images, training=False):
        return self.discriminator(self.reconstructor(images))[:, 0]

    def unpack(self, data) -> dict:
        """{"images", "noisy"} of what `train_on_batch` gives."""
        return data[0] if isinstance(data, (tuple, list)) else data

    def losses(self, batch: dict):
        """(D's loss, R's loss, logs): R's is that of deceiving D, and lambda |x - R(x + noise)|^2."""
        images, redrawn = batch["images"], self.reconstructor(batch["noisy"])
        real, drawn = self.discriminator(images), self.discriminator(redrawn)
        # -log D(x) - log(1 - D(R)) and, not to saturate, -log D(R). Each gradient is for one network.
        of_discriminator = ops.mean(ops.softplus(-real)) + ops.mean(ops.softplus(drawn))
        error = ops.mean(ops.sum(ops.square(images - redrawn), axis=(1, 2, 3)))
        of_reconstructor = ops.mean(ops.softplus(-drawn)) + RECONSTRUCTION_WEIGHT * error
        return of_discriminator, of_reconstructor, {"error": error}

    @property
    def generating_variables(self):
        return self.reconstructor.trainable_variables

    @property
    def discriminating_variables(self):
        return self.discriminator.trainable_variables

    def update_averages(self):
        """There are none."""


def _reconstructor(shape, filters):
    x = inputs = keras.Input(shape)
    for count in filters:
        x = keras.layers.LeakyReLU(0.2)(keras.layers.Conv2D(count, 5, strides=2, padding="same")(x))
    for count in filters[-2::-1]:
        x = keras.layers.ReLU()(keras.layers.Conv2DTranspose(count, 5, strides=2, padding="same")(x))
    x = keras.layers.Conv2DTranspose(
        shape[-1], 5, strides=2 if filters else 1, padding="same", activation="tanh"
    )(x)
    return keras.Model(inputs, x, name="reconstructor")


def _discriminator(shape, filters):
    x = inputs = keras.Input(shape)
    for count in filters:
        x = keras.layers.LeakyReLU(0.2)(keras.layers.Conv2D(count, 5, strides=2, padding="same")(x))
    return keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Flatten()(x)), name="discriminator")
