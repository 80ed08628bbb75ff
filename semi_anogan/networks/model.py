"""SemiAnoGAN: the progressive growing GAN with the alpha mixture as a keras.Model."""

import dataclasses
import math

import keras
from keras import ops

from semi_anogan.backend import TrainStep
from semi_anogan.config import check_ranges, default
from semi_anogan.image_shape import at_size, enlarged, map_size, memory_sizes, shape_of
from semi_anogan.networks import objective
from semi_anogan.networks.augmentation import DRAWS
from semi_anogan.networks.averaged import Averaged
from semi_anogan.networks.encoder import FeatureEncoder, ImageEncoder
from semi_anogan.networks.feature_generator import FeatureGenerator, Standardization
from semi_anogan.networks.gan import Discriminator, Generator
from semi_anogan.networks.layers import PACKAGE, lerp
from semi_anogan.networks.objective import Batch
from semi_anogan.networks.patch_discriminator import FeatureSettings
from semi_anogan.networks.pretrained.load import load_features
from semi_anogan.versions import MODELS, refusal

GRID_STRIDE = 32  # pixels of the images that the model takes, for each place of the grid of latents
FINEST_DRAWN = 8  # stride of the finest pretrained features that are drawn


@keras.saving.register_keras_serializable(PACKAGE)
class SemiAnoGAN(TrainStep, keras.Model):
    """Semi-supervised AnoGAN (Kimura & Yanagihara 2018, arXiv 1807.01136).

    `fit` takes images [N, *image_shape, channels], float32 in [-1, 1], alone or with labels [N]: 0
    normal, 1 known abnormal. Known abnormal images are one more kind of generated image to the discriminator;
    without any it is plain AnoGAN.

    Args:
      resolution, channels, filters_base, filters_cap: as in Generator.
      latent_channels: length of the latents at each place of their grid, which has a place for each 32 x 32
        pixels of the images that the model takes; small images have a single vector.
      top_share: of the discriminator's evidence maps that counts, as in Discriminator.
      features: arguments of FeatureSettings, by name; None for no pretrained features.
      seed: of the latents that train_step draws when the data brings none.
      aspect: width / height of the images, from 1/8 to 8; None is 1. It is rounded (image_shape.shape_of).
      precision: of the GAN's 3 x 3 convolutions in training, "float32" or "bfloat16" (layers.compute_in).
        Averages compute in float32, and so do search and scores.

    Attributes:
      generator, discriminator: the trained networks.
      encoder: to the latents where a search starts, before their bound; of the pretrained features, or of the
        image where the model has none.
      feature_generator: draws the standardised pretrained features of the same latents, or None.
      standardization: of the pretrained features, or None. pretrained: the frozen network, or None.
      latent_shape, latent_size: (h, w, c) of the grid of latents, and their product.
      patch_discriminator: on images of `image_size`, or None.
      projected: one that judges normal and generated images at the model's resolution, beside
        `discriminator`, or None.
      generator_average, encoder_average, feature_generator_average, discriminator_average,
        patch_discriminator_average, projected_average: moving averages of their weights, or None; search and
        scores use these.
      shape: (height, width) of the generator's images; the shorter is `resolution`.
      image_size: short side of the images that the model takes: `resolution`, or that of the features where
        it is larger. image_shape: their (height, width).
      memory_sizes: short sides of the images that a memory compares, ascending; memory_shapes: their (height,
        width). map_shape: that of the images in which defects are located. view_shape: the largest of all
        these: images of it are reduced to every other.
      stage_resolution: the resolution being trained; `grow` moves it. fade: variable, 0 previous stage to 1
        this one.
      trains: what a step trains: "gan" (all but the patch discriminator), "patch_discriminator" or "all".
    """

    def __init__(
        self,
        resolution=default("model.resolution"),
        channels=default("model.channels"),
        latent_channels=default("model.latent_channels"),
        filters_base=default("model.filters_base"),
        filters_cap=default("model.filters_cap"),
        top_share=default("model.top_share"),
        features=None,
        seed=0,
        aspect=default("model.aspect"),
        precision=default("model.precision"),
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_ranges("model", aspect=aspect, precision=precision)
        self.sizes = {
            "resolution": resolution,
            "channels": channels,
            "filters_base": filters_base,
            "filters_cap": filters_cap,
        }
        self.options = {
            "latent_channels": latent_channels,
            "top_share": top_share,
            "seed": seed,
            "precision": precision,
        }
        self.features = FeatureSettings(**(features or {}))
        self.image_size = max(resolution, self.features.resolution) if self.features.name else resolution
        if self.image_size % resolution:
            raise ValueError(
                f"features.resolution must be a multiple of {resolution}, got {self.image_size!r}"
            )
        seen = self.image_size if self.features.name else None
        self.shape = shape_of(resolution, 1.0 if aspect is None else aspect, seen)
        self.image_shape = enlarged(self.shape, self.image_size)
        if seen and seen < GRID_STRIDE and self.shape[0] != self.shape[1]:
            raise ValueError(
                f"features.resolution must be at least {GRID_STRIDE} where images are not square, got {seen}"
            )
        self.sizes["aspect"] = self.shape[1] / self.shape[0]
        sizes = memory_sizes(self.features.sizes) or [self.image_size]
        self.memory_sizes = tuple(sizes) if self.features.name else ()
        self.memory_shapes = [at_size(self.shape, size) for size in self.memory_sizes]
        self.map_shape = at_size(self.shape, map_size(sizes)) if self.features.name else self.shape
        self.view_shape = max([self.image_shape, *self.memory_shapes], key=min)
        cells = [max(1, side // GRID_STRIDE) for side in self.image_shape]
        self.latent_shape = (*cells, latent_channels)
        self.latent_size = math.prod(self.latent_shape)
        self._add_networks()
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.stage_resolution = resolution
        self.trains = "all"
        self.objective = {}
        self.build()

    def _add_networks(self):
        """Makes the networks. The order of the attributes is that of checkpoints' variables: it must stay.

        What the generator's loss trains comes first: the train step divides the gradients there.
        """
        sizes, top_share, settings = self.sizes, self.options["top_share"], self.features
        precision = self.options["precision"]
        drawing = {**sizes, "latent_shape": self.latent_shape}
        generator = Averaged(lambda name: Generator(**drawing, name=name), "generator", precision)
        self._averaged = {"generator": generator}
        self.generator, self.generator_average = generator.trained, generator.average
        self.pretrained = self.standardization = None
        self.feature_generator = self.feature_generator_average = None
        if settings.name:
            self.pretrained = load_features(settings.name, settings.weights)
            shapes = self._feature_shapes()
            self.standardization = Standardization([shape[2] for shape in shapes], name="standardization")
            grid = {"latent_shape": self.latent_shape, "shapes": shapes}
            pair = Averaged(lambda name: FeatureGenerator(**grid, name=name), "feature_generator", precision)
            self._averaged["feature_generator"] = pair
            self.feature_generator, self.feature_generator_average = pair.trained, pair.average
            encoder = Averaged(lambda name: FeatureEncoder(**grid, name=name), "encoder", precision)
        else:
            encoder = Averaged(lambda name: ImageEncoder(drawing, name=name), "encoder", precision)
        self._averaged["encoder"] = encoder
        self.encoder, self.encoder_average = encoder.trained, encoder.average
        discriminator = Averaged(
            lambda name: Discriminator(**sizes, top_share=top_share, name=name), "discriminator", precision
        )
        self._averaged["discriminator"] = discriminator
        self.discriminator, self.discriminator_average = discriminator.trained, discriminator.average
        self.patch_discriminator = self.patch_discriminator_average = None
        self.projected = self.projected_average = None
        if settings.name and settings.patch_discriminator:
            blocks = settings.trainable_blocks or 0
            pair = Averaged(lambda name: settings.discriminator(name, blocks), "patch_discriminator")
            self._averaged["patch_discriminator"] = pair
            self.patch_discriminator, self.patch_discriminator_average = pair.trained, pair.average
        if settings.name and settings.projected:
            pair = Averaged(lambda name: settings.discriminator(name, trainable_blocks=0), "projected")
            self._averaged["projected"] = pair
            self.projected, self.projected_average = pair.trained, pair.average

    def _feature_shapes(self) -> list[tuple[int, int, int]]:
        """(h, w, C) of the pretrained features that are drawn, finest first."""
        network, (height, width) = self.pretrained, self.image_shape
        pairs = zip(network.strides, network.channels, strict=True)
        return [(-(-height // s), -(-width // s), c) for s, c in pairs if s >= FINEST_DRAWN]

    def build(self, input_shape=None):
        if self.built:
            return
        pairs = self._averaged.values()
        for network in [p.trained for p in pairs] + [p.average for p in pairs]:
            network.build()
        for network in (self.pretrained, self.standardization):
            if network is not None:
                network.build()
        self.trim_rate = self.add_weight(
            shape=(), initializer="zeros", trainable=False, name="trim_rate", aggregation="mean"
        )
        self.fade = self.add_weight(
            shape=(), initializer="ones", trainable=False, name="fade", aggregation="mean"
        )
        if self.standardization is not None:
            # Mean feature residual of normal training images on each scale that is drawn, a moving average.
            self.residual_scales = self.add_weight(
                shape=(len(self.standardization.channels),),
                initializer="ones",
                trainable=False,
                name="residual_scales",
                aggregation="mean",
            )
        for pair in pairs:
            pair.start()
        self.built = True

    def compile(
        self,
        optimizer=None,
        alpha: float = default("objective.alpha"),
        adversarial: str = default("objective.adversarial"),
        penalty_weight: float | None = default("objective.penalty_weight"),
        penalty_share: float = default("objective.penalty_share"),
        average_decay: float = default("objective.average_decay"),
        synthetic_weight: float = default("objective.synthetic_weight"),
        trim_share: float | None = default("objective.trim_share"),
        augment: str = default("objective.augment"),
        reconstruction_weight: float = default("objective.reconstruction_weight"),
        push_weight: float = default("objective.push_weight"),
        latent_noise: float = default("objective.latent_noise"),
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
            costs more than all the rest of a step, and its expectation does not depend on the share.
          average_decay: per step, of the moving averages.
          synthetic_weight: of synthetic abnormal images (label 2), beside alpha and 1 - alpha.
          trim_share: share of the normal images, those that look most abnormal, whose loss is left out at
            full resolution: some "normal" ones are not. None estimates it from where the known abnormal
            images lie, up to objective.MOST_TRIMMED.
          augment: differentiable augmentation of what the discriminator sees, "color", "translation" and
            "cutout" with commas between them (augmentation.augment); "" for none.
          reconstruction_weight: of the reconstruction of normal images in pixels and pretrained features,
            beside the adversarial loss of the generator.
          push_weight: within the reconstruction, of the push of known abnormal images away from theirs; see
            objective.reconstruction.
          latent_noise: added to the encoder's latents in training, times U(-1, 1).
        """
        if penalty_weight is None:
            penalty_weight = 10.0 if adversarial == "wgan_gp" else 0.1
        given = {
            "alpha": alpha,
            "adversarial": adversarial,
            "penalty_weight": penalty_weight,
            "penalty_share": penalty_share,
            "average_decay": average_decay,
            "synthetic_weight": synthetic_weight,
            "trim_share": trim_share,
            "augment": augment,
            "reconstruction_weight": reconstruction_weight,
            "push_weight": push_weight,
            "latent_noise": latent_noise,
        }
        check_ranges("objective", **given)
        self.objective = given
        kwargs.setdefault("jit_compile", keras.backend.backend() == "jax")
        super().compile(optimizer=optimizer or keras.optimizers.Adam(0.001, 0.0, 0.99), **kwargs)
        self.optimizer.build(self.trainable_variables)

    def get_compile_config(self):
        if not self.objective:  # never compiled
            return {}
        return {**self.objective, "optimizer": keras.saving.serialize_keras_object(self.optimizer)}

    def compile_from_config(self, config):
        self.compile(**{**config, "optimizer": keras.saving.deserialize_keras_object(config["optimizer"])})

    def get_config(self):
        features = dataclasses.asdict(self.features)
        options = {**self.options, "features": features, "name": self.name}
        return {"format": max(MODELS), **self.sizes, **options}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """ValueError where the model was saved in another format than this version reads."""
        config = dict(config)
        if told := refusal("saved SemiAnoGAN", config.pop("format", 1), MODELS, "train again"):
            raise ValueError(told)
        return cls(**config)

    def grow(self, resolution: int, trains: str = "all"):
        """Goes on at this resolution; `fit` compiles anew. Images given at full resolution are reduced to it.

        trains: "gan", "patch_discriminator" or "all". The train command trains the GAN first and then, with a
          schedule of its own, the patch discriminator, which shares no weights with it.
        """
        possible = ("gan", "all", *["patch_discriminator"] * (self.patch_discriminator is not None))
        if trains not in possible:
            raise ValueError(f"trains must be one of {', '.join(possible)}, got {trains!r}")
        if resolution not in self.generator.resolutions:
            raise ValueError(f"resolution must be one of {self.generator.resolutions}, got {resolution!r}")
        self.stage_resolution, self.trains = resolution, trains
        self.train_function = None

    def call(self, latents, training=False):
        """Generated images (moving average) from latents [N, latent_size] in [-1, 1]."""
        return self.generator_average(latents)

    def unpack(self, data) -> Batch:
        """The Batch of what `fit` or the training loop gives; draws what the data does not bring.

        data: images, (images,), (images, labels[, ignored]) or a dict with "images" and any of "labels",
          "masks" (all 1 where it is not known where an image is abnormal), "latents", "mix", "augment",
          "augment_generated" and "features_0", ... (the pretrained features that are drawn, finest first, of
          all images or the first ones; others are not drawn again).
        """
        if not isinstance(data, dict):
            data = data if isinstance(data, (tuple, list)) else (data,)
            data = dict(zip(("images", "labels"), data[:2], strict=False))
            if isinstance(data["images"], dict):
                data = {**data, **data["images"]}
        images = ops.convert_to_tensor(data["images"], "float32")
        expected = (*self.image_shape, self.sizes["channels"])
        if tuple(images.shape[1:]) != expected:
            raise ValueError(
                f"images must be [N, {', '.join(map(str, expected))}] in [-1, 1], got shape {images.shape}"
            )
        count = ops.shape(images)[0]
        labels, masks, latents, mix = (data.get(name) for name in ("labels", "masks", "latents", "mix"))
        labels = ops.zeros((count,)) if labels is None else ops.reshape(ops.cast(labels, "float32"), (-1,))
        if latents is None:
            latents = keras.random.uniform((count, self.latent_size), -1.0, 1.0, seed=self.seed_generator)
        if mix is None:
            mix = keras.random.uniform((ops.shape(latents)[0], 1, 1, 1), seed=self.seed_generator)
        if masks is not None:
            masks = ops.reshape(ops.cast(masks, "float32"), (-1, *self.image_shape, 1))
        augmentation = None
        if self.objective.get("augment"):
            augmentation = (
                self._draws(data.get("augment"), count),
                self._draws(data.get("augment_generated"), ops.shape(latents)[0]),
            )
        features = None
        if "features_0" in data and self.standardization is not None:
            features = [data[f"features_{i}"] for i in range(len(self.standardization.channels))]
        return Batch(images, labels, masks, latents, mix, augmentation, features)

    def _draws(self, given, count):
        """The numbers [count, DRAWS] that augmentation needs, drawn where they are not given."""
        if given is None:
            return keras.random.uniform((count, DRAWS), seed=self.seed_generator)
        return ops.convert_to_tensor(given, "float32")

    def losses(self, batch: Batch):
        """(discriminator_loss, generator_loss, logs), scalars, of one batch.

        The generator's loss trains generator, feature generator and encoder. The discriminator's holds that
        of the patch discriminator, which shares no weights with it.
        """
        patch_loss, patch_logs = ops.zeros(()), {}
        if self.patch_discriminator is not None and self.trains != "gan":
            patch_loss, patch_logs = objective.of_patch_discriminator(self, batch)
        if self.trains == "patch_discriminator":
            return patch_loss, ops.zeros(()), patch_logs
        discriminator_loss, generator_loss, logs = objective.of_gan(self, batch)
        return discriminator_loss + patch_loss, generator_loss, {**patch_logs, **logs}

    def move_residual_scales(self, now, weights):
        """Moves the averages of each scale's feature residual towards those of a batch.

        Args: now: scalars; weights [N]: of its images, if they are all 0 nothing moves.
        """
        now, kept = ops.stop_gradient(ops.stack(now)), ops.where(ops.sum(weights) > 0, 0.98, 1.0)
        self.residual_scales.assign(lerp(now, ops.convert_to_tensor(self.residual_scales), kept))

    def pretrained_features(self, images):
        """The frozen network's features that are drawn, of images [N, S, S, C]: list, finest first."""
        return self.drawn_of(self.pretrained(images))

    def drawn_of(self, features):
        """Those of all the pretrained network's features that are drawn."""
        return features[-len(self.standardization.channels) :]

    @property
    def generating_variables(self):
        """What the generator's loss trains: generator, feature generator and encoder."""
        networks = [self.generator, self.feature_generator, self.encoder]
        return [v for network in networks if network is not None for v in network.trainable_variables]

    @property
    def discriminating_variables(self):
        """What the discriminator's loss trains: every other trainable variable."""
        return self.trainable_variables[len(self.generating_variables) :]

    def update_averages(self):
        """Moves the averages of what is trained, faster in the first steps to forget the start."""
        step = ops.cast(self.optimizer.iterations, "float32")
        decay = ops.minimum(self.objective["average_decay"], (1.0 + step) / (10.0 + step))
        for name, pair in self._averaged.items():
            part = name if name == "patch_discriminator" else "gan"
            if self.trains in ("all", part):
                pair.move(decay)
