"""The latent search: the latents whose generated image is nearest (Schlegl et al. 2017, section 2.2)."""

import math

import keras
import numpy as np
from keras import ops

from semi_anogan.backend import compile_function, input_gradients
from semi_anogan.config import check_ranges, default
from semi_anogan.errors import ConfigError
from semi_anogan.networks import losses
from semi_anogan.networks.layers import bounded, reduced

MOST = 0.999  # of a candidate's latents: 1 is infinitely far before the bound
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8
START_RESOLUTION = 16


class LatentSearch:
    """Gradient search of the latents whose drawings are nearest, batched, with Adam.

    It minimises nu ((1 - lambda) L_R + lambda L_D) + mu L_F over u, z = bounded(u): the residual of the
    images, the feature matching in the discriminator, and the feature residual of the pretrained features.
    Latents stay in (-1, 1), so that it cannot leave what the generator was trained on.

    Each image is searched on its own: its loss, its Adam moments and its early stop depend on no other image.
    Everything random is drawn once from `seed`, so the same image gives the same reconstruction each time.

    Args:
      generator, discriminator, encoder: the (averaged) networks; their weights stay fixed.
      iterations: most Adam steps (Gamma of the paper; AnoGAN used 500).
      feature_weight: lambda in [0, 1], share of the feature matching loss.
      pretrained_weight: mu >= 0, of the feature residual; without a feature_generator it counts for nothing.
      image_weight: nu >= 0, of what compares images. None: 0 where pretrained features are drawn and count,
        else 1. With 0 no step draws an image, which takes most of its time.
      reach: about how far Adam moves any latent in all, before the bound. Its rate is
        reach / (0.55 iterations) at the first step, and falls linearly to a tenth of that at the last. So
        more steps search more finely near the guess; they do not leave what encoder and generator learned.
      restarts: searches per image; the best counts.
      candidates: generated images of which the nearest `restarts` are where an image's searches start. With
        candidates equal to restarts, starts are random as in the paper.
      patience: an image stops after this many steps without a better loss (by a relative 1e-3); 0 never stops
        early.
      seed: of the candidates' latents.
      encoder: network to latents before their bound, where the first of the searches starts; None starts all
        from candidates. It reads pretrained features, where there is a feature_generator, or images.
      feature_generator: draws pretrained features of latents, or None. standardization: of them, or None.

    Raises: ConfigError for a setting out of its range, or where nothing is compared.
    """

    CONSTANTS = {"beta_1": BETA_1, "beta_2": BETA_2, "epsilon": EPSILON}

    def __init__(
        self,
        generator,
        discriminator,
        iterations: int = default("search.iterations"),
        feature_weight: float = default("search.feature_weight"),
        reach: float = default("search.reach"),
        restarts: int = default("search.restarts"),
        candidates: int = default("search.candidates"),
        patience: int = default("search.patience"),
        seed: int = 0,
        encoder=None,
        feature_generator=None,
        standardization=None,
        pretrained_weight: float = default("search.pretrained_weight"),
        image_weight: float | None = default("search.image_weight"),
    ):
        check_ranges(
            "search",
            iterations=iterations,
            feature_weight=feature_weight,
            restarts=restarts,
            candidates=candidates,
            patience=patience,
            pretrained_weight=pretrained_weight,
            image_weight=image_weight,
            reach=reach,
        )
        self.generator = generator
        self.discriminator = discriminator
        self.encoder = encoder
        self.feature_generator = feature_generator
        self.standardization = standardization
        self.pretrained_weight = 0.0 if feature_generator is None else pretrained_weight
        self.image_weight = float(self.pretrained_weight == 0) if image_weight is None else image_weight
        if not self.image_weight and not self.pretrained_weight:
            what = (
                "no pretrained features are drawn" if feature_generator is None else "so is pretrained_weight"
            )
            raise ConfigError(f"search.image_weight is 0 and {what}: the search has nothing to compare")
        self.iterations = iterations
        self.feature_weight = feature_weight
        self.learning_rate = reach / (0.55 * max(iterations, 1))
        self.restarts = restarts
        self.patience = patience
        self.seed = seed
        count = max(candidates, restarts)
        # before their bound, as all latents here
        drawn = np.random.default_rng([seed, count]).uniform(-MOST, MOST, (count, generator.latent_size))
        self.candidates = np.arctanh(drawn).astype(np.float32)
        # With an encoder and a single search no candidate is needed.
        self._candidate_images = self._thumbnails() if encoder is None or restarts > 1 else None

    @classmethod
    def of_model(
        cls,
        model,
        init: str = default("search.init"),
        **settings,
    ) -> "LatentSearch":
        """The search with a SemiAnoGAN's averaged networks.

        Args: init: "encoder", the model's, or "candidates"; settings: as above.
        """
        check_ranges("search", init=init)
        return cls(
            model.generator_average,
            model.discriminator_average,
            encoder=model.encoder_average if init == "encoder" else None,
            feature_generator=model.feature_generator_average,
            standardization=model.standardization,
            **settings,
        )

    def _thumbnails(self) -> np.ndarray:
        """The candidates' images, reduced: [K, h * w * C]."""
        small = compile_function(lambda u: self._reduce(self.generator(bounded(u))), self.generator)
        parts = np.array_split(self.candidates, max(1, len(self.candidates) // 64))
        return np.concatenate([keras.ops.convert_to_numpy(small(part)) for part in parts])

    @staticmethod
    def _reduce(images):
        images = reduced(images, START_RESOLUTION)
        return ops.reshape(images, (-1, int(np.prod(images.shape[1:]))))

    def targets(self, images, pretrained=None):
        """What the search compares of images beside their pixels: list of [N, h, w, C].

        The discriminator's features, where they count, and the standardised pretrained features.

        Args: pretrained: the features of the images that are drawn, where there is a feature_generator.
        """
        found = self.discriminator(images)[1] if self._compares_features() else []
        return found if self.feature_generator is None else found + self.standardization(pretrained)

    def _compares_features(self) -> bool:
        """Whether the discriminator's features count."""
        return self.feature_weight > 0 and self.image_weight > 0

    def _pretrained_of(self, targets):
        """The standardised pretrained features among the targets."""
        return targets[-len(self.feature_generator.shapes) :]

    def start(self, images, targets):
        """Where the searches of each image start: [N, ...], its targets -> [N, restarts, L].

        The encoder's latents, if there is one, and those of the nearest candidates, nearest first.
        """
        if self.encoder is None:
            return self._nearest(images, self.restarts)
        seen = images if self.feature_generator is None else self._pretrained_of(targets)
        encoded = self.encoder(seen)[:, None]
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

    def loss(self, images, targets, latents):
        """Search loss of each image: [N]; targets: the images' own; latents [N, L] before their bound.

        images: are not looked at where image_weight is 0.
        """
        latents, terms = bounded(latents), []
        if self.image_weight > 0:
            reconstructions = self.generator(latents)
            drawn = self.discriminator(reconstructions)[1] if self._compares_features() else []
            of_images = losses.search_loss(
                images, reconstructions, targets[: len(drawn)], drawn, self.feature_weight
            )
            terms.append(self.image_weight * of_images)
        if self.pretrained_weight > 0:
            features = self.feature_generator(latents)
            maps = losses.feature_residual_maps(self._pretrained_of(targets), features)
            terms.append(self.pretrained_weight * losses.feature_residual(maps))
        return sum(terms[1:], terms[0])

    def search_step(self, images, targets, latents, moment, velocity, step):
        """One Adam step on the latents (Kingma & Ba 2015, algorithm 1).

        Args:
          images [N, H, W, C], None where image_weight is 0; targets: `targets` of them; latents, moment,
            velocity [N, L].
          step: scalar float32, 0 for the first.

        Returns:
          (latents, moment, velocity after the step; loss [N] before it).
        """
        # Of about the sum over the places instead of the mean, a power of two times as large: the same
        # gradient in float32, but in a float16 engine that of the mean would be lost among the numbers too
        # small for it.
        compared = images if self.image_weight > 0 else self._pretrained_of(targets)[0]
        places = 2.0 ** round(math.log2(compared.shape[1] * compared.shape[2]))
        loss, gradient = input_gradients(lambda u: self.loss(images, targets, u) * places, latents)
        loss, gradient = loss / places, gradient / places
        moment = BETA_1 * moment + (1.0 - BETA_1) * gradient
        velocity = BETA_2 * velocity + (1.0 - BETA_2) * ops.square(gradient)
        rate = self.learning_rate * (1.0 - 0.9 * step / max(self.iterations, 1))
        corrected_moment = moment / (1.0 - ops.power(BETA_1, step + 1.0))
        corrected_velocity = velocity / (1.0 - ops.power(BETA_2, step + 1.0))
        # Written with exp and log, whose gradients and operators every exported format has.
        root = ops.exp(0.5 * ops.log(corrected_velocity + 1e-24))
        return latents - rate * corrected_moment / (root + EPSILON), moment, velocity, loss

    def __call__(self, images, pretrained=None):
        """Searches a batch inside a compiled function.

        Args: images [N, *shape, channels], N static; pretrained: as in `targets`.
        Returns: (latents [N, L] of the lowest loss seen, that loss [N], steps until each image stopped [N]).
        """
        count, runs = images.shape[0], self.restarts
        targets = self.targets(images, pretrained)
        latents = ops.reshape(self.start(images, targets), (count * runs, -1))
        images = ops.repeat(images, runs, axis=0)
        targets = [ops.repeat(t, runs, axis=0) for t in targets] if runs > 1 else targets
        zeros = ops.zeros_like(latents)
        infinite = ops.zeros((count * runs,)) + np.inf

        def step(index, latents, moment, velocity, best, best_loss, stale, steps):
            active = ops.ones_like(stale, dtype="bool") if not self.patience else stale < self.patience
            moved, moment, velocity, loss = self.search_step(
                images, targets, latents, moment, velocity, ops.cast(index, "float32")
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
        if self.iterations:  # else the gradient would be compiled in vain
            state = ops.while_loop(go_on, step, state)
        latents, steps = state[4], state[7]
        # The last step's latents have not been judged yet. Those of stopped images do not count: how far they
        # were moved on depends on how long the other images of the batch took.
        last_loss = self.loss(images, targets, state[1])
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
