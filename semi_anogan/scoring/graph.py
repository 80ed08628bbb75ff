"""What a detector computes of one batch, in keras.ops; scoring and the exported formats share it.

`start` makes latents of the images, LatentSearch's steps move them, `score` makes components and map layers
of them, and Verdict makes score and map of those.
"""

import numpy as np
from keras import ops

from semi_anogan.components import names_where
from semi_anogan.networks.layers import bounded, reduced
from semi_anogan.networks.losses import top_mean
from semi_anogan.scoring import maps
from semi_anogan.scoring.feature_reader import feature_network
from semi_anogan.scoring.likeness import TOP_SHARE
from semi_anogan.scoring.views import features_at, scaled, views_of


def layer_counts(model, names, search) -> dict[str, int]:
    """How many map layers each of the named components has, where it has any; search: or None."""
    scales = len(model.discriminator.resolutions) - 1  # one for each resolution above 4 x 4
    patches = drawn = 0
    if model.feature_generator is not None:
        drawn = len(model.feature_generator.shapes)
    features = scales
    if model.patch_discriminator is not None:
        patches = len(model.patch_discriminator.scales)
    if model.projected is not None:
        scales += len(model.projected.scales)
    counts = {
        "residual": 1,
        "feature_residual": drawn,
        "feature_distance": features,
        "discriminator": scales,
        "patches": patches,
        "memory": 1,
        "likeness": 1,
        "segmentation": 1,
    }
    return {name: counts[name] for name in names if name in counts}


class ScoreGraph:
    """Images [N, *view_shape, C], N static -> components, map layers and, with search, reconstructions.

    Args: model: a SemiAnoGAN, whose averaged networks are used; names: the components, in order; search:
      LatentSearch, None without; memory: the Memory of normal patches, likeness: the Likeness, classifier:
      the Classifier, segmentation: the Segmentation, each or None.
    """

    def __init__(
        self, model, names, search=None, memory=None, likeness=None, classifier=None, segmentation=None
    ):
        self.model = model
        self.names = tuple(names)
        self.search = search
        self.memory, self.likeness = memory, likeness
        self.classifier, self.segmentation = classifier, segmentation
        self.shape = model.shape
        self.layer_counts = layer_counts(model, names, search)
        named = "likeness" in self.names and likeness.kinds is not None
        self.kinds = likeness.kinds.names if named else ()
        of_features = {"patches", *names_where(fitted=True)} & set(self.names)
        self.draws_features = search is not None and model.feature_generator is not None
        self.network = feature_network(model) if of_features or self.draws_features else None
        self.summarises = self.network is not None

    def __call__(self, images, kinds: bool = False):
        """(components [N, K], layers [N, h, w, L]); with search also (reconstructions, differences).

        Where it `summarises` the images, with the summary [N, D] after the layers: the mean of each feature
        of the frozen pretrained network. kinds: with what `kinds_of` gives after these.
        """
        if self.search is None:
            return self.score(images, kinds=kinds)
        pretrained = self._pretrained(images)
        return self.score(
            images, self.search(self.small(images), self._drawn(pretrained))[0], pretrained, kinds
        )

    def small(self, images):
        """The images at the shape that the generator works at."""
        return reduced(self._seen(images), min(self.shape))

    def _seen(self, images):
        """The images at the shape that the model takes."""
        return scaled(images, self.model.image_shape)

    def _pretrained(self, images):
        """(features, the same before fine-tuning) of the pretrained network, or None: computed once."""
        return None if self.network is None else self.network.tuned_and_frozen(self._seen(images))

    def _drawn(self, pretrained):
        """The frozen features that the feature generator draws, or None."""
        return self.model.drawn_of(pretrained[1]) if self.draws_features else None

    def search_of(self, images):
        """The latents [N, L], before their bound, that the search finds for images [N, *view_shape, C]."""
        return self.search(self.small(images), self._drawn(self._pretrained(images)))[0]

    def start(self, images):
        """(latents [N, restarts, L] where the searches start, the images' targets: what they compare)."""
        small = self.small(images)
        targets = self.search.targets(small, self._drawn(self._pretrained(images)))
        return self.search.start(small, targets), targets

    def search_step(self, images, targets, latents, moment, velocity, step):
        """LatentSearch.search_step on images [N, H, W, C], if they count; targets: as `start` gives them."""
        small = self.small(images) if self.search.image_weight > 0 else None
        return self.search.search_step(small, targets, latents, moment, velocity, step)

    def score(self, images, latents=None, pretrained=None, kinds: bool = False):
        """As __call__, with the latents [N, L] that a search found.

        pretrained: the images' features, as tuned_and_frozen gives them, where they are there already.
        """
        small, model = self.small(images), self.model
        if pretrained is None:
            pretrained = self._pretrained(images)
        # What the GAN's discriminator says of the image.
        logits, features, evidence = model.discriminator_average(small)
        pictures = []
        values, layers = {"discriminator": -logits}, {"discriminator": evidence}
        if model.projected_average is not None:
            logits, _, evidence = model.projected_average(small)
            values["discriminator"] -= logits
            layers["discriminator"] = layers["discriminator"] + evidence
        # What the pretrained features say of it.
        if pretrained is not None:
            found = self._of_features(images, *pretrained)
            values, layers = values | found[0], layers | found[1]
        # What the search says of it.
        if self.search is not None:
            latents = bounded(latents)
            reconstructions = model.generator_average(latents)
            found = maps.of_search(
                small, reconstructions, features, model.discriminator_average(reconstructions)[1]
            )
            values, layers = values | found[0], layers | found[1]
            pictures = [reconstructions, found[1]["residual"][0]]
            if self.draws_features:
                seen = model.standardization(self._drawn(pretrained))
                drawn = model.feature_generator_average(latents)
                found = maps.of_feature_residual(
                    seen, drawn, ops.unstack(ops.convert_to_tensor(model.residual_scales))
                )
                values["feature_residual"], layers["feature_residual"] = found
        layers = [maps.to_size(layer, self.shape) for name in self.layer_counts for layer in layers[name]]
        components = ops.stack([values[name] for name in self.names], axis=-1)
        alike = [self.kinds_of(images, pretrained)] if kinds else []
        summary = [] if pretrained is None else [summary_of(pretrained[1])]
        return components, ops.concatenate(layers, axis=-1), *summary, *alike, *pictures

    def kinds_of(self, images, pretrained=None):
        """How alike to each of `self.kinds` patches are: float32 [N, h', w', kinds], cosines."""
        return self.likeness.kind_values((pretrained or self._pretrained(images))[0])

    def _of_features(self, images, pretrained, frozen):
        """(values, map layers) by name of the components that rest on pretrained features."""
        model, values, layers, found = self.model, {}, {}, {self.model.image_shape: frozen}
        if "classifier" in self.names:
            values["classifier"] = self.classifier.values(frozen)
        if "patches" in self.names:
            layers["patches"] = model.patch_discriminator_average.evidence(pretrained)
            values["patches"] = -model.patch_discriminator_average.logits(layers["patches"])
        if "memory" in self.names:
            values["memory"], layer = self.memory.measured(views_of(model, images, found))
            layers["memory"] = [layer]
        if "likeness" in self.names:
            layers["likeness"] = [self.likeness.values(pretrained)]
            values["likeness"] = top_mean(layers["likeness"][0], TOP_SHARE)
        if "segmentation" in self.names:
            features = features_at(model, images, model.map_shape, found)
            values["segmentation"], layer = self.segmentation.measured(features)
            layers["segmentation"] = [layer]
        return values, layers


def summary_of(features):
    """The mean over the image of each feature: list of [N, h, w, C] -> [N, sum of C]."""
    return ops.concatenate([ops.mean(f, axis=(1, 2)) for f in features], axis=-1)


class Verdict:
    """Components and map layers -> (score [N], label [N], anomaly map [N, h, w], the same not smoothed).

    Args: calibration: a Calibration; weights, edges: as in maps.combined; sigma_px: of the smoothing.
    """

    def __init__(self, calibration, weights, sigma_px: float, edges=None):
        self.calibration = calibration
        self.weights, self.edges = weights, edges
        self.sigma_px = sigma_px

    def __call__(self, components, layers):
        c = self.calibration
        standardised = (components - np.float32(c.center)) / np.float32(c.scale)
        standardised = ops.minimum(ops.maximum(standardised, c.clip_low), c.clip_high)
        score = c.bias + ops.sum(standardised * np.float32(c.weights), axis=-1)
        center, scale = np.float32(c.map_center), np.float32(c.map_scale)
        combined = maps.combined(layers, center, scale, self.weights, self.edges)
        smoothed = maps.smooth(combined[..., None], self.sigma_px)[..., 0]
        return score, score > c.threshold, smoothed, combined
