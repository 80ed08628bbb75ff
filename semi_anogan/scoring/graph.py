"""What a detector computes of one batch, in keras.ops, in the parts that scoring and the exported formats
share.

images -> start -> latents -> LatentSearch's steps -> latents -> measure -> components, map layers -> judge ->
score, map
"""

import numpy as np
from keras import ops

from semi_anogan.components import OF_FEATURES
from semi_anogan.networks.layers import reduced
from semi_anogan.networks.losses import top_mean
from semi_anogan.scoring import maps as scoring
from semi_anogan.scoring.memory import TOP_SHARE


def layer_counts(model, names, search) -> dict[str, int]:
    """How many map layers each component has, for those of `names` that have any; search: the LatentSearch or
    None.
    """
    scales = len(model.generator.resolutions) - 1  # one for each resolution above 4 x 4
    features, patches = scales, 0
    if search is not None and search.pretrained is not None:
        features += len(search.pretrained.strides)
    if model.patches is not None:
        patches = len(model.patches.scales)
    if model.projected is not None:
        scales += len(model.projected.scales)
    counts = {
        "residual": 1,
        "feature_distance": features,
        "discriminator": scales,
        "patches": patches,
        "memory": 1,
        "likeness": 1,
    }
    return {name: counts[name] for name in names if name in counts}


class Measure:
    """Images [N, S, S, C] at the model's image_size, N static -> components, map layers and, with search,
    reconstructions.

    Args: model: a SemiAnoGAN, whose averaged networks are used; names: the components, in order; search:
      LatentSearch, None
      without; memory: the Memory of normal patches, likeness: the Likeness, classifier: the Classifier, each
      or None; pretrained: their
      features where the model has no patches.
    """

    def __init__(
        self, model, names, search=None, memory=None, likeness=None, classifier=None, pretrained=None
    ):
        self.model = model
        self.names = tuple(names)
        self.search = search
        self.memory, self.likeness, self.classifier = memory, likeness, classifier
        self.pretrained = pretrained
        self.resolution = model.sizes["resolution"]
        self.counts = layer_counts(model, names, search)

    def __call__(self, images):
        """(components [N, K], layers [N, R, R, L]) and, with search, (reconstructions [N, R, R, C],
        differences).
        """
        return self.measure(images, None if self.search is None else self.search(self.small(images))[0])

    def small(self, images):
        """The images at the resolution that the generator works at."""
        return reduced(images, self.resolution)

    @property
    def network(self):
        """The network of the pretrained features that patches, memory, likeness and classifier share."""
        return self.pretrained if self.model.patches is None else self.model.patches_average.features

    def start(self, images):
        """(latents [N, restarts, L] where the searches start, the images' features that the search compares)."""
        small = self.small(images)
        return self.search.start(small), self.search.features(small) if self.search.feature_weight > 0 else []

    def search_step(self, images, features, latents, moment, velocity, step):
        """LatentSearch.search_step on images [N, S, S, C]; features: as `start` gives them."""
        return self.search.search_step(self.small(images), features, latents, moment, velocity, step)

    def measure(self, images, latents=None):
        """As __call__, with the latents [N, L] that a search found."""
        small, model = self.small(images), self.model
        logits, features, evidence = model.discriminator_average(small)
        pictures = []
        values, layers = {"discriminator": -logits}, {"discriminator": evidence}
        if model.projected_average is not None:
            logits, _, evidence = model.projected_average(small)
            values["discriminator"] -= logits
            layers["discriminator"] = layers["discriminator"] + evidence
        if "classifier" in self.names:
            pretrained, frozen = self.network.tuned_and_frozen(images)
            values["classifier"] = self.classifier.values(frozen)
        elif model.patches is not None or set(OF_FEATURES) & set(self.names):
            pretrained = self.network(images)
        if model.patches_average is not None:
            layers["patches"] = model.patches_average.evidence(pretrained)
            values["patches"] = -model.patches_average.logits(layers["patches"])
        if "memory" in self.names:
            layers["memory"] = [self.memory.distances(pretrained)]
            values["memory"] = top_mean(layers["memory"][0], TOP_SHARE)
        if "likeness" in self.names:
            layers["likeness"] = [self.likeness.values(pretrained)]
            values["likeness"] = top_mean(layers["likeness"][0], TOP_SHARE)
        if self.search is not None:
            reconstructions = model.generator_average(latents)
            if self.search.pretrained is not None:
                features = features + self.search.pretrained(small)
            found = scoring.of_search(
                small, reconstructions, latents, features, self.search.features(reconstructions)
            )
            values, layers = values | found[0], layers | found[1]
            pictures = [reconstructions, found[1]["residual"][0]]
        layers = [scoring.to_size(layer, self.resolution) for name in self.counts for layer in layers[name]]
        return (
            ops.stack([values[name] for name in self.names], axis=-1),
            ops.concatenate(layers, axis=-1),
            *pictures,
        )


class Judge:
    """Components and map layers -> (score [N], label [N], anomaly map [N, R, R], the same not smoothed).

    Args: calibration: a Calibration; center, scale, weights: float32 [L] of the map layers; sigma_px: of the
      smoothing.
    """

    def __init__(self, calibration, center, scale, weights, sigma_px: float):
        self.calibration = calibration
        self.center, self.scale, self.weights = center, scale, weights
        self.sigma_px = sigma_px

    def __call__(self, components, layers):
        c = self.calibration
        standardised = (components - np.float32(c.center)) / np.float32(c.scale)
        standardised = ops.minimum(ops.maximum(standardised, c.clip_low), c.clip_high)
        score = c.bias + ops.sum(standardised * np.float32(c.weights), axis=-1)
        combined = scoring.combined(layers, self.center, self.scale, self.weights)
        return score, score > c.threshold, scoring.smooth(combined, self.sigma_px)[..., 0], combined[..., 0]
