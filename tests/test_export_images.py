"""The SavedModel's own reading and resizing of images: the same as the detector's, whatever their size."""

import io

import numpy as np
import pytest
from PIL import Image

from helpers import exported
from semi_anogan.data import image_arrays
from semi_anogan.data import images as image_io
from semi_anogan.data.images import Scale

SIZES = [(8, 8), (16, 24), (40, 16), (13, 29), (5, 7), (6, 33), (12, 8), (31, 4)]


@pytest.fixture(scope="module")
def graphs():
    import tensorflow as tf

    from semi_anogan.export import graph_images

    return tf, graph_images


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """name -> (a tiny detector without search, its SavedModel): plain, and with a mask of what is ignored."""
    import tensorflow as tf

    from semi_anogan.export.formats import saved_model

    found = {}
    for name, mask in (("plain", None), ("masked", np.pad(np.ones((3, 5), bool), ((9, 0), (11, 0))))):
        detector, folder = exported.detector_without_search(), tmp_path_factory.mktemp(name)
        detector.ignore = mask
        assert saved_model.write(detector, folder) == []
        found[name] = detector, tf.saved_model.load(str(folder))
    return found


def files(images):
    """Images uint8 as PNG files."""
    encoded = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image).save(file, format="PNG")
        encoded.append(file.getvalue())
    return encoded


@pytest.mark.parametrize("size", SIZES)
def test_resizing_in_the_graph_is_that_of_the_package(graphs, size):
    tf, graph_images = graphs
    image = np.random.default_rng(0).uniform(-1, 1, (*size, 3)).astype(np.float32)
    for shape in ((8, 8), (8, 12), (10, 3)):
        found = tf.function(lambda x, s=shape: graph_images.resize(x, *s))(image).numpy()
        np.testing.assert_allclose(found, image_arrays.resize(image, *shape), atol=2e-6)
    # By hand: 4 to 2 are the means of two; 3 to 2 a triangle of 1.5 pixels each way, at 0.75 and 2.25.
    row = np.float32([[0.0, 3.0, 6.0]])[..., None]
    np.testing.assert_allclose(graph_images.resize(np.float32([[[0], [2], [4], [8]]]), 1, 2)[0, :, 0], [1, 6])
    found = graph_images.resize(row, 1, 2)[0, :, 0]
    weights = np.array([1 - 0.25 / 1.5, 1 - 0.75 / 1.5, 0])
    np.testing.assert_allclose(found[0], weights @ [0, 3, 6] / weights.sum(), rtol=1e-6)


@pytest.mark.parametrize("which", ["plain", "masked"])
def test_signatures_score_as_the_detector(served, which):
    import tensorflow as tf

    detector, model = served[which]
    rng = np.random.default_rng(0)
    sizes = SIZES if which == "plain" else [(12, 16)]
    images = [rng.integers(0, 256, (*size, 3)).astype(np.uint8) for size in sizes]
    expected = [detector(image[None]) for image in images]
    of_files = model.signatures["detect_bytes"](image_bytes=tf.constant(files(images)))
    assert set(of_files) == {"score", "label", "anomaly_map"}
    for i, image in enumerate(images):
        found = model.signatures["detect_uint8"](images=tf.constant(image))
        np.testing.assert_allclose(found["score"], expected[i].scores, atol=1e-4)
        np.testing.assert_allclose(of_files["score"][i], found["score"][0], atol=1e-5)
        assert found["anomaly_map"].shape == (1, 8, 8)
        assert bool(found["label"][0]) == bool(expected[i].labels[0])
    grey = images[0][..., 0]
    several = model.signatures["detect_uint8"](images=tf.constant(np.stack([grey, grey])[..., None]))
    for form in (grey, grey[..., None]):
        found = model.signatures["detect_uint8"](images=tf.constant(form))
        np.testing.assert_allclose(found["score"], detector(grey[None]).scores, atol=1e-4)
        np.testing.assert_allclose(several["score"], np.repeat(found["score"], 2), atol=1e-5)


def test_a_signature_sees_nothing_of_what_is_ignored(served):
    import tensorflow as tf

    detector, model = served["masked"]
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (12, 16, 3)).astype(np.uint8)
    stamped = np.where(detector.ignore[..., None], 255 - image, image)
    found, other = (model.signatures["detect_uint8"](images=tf.constant(i)) for i in (image, stamped))
    for name in found:
        np.testing.assert_array_equal(found[name], other[name])
    # Images that the client has resized: what may have been mixed with it is painted over.
    small = (
        image_arrays.resize(image_arrays.from_uint8(i), *detector.image_shape)[None] for i in (image, stamped)
    )
    found, other = (model.signatures["detect"](images=tf.constant(i)) for i in small)
    np.testing.assert_allclose(found["score"], other["score"], atol=1e-6)
    np.testing.assert_allclose(found["anomaly_map"], other["anomaly_map"], atol=1e-5)
    found = found["anomaly_map"].numpy()[0]
    assert (found[6:, 6:] == min(0, found.min())).all()
    with pytest.raises(tf.errors.InvalidArgumentError, match="has 16 x 12 pixels, and images must have, too"):
        model.signatures["detect_uint8"](images=tf.constant(np.zeros((24, 32, 3), np.uint8)))


@pytest.mark.parametrize("mode", ["L", "RGB", "LA", "RGBA", "I;16", "1", "P"])
@pytest.mark.parametrize("scale", [Scale(), Scale(4095, 100), Scale(200, 20), Scale(1)])
def test_png_files_are_read_as_the_package_does(graphs, tmp_path, mode, scale):
    tf, graph_images = graphs
    rng = np.random.default_rng(0)
    values = rng.integers(0, 256, (9, 11, 4)).astype(np.uint8)
    if mode == "I;16":
        image = Image.fromarray(rng.integers(0, 5000, (9, 11)).astype(np.uint16))
    elif mode == "P":
        image = Image.fromarray(values[..., :3]).convert("P")
    elif mode == "1":
        image = Image.fromarray(values[..., 0] > 100)
    else:
        image = Image.fromarray(values[..., : len(mode)].squeeze(), mode)
    image.save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    for channels in (1, 3):
        expected = image_io.read_image(tmp_path / "a.png", channels, scale=scale)
        found = tf.function(lambda d, c=channels: graph_images.of_bytes(d, c, scale))(tf.constant(data))
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_files_that_would_be_read_otherwise_are_refused(graphs, tmp_path):
    tf, graph_images = graphs
    read = tf.function(lambda d: graph_images.of_bytes(d, 1, Scale()))
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 11)).astype(np.uint8))
    for shown in (image, image.convert("RGB"), image.convert("P")):
        shown.save(tmp_path / "a.png", transparency=(3, 3, 3) if shown.mode == "RGB" else 3)
        with pytest.raises(
            tf.errors.InvalidArgumentError, match="transparent colours .tRNS. is not read here"
        ):
            read(tf.constant((tmp_path / "a.png").read_bytes()))
    (small,) = files([np.zeros((3, 9), np.uint8)])
    with pytest.raises(tf.errors.InvalidArgumentError, match="sides must have 4 pixels"):
        read(tf.constant(small))


def test_images_out_of_range_are_refused(served):
    import tensorflow as tf

    detector, model = served["plain"]
    for value in (255.0, np.nan, -1.5):
        images = np.zeros((2, *detector.image_shape, 3), np.float32)
        images[1, 2, 3, 1] = value
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"images must be float in \[-1, 1\], got"):
            model.signatures["detect"](images=tf.constant(images))
    with pytest.raises(tf.errors.InvalidArgumentError, match="sides must have 1 pixels"):
        model.signatures["detect_uint8"](images=tf.constant(np.zeros((2, 0, 9, 3), np.uint8)))


def test_jpeg_files_are_turned_upright(graphs, tmp_path):
    tf, graph_images = graphs
    values = np.random.default_rng(0).integers(0, 256, (4, 6, 3)).astype(np.uint8)
    image = Image.fromarray(np.kron(values, np.ones((8, 8, 1), np.uint8)))
    read = tf.function(lambda d: graph_images.of_bytes(d, 3, Scale()))
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        image.save(tmp_path / "a.jpg", exif=exif, quality=95, subsampling=0)
        expected = image_io.read_image(tmp_path / "a.jpg", 3)
        found = read(tf.constant((tmp_path / "a.jpg").read_bytes())).numpy()
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, atol=2.5 / 127.5)  # two decoders of JPEG
    image.save(tmp_path / "a.bmp")
    with pytest.raises(tf.errors.InvalidArgumentError, match="neither a PNG nor a JPEG"):
        read(tf.constant((tmp_path / "a.bmp").read_bytes()))
