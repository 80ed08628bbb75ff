"""What is exported of a detector: encode, search_step and score as TensorFlow functions of fixed shapes."""

import math
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf
from keras import ops


class Function(NamedTuple):
    """A function of tensors by name. inputs, outputs: name -> shape, whose first size is the batch; all are
    float32.
    """

    name: str
    call: Callable
    inputs: dict[str, tuple]
    outputs: dict[str, tuple]

    def concrete(self, batch: int | None):
        """Its tf.function traced for a batch size, None for any."""
        specs = {
            name: tf.TensorSpec(_of_batch(name, shape, batch), tf.float32, name)
            for name, shape in self.inputs.items()
        }
        return tf.function(
            self.call, autograph=False, input_signature=list(specs.values())
        ).get_concrete_function()

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

    Where no component needs the search there is only `score`:
      encode: images -> latents [N, restarts, L] where the searches start, features [N, F] of the images
        (where the search compares any)
      search_step: images, features, latents, moment, velocity [N, L], step [1] -> new_latents, new_moment,
        new_velocity, loss [N]
      score: images, latents -> components [N, K], score [N], anomaly_map [N, R, R], raw_map (before its
        smoothing),
        reconstruction [N, R, R, C]
    """
    graph, final = detector.graph, detector.final()
    side, resolution, channels = detector.image_size, detector.resolution, detector.channels
    picture = (side, side, channels)
    maps = {
        "components": (len(detector.names),),
        "score": (),
        "anomaly_map": (resolution,) * 2,
        "raw_map": (resolution,) * 2,
    }

    def fixed(x, *shape):
        # The first operation of each function: what follows has known shapes, without which gradients do not
        # export.
        return tf.reshape(x, (-1 if batch is None else batch, *shape))

    def judged(components, layers):
        score, _, anomaly_map, raw_map = final(components, layers)
        return {"components": components, "score": score, "anomaly_map": anomaly_map, "raw_map": raw_map}

    if detector.search is None:

        def score(images):
            return judged(*graph.measure(fixed(images, *picture)))

        return {"score": Function("score", score, {"images": picture}, maps)}

    search = detector.search
    shapes = [tuple(f.shape[1:]) for f in _features_of_zeros(detector)]
    sizes = [math.prod(shape) for shape in shapes]
    length = search.generator.latent_size
    features = {"features": (sum(sizes),)} if shapes else {}

    def encode(images):
        latents, found = graph.start(fixed(images, *picture))
        flat = [
            tf.reshape(f, (-1 if batch is None else batch, size))
            for f, size in zip(found, sizes, strict=True)
        ]
        return {
            "latents": fixed(latents, search.restarts, length),
            **({"features": tf.concat(flat, 1)} if flat else {}),
        }

    def step(images, flat, latents, moment, velocity, index):
        parts = tf.split(fixed(flat, sum(sizes)), sizes, axis=1) if sizes else []
        found = [fixed(part, *shape) for part, shape in zip(parts, shapes, strict=True)]
        latents, moment, velocity = (fixed(x, length) for x in (latents, moment, velocity))
        index = tf.reshape(index, ())
        names = ("new_latents", "new_moment", "new_velocity", "loss")
        moved = graph.search_step(fixed(images, *picture), found, latents, moment, velocity, index)
        return dict(zip(names, moved, strict=True))

    def search_step(images, features, latents, moment, velocity, step_index):
        return step(images, features, latents, moment, velocity, step_index)

    def search_step_of_images(images, latents, moment, velocity, step_index):
        return step(images, None, latents, moment, velocity, step_index)

    def score(images, latents):
        components, layers, reconstruction, _ = graph.measure(fixed(images, *picture), fixed(latents, length))
        return {**judged(components, layers), "reconstruction": reconstruction}

    state = {"latents": (length,), "moment": (length,), "velocity": (length,)}
    moved = {**{f"new_{name}": (length,) for name in state}, "loss": ()}
    return {
        "encode": Function(
            "encode", encode, {"images": picture}, {"latents": (search.restarts, length), **features}
        ),
        "search_step": Function(
            "search_step",
            search_step if sizes else search_step_of_images,
            {"images": picture, **features, **state, "step": (1,)},
            moved,
        ),
        "score": Function(
            "score",
            score,
            {"images": picture, "latents": (length,)},
            {**maps, "reconstruction": (resolution, resolution, channels)},
        ),
    }


def detect(detector):
    """images [N, S, S, C] -> score, label (0 or 1), anomaly_map, with the whole search inside, batch by
    batch.
    """
    side = detector.image_size

    def call(images):
        images = tf.ensure_shape(images, (None, side, side, detector.channels))
        found = detector(images)
        return {"score": found.scores, "label": tf.cast(found.labels, tf.int32), "anomaly_map": found.maps}

    spec = tf.TensorSpec((None, side, side, detector.channels), tf.float32, "images")
    return tf.function(call, autograph=False, input_signature=[spec])


def _features_of_zeros(detector) -> list:
    if detector.search.feature_weight == 0:
        return []
    return detector.search.features(
        ops.zeros((1, detector.resolution, detector.resolution, detector.channels))
    )
