"""SemiAnoGAN: the progressive growing GAN with the alpha mixture as a keras.Model."""

import math

import keras
from keras import ops

from semi_anogan import losses
from semi_anogan.backend import TrainStep, input_gradients
from semi_anogan.layers import PACKAGE, downscale, lerp, upscale
from semi_anogan.networks import Discriminator, Generator, resolutions_up_to


@keras.saving.register_keras_serializable(PACKAGE)
class SemiAnoGAN(TrainStep, keras.Model):
    """Semi-supervised AnoGAN (Kimura & Yanagihara 2018, arXiv 1807.01136).

    `fit` takes images [N, resolution, resolution, channels], float32 in [-1, 1], alone or with labels [N]: 0 normal,
    1 known abnormal. Known abnormal images are one more kind of generated image to the discriminator; without any it is
    plain AnoGAN.

    Args:
      resolution, channels, latent_size, filters_base, filters_cap: as in Generator.
      seed: of the latents that train_step draws when the data brings none.

    Attributes:
      generator, discriminator: the trained networks.
      generator_average, discriminator_average: exponential moving averages of their weights (Karras et al. 2017,
        section 4.1); search and scores use these.
      stage_resolution: the resolution being trained; `grow` moves it. `fade`: variable, 0 previous stage to 1 this one.
    """

    def __init__(self, resolution=64, channels=1, latent_size=128, filters_base=1024, filters_cap=64, seed=0, **kwargs):
        super().__init__(**kwargs)
        self.sizes = {
            "resolution": resolution,
            "channels": channels,
            "latent_size": latent_size,
            "filters_base": filters_base,
            "filters_cap": filters_cap,
        }
        self.seed = seed
        self.generator = Generator(**self.sizes, name="generator")
        self.discriminator = Discriminator(**self.sizes, name="discriminator")
        self.generator_average = Generator(**self.sizes, name="generator_average")
        self.discriminator_average = Discriminator(**self.sizes, name="discriminator_average")
        self.generator_average.trainable = self.discriminator_average.trainable = False
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.stage_resolution = resolution
        self.objective = {}
        self.build()

    def build(self, input_shape=None):
        if self.built:
            return
        for network in (self.generator, self.discriminator, self.generator_average, self.discriminator_average):
            network.build()
        self.fade = self.add_weight(shape=(), initializer="ones", trainable=False, name="fade", aggregation="mean")
        for average, current in self._average_pairs():
            average.assign(ops.copy(ops.convert_to_tensor(current)))  # JAX would share the buffer, and fit donates each
        self.built = True

    def compile(
        self,
        optimizer=None,
        alpha: float = 0.5,
        adversarial: str = "non_saturating",
        penalty_weight: float | None = None,
        penalty_share: float = 0.25,
        average_decay: float = 0.995,
        **kwargs,
    ):
        """Sets the objective.

        Args:
          optimizer: None is Adam(0.001, beta_1=0, beta_2=0.99) as in Karras et al. 2017, on both networks.
          alpha: mixture weight in (0, 1] of the generated images; 1 - alpha is that of the known abnormal ones.
          adversarial: "non_saturating" (with R1) or "wgan_gp".
          penalty_weight: of the gradient penalty; None is 0.1 (gamma of R1), or 10 for wgan_gp.
          penalty_share: share of the batch, its first images, on which the penalty is computed; its gradient costs more
            than all the rest of a step, and its expectation does not depend on the share.
          average_decay: per step, of the moving averages.
        """
        if not 0 < alpha <= 1:
            raise ValueError(f"objective.alpha must be in (0, 1], got {alpha!r}")
        losses.adversarial(adversarial)  # raises for an unknown name
        if penalty_weight is None:
            penalty_weight = 10.0 if adversarial == "wgan_gp" else 0.1
        self.objective = {
            "alpha": alpha,
            "adversarial": adversarial,
            "penalty_weight": penalty_weight,
            "penalty_share": penalty_share,
            "average_decay": average_decay,
        }
        kwargs.setdefault("jit_compile", keras.backend.backend() == "jax")
        super().compile(optimizer=optimizer or keras.optimizers.Adam(0.001, 0.0, 0.99), **kwargs)
        self.optimizer.build(self.trainable_variables)

    def get_compile_config(self):
        return {**self.objective, "optimizer": keras.saving.serialize_keras_object(self.optimizer)}

    def compile_from_config(self, config):
        self.compile(**{**config, "optimizer": keras.saving.deserialize_keras_object(config["optimizer"])})

    def get_config(self):
        return {**self.sizes, "seed": self.seed, "name": self.name}

    def grow(self, resolution: int):
        """Goes on at this resolution; `fit` compiles anew. Images given at full resolution are reduced to it."""
        if resolution not in resolutions_up_to(self.sizes["resolution"]):
            raise ValueError(f"resolution must be one of {self.generator.resolutions}, got {resolution!r}")
        self.stage_resolution = resolution
        self.train_function = None

    def call(self, latents, training=False):
        """Generated images (moving average) from latents [N, latent_size]."""
        return self.generator_average(latents)

    def unpack(self, data):
        """Batch -> (images, labels [N], latents, mix [M, 1, 1, 1]); draws what the batch does not bring.

        data: images, (images,), (images, labels[, ignored]) or a dict with "images" and any of "labels" (0 normal,
        1 known abnormal), "latents" and "mix".
        """
        if not isinstance(data, dict):
            data = data if isinstance(data, (tuple, list)) else (data,)
            data = dict(zip(("images", "labels"), data[:2], strict=False))
            if isinstance(data["images"], dict):
                data = {**data, **data["images"]}
        images = ops.convert_to_tensor(data["images"], "float32")
        expected = (self.sizes["resolution"], self.sizes["resolution"], self.sizes["channels"])
        if tuple(images.shape[1:]) != expected:
            raise ValueError(f"images must be [N, {', '.join(map(str, expected))}] in [-1, 1], got shape {images.shape}")
        count = ops.shape(images)[0]
        labels, latents, mix = data.get("labels"), data.get("latents"), data.get("mix")
        labels = ops.zeros((count,)) if labels is None else ops.reshape(ops.cast(labels, "float32"), (-1,))
        if latents is None:
            latents = keras.random.normal((count, self.sizes["latent_size"]), seed=self.seed_generator)
        if mix is None:
            mix = keras.random.uniform((ops.shape(latents)[0], 1, 1, 1), seed=self.seed_generator)
        return images, labels, latents, mix

    def losses(self, images, labels, latents, mix):
        """(discriminator_loss, generator_loss, logs), scalars, of one batch as `unpack` returns it."""
        objective = losses.adversarial(self.objective["adversarial"])
        stage = {"resolution": self.stage_resolution, "fade": self.fade}
        images = self._at_stage(images)
        normal = 1.0 - labels
        every = ops.ones_like(mix[:, 0, 0, 0])

        def logits_of(x, **statistics):
            return self.discriminator(x, **statistics, **stage)[0]

        generated = self.generator(latents, **stage)
        generated_logits = logits_of(generated, weights=every)
        logits = logits_of(images, weights=normal, update=True)

        count = self.objective["penalty_share"] * ops.shape(latents)[0]
        # A tensor only in a TensorFlow graph that leaves the batch size open; JAX slices by plain numbers.
        count = math.ceil(count) if isinstance(count, (int, float)) else ops.cast(ops.ceil(count), "int32")
        where, weights = images[:count], normal[:count]
        if objective.penalty_on == "mixed":
            where = lerp(where, ops.stop_gradient(generated[:count]), mix[:count])
        gradients = input_gradients(lambda x: logits_of(x, weights=weights), where)[1]
        penalty = losses.weighted_mean(objective.penalty(gradients), weights)

        # Without known abnormal images in the batch it is plain AnoGAN: alpha 1.
        alpha = ops.where(ops.sum(labels) > 0, self.objective["alpha"], 1.0)
        discriminator_loss = losses.alpha_mixture(
            losses.weighted_mean(objective.real(logits) + objective.drift(logits), normal),
            ops.mean(objective.generated(generated_logits)),
            losses.weighted_mean(objective.generated(logits), labels),
            alpha,
        )
        discriminator_loss += self.objective["penalty_weight"] * penalty
        generator_loss = ops.mean(objective.generator(generated_logits))
        logs = {
            "discriminator_loss": discriminator_loss,
            "generator_loss": generator_loss,
            "penalty": penalty,
            "normal_logit": losses.weighted_mean(logits, normal),
            "generated_logit": ops.mean(generated_logits),
            "abnormal_logit": losses.weighted_mean(logits, labels),
        }
        return discriminator_loss, generator_loss, logs

    def _at_stage(self, images):
        """Real images at the stage's resolution, faded like the generated ones (Karras et al. 2017, appendix A)."""
        while images.shape[1] > self.stage_resolution:
            images = downscale(images)
        if self.stage_resolution == 4:
            return images
        return lerp(upscale(downscale(images)), images, self.fade)

    def _average_pairs(self):
        for average, current in (
            (self.generator_average, self.generator),
            (self.discriminator_average, self.discriminator),
        ):
            yield from zip(average.weights, current.weights, strict=True)

    def update_averages(self):
        """Moves the averaged weights towards the current ones, faster in the first steps so that the start is forgotten."""
        step = ops.cast(self.optimizer.iterations, "float32")
        decay = ops.minimum(self.objective["average_decay"], (1.0 + step) / (10.0 + step))
        for average, current in self._average_pairs():
            average.assign(lerp(ops.convert_to_tensor(current), ops.convert_to_tensor(average), decay))
