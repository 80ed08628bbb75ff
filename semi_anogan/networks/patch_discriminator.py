"""The discriminator on pretrained features: it judges patches, and an image's worst decide."""

import dataclasses

import keras

from semi_anogan.config import check_ranges, default
from semi_anogan.networks.layers import PACKAGE, EqualizedConv, leaky_relu
from semi_anogan.networks.losses import top_mean
from semi_anogan.networks.pretrained.load import load_features

HIDDEN = 64


@keras.saving.register_keras_serializable(PACKAGE)
class PatchDiscriminator(keras.Model):
    """Images to one logit through ImageNet features (projected discriminator, Sauer et al. 2021).

    High is like the normal images.

    On each scale of features from stride 8 on, two 1 x 1 convolutions give an evidence map, one value for
    each patch, and the mean of its highest values (multiple-instance pooling) is taken off the logit.

    Args:
      features: "efficientnet_lite0" or a model of keras.applications (see pretrained.load_features).
      weights: file of the weights of a keras.applications model.
      trainable_blocks: how many of the last blocks are fine-tuned.
      top_share: share of the patches of an evidence map, its highest, that count.

    A call takes images [N, H, W, C] in [-1, 1] and optionally `where`, [N, H, W, 1] of 0 and 1: patches that
    hold no 1 do not count. It returns (logits [N]; features: list of [N, h, w, c], finest first; evidence:
    list of [N, h, w, 1], high = unlike normal).
    """

    def __init__(
        self,
        features="efficientnet_lite0",
        weights=None,
        trainable_blocks=0,
        top_share=default("features.top_share"),
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_ranges("features", top_share=top_share)
        self.settings = {
            "features": features,
            "weights": weights,
            "trainable_blocks": trainable_blocks,
            "top_share": top_share,
        }
        self.top_share = top_share
        self.features = load_features(features, weights, trainable_blocks)
        self.enter, self.to_evidence = [], []
        self.scales = [i for i, stride in enumerate(self.features.strides) if stride >= 8]

    def build(self, input_shape=None):
        if self.built:
            return
        self.features.build()
        for index in self.scales:
            channels, stride = self.features.channels[index], self.features.strides[index]
            self.enter.append(EqualizedConv(channels, HIDDEN, size=1, name=f"enter_{stride}"))
            self.to_evidence.append(EqualizedConv(HIDDEN, 1, size=1, gain=1.0, name=f"to_evidence_{stride}"))
        for layer in self.enter + self.to_evidence:
            layer.build(None)
        self.bias = self.add_weight(shape=(), initializer="zeros", name="bias", aggregation="mean")
        self.built = True

    def call(self, images, where=None):
        features = self.features(images)
        evidence = self.evidence(features)
        return self.logits(evidence, where), features, evidence

    def evidence(self, features):
        """Evidence maps of the features of images."""
        return [
            to_evidence(leaky_relu(enter(features[index])))
            for index, enter, to_evidence in zip(self.scales, self.enter, self.to_evidence, strict=True)
        ]

    def logits(self, evidence, where=None):
        """Logits [N] of evidence maps; see `call` for `where`."""
        return self.bias - sum(top_mean(e, self.top_share, where) for e in evidence)

    def get_config(self):
        return {**self.settings, "name": self.name, "trainable": self.trainable}


@dataclasses.dataclass(frozen=True)
class FeatureSettings:
    """The section `features` of the configuration: a pretrained network's part in the model, or no name."""

    name: str = ""
    weights: str | None = default("features.weights")
    resolution: int = default("features.resolution")
    patch_discriminator: bool = False  # a model made in Python has what it asks for
    trainable_blocks: int | None = 0
    top_share: float = default("features.top_share")
    projected: bool = default("features.projected")
    sizes: str | None = ""  # of the memory: "" is `resolution` alone; the command's None is resolved by then

    def discriminator(self, name: str, trainable_blocks: int) -> PatchDiscriminator:
        """An untrained patch discriminator on these features."""
        return PatchDiscriminator(self.name, self.weights, trainable_blocks, self.top_share, name=name)
