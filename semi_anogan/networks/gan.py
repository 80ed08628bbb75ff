"""Generator and discriminator of images (Karras et al. 2017): one definition for all stages.

Every network holds the layers of all its resolutions. A call names the stage's resolution (a Python int,
fixed when compiled) and the fade (a number or tensor): 0 is the upscaled previous stage, 1 the new one. So
the weights of a stage are carried over to the next by being the same variables.
"""

import math

import keras
from keras import ops

from semi_anogan.config import check_ranges, default
from semi_anogan.image_shape import shape_of
from semi_anogan.networks.layers import (
    PACKAGE,
    EqualizedConv,
    EqualizedDense,
    MinibatchStddev,
    detail,
    downscale,
    leaky_relu,
    lerp,
    pixel_norm,
    reduced,
    upscale,
)
from semi_anogan.networks.losses import top_mean

MIN_FILTERS = 4
# From this size on, and at the model's own, the discriminator sees the detail of images: in those that are
# reduced further nothing of a defect is left, and the gradient penalty on what little contrast they have
# would be all that a short training learns.
DETAIL_RESOLUTION = 32
# the first generated images vary about as much as photographs do; from 1 on half a stage goes by shrinking
# them
TO_IMAGE_GAIN = 0.25


def resolutions_up_to(resolution: int) -> list[int]:
    """[4, 8, ..., resolution]; ValueError unless resolution is a power of two from 4 to 1024."""
    if resolution not in (4, 8, 16, 32, 64, 128, 256, 512, 1024):
        raise ValueError(f"resolution must be a power of two from 4 to 1024, got {resolution!r}")
    return [2**k for k in range(2, resolution.bit_length())]


def first_resolution(resolution: int, cells: int) -> int:
    """Short side of the generator's first feature map: that of the grid of latents, if it can, at least 4."""
    return min(max(4, cells), resolution)


class _GrowingNetwork(keras.Model):
    """What generator and discriminator share: sizes, construction and config."""

    def __init__(
        self,
        resolution=default("model.resolution"),
        channels=default("model.channels"),
        filters_base=default("model.filters_base"),
        filters_cap=default("model.filters_cap"),
        aspect=default("model.aspect"),
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_ranges("model", channels=channels, aspect=aspect)
        self.resolutions = resolutions_up_to(resolution)
        self.resolution = resolution
        self.channels = channels
        self.filters_base = filters_base
        self.filters_cap = filters_cap
        self.aspect = 1.0 if aspect is None else aspect
        self.shape = shape_of(resolution, self.aspect)
        self.base = tuple(4 * side // resolution for side in self.shape)  # height and width at 4 x 4

    def filters(self, resolution: int) -> int:
        """Channels of the feature maps at a resolution: base / resolution, from MIN_FILTERS to the cap."""
        return max(MIN_FILTERS, min(self.filters_base // resolution, self.filters_cap))

    def build(self, input_shape=None):
        for layer in self.layers:
            layer.build(None)
        self.built = True

    def get_config(self):
        names = ("resolution", "channels", "filters_base", "filters_cap", "aspect")
        return {
            **{name: getattr(self, name) for name in names},
            "name": self.name,
            "trainable": self.trainable,
        }


@keras.saving.register_keras_serializable(PACKAGE)
class Generator(_GrowingNetwork):
    """Latents [N, L] in [-1, 1] -> images [N, *shape, channels], about [-1, 1].

    Args:
      resolution: short side of the largest images, a power of two from 4 to 1024.
      channels: 1 (grey) or 3 (RGB).
      latent_shape: (h, w, c) of the grid that the latents are, L = h w c; L is `latent_size`.
      filters_base, filters_cap: feature channels at resolution r are min(filters_base / r, filters_cap).
      aspect: width / height of the images, from 1/8 to 8; None is 1. It is rounded (image_shape.shape_of).

    Attributes:
      shape: (height, width) of the largest images; those of a stage have its resolution as their short side.

    The first block draws 4 x 4 from the whole grid where that is smaller than 4 x 4. Else each place of the
    grid is a place of the first feature map, so that the latents of a place draw what is there.
    The output is linear (Karras et al. 2017, appendix A), so it may leave [-1, 1] slightly.
    """

    def __init__(self, latent_shape=(1, 1, default("model.latent_channels")), **kwargs):
        super().__init__(**kwargs)
        self.latent_shape = tuple(latent_shape)
        self.latent_size = math.prod(self.latent_shape)
        cells = min(self.latent_shape[:2])
        self.first = first_resolution(self.resolution, cells)
        first = self.filters(self.first)
        self.on_grid = cells >= 4
        if self.on_grid:
            self.enter = EqualizedConv(self.latent_shape[2], first, name="enter")
        else:
            places = math.prod(self.base)
            self.enter = EqualizedDense(self.latent_size, places * first, gain=2**0.5 / 4, name="enter")
        self.resolutions = [r for r in self.resolutions if r >= self.first]
        self.narrow, self.convs, self.to_images = [], [], []
        for r in self.resolutions:
            f = self.filters(r)
            if r > self.first:
                self.narrow.append(EqualizedConv(self.filters(r // 2), f, name=f"narrow_{r}"))
            self.convs.append(EqualizedConv(f, f, name=f"conv_{r}"))
            self.to_images.append(
                EqualizedConv(f, self.channels, size=1, gain=TO_IMAGE_GAIN, name=f"to_image_{r}")
            )

    def call(self, latents, resolution: int | None = None, fade=None):
        """Images of one stage; `fade` None means fully grown."""
        stage = self.resolutions.index(resolution or self.resolution)
        x = pixel_norm(leaky_relu(self._entered(latents)))
        previous = x
        for index in range(stage + 1):
            previous = x
            if index:  # narrowing at the lower resolution halves the cost of a block
                x = upscale(pixel_norm(leaky_relu(self.narrow[index - 1](x))))
            x = pixel_norm(leaky_relu(self.convs[index](x)))
        images = self.to_images[stage](x)
        if fade is None or stage == 0:
            return images
        return lerp(upscale(self.to_images[stage - 1](previous)), images, fade)

    def _entered(self, latents):
        """The first feature map, before its nonlinearity: [N, L] -> [N, h, w, C], its short side `first`."""
        if not self.on_grid:
            return ops.reshape(self.enter(latents), (-1, *self.base, self.filters(4)))
        return self.enter(reduced(ops.reshape(latents, (-1, *self.latent_shape)), self.first))

    def get_config(self):
        return {**super().get_config(), "latent_shape": self.latent_shape}


@keras.saving.register_keras_serializable(PACKAGE)
class Discriminator(_GrowingNetwork):
    """Images to one logit (high = like the normal images), features and evidence maps at several scales.

    Args as Generator, and:
      top_share: share of the pixels of an evidence map, its highest, that count.

    A defect under 1 % of the image drowns in the averages on the way down to 4 x 4. So besides the last
    block's logit each scale has an evidence map, a 1 x 1 convolution of its features, and the mean of the
    map's highest values (multiple-instance pooling) is taken off the logit: the worst places decide, and the
    map says where they are.

    The first layer sees the image and, from 32 x 32 on and at the network's own resolution, its `detail`. A
    call returns (logits [N];
    features: list of [N, h, w, c]; evidence: list of [N, h, w, 1], high = unlike normal). The lists have one
      entry per resolution of the stage above 4 x 4, finest first; none sees the batch statistics.
    """

    def __init__(self, top_share: float = default("model.top_share"), **kwargs):
        super().__init__(**kwargs)
        check_ranges("model", top_share=top_share)
        self.top_share = top_share
        self.to_evidence = []
        self.from_images, self.convs = [], []
        for r in self.resolutions:
            enter, f = (
                self.filters(2 * r),
                self.filters(r),
            )  # widening inside the block, after the reduction, is cheaper
            seen = 2 * self.channels if self._sees_detail(r) else self.channels
            self.from_images.append(EqualizedConv(seen, enter, size=1, name=f"from_image_{r}"))
            if r > 4:
                self.convs.append(
                    [EqualizedConv(enter, f, name=f"conv_{r}_0"), EqualizedConv(f, f, name=f"conv_{r}_1")]
                )
                self.to_evidence.append(EqualizedConv(f, 1, size=1, gain=1.0, name=f"to_evidence_{r}"))
        first = self.filters(4)
        self.minibatch_stddev = MinibatchStddev(name="minibatch_stddev")
        self.last_conv = EqualizedConv(self.filters(8) + 1, first, name="conv_4")
        self.last_dense = EqualizedDense(math.prod(self.base) * first, first, name="dense")
        self.to_logit = EqualizedDense(first, 1, gain=1.0, name="to_logit")

    def call(self, images, resolution: int | None = None, fade=None, weights=None, update=False, where=None):
        """`weights` [N]: the examples that count for the minibatch standard deviation; None takes its running
        mean.

        `where` [N, H, W, 1] of 0 and 1: evidence elsewhere does not count.
        """
        stage = self.resolutions.index(resolution or self.resolution)
        features, evidence, worst = [], [], 0.0
        x = self._enter(images, stage)
        for index in range(stage, 0, -1):
            for conv in self.convs[index - 1]:
                x = leaky_relu(conv(x))
            features.append(x)
            evidence.append(self.to_evidence[index - 1](x))
            top = top_mean(evidence[-1], self.top_share, where)
            x = downscale(x)
            if index == stage and fade is not None:
                top = top * fade
                entered = self._enter(downscale(images), stage - 1)
                x = lerp(entered, ops.cast(x, entered.dtype), fade)
            worst = worst + top
        x = leaky_relu(self.last_conv(self.minibatch_stddev(x, weights=weights, update=update)))
        x = leaky_relu(self.last_dense(ops.reshape(x, (-1, math.prod(self.base) * self.filters(4)))))
        return ops.reshape(self.to_logit(x), (-1,)) - worst, features, evidence

    def _sees_detail(self, resolution: int) -> bool:
        return resolution >= min(DETAIL_RESOLUTION, self.resolution)

    def _enter(self, images, stage: int):
        if self._sees_detail(self.resolutions[stage]):
            images = ops.concatenate([images, detail(images)], axis=-1)
        return leaky_relu(self.from_images[stage](images))

    def get_config(self):
        return {**super().get_config(), "top_share": self.top_share}
