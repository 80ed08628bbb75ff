"""A frozen model of keras.applications as a network of features."""

import inspect

import keras
from keras import ops

from semi_anogan.networks.layers import PACKAGE
from semi_anogan.networks.pretrained.efficientnet_lite0 import NAME
from semi_anogan.networks.pretrained.hidden import Hidden


@keras.saving.register_keras_serializable(PACKAGE)
class ApplicationFeatures(keras.Model):
    """A frozen keras.applications model, used as PretrainedFeatures is.

    Its features are the last output of each stride from 4 to last_stride.

    Its weights are not part of any checkpoint; the file is read again when a run is loaded. Its gradient need
    not export.
    """

    def __init__(self, application: str, weights_file: str | None = None, last_stride: int = 32, **kwargs):
        super().__init__(**kwargs)
        self.settings = {"application": application, "weights_file": weights_file, "last_stride": last_stride}
        module = _application_module(application)
        try:
            build = getattr(keras.applications, application)
            sized = build(
                include_top=False, weights=None, input_shape=(256, 256, 3)
            )  # says which layer has which stride
            whole = build(include_top=False, weights=weights_file or "imagenet", input_shape=(None, None, 3))
        except (
            Exception
        ) as error:  # Keras raises many kinds for a file that is missing, damaged or of another model
            raise ValueError(
                f"features.name {application!r}, features.weights {weights_file!r}: {error}"
            ) from error
        shapes = [layer.output.shape for layer in sized.layers]
        last = {
            256 // s[1]: layer.output for layer, s in zip(whole.layers, shapes, strict=True) if len(s) == 4
        }
        self.strides = [stride for stride in (4, 8, 16, 32) if stride in last and stride <= last_stride]
        self.channels = [last[stride].shape[-1] for stride in self.strides]
        body = keras.Model(whole.inputs, [last[stride] for stride in self.strides])
        body.trainable = False
        self._body, self._preprocess = Hidden(body), module.preprocess_input

    def build(self, input_shape=None):
        self.built = True

    def call(self, images):
        x = images if images.shape[-1] == 3 else ops.concatenate([images] * 3, axis=-1)
        return self._body.content(self._preprocess(127.5 * (x + 1.0)), training=False)

    def tuned_and_frozen(self, images):
        """As PretrainedFeatures.tuned_and_frozen; it stays frozen, so both are the same."""
        features = self(images)
        return features, features

    def get_config(self):
        return {**self.settings, "name": self.name}


def _application_module(name: str):
    for module in vars(keras.applications).values():
        if (
            inspect.ismodule(module)
            and inspect.isfunction(getattr(module, name, None))
            and hasattr(module, "preprocess_input")
        ):
            return module
    if name in ("MobileNetV3Small", "MobileNetV3Large"):  # these two are not where the others are
        return keras.applications.mobilenet_v3
    raise ValueError(
        f"features.name must be {NAME}, a model of keras.applications (MobileNetV2, say) or "
        f"keras_hub:dinov2_small and the like, got {name!r}"
    )
