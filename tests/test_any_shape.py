"""Images that are not square, through everything: networks, batches, runs, bundles."""

import collections
import csv
import json
import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image

from helpers import trained, wide
from helpers.processes import ONE_THREAD, ROOT
from helpers.tiny_runs import tiny_config
from semi_anogan import train
from semi_anogan.data.batches import Batches, ImageStore
from semi_anogan.data.dataset import Dataset, Example
from semi_anogan.errors import ConfigError
from semi_anogan.networks import layers, losses
from semi_anogan.networks.augmentation import augment
from semi_anogan.networks.encoder import ImageEncoder
from semi_anogan.networks.gan import Discriminator, Generator
from semi_anogan.networks.schedule import Schedule
from semi_anogan.runs import build
from semi_anogan.runs import folder as run_folder
from semi_anogan.scoring import maps
from semi_anogan.scoring.base_detector import Preparation
from semi_anogan.scoring.detector import Detector
from semi_anogan.scoring.fit_calibration import HeldOut
from semi_anogan.scoring.likeness import Likeness
from semi_anogan.scoring.memory import SizeMemory, embed

RNG = np.random.default_rng(0)


def noise(*shape):
    return RNG.uniform(-1, 1, shape).astype(np.float32)


# Networks and layers.


def turned(network, base):
    """Weights of a network with height and width exchanged; base: (height, width) of the new one's 4 x 4."""
    height, width = base
    found = []
    for w in network.get_weights():
        if w.ndim == 4:
            w = w.transpose(1, 0, 2, 3)
        found.append(w)
    names = [v.path for v in network.variables]
    for i, name in enumerate(names):
        if "/enter/" in name and isinstance(network, Generator):
            cells = found[i].reshape(*found[i].shape[:-1], width, height, -1)
            found[i] = np.swapaxes(cells, -3, -2).reshape(found[i].shape)
        elif name.endswith("/dense/kernel"):
            cells = found[i].reshape(width, height, -1, found[i].shape[-1])
            found[i] = cells.swapaxes(0, 1).reshape(found[i].shape)
    return found


@pytest.mark.parametrize("fade", [None, 0.3])
def test_a_wide_network_is_a_high_one_lying_on_its_side(fade):
    sizes = {"resolution": 16, "channels": 3, "filters_base": 64, "filters_cap": 8}
    drawing = {**sizes, "latent_shape": (1, 1, 6)}
    networks = []
    for kind in (
        lambda aspect: Generator(aspect=aspect, **drawing),
        lambda aspect: Discriminator(aspect=aspect, **sizes),
        lambda aspect: ImageEncoder({"aspect": aspect, **drawing}),
    ):
        high, lying = kind(0.5), kind(2.0)
        for network in (high, lying):
            network.build()
        if not isinstance(high, ImageEncoder):
            assert (high.shape, high.base, lying.shape, lying.base) == ((32, 16), (8, 4), (16, 32), (4, 8))
            assert lying.get_config()["aspect"] == 2.0
        lying.set_weights(turned(high, (4, 8)))
        networks.append((high, lying))
    (generator, lying_generator), (discriminator, lying_discriminator), (encoder, lying_encoder) = networks
    latents = noise(2, 6)
    for resolution, shape in ((4, (8, 4)), (8, (16, 8)), (16, (32, 16))):
        images = np.asarray(generator(latents, resolution=resolution, fade=fade))
        assert images.shape == (2, *shape, 3)
        lying = np.asarray(lying_generator(latents, resolution=resolution, fade=fade))
        np.testing.assert_allclose(lying, images.swapaxes(1, 2), atol=1e-5)
        found = discriminator(images, resolution=resolution, fade=fade)
        expected = lying_discriminator(lying, resolution=resolution, fade=fade)
        np.testing.assert_allclose(expected[0], found[0], atol=1e-4)
        for a, b in zip(expected[1] + expected[2], found[1] + found[2], strict=True):
            np.testing.assert_allclose(a, np.asarray(b).swapaxes(1, 2), atol=1e-4)
    np.testing.assert_allclose(lying_encoder(lying), encoder(images), atol=1e-4)


def test_a_model_says_its_shapes_and_is_saved_with_them(tmp_path):
    model = trained.tiny_model(aspect=2.5)
    assert (model.shape, model.image_shape, model.image_size) == ((8, 20), (8, 20), 8)
    assert model(noise(3, 8)).shape == (3, 8, 20, 1)
    again = type(model).from_config(model.get_config())
    assert again.shape == (8, 20) and again.sizes == model.sizes
    features = {"name": "efficientnet_lite0", "resolution": 32}
    model = trained.tiny_model(aspect=0.4, features=features)  # whole cells of stride 32
    assert (model.shape, model.image_shape) == ((16, 8), (64, 32))
    assert type(model).from_config(model.get_config()).image_shape == (64, 32)
    assert trained.tiny_model().shape == trained.tiny_model(aspect=1.0).shape == (8, 8)


@pytest.mark.parametrize("aspect", [0, -1.0, 9.0])
def test_a_bad_aspect(aspect):
    with pytest.raises(ConfigError, match=f"model.aspect must be above 0, from 1/8 to 8, got {aspect}"):
        trained.tiny_model(aspect=aspect)


@pytest.mark.slow
def test_fit_takes_wide_images_with_masks():
    model = trained.tiny_model(aspect=2.0)
    model.compile(augment="color,translation,cutout", trim_share=0.1)
    images, labels = noise(8, 8, 16, 1), np.arange(8) % 4 == 0
    masks = np.zeros((8, 8, 16, 1), np.float32)
    masks[:, 2:4, 12:15] = 1
    before = model.generator.enter.kernel.numpy() if hasattr(model.generator.enter.kernel, "numpy") else None
    history = model.fit({"images": images, "labels": labels, "masks": masks}, batch_size=4, verbose=0).history
    assert all(np.isfinite(v).all() for v in history.values())
    assert before is None or np.abs(model.generator.enter.kernel.numpy() - before).max() > 1e-4
    with pytest.raises(ValueError, match=r"images must be \[N, 8, 16, 1\]"):
        model.fit(noise(4, 16, 8, 1), verbose=0)
    model.grow(4)
    history = model.fit({"images": images, "labels": labels, "masks": masks}, batch_size=4, verbose=0).history
    assert all(np.isfinite(v).all() for v in history.values())


def test_sizes_of_layers():
    x = np.arange(32, dtype=np.float32).reshape(1, 4, 8, 1)
    np.testing.assert_array_equal(
        np.asarray(layers.reduced(x, 2))[0, ..., 0], [[4.5, 6.5, 8.5, 10.5], [20.5, 22.5, 24.5, 26.5]]
    )
    np.testing.assert_array_equal(np.asarray(layers.resized(x, (2, 4))), np.asarray(layers.reduced(x, 2)))
    doubled = np.asarray(layers.resized(x, (8, 16)))[0, ..., 0]
    np.testing.assert_array_equal(doubled, x[0, ..., 0].repeat(2, 0).repeat(2, 1))
    # A coarse cell that lies half outside: what is outside is cut off.
    coarse = np.float32([[1, 2, 3]]).reshape(1, 1, 3, 1)
    np.testing.assert_array_equal(np.asarray(layers.resized(coarse, (1, 5)))[0, 0, :, 0], [1, 1, 2, 2, 3])
    layer = np.float32([[0, 8], [0, 8]]).reshape(1, 2, 2, 1)
    found = np.asarray(maps.to_size(layer, (2, 4)))[0, ..., 0]
    np.testing.assert_allclose(found, [[0, 2, 6, 8]] * 2, atol=1e-5)
    np.testing.assert_array_equal(np.asarray(maps.to_size(x, (2, 4))), np.asarray(layers.reduced(x, 2)))


def test_the_mean_of_the_highest_values_under_a_mask():
    evidence = np.arange(10, dtype=np.float32).reshape(1, 2, 5, 1)
    where = np.zeros((1, 8, 20, 1), np.float32)
    where[0, 3, 19] = where[0, 0, 7] = 1  # the cells 4 and 1
    assert np.asarray(losses.top_mean(evidence, 0.2, where)) == [2.5]
    assert np.asarray(losses.top_mean(evidence, 0.2)) == [8.5]
    where = np.zeros((1, 2, 20, 1), np.float32)  # another factor down than along
    where[0, 1, 0] = 1
    assert np.asarray(losses.top_mean(evidence, 0.1, where)) == [5]


def test_augmentation_moves_along_each_side_by_its_share():
    images = np.zeros((1, 16, 48, 1), np.float32)
    images[0, 8, 24] = 1
    draws = np.float32([[0, 0, 0, 0.999, 0, 0, 0]])
    moved, _ = augment(images, draws, ("translation",))
    assert np.argwhere(np.asarray(moved)[0, ..., 0]).tolist() == [[10, 18]]  # an eighth: 2 down, 6 back
    draws = np.float32([[0, 0, 0, 0, 0, 0.5, 0.5]])
    cut, _ = augment(np.ones((1, 16, 48, 1), np.float32), draws, ("cutout",))
    gone = np.argwhere(np.asarray(cut)[0, ..., 0] == 0)
    assert (gone.min(0).tolist(), gone.max(0).tolist()) == ([4, 12], [11, 35])


def test_the_pixels_of_a_batch_are_those_of_the_shape():
    square, wide_one = (Schedule(64, start_resolution=16, batch_pixels=2**16, aspect=a) for a in (None, 2.5))
    assert [s.stage(0).batch_size for s in (square, wide_one)] == [32, 32]
    last = square.total_images - 1
    assert [s.stage(last).batch_size for s in (square, wide_one)] == [16, 6]


# Batches.


def dataset_of(images, masks=None):
    examples = tuple(Example(str(i), "train", "normal") for i in range(len(images)))
    examples += tuple(Example(f"m{i}", "train", "abnormal") for i in range(len(masks or ())))
    read = {e.path: images[int(e.path.strip("m"))] for e in examples}
    masked = {f"m{i}": mask for i, mask in enumerate(masks or ())}
    return Dataset("made up", examples, lambda e: read[e.path], lambda e: masked.get(e.path))


def test_a_quarter_turn_is_half_a_turn_of_a_wide_image():
    image = noise(8, 20, 1)
    dataset = dataset_of([image])
    store = ImageStore(dataset, 8, aspect=2.5)
    batches = Batches(store, dataset.examples, [], 2, flips="r", seed=1)
    found = batches.batch(0, 16)["images"]
    turns = [np.array_equal(x, image[::-1, ::-1]) for x in found]
    assert 0 < sum(turns) < 16
    assert all(t or np.array_equal(x, image) for t, x in zip(turns, found, strict=True))
    square = ImageStore(dataset, 8)
    found = Batches(square, dataset.examples, [], 2, flips="r", seed=1).batch(0, 16)["images"]
    plain = square.image(dataset.examples[0])
    assert all(np.array_equal(x, plain) or np.array_equal(x, np.rot90(plain)) for x in found)


def test_shifts_and_crops_of_a_wide_shape():
    image = np.arange(16 * 40, dtype=np.float32).reshape(16, 40, 1) / 640
    dataset = dataset_of([image])
    store = ImageStore(dataset, 8, image_size=16, aspect=2.5)
    assert (store.shape, store.image_shape) == ((8, 20), (16, 40))
    np.testing.assert_array_equal(store.image(dataset.examples[0]), image)
    padded = np.pad(image, [(4, 4), (4, 4), (0, 0)], mode="edge")  # 2 pixels of 8 are 4 of 16
    windows = [padded[y : y + 16, x : x + 40] for y in range(9) for x in range(9)]
    found = Batches(store, dataset.examples, [], 2, shift_px=2).batch(0, 30)["images"]
    hit = {next(i for i, w in enumerate(windows) if np.array_equal(w, x)) for x in found}
    assert len(hit) > 15

    mask = np.zeros((16, 40), bool)
    mask[3, 38] = True
    dataset = dataset_of([image], [mask])
    store = ImageStore(dataset, 8, tile=True, aspect=1.5)
    batches = Batches(store, dataset.examples[:1], dataset.examples[1:], 2, abnormal_share=1.0, masks=True)
    batch = batches.batch(0, 20)
    assert batch["images"].shape == (40, 8, 12, 1)
    crops = [image[y : y + 8, x : x + 12] for y in range(9) for x in range(29)]
    assert all(any(np.array_equal(crop, x) for crop in crops) for x in batch["images"])
    assert (batch["masks"][20:].sum((1, 2, 3)) == 1).all()  # each holds the abnormal pixel
    at = np.argmax(batch["masks"][20:, ..., 0].reshape(20, -1), axis=1)
    assert all(x.reshape(-1)[i] == image[3, 38, 0] for x, i in zip(batch["images"][20:], at, strict=True))


# Scoring.


def test_preparation():
    preparation = Preparation(1, (8, 20), (16, 40), tile=False)
    image = noise(16, 40, 1)
    size, working, (prepared,) = preparation(image)
    assert (size, working) == ((16, 40), (8, 20)) and np.array_equal(prepared, image)
    tiled = Preparation(1, (8, 20), (8, 20), tile=True)
    size, working, tiles = tiled(noise(16, 40, 1))
    assert (working, len(tiles)) == ((16, 40), 9) and {t.shape for t in tiles} == {(8, 20, 1)}
    assert tiled(noise(5, 30, 1))[1] == (8, 30)
    values = json.loads(json.dumps({"channels": 1, "shape": (8, 20), "image_shape": (16, 40), "tile": False}))
    assert Preparation.of_bundle(values) == preparation


def test_memory_and_likeness_say_where_on_a_wide_grid():
    """Strange patches at one place of a 4 x 10 grid; only those that the mask shows are learned."""
    rng = np.random.default_rng(3)

    def features(strange=()):
        fine, middle, coarse = (
            rng.normal(size=(8, 20, 4)),
            rng.normal(size=(4, 10, 6)),
            rng.normal(size=(2, 5, 3)),
        )
        for row, column in strange:
            middle[row, column] += 30
        return [f.astype(np.float32) for f in (fine, middle, coarse)]

    normal = [features() for _ in range(20)]
    memory = SizeMemory.fit([np.asarray(embed([a[None] for a in f])).reshape(40, 9) for f in normal], 300, 0)
    found = np.asarray(memory.distances(embed([f[None] for f in features([(2, 7)])])))[0, ..., 0]
    assert found.shape == (4, 10)
    assert np.abs(np.array(np.unravel_index(found.argmax(), found.shape)) - (2, 7)).max() <= 1

    from semi_anogan.scoring import likeness as likenesses

    where = np.zeros((32, 80), bool)
    where[8 * 2 : 8 * 3, 8 * 7 : 8 * 8] = True
    drawn = [likenesses.patches_of(f) for f in normal]
    assert drawn[0].shape == (40, 10)
    likeness = Likeness.fit(drawn, [[(features([(2, 7), (0, 1)]), where)] for _ in range(3)])
    found = np.asarray(likeness.values([f[None] for f in features([(1, 3)])]))[0, ..., 0]
    assert found.shape == (4, 10)
    assert np.abs(np.array(np.unravel_index(found.argmax(), found.shape)) - (1, 3)).max() <= 1


@pytest.fixture(scope="module")
def tiny():
    """A calibrated detector of noise, with the search, of 8 x 20 pixels."""
    detector = Detector(trained.tiny_model(aspect=2.5), {"iterations": 3}, batch_size=4)
    return detector.calibrate(HeldOut(noise(10, 8, 20, 1)))


def test_a_map_has_the_images_own_size(tiny):
    assert (tiny.shape, tiny.image_shape) == ((8, 20), (8, 20))
    found = tiny(np.uint8(255 * (noise(3, 30, 70, 1) > 0)))
    assert found.maps.shape == (3, 30, 70)
    (measured,) = tiny.measure(noise(1, 8, 20, 1))
    assert measured.layers.shape[:2] == (8, 20) and measured.reconstruction.shape == (8, 20, 1)


@pytest.mark.slow
def test_detection_in_a_graph(tiny):
    tf = pytest.importorskip("tensorflow")
    images = noise(6, 8, 20, 1)
    found = tf.function(tiny, input_signature=[tf.TensorSpec([None, 8, 20, 1])])(images)
    expected = tiny(images)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(found.maps, expected.maps, rtol=1e-3, atol=1e-2)
    data = tf.data.Dataset.from_tensor_slices(images).batch(4).map(tiny)
    assert [p.maps.shape for p in data.as_numpy_iterator()] == [(4, 8, 20), (2, 8, 20)]
    with pytest.raises(ValueError, match="must be float"):
        tf.function(tiny, input_signature=[tf.TensorSpec([None, 20, 8, 1])])(images.swapaxes(1, 2))


# Whole runs.


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return wide.write(tmp_path_factory.mktemp("wide"))


def config_of(data, **changes):
    settings = {
        "data__name": "folder",
        "data__root": str(data),
        "data__size": None,
        "model__latent_channels": 8,
    }
    none = {f"data__{name}_{label}": None for name in ("train", "test") for label in ("normal", "abnormal")}
    return tiny_config(**{**settings, **none, "schedule__total_kimages": 0.4, **changes})


def test_the_aspect_is_found_once_and_told(data, capsys):
    config = config_of(data)
    dataset, _, store = build.load_data(config)
    assert config.model.aspect == 2.5 and store.shape == (8, 20)
    assert dataset.size_of(dataset.examples[0]) == (40, 100)
    from semi_anogan.runs import aspect

    assert aspect.told(config, dataset) == ["images are 100 x 40 (width x height): the model sees 20 x 8"]
    config.features.name, config.features.resolution = "efficientnet_lite0", 32
    config.model.aspect = None
    build.load_data(config)
    assert config.model.aspect == 2.0
    assert aspect.told(config, dataset)[0].endswith("the model sees 16 x 8, its features 64 x 32")
    config.model.aspect = 1.0
    build.load_data(config)
    assert aspect.told(config, dataset) == []
    assert dataset.notes.lines()[-1] == (
        "images differ in shape: 40 of 40 are stretched by more than a factor of 1.5 to be 8 x 8"
    )
    config.model.aspect, config.images.tile = None, True
    build.load_data(config)
    assert config.model.aspect == 1.0 and aspect.told(config, dataset) == []


def test_a_long_image_is_limited_and_a_bad_file_left_out(tmp_path):
    from semi_anogan.runs import aspect

    for i in range(6):
        (tmp_path / "normal").mkdir(exist_ok=True)
        Image.fromarray(np.zeros((80, 8), np.uint8)).save(tmp_path / f"normal/{i}.png")
    (tmp_path / "normal/bad.png").write_bytes(b"no image")
    config = config_of(tmp_path)
    dataset, _, store = build.load_data(config)
    assert store.shape == (64, 8) and config.model.aspect == 1 / 8
    (line,) = aspect.told(config, dataset)
    assert line == "images are 8 x 80 (width x height): the model sees 8 x 64 (at most 8 to 1)"


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wide_run")
    metrics = train.run(config_of(data), folder)
    return folder, metrics


@pytest.mark.slow
def test_a_whole_run(finished, data):
    folder, metrics = finished
    assert run_folder.load_config(folder).model.aspect == 2.5
    assert 0 <= metrics["pixel_auroc"] <= 1 and (folder / "report.html").stat().st_size > 10000
    with open(folder / "scores.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 16
    detector = Detector.load(folder)
    assert detector.shape == (8, 20) and detector.model.generator.base == (4, 10)
    dataset, splits, _ = build.load_data(run_folder.load_config(folder))
    images = np.stack([dataset.read_image(e) for e in splits.test])
    np.testing.assert_allclose(
        detector(images).scores, [float(r["score"]) for r in rows], rtol=1e-3, atol=1e-3
    )


@pytest.mark.slow
def test_a_run_goes_on_with_its_aspect(finished, data):
    folder, _ = finished
    assert run_folder.claim(folder, run_folder.load_config(folder)) == []
    config = config_of(data)
    build.load_data(config)
    build.resolve(config, 12)
    assert run_folder.claim(folder, config) == []
    config.model.aspect = 1.0
    with pytest.raises(Exception, match="model.aspect was 2.5, now 1.0"):
        run_folder.claim(folder, config)


@pytest.mark.slow
def test_a_bundle_of_every_format(finished, tmp_path):
    pytest.importorskip("tensorflow")
    from semi_anogan.export import images as export_images
    from semi_anogan.export import write
    from semi_anogan.export.runtime import EdgeDetector

    folder, _ = finished
    detector, config = Detector.load(folder, batch_size=2), run_folder.load_config(folder)
    pictures = export_images.representative(detector, config, None)
    write.export(
        detector,
        config.to_dict(),
        pictures,
        tmp_path / "bundle",
        ["saved_model", "onnx", "tflite"],
        [2],
        ["float32"],
    )
    values = json.loads((tmp_path / "bundle/bundle.json").read_text())["images"]
    assert values["shape"] == values["image_shape"] == [8, 20] and "resolution" not in values
    dataset, splits, _ = build.load_data(config)
    test = [dataset.read_image(e) for e in splits.test]
    expected = Detector.load(folder)(np.stack(test))
    for engine in ("onnx", "tflite"):
        edge = EdgeDetector(tmp_path / "bundle", engine, threads=1)
        assert edge.shape == (8, 20)
        found = edge(test)
        close = np.isclose(found.scores, expected.scores, rtol=1e-2, atol=1e-2)
        assert np.count_nonzero(~close) <= 2, (engine, found.scores, expected.scores)
        assert {m.shape for m in found.maps} == {(40, 100)}


@pytest.fixture(scope="module")
def with_features(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wide_features")
    changes = {
        "features__name": "efficientnet_lite0",
        "features__resolution": 128,
        "parts__memory": 500,
        "schedule__start_resolution": 8,
        "schedule__total_kimages": 0.064,
        "schedule__patch_kimages": 0.128,
        "schedule__patch_batch_size": 8,
        "score__components": "discriminator,patches,memory,likeness",
    }
    metrics = train.run(config_of(data, **changes), folder)
    return folder, metrics


def hot_middle(anomaly_map) -> np.ndarray:
    """(row, column) in the middle of the pixels that reach half the highest value."""
    return np.argwhere(anomaly_map > anomaly_map.max() / 2).mean(axis=0)


@pytest.mark.slow
def test_a_defect_is_found_where_it_is(with_features, data):
    folder, metrics = with_features
    detector = Detector.load(folder)
    assert (detector.shape, detector.image_shape) == ((8, 20), (128, 320))
    assert metrics["image_auroc"] == 1.0 and metrics["pixel_auroc"] > 0.95
    images = np.stack([wide.image(5000 + i, wide.corner(i)) for i in range(8)])[..., None]
    found = detector(images)
    assert found.maps.shape == (8, 40, 100)
    for i, anomaly_map in enumerate(found.maps):
        assert np.abs(hot_middle(anomaly_map) - wide.corner(i) - wide.DEFECT / 2).max() < 5, i
    # An image of another size with the same picture: the map has its size, the defect its place.
    large = np.asarray(Image.fromarray(images[3, ..., 0]).resize((200, 80)))
    anomaly_map = detector(large[None, ..., None]).maps[0]
    assert anomaly_map.shape == (80, 200)
    assert np.abs(hot_middle(anomaly_map) / 2 - wide.corner(3) - wide.DEFECT / 2).max() < 5


# ONNX and JAX.


@pytest.mark.slow
def test_onnx_has_the_same_operators_for_a_wide_model(tiny):
    """So every rule that rewrites a square's graph fits a wide one's too."""
    pytest.importorskip("tf2onnx")
    from semi_anogan.export.formats import onnx
    from semi_anogan.export.functions import exported

    square = Detector(trained.tiny_model(), {"iterations": 3}, batch_size=4)
    square = square.calibrate(HeldOut(noise(10, 8, 8, 1)))
    counts = []
    for detector in (square, tiny):
        model = onnx.convert(exported(detector, 2)["search_step"], 2)
        counts.append(collections.Counter(node.op_type for node in model.graph.node))
    assert counts[0] == counts[1] and counts[0]["Resize"] and counts[0]["AveragePool"]


@pytest.mark.slow
def test_jax_computes_the_same(tmp_path):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("compares with TensorFlow")
    pytest.importorskip("jax")
    from helpers import jax_wide

    command = [sys.executable, "-m", "helpers.jax_wide", str(tmp_path / "found.npz")]
    flags = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    environment = {**ONE_THREAD, "XLA_FLAGS": flags, "KERAS_BACKEND": "jax"}
    done = subprocess.run(
        command, env=environment, cwd=ROOT / "tests", capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    expected = jax_wide.computed()
    with np.load(tmp_path / "found.npz") as found:
        assert set(found.files) == set(expected)
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-4, err_msg=name)
