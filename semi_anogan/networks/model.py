"""SemiAnoGAN: the progressive growing GAN with the alpha mixture as a keras.Model."""

import keras
from keras import ops

from semi_anogan.backend import TrainStep
from semi_anogan.networks import losses, objective
from semi_anogan.networks.augmentation import DRAWS, kinds_of
from semi_anogan.networks.gan import Discriminator, Encoder, Generator, resolutions_up_to
from semi_anogan.networks.layers import PACKAGE, lerp
from semi_anogan.networks.patch_discriminator import PatchDiscriminator


@keras.saving.register_keras_serializable(PACKAGE)
class SemiAnoGAN(TrainStep, keras.Model):
    """Semi-supervised AnoGAN (Kimura & Yanagihara 2018, arXiv 1807.01136).

    `fit` takes images [N, resolution, resolution, channels], float32 in [-1, 1], alone or with labels [N]: 0
    normal,
    1 known abnormal. Known abnormal images are one more kind of generated image to the discriminator; without
    any it is
    plain AnoGAN.

    Args:
      resolution, channels, latent_size, filters_base, filters_cap: as in Generator.
      top_share: of the discriminator's evidence maps that counts, as in Discriminator.
      features: settings of the pretrained features, the section `features` of the config; None for none.
      encoder: whether an encoder is trained that gives the start of the search.
      seed: of the latents that train_step draws when the data brings none.

    Attributes:
      generator, discriminator: the trained networks. encoder: None without one.
      patches: the PatchDiscriminator, on images of `image_size`, or None. projected: one that judges normal
        and generated
        images at the model's resolution, beside `discriminator`, or None.
      generator_average, discriminator_average, patches_average, projected_average: exponential moving
      averages of their
        weights (Karras et al. 2017, section 4.1); search and scores use these.
      image_size: side of the images that the model takes: `resolution`, or that of the features where it is
        larger.
      stage_resolution: the resolution being trained; `grow` moves it. `fade`: variable, 0 previous stage to 1
        this one.
      trains: what a step trains: "gan" (generator, discriminator, encoder), "patches" or "all".
    """

    def __init__(
        self,
        resolution=64,
        channels=1,
        latent_size=128,
        filters_base=1024,
        filters_cap=64,
        top_share=0.01,
        features=None,
        encoder=False,
        seed=0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.sizes = {
            "resolution": resolution,
            "channels": channels,
            "latent_size": latent_size,
            "filters_base": filters_base,
            "filters_cap": filters_cap,
        }
        self.options = {
            "top_share": top_share,
            "features": dict(features or {}),
            "encoder": encoder,
            "seed": seed,
        }
        features = self.options["features"] if self.options["features"].get("name") else {}
        self.image_size = max(resolution, features.get("resolution") or 0)
        if self.image_size % resolution:
            raise ValueError(
                f"features.resolution must be a multiple of {resolution}, got {self.image_size!r}"
            )
        self.generator = Generator(**self.sizes, name="generator")
        self.discriminator = Discriminator(**self.sizes, top_share=top_share, name="discriminator")
        self.generator_average = Generator(**self.sizes, name="generator_average")
        self.discriminator_average = Discriminator(
            **self.sizes, top_share=top_share, name="discriminator_average"
        )
        self.encoder = Encoder(**self.sizes, name="encoder") if encoder else None
        self.patches = self.patches_average = self.projected = self.projected_average = None
        if features.get("patches"):
            self.patches, self.patches_average = (
                _patch_discriminator(features, name) for name in _names("patches")
            )
        if features.get("projected"):
            frozen = {**features, "trainable_blocks": 0}
            self.projected, self.projected_average = (
                _patch_discriminator(frozen, name) for name in _names("projected")
            )
        for average in (
            self.generator_average,
            self.discriminator_average,
            self.patches_average,
            self.projected_average,
        ):
            if average is not None:
                average.trainable = False
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.stage_resolution = resolution
        self.trains = "all"
        self.objective = {}
        self.build()

    def build(self, input_shape=None):
        if self.built:
            return
        for network in self._networks():
            network.build()
        self.trim_rate = self.add_weight(
            shape=(), initializer="zeros", trainable=False, name="trim_rate", aggregation="mean"
        )
        self.fade = self.add_weight(
            shape=(), initializer="ones", trainable=False, name="fade", aggregation="mean"
        )
        for average, current in self._average_pairs():
            average.assign(
                ops.copy(ops.convert_to_tensor(current))
            )  # JAX would share the buffer, and fit donates each
        self.built = True

    def compile(
        self,
        optimizer=None,
        alpha: float = 0.5,
        adversarial: str = "non_saturating",
        penalty_weight: float | None = None,
        penalty_share: float = 0.25,
        average_decay: float = 0.995,
        synthetic_weight: float = 0.0,
        trim_share: float | None = 0.0,
        augment: str = "",
        **kwargs,
    ):
        """Sets the objective.

        Args:
          optimizer: None is Adam(0.001, beta_1=0, beta_2=0.99) as in Karras et al. 2017, on both networks.
          alpha: mixture weight in (0, 1] of the generated images; 1 - alpha is that of the known abnormal
            ones.
          adversarial: "non_saturating" (with R1) or "wgan_gp".
          penalty_weight: of the gradient penalty; None is 0.1 (gamma of R1), or 10 for wgan_gp.
          penalty_share: share of the batch, its first images, on which the penalty is computed; its gradient
            costs more
            than all the rest of a step, and its expectation does not depend on the share.
          average_decay: per step, of the moving averages.
          synthetic_weight: of synthetic abnormal images (label 2), beside alpha and 1 - alpha.
          trim_share: share of the normal images, those that look most abnormal, whose loss is left out at
            full resolution: some
            "normal" ones are not. None estimates it from where the known abnormal images lie, up to
            objective.MOST_TRIMMED.
          augment: differentiable augmentation of what the discriminator sees, "color", "translation" and
            "cutout" with commas between
            them (augmentation.augment); "" for none.
        """
        if not 0 < alpha <= 1:
            raise ValueError(f"objective.alpha must be in (0, 1], got {alpha!r}")
        losses.adversarial(adversarial)  # raises for an unknown name
        kinds_of(augment)  # likewise
        if penalty_weight is None:
            penalty_weight = 10.0 if adversarial == "wgan_gp" else 0.1
        self.objective = {
            "alpha": alpha,
            "adversarial": adversarial,
            "penalty_weight": penalty_weight,
            "penalty_share": penalty_share,
            "average_decay": average_decay,
            "synthetic_weight": synthetic_weight,
            "trim_share": trim_share,
            "augment": augment,
        }
        kwargs.setdefault("jit_compile", keras.backend.backend() == "jax")
        super().compile(optimizer=optimizer or keras.optimizers.Adam(0.001, 0.0, 0.99), **kwargs)
        self.optimizer.build(self.trainable_variables)

    def get_compile_config(self):
        return {**self.objective, "optimizer": keras.saving.serialize_keras_object(self.optimizer)}

    def compile_from_config(self, config):
        self.compile(**{**config, "optimizer": keras.saving.deserialize_keras_object(config["optimizer"])})

    def get_config(self):
        return {**self.sizes, **self.options, "name": self.name}

    def grow(self, resolution: int, trains: str = "all"):
        """Goes on at this resolution; `fit` compiles anew. Images given at full resolution are reduced to it.

        trains: "gan", "patches" or "all"; the train command trains the GAN first and then, with a schedule of
          their own, the
        patches, which share no weights with it.
        """
        if trains not in ("gan", "patches", "all") or trains == "patches" and self.patches is None:
            raise ValueError(
                f"trains must be gan, all or, with a patch discriminator, patches, got {trains!r}"
            )
        if resolution not in resolutions_up_to(self.sizes["resolution"]):
            raise ValueError(f"resolution must be one of {self.generator.resolutions}, got {resolution!r}")
        self.stage_resolution, self.trains = resolution, trains
        self.train_function = None

    def call(self, latents, training=False):
        """Generated images (moving average) from latents [N, latent_size]."""
        return self.generator_average(latents)

    def unpack(self, data):
        """Batch -> (images, labels [N], masks [N, S, S, 1], latents [M, L], mix [M, 1, 1, 1], augmentation);
        draws what the batch does
        not bring. augmentation: None, or the draws [N, DRAWS] and [M, DRAWS] of the images and of the
          generated ones.

        data: images, (images,), (images, labels[, ignored]) or a dict with "images" and any of "labels" (0
          normal,
        1 known abnormal, 2 synthetic abnormal), "masks" (1 where an abnormal image is abnormal; all 1 where
        that is not
        known), "latents", "mix", "augment" and "augment_generated".
        """
        if not isinstance(data, dict):
            data = data if isinstance(data, (tuple, list)) else (data,)
            data = dict(zip(("images", "labels"), data[:2], strict=False))
            if isinstance(data["images"], dict):
                data = {**data, **data["images"]}
        images = ops.convert_to_tensor(data["images"], "float32")
        expected = (self.image_size, self.image_size, self.sizes["channels"])
        if tuple(images.shape[1:]) != expected:
            raise ValueError(
                f"images must be [N, {', '.join(map(str, expected))}] in [-1, 1], got shape {images.shape}"
            )
        count = ops.shape(images)[0]
        labels, masks, latents, mix = (data.get(name) for name in ("labels", "masks", "latents", "mix"))
        labels = ops.zeros((count,)) if labels is None else ops.reshape(ops.cast(labels, "float32"), (-1,))
        if latents is None:
            latents = keras.random.normal((count, self.sizes["latent_size"]), seed=self.seed_generator)
        if mix is None:
            mix = keras.random.uniform((ops.shape(latents)[0], 1, 1, 1), seed=self.seed_generator)
        if masks is not None:
            masks = ops.reshape(ops.cast(masks, "float32"), (-1, self.image_size, self.image_size, 1))
        augmentation = None
        if self.objective.get("augment"):
            drawn = [data.get("augment"), data.get("augment_generated")]
            counts = [count, ops.shape(latents)[0]]
            augmentation = tuple(
                keras.random.uniform((n, DRAWS), seed=self.seed_generator)
                if d is None
                else ops.convert_to_tensor(d, "float32")
                for d, n in zip(drawn, counts, strict=True)
            )
        return images, labels, masks, latents, mix, augmentation

    def losses(self, images, labels, masks, latents, mix, augmentation=None):
        """(discriminator_loss, generator_loss, logs), scalars, of one batch as `unpack` returns it.

        The discriminator's loss holds those of the patch discriminator and the encoder, which share no
        weights with it.
        """
        patch_loss, patch_logs = ops.zeros(()), {}
        if self.patches is not None and self.trains != "gan":
            patch_loss, patch_logs = objective.of_patches(self, images, labels, masks)
        if self.trains == "patches":
            return patch_loss, ops.zeros(()), patch_logs
        discriminator_loss, generator_loss, logs = objective.of_gan(
            self, images, labels, masks, latents, mix, augmentation
        )
        return discriminator_loss + patch_loss, generator_loss, {**patch_logs, **logs}

    def _networks(self):
        names = ("generator", "discriminator", "patches", "projected")
        trained = [getattr(self, name) for name in names] + [self.encoder]
        averages = [getattr(self, f"{name}_average") for name in names]
        return [network for network in trained + averages if network is not None]

    @property
    def discriminating_variables(self):
        """What the discriminator's loss trains: every trainable variable but the generator's."""
        return self.trainable_variables[len(self.generator.trainable_variables) :]

    def _average_pairs(self, names=("generator", "discriminator", "patches", "projected")):
        for name in names:
            average, current = getattr(self, f"{name}_average"), getattr(self, name)
            if current is not None:
                yield from zip(average.weights, current.weights, strict=True)

    def update_averages(self):
        """Moves the averaged weights towards the current ones, faster in the first steps so that the start is
        forgotten.
        """
        step = ops.cast(self.optimizer.iterations, "float32")
        decay = ops.minimum(self.objective["average_decay"], (1.0 + step) / (10.0 + step))
        trained = {"gan": ("generator", "discriminator", "projected"), "patches": ("patches",)}
        for average, current in self._average_pairs(
            *[trained[self.trains]] if self.trains in trained else []
        ):
            average.assign(lerp(ops.convert_to_tensor(current), ops.convert_to_tensor(average), decay))


def _names(name: str) -> tuple[str, str]:
    return name, f"{name}_average"


def _patch_discriminator(features: dict, name: str) -> PatchDiscriminator:
    return PatchDiscriminator(
        features["name"], features["weights"], features["trainable_blocks"], features["top_share"], name=name
    )
