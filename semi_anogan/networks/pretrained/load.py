"""Pretrained networks, by name."""

from semi_anogan.networks.pretrained.applications import ApplicationFeatures
from semi_anogan.networks.pretrained.efficientnet_lite0 import NAME, TAPS, PretrainedFeatures
from semi_anogan.networks.pretrained.hub import PREFIX, HubFeatures


def load_features(
    name: str = NAME, weights_file: str | None = None, trainable_blocks: int = 0, last_stride: int = 32
):
    """A network from images to features, with `strides` and `channels` of its outputs.

    Args:
      name: "efficientnet_lite0", which is embedded, or the name of a keras.applications model
        ("MobileNetV3Small"); or "keras_hub:PRESET", a DINOv2 of keras-hub.
      weights_file: its weights (.weights.h5, without the head); None has Keras fetch the ImageNet ones. Only
        for keras.applications.
      trainable_blocks: last blocks to fine-tune; only the embedded network can be.
      last_stride: the coarsest features wanted.

    Raises: ValueError for an unknown name, a file that cannot be read, or what the network cannot do.
    """
    if name == NAME:
        if weights_file is not None:
            raise ValueError(f"features.weights must not be given for {NAME}, got {weights_file!r}")
        return PretrainedFeatures(
            max(b for b, stride in TAPS.items() if stride <= last_stride), trainable_blocks
        )
    if trainable_blocks:
        raise ValueError(
            f"features.trainable_blocks must be 0 for {name}, got {trainable_blocks!r}: it stays frozen"
        )
    if name.startswith(PREFIX):
        if weights_file is not None:
            raise ValueError(f"features.weights must not be given for {name}, got {weights_file!r}")
        return HubFeatures(name.removeprefix(PREFIX), last_stride)
    return ApplicationFeatures(name, weights_file, last_stride)
