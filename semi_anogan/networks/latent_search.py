"""The latent search: the latents whose generated image is nearest (Schlegl et al. 2017, section 2.2)."""

import math

import keras
import numpy as np
from keras import ops

from semi_anogan.backend import compile_function, input_gradients
from semi_anogan.config import check_ranges, default
from semi_anogan.networks import losses
from semi_anogan.networks.layers import reduced
from semi_anogan.networks.pretrained.load import load_features

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8
START_RESOLUTION = 16


class LatentSearch:
    """Gradient search z* = argmin (1 - lambda) L_R(z) + lambda L_D(z), batched, with Adam on the latents.

    Each image is searched on its own: its loss, its Adam moments and its early stop depend on no other image.
    Everything random is drawn once from `seed`, so the same image gives the same reconstruction each time.

    Args:
      generator, discriminator: the (averaged) networks; their weights stay fixed.
      iterations: most Adam steps (Gamma of the paper; AnoGAN used 500).
      feature_weight: lambda in [0, 1], share of the feature matching loss.
      learning_rate: Adam's at the first step; it falls linearly to a tenth of that at the last.
      restarts: searches per image; the best counts.
      candidates: generated images of which the nearest `restarts` are where an image's searches start. With
        candidates equal to restarts, starts are random as in the paper.
      patience: an image stops after this many steps without a better loss (by a relative 1e-3); 0 never stops
        early.
      seed: of the candidates' latents.
      encoder: network from images to latents, where the first of the searches starts; None starts all from
        candidates.
      pretrained: network from images to further features of the feature matching, or None.

    Raises: ConfigError for a setting out of its range.
    """

    CONSTANTS = {"beta_1": BETA_1, "beta_2": BETA_2, "epsilon": EPSILON}

    def __init__(
        self,
        generator,
        discriminator,
        iterations: int = default("search.iterations"),
        feature_weight: float = default("search.feature_weight"),
        learning_rate: float = default("search.learning_rate"),
        restarts: int = default("search.restarts"),
        candidates: int = default("search.candidates"),
        patience: int = default("search.patience"),
        seed: int = 0,
        encoder=None,
        pretrained=None,
    ):
        check_ranges(
            "search",
            iterations=iterations,
            feature_weight=feature_weight,
            restarts=restarts,
            candidates=candidates,
            patience=patience,
        )
        self.generator = generator
        self.discriminator = discriminator
        self.encoder = encoder
        self.pretrained = pretrained
        self.iterations = iterations
        self.feature_weight = feature_weight
        self.learning_rate = learning_rate
        self.restarts = restarts
        self.patience = patience
        self.seed = seed
        count = max(candidates, restarts)
        self.candidates = np.random.default_rng([seed, count]).standard_normal(
            (count, generator.latent_size), dtype=np.float32
        )
        # With an encoder and a single search no candidate is needed.
        self._candidate_images = self._thumbnails() if encoder is None or restarts > 1 else None

    @classmethod
    def of_model(
        cls,
        model,
        init: str = default("search.init"),
        pretrained: bool = default("search.pretrained"),
        **settings,
    ) -> "LatentSearch":
        """The search with a SemiAnoGAN's averaged networks.

        Args: init: "encoder", the model's where it has one, or "candidates"; pretrained: whether the model's
          pretrained features up to stride 8 join the feature matching; settings: as above.
        """
        check_ranges("search", init=init)
        features = model.features
        return cls(
            model.generator_average,
            model.discriminator_average,
            encoder=model.encoder if init == "encoder" else None,
            pretrained=load_features(features.name, features.weights, last_stride=8)
            if pretrained and features.name
            else None,
            **settings,
        )

    def _thumbnails(self) -> np.ndarray:
        """The candidates' images, reduced: [K, h * w * C]."""
        small = compile_function(lambda z: self._reduce(self.generator(z)), self.generator)
        parts = np.array_split(self.candidates, max(1, len(self.candidates) // 64))
        return np.concatenate([keras.ops.convert_to_numpy(small(part)) for part in parts])

    @staticmethod
    def _reduce(images):
        images = reduced(images, START_RESOLUTION)
        return ops.reshape(images, (-1, int(np.prod(images.shape[1:]))))

    def features(self, images):
        """What feature matching compares of images: list of [N, h, w, C].

        The discriminator's features, and the pretrained ones where there are any.
        """
        return self.discriminator(images)[1] + (
            self.pretrained(images) if self.pretrained is not None else []
        )

    def start(self, images):
        """Where the searches of each image start: [N, ...] -> [N, restarts, L].

        The encoder's latents, if there is one, and those of the nearest candidates, nearest first.
        """
        if self.encoder is None:
            return self._nearest(images, self.restarts)
        encoded = self.encoder(images)[:, None]
        if self.restarts == 1:
            return encoded
        return ops.concatenate([encoded, self._nearest(images, self.restarts - 1)], axis=1)

    def _nearest(self, images, count: int):
        reduced = self._reduce(images)

        # |a - b|_1 to every candidate, one candidate at a time would be slow and all at once large: by
        # squared distance
        squared = (
            ops.sum(ops.square(reduced), axis=1, keepdims=True)
            - 2.0 * ops.matmul(reduced, ops.convert_to_tensor(self._candidate_images.T))
            + ops.convert_to_tensor(np.sum(self._candidate_images**2, axis=1))
        )
        nearest = ops.top_k(-squared, count)[1]
        return ops.take(ops.convert_to_tensor(self.candidates), nearest, axis=0)

    def loss(self, images, features, latents):
        """Search loss of each image: [N]; features are the images' own."""
        reconstructions = self.generator(latents)
        reconstruction_features = self.features(reconstructions) if self.feature_weight > 0 else features
        return losses.search_loss(
            images, reconstructions, features, reconstruction_features, self.feature_weight
        )

    def search_step(self, images, features, latents, moment, velocity, step):
        """One Adam step on the latents (Kingma & Ba 2015, algorithm 1).

        Args:
          images [N, H, W, C]; features: `features` of them; latents, moment, velocity [N, L].
          step: scalar float32, 0 for the first.

        Returns:
          (latents, moment, velocity after the step; loss [N] before it).
        """
        # Of about the sum over the pixels instead of the mean, a power of two times as large: the same
        # gradient in float32, but in a float16 engine that of the mean would be lost among the numbers too
        # small for it.
        pixels = 2.0 ** round(math.log2(images.shape[1] * images.shape[2]))
        loss, gradient = input_gradients(lambda z: self.loss(images, features, z) * pixels, latents)
        loss, gradient = loss / pixels, gradient / pixels
        moment = BETA_1 * moment + (1.0 - BETA_1) * gradient
        velocity = BETA_2 * velocity + (1.0 - BETA_2) * ops.square(gradient)
        rate = self.learning_rate * (1.0 - 0.9 * step / max(self.iterations, 1))
        corrected_moment = moment / (1.0 - ops.power(BETA_1, step + 1.0))
        corrected_velocity = velocity / (1.0 - ops.power(BETA_2, step + 1.0))
        # Written with exp and log, whose gradients and operators every exported format has.
        root = ops.exp(0.5 * ops.log(corrected_velocity + 1e-24))
        return latents - rate * corrected_moment / (root + EPSILON), moment, velocity, loss

    def __call__(self, images):
        """Searches a batch inside a compiled function.

        Args: images [N, *shape, channels], N static.
        Returns: (latents [N, L] of the lowest loss seen, that loss [N], steps until each image stopped [N]).
        """
        count, runs = images.shape[0], self.restarts
        images = ops.repeat(images, runs, axis=0)
        features = self.features(images)
        latents = ops.reshape(self.start(images[::runs]), (count * runs, -1))
        zeros = ops.zeros_like(latents)
        infinite = ops.zeros((count * runs,)) + np.inf

        def step(index, latents, moment, velocity, best, best_loss, stale, steps):
            active = ops.ones_like(stale, dtype="bool") if not self.patience else stale < self.patience
            moved, moment, velocity, loss = self.search_step(
                images, features, latents, moment, velocity, ops.cast(index, "float32")
            )
            better = ops.logical_and(active, loss < best_loss)
            progress = ops.logical_and(active, loss < best_loss * (1.0 - 1e-3))
            best = ops.where(better[:, None], latents, best)
            best_loss = ops.where(better, loss, best_loss)
            stale = ops.where(progress, 0, stale + 1)
            return (
                index + 1,
                moved,
                moment,
                velocity,
                best,
                best_loss,
                stale,
                steps + ops.cast(active, "int32"),
            )

        def go_on(index, latents, moment, velocity, best, best_loss, stale, steps):
            running = ops.any(stale < self.patience) if self.patience else True
            return ops.logical_and(index < self.iterations, running)

        none = ops.zeros((count * runs,), dtype="int32")
        state = (ops.convert_to_tensor(0), latents, zeros, zeros, latents, infinite, none, none)
        state = ops.while_loop(go_on, step, state)
        latents, steps = state[4], state[7]
        # The last step's latents have not been judged yet. Those of stopped images do not count: how far they
        # were moved on depends on how long the other images of the batch took.
        last_loss = self.loss(images, features, state[1])
        better = last_loss < state[5]
        if self.patience:
            better = ops.logical_and(better, state[6] < self.patience)
        latents = ops.where(better[:, None], state[1], latents)
        loss = ops.reshape(ops.where(better, last_loss, state[5]), (count, runs))
        chosen = ops.argmin(loss, axis=1)
        latents = ops.reshape(latents, (count, runs, -1))
        picked = ops.take_along_axis(latents, chosen[:, None, None], axis=1)[:, 0]
        steps = ops.max(ops.reshape(steps, (count, runs)), axis=1)
        return picked, ops.min(loss, axis=1), steps
