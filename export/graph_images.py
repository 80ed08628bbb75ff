"""Images of any size to what a detector takes, in a TensorFlow graph: as data/ does it in numpy.

So a client of a SavedModel sends its images as they are, and cannot resize them otherwise.
"""

import numpy as np
import tensorflow as tf
from keras import ops

from semi_anogan.data import ignore
from semi_anogan.data.image_arrays import LUMA
from semi_anogan.data.image_files import MIN_SIDE
from semi_anogan.data.images import DEEP, EIGHT_BITS, FULL_SCALE

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
EXIF_BYTES = 65536  # at the beginning of a file, where its orientation is looked for
# The tag of the orientation as TIFF writes it, in both byte orders; its value is the next byte.
ORIENTATION = (b"\x12\x01\x03\x00\x01\x00\x00\x00", b"\x01\x12\x00\x03\x00\x00\x00\x01\x00")
# EXIF orientation -> whether rows and columns change places, then rows, and columns, are turned round.
UPRIGHT = {
    1: (0, 0, 0),
    2: (0, 0, 1),
    3: (0, 1, 1),
    4: (0, 1, 0),
    5: (1, 0, 0),
    6: (1, 0, 1),
    7: (1, 1, 1),
    8: (1, 1, 0),
}


def resize(image, height: int, width: int):
    """images.resize in a graph: float32 [H, W, C] of any H and W -> [height, width, C]."""
    shape = tf.shape(image)
    image = tf.einsum("hwc,vw->hvc", image, _weights(shape[1], width))
    return tf.einsum("hvc,uh->uvc", image, _weights(shape[0], height))


def _weights(old, new: int):
    """float32 [new, old]: how much each pixel counts along an axis.

    Reduced by a whole factor the means of blocks, else a triangle as wide as two pixels of the coarser grid.
    """
    scale = tf.cast(old, tf.float64) / new
    middle = (tf.range(new, dtype=tf.float64)[:, None] + 0.5) * scale
    distance = tf.abs(tf.cast(tf.range(old), tf.float64)[None] + 0.5 - middle)
    triangle = tf.nn.relu(1.0 - distance / tf.maximum(scale, 1.0))
    block = tf.cast(distance < 0.5 * scale, tf.float64)
    weights = tf.where(tf.equal(old % new, 0), block, triangle)
    return tf.cast(weights / tf.reduce_sum(weights, 1, keepdims=True), tf.float32)


def to_channels(image, channels: int):
    """images.to_channels in a graph: float32 [H, W, 1 or 3] -> [H, W, channels]."""
    have = tf.shape(image)[-1]
    known = tf.debugging.Assert((have == 1) | (have == 3), ["images have 1 or 3 channels, got", have])
    with tf.control_dependencies([known]):
        if channels == 3:
            return image * tf.ones((1, 1, 3))
        return tf.cond(
            have == 3,
            lambda: tf.reduce_sum(image * LUMA, -1, keepdims=True),
            lambda: image[..., :1],
        )


def checked(images):
    """Float images in [-1, 1] as they are; an error of the graph for any other, as of Detector."""
    fits = tf.reduce_all(tf.abs(images) <= 1.01)  # NaN is not
    told = ["images must be float in [-1, 1], got", tf.reduce_min(images), "to", tf.reduce_max(images)]
    with tf.control_dependencies([tf.debugging.Assert(fits, told)]):
        return tf.identity(images)


def of_uint8(image, channels: int):
    """uint8 [H, W] or [H, W, 1 or 3] -> float32 [H, W, channels] in [-1, 1]."""
    image = tf.cond(tf.rank(image) == 2, lambda: image[..., None], lambda: image)
    image = _large_enough(tf.ensure_shape(image, (None, None, None)), 1)
    return to_channels(tf.cast(image, tf.float32) / np.float32(127.5) - 1.0, channels)


def _large_enough(image, least: int):
    """An image [H, W, C] with sides of at least so many pixels; an error of the graph for smaller ones."""
    size = tf.shape(image)[:2]
    fits = tf.debugging.Assert(tf.reduce_all(size >= least), [f"sides must have {least} pixels, got", size])
    with tf.control_dependencies([fits]):
        return tf.identity(image)


def of_bytes(data, channels: int, scale):
    """An encoded PNG or JPEG file, a string, as images.read_image reads it; scale: the run's Scale.

    A PNG file with a chunk tRNS, one colour of which is transparent, is refused: TensorFlow passes it over.
    """
    png = tf.strings.substr(data, 0, len(PNG)) == PNG
    jpeg = tf.strings.substr(data, 0, len(JPEG)) == JPEG
    known = tf.debugging.Assert(png | jpeg, ["image_bytes: neither a PNG nor a JPEG file"])
    beginning = tf.strings.substr(data, 0, EXIF_BYTES)
    see_through = png & tf.strings.regex_full_match(beginning, r"(?s)\C*tRNS\C*")
    told = ["image_bytes: a PNG file with transparent colours (tRNS) is not read here; send RGB or RGBA"]
    with tf.control_dependencies([known, tf.debugging.Assert(~see_through, told)]):
        # Of a PNG file byte 24 is its bits a channel.
        bits = tf.io.decode_raw(tf.strings.substr(data, 24, 1), tf.uint8, fixed_length=1)[0]
    image = tf.case(
        [
            (png & (bits == 16), lambda: _in_range(_png(data, tf.uint16), DEEP, scale)),
            (png, lambda: _in_range(_png(data, tf.uint8), EIGHT_BITS, scale)),
        ],
        # As Pillow has it: the exact transform, not the fast one.
        default=lambda: _in_range(
            tf.cast(tf.io.decode_jpeg(data, dct_method="INTEGER_ACCURATE"), tf.float32), EIGHT_BITS, scale
        ),
    )
    image = _large_enough(tf.ensure_shape(image, (None, None, None)), MIN_SIDE)
    return to_channels(_upright(image, data), channels)


def _png(data, dtype):
    """The values of a PNG file, float32 [H, W, 1 or 3]: what is transparent becomes black."""
    image = tf.ensure_shape(tf.cast(tf.io.decode_png(data, dtype=dtype), tf.float32), (None, None, None))
    count = tf.shape(image)[-1]
    return tf.cond(
        count % 2 == 0,
        lambda: image[..., :-1] * (image[..., -1:] / np.float32(dtype.max)),
        lambda: image,
    )


def _in_range(values, kind: str, scale):
    """As data/images.py does: the values of a file in [-1, 1] by the run's Scale."""
    (black, white), (other_black, other_white) = scale.ends(kind, 0.0), scale.ends(kind, FULL_SCALE[kind])
    if (black, white) != (other_black, other_white):  # it depends on the file's highest value
        deep = tf.reduce_max(values) > 255.0
        black = tf.where(deep, np.float32(other_black), np.float32(black))
        white = tf.where(deep, np.float32(other_white), np.float32(white))
    values = (values - black) / ((white - black) / 2) - 1.0
    return tf.clip_by_value(values, -1.0, 1.0)


def _upright(image, data):
    """An image [H, W, C] turned as its file's EXIF orientation says."""
    values = tf.io.decode_raw(tf.strings.substr(data, 0, EXIF_BYTES), tf.uint8)
    found = [_after(values, tag) for tag in ORIENTATION]
    orientation = tf.reduce_max(tf.stack(found))
    turns = np.zeros((256, 3), bool)
    for value, how in UPRIGHT.items():
        turns[value] = how
    swapped, rows, columns = tf.unstack(tf.gather(turns, orientation))
    image = tf.cond(swapped, lambda: tf.transpose(image, (1, 0, 2)), lambda: image)
    image = tf.cond(rows, lambda: image[::-1], lambda: image)
    return tf.cond(columns, lambda: image[:, ::-1], lambda: image)


def _after(values, tag: bytes):
    """The byte, int32, after the first place of a tag; 0 where there is none."""
    count = tf.maximum(tf.size(values) - len(tag), 0)
    here = tf.ones((count,), bool)
    for offset, byte in enumerate(tag):
        here &= values[offset : offset + count] == byte
    places = tf.where(here)[:, 0]
    padded = tf.concat([values, tf.zeros((1,), tf.uint8)], 0)
    place = tf.concat([places + len(tag), [tf.cast(tf.size(values), tf.int64)]], 0)[0]
    return tf.cast(padded[place], tf.int32)


def prepared(image, detector):
    """What the detector takes of an image [H, W, C], painted over where it is ignored: [*image_shape, C].

    With a mask of what is ignored the image must be of its size: at any other it would have to be scaled in
    the graph as Pillow does it, or the score would be another than the detector's.
    """
    if detector.ignore is None:
        return resize(image, *detector.image_shape)
    size, shape = detector.ignore.shape, tf.shape(image)
    told = f"the mask of what is ignored has {size[1]} x {size[0]} pixels, and images must have, too; got"
    fits = tf.debugging.Assert(tf.reduce_all(shape[:2] == tf.constant(size)), [told, shape])
    with tf.control_dependencies([fits]):
        image = tf.reshape(image, (*size, detector.channels))
    return resize(ignore.painted_with(image[None], detector.ignore, ops)[0], *detector.image_shape)
