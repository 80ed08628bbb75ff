"""A frozen DINOv2 of keras-hub as a network of features; keras-hub is imported when one is asked for."""

import keras
import numpy as np
from keras import ops

from semi_anogan.networks.layers import PACKAGE
from semi_anogan.networks.pretrained.hidden import Hidden

PREFIX = "keras_hub:"
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, in [0, 1]: what DINOv2 takes
STRIDES = (16, 32)


@keras.saving.register_keras_serializable(PACKAGE)
class HubFeatures(keras.Model):
    """A frozen DINOv2 (Oquab et al. 2023) of keras-hub, used as PretrainedFeatures is.

    An image is resized so that it has a patch for each 16 x 16 of its pixels, whatever the patch size of the
    network. The features of stride 16 are the patches after the middle one of its blocks; those of stride 32
    are the patches after the last block, as means over 2 x 2. Both are normalised as the network's output.
    The class token and registers are left out.

    Its weights are not part of any checkpoint; the preset is read again when a run is loaded. Its gradient
    need not export.

    Args:
      preset: "dinov2_small", say, which keras-hub fetches; or a folder that save_to_preset wrote.
      last_stride: the coarsest features wanted, 16 or more.

    Attributes:
      strides, channels: of the outputs.

    Raises:
      ValueError: keras-hub is not installed, or the preset cannot be had or is of another network.
    """

    def __init__(self, preset: str, last_stride: int = 32, **kwargs):
        super().__init__(**kwargs)
        self.settings = {"preset": preset, "last_stride": last_stride}
        backbone = _backbone(preset)
        backbone.trainable = False
        self.strides = [stride for stride in STRIDES if stride <= last_stride]
        self.channels = [backbone.hidden_dim] * len(self.strides)
        self._backbone = Hidden(backbone)

    def build(self, input_shape=None):
        self.built = True

    def call(self, images):
        """[N, H, W, 1 or 3] in [-1, 1] -> list of [N, h, w, D], h and w rounded up."""
        backbone = self._backbone.content
        grid = tuple(-(-side // STRIDES[0]) for side in images.shape[1:3])
        stages = _stages(backbone, self._patches(images, grid), grid)
        middle, last = stages[(len(stages) - 1) // 2], stages[-1]
        coarse = ops.average_pool(last, 2, strides=2, padding="same", data_format="channels_last")
        return [middle, coarse][: len(self.strides)]

    def tuned_and_frozen(self, images):
        """As PretrainedFeatures.tuned_and_frozen; it stays frozen, so both are the same."""
        features = self(images)
        return features, features

    def get_config(self):
        return {**self.settings, "name": self.name}

    def _patches(self, images, grid: tuple[int, int]):
        """The images' patches before any position is added: [N, h, w, D]."""
        backbone = self._backbone.content
        x = images if images.shape[-1] == 3 else ops.concatenate([images] * 3, axis=-1)
        size = tuple(side * backbone.patch_size for side in grid)
        x = ops.image.resize(x, size, interpolation="bilinear", data_format="channels_last")
        x = ((x + 1.0) / 2.0 - np.float32(MEAN)) / np.float32(DEVIATION)
        return backbone.embeddings.patch_embeddings.projection(x)


def _stages(backbone, patches, grid: tuple[int, int]) -> list:
    """The patches after each block, normalised: a list of [N, h, w, D].

    What backbone.embeddings does, for a grid of any shape; keras-hub's own is for one square size only.
    """
    embeddings, width = backbone.embeddings, backbone.hidden_dim
    count = ops.shape(patches)[0]
    tokens = ops.reshape(patches, (count, grid[0] * grid[1], width)) + _positions(embeddings, grid, width)
    first = [embeddings.cls_token + embeddings.position_embeddings[:, :1]]
    if backbone.num_register_tokens:
        first.append(embeddings.register_tokens)
    first = [ops.tile(token, (count, 1, 1)) for token in first]
    _, stages = backbone.encoder(ops.concatenate([*first, tokens], axis=1), training=False)
    left_out = 1 + backbone.num_register_tokens
    return [
        ops.reshape(backbone.layernorm(stage)[:, left_out:], (count, *grid, width))
        for stage in stages.values()
    ]


def _positions(embeddings, grid: tuple[int, int], width: int):
    """The position embeddings of a grid's patches, [1, h w, D], interpolated from the trained ones."""
    patch, (rows, columns) = embeddings.patch_size, embeddings.position_embedding_shape
    trained = (rows // patch, columns // patch)
    positions = ops.reshape(embeddings.position_embeddings[:, 1:], (1, *trained, width))
    if trained != grid:
        positions = ops.image.resize(
            positions,
            grid,
            interpolation="bicubic",
            antialias=embeddings.antialias_in_interpolation,
            data_format="channels_last",
        )
    return ops.reshape(positions, (1, grid[0] * grid[1], width))


def _backbone(preset: str):
    """The DINOv2 of a preset."""
    where = f"features.name {PREFIX + preset!r}"
    try:
        import keras_hub
    except ImportError as error:
        raise ValueError(f"{where}: needs keras-hub: pip install -e .[hub] ({error})") from error
    try:
        backbone = keras_hub.models.Backbone.from_preset(preset)
    except Exception as error:  # it raises many kinds for what is not there, offline or damaged
        raise ValueError(f"{where}: the preset cannot be had: {type(error).__name__}: {error}") from error
    if not isinstance(backbone, keras_hub.models.DINOV2Backbone):
        raise ValueError(f"{where}: is a {type(backbone).__name__}; only DINOv2 is taken (dinov2_small, say)")
    return backbone
