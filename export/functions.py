"""What is exported of a detector: encode, search_step and score as TensorFlow functions of fixed shapes."""

import math
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf
from keras import ops

from semi_anogan.export import graph_images


class Function(NamedTuple):
    """A function of tensors by name.

    Attributes: inputs, outputs: name -> shape without the batch size, which comes first; all are float32.
    """

    name: str
    call: Callable
    inputs: dict[str, tuple]
    outputs: dict[str, tuple]

    def concrete(self, batch: int | None):
        """Its tf.function traced for a batch size, None for any."""
        specs = [
            tf.TensorSpec(_of_batch(name, shape, batch), tf.float32, name)
            for name, shape in self.inputs.items()
        ]
        return tf.function(self.call, autograph=False, input_signature=specs).get_concrete_function()

    def shapes(self, batch: int) -> dict[str, dict[str, tuple]]:
        """{"inputs": ..., "outputs": ...} for a batch size."""
        parts = {"inputs": self.inputs, "outputs": self.outputs}
        return {
            kind: {n: _of_batch(n, s, batch) for n, s in shapes.items()} for kind, shapes in parts.items()
        }


def _of_batch(name: str, shape: tuple, batch: int | None) -> tuple:
    return shape if name == "step" else (batch, *shape)


def exported(detector, batch: int | None) -> dict[str, Function]:
    """The functions of a calibrated Detector by name, for a batch size (None: any, for a SavedModel).

    encode: images -> latents [N, restarts, L] where the searches start, features [N, F] of the images: all
      that the search compares beside the pixels, where there is any. Latents are those before their bound.
    search_step: images and features, what of them the search compares, latents, moment, velocity [N, L],
      step [1] -> new_latents, new_moment, new_velocity, loss [N].
    score: images, latents -> components [N, K], score [N], anomaly_map [N, h, w], raw_map (before its
      smoothing), reconstruction [N, h, w, C]; where pretrained features are used summary [N, D], their means;
      where kinds of defects are known kinds [N, h', w', kinds]: how alike to each of them places are.

    Where no component needs the search there is only score, of images.
    """
    if detector.search is None:
        functions = [_score_without_search(detector, batch)]
    else:
        shapes = [tuple(f.shape[1:]) for f in _features_of_zeros(detector)]
        functions = [
            _encode(detector, batch, shapes),
            _search_step(detector, batch, shapes),
            _score(detector, batch),
        ]
    return {function.name: function for function in functions}


def _encode(detector, batch: int | None, feature_shapes: list[tuple]) -> Function:
    picture, length = _picture(detector), detector.search.generator.latent_size
    sizes, restarts = [math.prod(shape) for shape in feature_shapes], detector.search.restarts

    def encode(images):
        latents, found = detector.graph.start(_fixed(images, batch, *picture))
        flat = [_fixed(f, batch, size) for f, size in zip(found, sizes, strict=True)]
        return {
            "latents": _fixed(latents, batch, restarts, length),
            **({"features": tf.concat(flat, 1)} if flat else {}),
        }

    outputs = {"latents": (restarts, length), **_flat_features(sizes)}
    return Function("encode", encode, {"images": picture}, outputs)


def _search_step(detector, batch: int | None, feature_shapes: list[tuple]) -> Function:
    picture, length = _picture(detector), detector.search.generator.latent_size
    sizes = [math.prod(shape) for shape in feature_shapes]
    state = {"latents": (length,), "moment": (length,), "velocity": (length,)}
    moved = {**{f"new_{name}": shape for name, shape in state.items()}, "loss": ()}

    def search_step(latents, moment, velocity, step_index, images=None, features=None):
        parts = tf.split(_fixed(features, batch, sum(sizes)), sizes, axis=1) if sizes else []
        found = [_fixed(part, batch, *shape) for part, shape in zip(parts, feature_shapes, strict=True)]
        latents, moment, velocity = (_fixed(x, batch, length) for x in (latents, moment, velocity))
        index = tf.reshape(step_index, ())
        images = None if images is None else _fixed(images, batch, *picture)
        values = detector.graph.search_step(images, found, latents, moment, velocity, index)
        return dict(zip(moved, values, strict=True))

    # An input that nothing depends on would be missing in some formats.
    of_images = {"images": picture} if detector.search.image_weight > 0 else {}
    compared = {**of_images, **_flat_features(sizes)}
    inputs = {**compared, **state, "step": (1,)}

    def of_positions(*arrays):
        return search_step(*arrays[len(compared) :], **dict(zip(compared, arrays, strict=False)))

    return Function("search_step", of_positions, inputs, moved)


def _score(detector, batch: int | None) -> Function:
    picture, length = _picture(detector), detector.search.generator.latent_size
    judged = _judged(detector)

    def score(images, latents):
        images, latents = _fixed(images, batch, *picture), _fixed(latents, batch, length)
        *found, reconstruction, _ = detector.graph.score(images, latents, kinds=bool(detector.kinds))
        return {**judged(*found), "reconstruction": reconstruction}

    outputs = {**_scores_and_maps(detector), "reconstruction": (*detector.shape, detector.channels)}
    return Function("score", score, {"images": picture, "latents": (length,)}, outputs)


def _score_without_search(detector, batch: int | None) -> Function:
    picture, judged = _picture(detector), _judged(detector)

    def score(images):
        images = _fixed(images, batch, *picture)
        return judged(*detector.graph.score(images, kinds=bool(detector.kinds)))

    return Function("score", score, {"images": picture}, _scores_and_maps(detector))


def _fixed(x, batch: int | None, *shape):
    """x with a known shape: without one the gradients of what follows do not export."""
    return tf.reshape(x, (-1 if batch is None else batch, *shape))


def _judged(detector) -> Callable:
    """(components, map layers[, summary][, likeness to kinds]) -> what score returns of them."""
    verdict = detector.verdict()
    names = (["summary"] if detector.summarises else []) + (["kinds"] if detector.kinds else [])

    def judged(components, layers, *more):
        score, _, anomaly_map, raw_map = verdict(components, layers)
        found = {"components": components, "score": score, "anomaly_map": anomaly_map, "raw_map": raw_map}
        return found | dict(zip(names, more, strict=True))

    return judged


def _picture(detector) -> tuple[int, int, int]:
    return *detector.image_shape, detector.channels


def _scores_and_maps(detector) -> dict[str, tuple]:
    found = {
        "components": (len(detector.names),),
        "score": (),
        "anomaly_map": detector.shape,
        "raw_map": detector.shape,
    }
    if detector.summarises:
        network = detector.graph.network
        found["summary"] = (sum(network.channels),)
    if detector.kinds:
        found["kinds"] = tuple(detector.graph.kinds_of(ops.zeros((1, *_picture(detector)))).shape[1:])
    return found


def _flat_features(sizes: list[int]) -> dict[str, tuple]:
    return {"features": (sum(sizes),)} if sizes else {}


def _features_of_zeros(detector) -> list:
    """What the search compares beside the pixels, of one image; empty where it compares nothing."""
    return detector.graph.start(ops.zeros((1, *_picture(detector))))[1]


def detect(detector):
    """images [N, H, W, C] -> score, label (0 or 1), anomaly_map; the search is inside, batch by batch."""
    shape = (None, *_picture(detector))

    def call(images):
        found = detector(tf.ensure_shape(graph_images.checked(images), shape))
        return {"score": found.scores, "label": tf.cast(found.labels, tf.int32), "anomaly_map": found.maps}

    spec = tf.TensorSpec(shape, tf.float32, "images")
    return tf.function(call, autograph=False, input_signature=[spec])


def detect_uint8(detector):
    """As `detect`, of uint8 images of any size: [H, W], [H, W, 1 or 3] or [N, H, W, 1 or 3]."""

    def call(images):
        batch = tf.cond(tf.rank(images) == 4, lambda: images, lambda: images[None])
        return _detected(detector, batch, lambda i: graph_images.of_uint8(i, detector.channels))

    spec = tf.TensorSpec(None, tf.uint8, "images")
    return tf.function(call, autograph=False, input_signature=[spec])


def detect_bytes(detector):
    """As `detect`, of PNG and JPEG files, strings [N]; each may have a size of its own."""

    def call(image_bytes):
        def of_bytes(data):
            return graph_images.of_bytes(data, detector.channels, detector.scale)

        return _detected(detector, image_bytes, of_bytes)

    spec = tf.TensorSpec((None,), tf.string, "image_bytes")
    return tf.function(call, autograph=False, input_signature=[spec])


def _detected(detector, items, image_of):
    """What `detect` gives of items [N]; image_of: an item -> float32 [H, W, C] in [-1, 1]."""
    shape = _picture(detector)
    images = tf.map_fn(
        lambda item: tf.ensure_shape(graph_images.prepared(image_of(item), detector), shape),
        items,
        fn_output_signature=tf.TensorSpec(shape, tf.float32),
    )
    found = detector.detect_prepared(images)
    return {"score": found.scores, "label": tf.cast(found.labels, tf.int32), "anomaly_map": found.maps}
