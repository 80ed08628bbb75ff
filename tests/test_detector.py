"""Detector: the same score in any company, maps at the images' own size, calibration, TensorFlow graphs."""

import copy
import dataclasses
import weakref

import numpy as np
import pytest

from helpers.trained import tiny_model
from semi_anogan.backend import compile_function
from semi_anogan.data.image_arrays import from_uint8, resize, resize_map, smooth_map, to_uint8
from semi_anogan.data.tiles import corners
from semi_anogan.scoring import fit_calibration
from semi_anogan.scoring.classifier import Classifier
from semi_anogan.scoring.detector import Detection, Detector, fitting_batch
from semi_anogan.scoring.fit_calibration import HeldOut
from semi_anogan.scoring.likeness import Likeness
from semi_anogan.scoring.memory import Memory, SizeMemory
from semi_anogan.scoring.threshold import tail_threshold

CLOSE = {"rtol": 1e-5, "atol": 1e-5}
SHORT = {"iterations": 1, "candidates": 4}  # a search


@pytest.fixture(scope="module")
def tiny():
    """Untrained networks for 8 x 8 grey images, not calibrated; not to be changed."""
    return Detector(tiny_model(), SHORT, batch_size=4)


@pytest.fixture(scope="module")
def featured():
    """An untrained model with pretrained features, for detectors with memory, likeness and classifier."""
    features = {"name": "efficientnet_lite0", "resolution": 32, "patch_discriminator": False}
    return tiny_model(features=features)


MEMORY = Memory({32: SizeMemory([[1.0]], [0.0], [0.0], [[1.0]])})
LIKENESS = Likeness([[1.0]], 0.0, [2.0, 2.5])


def of_functions(detector, components, layers):
    """The detector with functions of a batch instead of its networks."""
    made = copy.copy(detector)
    made._measure_batch, made.summarises = lambda batch: (components(batch), layers(batch)), False
    return made


def assert_same(result: Detection, expected: Detection, rows=slice(None), map_tolerance=1e-4):
    np.testing.assert_allclose(result.scores, expected.scores[rows], **CLOSE)
    # A map is a quotient.
    np.testing.assert_allclose(result.maps, expected.maps[rows], rtol=1e-5, atol=map_tolerance)
    np.testing.assert_array_equal(result.labels, expected.labels[rows])


@pytest.fixture(scope="module")
def all_at_once(smoke_detector, test_images):
    return smoke_detector(test_images)


def test_score_is_the_same_in_any_company(smoke_detector, test_images, all_at_once):
    assert len(np.unique(all_at_once.scores)) > 10  # not one score for all
    for index in (0, 7, 19):
        assert_same(smoke_detector(test_images[index : index + 1]), all_at_once, [index])
    order = np.random.default_rng(0).permutation(20)
    assert_same(smoke_detector(test_images[order]), all_at_once, order)
    several = np.repeat(test_images, 2, axis=0)  # 40 images: two batches, each image in both
    assert_same(smoke_detector(several), all_at_once, np.repeat(np.arange(20), 2))
    noise = np.random.default_rng(1).uniform(-1, 1, (31, 16, 16, 1)).astype(np.float32)
    assert_same(
        Detection(*(a[-1:] for a in smoke_detector(np.concatenate([noise, test_images[3:4]])))),
        all_at_once,
        [3],
    )


def test_score_is_the_same_in_any_company_with_an_early_stop(smoke_run, test_images):
    """How long the others search on must not matter: here they stop after different numbers of steps."""
    test_images = test_images[:12]
    search = {"iterations": 30, "patience": 2, "reach": 0.8, "candidates": 32}
    detector = Detector.load(smoke_run, search=search, batch_size=8)
    together = detector(test_images)
    order = np.random.default_rng(2).permutation(12)
    assert_same(detector(test_images[order]), together, order)
    assert_same(detector(test_images[5:6]), together, [5])
    steps = np.asarray(compile_function(detector.search, detector.model)(test_images[:8])[2])
    assert len(np.unique(steps)) > 2


def test_label_is_score_above_threshold(smoke_detector, all_at_once):
    assert smoke_detector.threshold == smoke_detector.calibration.threshold
    np.testing.assert_array_equal(all_at_once.labels, all_at_once.scores > smoke_detector.threshold)
    assert all_at_once.labels.any() and not all_at_once.labels.all()
    assert [values.dtype for values in all_at_once] == [np.float32, bool, np.float32]


def test_scores_are_those_of_the_formula_by_hand(smoke_detector, test_images):
    c = smoke_detector.calibration
    for measurement in smoke_detector.measure(test_images[:3]):
        z = (measurement.components - np.array(c.center)) / np.array(c.scale)
        expected = c.bias + np.clip(z, c.clip_low, c.clip_high) @ np.array(c.weights)
        assert smoke_detector.judge(measurement)[0] == pytest.approx(expected, rel=1e-6)
        assert measurement.components[0] == pytest.approx(measurement.layers[..., 0].mean(), rel=1e-5)  # L_R


@pytest.mark.parametrize(("height", "width"), [(16, 16), (8, 8), (48, 48), (23, 57), (4, 5)])
def test_maps_have_the_images_own_size(smoke_detector, height, width):
    image = np.random.default_rng(3).uniform(-1, 1, (1, height, width, 1)).astype(np.float32)
    result = smoke_detector(image)
    assert result.maps.shape == (1, height, width) and np.isfinite(result.maps).all()
    # It is the map of the image at the model's size, brought back to the image's own.
    small = smoke_detector(resize(image[0], 16, 16)[None])
    np.testing.assert_allclose(result.scores, small.scores, **CLOSE)
    np.testing.assert_allclose(result.maps[0], resize_map(small.maps[0], height, width), rtol=1e-5, atol=1e-4)


def test_uint8_is_the_same_as_float(smoke_detector, test_images):
    integers = to_uint8(test_images[:4])
    expected = smoke_detector(from_uint8(integers))
    assert_same(smoke_detector(integers), expected)
    assert_same(smoke_detector(from_uint8(integers).astype(np.float64)), expected)
    assert_same(smoke_detector(integers[..., 0]), expected)  # [N, H, W]


def test_rgb_is_the_same_as_its_grey_image_through_the_networks(smoke_detector, test_images, all_at_once):
    # The grey of three equal channels is rounded, and the steps of the search enlarge that, on some
    # processors more than on others.
    assert_same(
        smoke_detector(np.repeat(test_images[:4], 3, axis=-1)), all_at_once, slice(4), map_tolerance=1e-3
    )


BAD_IMAGES = {
    "values up to 255": (np.full((1, 8, 8, 1), 255.0), ["[-1, 1]", "255.0"]),
    "below -1": (np.full((1, 8, 8, 1), -1.5), ["[-1, 1]", "-1.5"]),
    "NaN": (np.full((1, 8, 8, 1), np.nan), ["[-1, 1]", "nan"]),
    "infinity": (np.full((1, 8, 8, 1), np.inf), ["[-1, 1]", "inf"]),
    "integers": (np.zeros((1, 8, 8, 1), np.int32), ["int32", "uint8"]),
    "two channels": (np.zeros((1, 8, 8, 2), np.float32), ["(8, 8, 2)"]),
    "one image of grey values": (np.zeros((8, 8), np.float32), ["(8, 8)"]),
    "one image": (np.zeros((8, 8, 1), np.float32), ["(8, 8, 1)"]),
    "one image in colour": (np.zeros((8, 8, 3), np.uint8), ["(8, 8, 3)"]),
    "video": (np.zeros((1, 2, 8, 8, 1), np.float32), ["(1, 2, 8, 8, 1)"]),
    "none": (np.zeros((0, 8, 8, 1), np.float32), ["(0, 8, 8, 1)"]),
    "no pixels": (np.zeros((2, 0, 8, 1), np.float32), ["(0, 8, 1)"]),
    "two sizes": ([np.zeros((8, 8)), np.zeros((8, 9))], ["must have one size"]),
}


@pytest.mark.parametrize("case", BAD_IMAGES)
def test_bad_images_are_named(tiny, case):
    images, words = BAD_IMAGES[case]
    with pytest.raises(ValueError) as caught:
        tiny(images)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_uncalibrated_says_what_to_do(tiny):
    image = np.zeros((1, 8, 8, 1), np.float32)
    for use in (lambda: tiny(image), lambda: tiny.threshold, tiny.state, tiny.verdict, tiny.pruned):
        with pytest.raises(RuntimeError, match="load a finished run, or take the detector that calibrate"):
            use()


def test_tiled_map_of_a_periodic_image_is_periodic(smoke_run):
    """Tiles of 16 begin every 8 pixels: of an image of period 8 all are alike, and the map has its period."""
    detector = Detector.load(smoke_run, tile=True, batch_size=8, search={"iterations": 3, "candidates": 8})
    wave = np.sin(np.arange(40) * 2 * np.pi / 8)
    image = (0.5 * wave[:, None] * wave[None]).astype(np.float32)[..., None]
    (measurement,) = detector.measure([image])
    layers = measurement.layers
    assert layers.shape[:2] == (40, 40) and layers.std() > 0
    inside = layers[8:32, 8:32]
    np.testing.assert_allclose(inside[8:], inside[:-8], atol=1e-4)
    np.testing.assert_allclose(inside[:, 8:], inside[:, :-8], atol=1e-4)
    # By hand from one tile: the weight of its pixel k is min(k + 1, 16 - k) along each axis.
    (single,) = detector.measure([image[:16, :16]])
    ramp = np.minimum(np.arange(16) + 1, 16 - np.arange(16))
    total, weights = np.zeros_like(layers), np.zeros((40, 40, 1))
    for top, left in corners(40, 40, (16, 16)):
        weight = np.outer(ramp, ramp)[..., None]
        total[top : top + 16, left : left + 16] += weight * single.layers
        weights[top : top + 16, left : left + 16] += weight
    np.testing.assert_allclose(layers, total / weights, atol=1e-4)
    np.testing.assert_allclose(measurement.components, single.components, **CLOSE)
    # Images no larger than a tile are not cut; smaller sides are enlarged.
    sizes = [m.layers.shape[:2] for m in detector.measure([image[:16, :16], image[:9, :20]])]
    assert sizes == [(16, 16), (16, 20)]


def means(batch):
    """The mean of each image as its three components."""
    return np.repeat(batch.mean(axis=(1, 2)), 3, axis=1)


def test_calibrate_takes_what_the_images_say(tiny):
    rng = np.random.default_rng(0)
    normal = [
        np.full((8, 8, 1), v, np.float32) + rng.choice([-0.1, 0.1], (8, 8, 1)).astype(np.float32)
        for v in (0.1, 0.2, 0.3, 0.4, -0.5)
    ]
    times = np.arange(1, sum(tiny.graph.layer_counts.values()) + 1)  # the layers: once, twice, ... the image
    detector = of_functions(tiny, means, lambda batch: batch * times)
    found = detector.calibrate(HeldOut(iter(normal)), false_alarm_rate=0.2).calibration
    np.testing.assert_allclose(found.map_center, np.median([n.mean() for n in normal]) * times, rtol=1e-5)
    np.testing.assert_allclose(found.map_scale, np.median([n.std() for n in normal]) * times, rtol=1e-4)
    components = np.repeat(np.float32([n.mean() for n in normal])[:, None], 3, axis=1)
    expected = fit_calibration.fit(tiny.names, HeldOut(components), 0.2)
    assert found.threshold == pytest.approx(expected.threshold, rel=1e-4)
    assert found.normals == 5 and found.abnormals == 0
    # A map of equal layers is the standardised image, smoothed.
    maps = [smooth_map((n[..., 0] - found.map_center[0]) / found.map_scale[0], 1.0) for n in normal]
    expected = tail_threshold(np.array([m.max() for m in maps]), 0.2, [])
    assert found.pixel_threshold == pytest.approx(expected, rel=1e-4)


def test_a_detector_does_not_change(tiny):
    """Calibrating gives another detector, with what is compiled shared, and leaves the first as it was."""
    noise = np.random.default_rng(0).uniform(-1, 1, (10, 8, 8, 1)).astype(np.float32)
    strict, lenient = (tiny.calibrate(HeldOut(noise), rate) for rate in (0.1, 0.5))
    assert tiny.calibration is None and strict.threshold > lenient.threshold
    before = strict.state()
    again = strict.calibrate(HeldOut(noise[:5]), 0.5)
    assert strict.state() == before != again.state() and again.calibration.normals == 5
    assert strict._measure_batch is tiny._measure_batch is again._measure_batch
    with pytest.raises(dataclasses.FrozenInstanceError):
        strict.calibration.threshold = 0.0


def test_a_calibration_of_another_detector_is_refused(featured):
    parts = {"memory": MEMORY, "likeness": LIKENESS, "classifier": Classifier([1.0], 0.0)}
    names = ("discriminator", "memory", "likeness", "classifier")
    rows = np.random.default_rng(0).standard_normal((20, 4))
    of_all = Detector(featured, components=names, **parts)
    layers = sum(of_all.graph.layer_counts.values())
    ones = {"map_center": (1.0,) * layers, "map_scale": (1.0,) * layers}
    fitted = dataclasses.replace(of_all.evidence(HeldOut(rows)).calibration(0.1), **ones)
    taken = Detector(featured, components=names, calibration=fitted, **parts)
    assert taken.calibration is fitted and taken.threshold == fitted.threshold
    # A memory and a likeness are there, but no classifier: the components are others.
    fewer = {key: parts[key] for key in ("memory", "likeness")}
    with pytest.raises(ValueError) as caught:
        Detector(featured, components=names, calibration=fitted, **fewer)
    assert f"calibration of {names}" in str(caught.value) and f"expected {names[:3]}" in str(caught.value)
    short = dataclasses.replace(fitted, map_scale=(1.0,))
    with pytest.raises(ValueError, match=rf"map_scale \(1,\) must have {layers} values each"):
        Detector(featured, components=names, calibration=short, **parts)


def test_known_images_weigh_what_was_not_trained_on_them(featured):
    """Two known images, none held out: each one's likeness is what the other's discriminant says of it.

    The discriminator, which trained on them, gets no weight.
    """
    rows = np.random.default_rng(0).standard_normal((60, 3))
    # Discriminator, memory, likeness: that of all, 40, is not what counts.
    known = np.array([[9.0, 3.0, 40.0], [9.0, 3.0, 40.0]])
    names = ("discriminator", "memory", "likeness")
    detector = Detector(featured, components=names, memory=MEMORY, likeness=LIKENESS)
    found = detector.evidence(HeldOut(rows, known=known)).calibration(0.01)
    left_out = known.copy()
    left_out[:, 2] = [2.0, 2.5]
    held_out = HeldOut(rows, abnormal=left_out)
    expected = fit_calibration.fit(names, held_out, 0.01, base=("memory",), ignored=("discriminator",))
    assert dataclasses.replace(found, false_alarm_interval=()) == expected
    assert found.weights[0] == 0 and found.weights[2] > 0
    with pytest.raises(ValueError, match="known must be the 2 images .*got 1"):
        detector.evidence(HeldOut(rows, known=known[:1]))
    # Of a single defect nothing says what the likeness is worth.
    single = Detector(featured, components=names, memory=MEMORY, likeness=Likeness([[1.0]], 0.0))
    found = single.evidence(HeldOut(rows, known=known[:1])).calibration(0.01)
    assert found.method == "robust_z_sum" and found.abnormals == 0


def test_trained_images_are_judged_by_the_patches_of_others(featured):
    """Of a trained image's components the memory is what is given, not what its own patches make of it."""
    rows, more = np.random.default_rng(0).standard_normal((2, 300, 2))
    names = ("discriminator", "memory")
    detector = Detector(featured, components=names, memory=MEMORY)
    seen = np.column_stack([more[:, 0], np.full(300, -9.0)])
    held_out = HeldOut(rows[:40], trained=seen, trained_memory=more[:, 1])
    found, expected, few = (
        detector.evidence(images, base=("memory",)).calibration(0.01)
        for images in (held_out, HeldOut(rows[:40], trained=more), HeldOut(rows[:40]))
    )
    assert found == expected and found.normals > 300 and found.weights == (0.0, 1.0)
    low, high = found.false_alarm_interval
    assert low < 0.01 < high and high - low < np.ptp(few.false_alarm_interval)


def test_calibrate_without_normal_images_is_an_error(tiny):
    with pytest.raises(ValueError, match="calibration needs held-out normal images, got none"):
        tiny.calibrate(HeldOut([]))


def test_calibrate_keeps_no_maps(tiny, monkeypatch):
    """Only figures of each held-out image stay in memory, and a number of places."""
    alive, most = set(), [0]
    measure = Detector.measure

    def counting(self, images, overlap=False):
        for number, m in enumerate(measure(self, images, overlap)):
            layers = m.layers.copy()
            alive.add(number)
            weakref.finalize(layers, alive.discard, number)
            most[0] = max(most[0], len(alive))
            yield dataclasses.replace(m, layers=layers)

    monkeypatch.setattr(Detector, "measure", counting)
    count = sum(tiny.graph.layer_counts.values())
    detector = of_functions(tiny, means, lambda x: np.repeat(x, count, axis=-1))
    images = (np.full((8, 8, 1), v, np.float32) for v in np.linspace(0, 0.5, 60))
    assert detector.calibrate(HeldOut(images)).calibration.normals == 60
    assert 1 <= most[0] <= 3


def test_contaminated_held_out_images_do_not_move_the_threshold_far(tiny):
    """6 of 106 held-out "normal" images are abnormal by far: they are set aside, others still stand out.

    A single threshold on 100 images gives 2 to 11 % where 5 % are asked; the mean of 20 lies within 3.5 to
    6.5 %.
    """
    rates, exact = [], 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        clean = 1.0 + 0.1 * rng.standard_normal((100, 3))
        dirty = np.concatenate([clean, 3.0 + 0.1 * rng.standard_normal((6, 3))])
        fitted = of_clean, of_dirty = tuple(
            tiny.evidence(HeldOut(rows)).calibration(0.05) for rows in (clean, dirty)
        )
        assert set(range(100, 106)) <= set(of_dirty.set_aside)
        exact += of_dirty.set_aside == tuple(range(100, 106))
        new_normal, new_abnormal = (mean + 0.1 * rng.standard_normal((1000, 3)) for mean in (1.0, 3.0))
        for c in fitted:
            assert (c.score(new_abnormal) > c.threshold).all()
        rates.append([(c.score(new_normal) > c.threshold).mean() for c in fitted])
        assert of_dirty.threshold == pytest.approx(of_clean.threshold, rel=0.25)
    assert exact >= 18  # of clean images about one set in a hundred has one too far out
    assert (np.mean(rates, axis=0) > 0.035).all() and (np.mean(rates, axis=0) < 0.065).all()


@pytest.mark.parametrize(
    ("weights", "names", "searches"),
    [
        ({"discriminator": 0.8}, ("discriminator",), False),
        ({"residual": 0.3, "discriminator": 0.5}, ("residual", "discriminator"), True),
        ({"feature_distance": 0.3, "discriminator": 0.5}, ("feature_distance", "discriminator"), True),
    ],
)
def test_pruned_leaves_out_what_has_no_weight_and_scores_the_same(
    smoke_run, smoke_detector, test_images, weights, names, searches
):
    weighted = tuple(weights.get(name, 0.0) for name in smoke_detector.names)
    other = dataclasses.replace(smoke_detector.calibration, weights=weighted)
    detector = Detector.load(smoke_run, calibration=other)
    pruned, images = detector.pruned(), test_images[:6]
    assert pruned.names == names and (pruned.search is not None) == searches
    assert next(pruned.measure(images)).components.shape == (len(names),)
    assert_same(pruned(images), detector(images))
    # The detector itself is as it was.
    assert detector.names == smoke_detector.names and detector.search is not None
    assert detector.calibration is other


def test_in_a_tf_data_map(smoke_detector, test_images, all_at_once):
    """12 images in batches of 5: 5, 5 and 2, while the detector's own batches have 32.

    It is another graph, which may round otherwise, and the search carries that on.
    """
    tf = pytest.importorskip("tensorflow")
    data = tf.data.Dataset.from_tensor_slices(test_images[:12]).batch(5).map(smoke_detector)
    parts = list(data.as_numpy_iterator())
    assert [len(p.scores) for p in parts] == [5, 5, 2]
    joined = Detection(*(np.concatenate(values) for values in zip(*parts, strict=True)))
    np.testing.assert_allclose(joined.scores, all_at_once.scores[:12], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(joined.maps, all_at_once.maps[:12], rtol=1e-3, atol=1e-2)
    np.testing.assert_array_equal(joined.labels, all_at_once.labels[:12])


def test_more_images_than_a_batch_in_a_graph(tiny):
    tf = pytest.importorskip("tensorflow")
    held_out, images = np.random.default_rng(0).uniform(-1, 1, (2, 10, 8, 8, 1)).astype(np.float32)
    # Not the same images, of which one's score is the threshold to the last bit.
    detector = tiny.calibrate(HeldOut(held_out))
    compiled = tf.function(detector, input_signature=[tf.TensorSpec([None, 8, 8, 1])])
    assert_same(Detection(*(np.asarray(a) for a in compiled(images))), detector(images))


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((None, 16, 16, 1), "float32"), ((None, 8, 8, 3), "float32"), ((None, 8, 8, 1), "uint8")],
)
def test_a_graph_takes_only_images_of_the_models_size(tiny, shape, dtype):
    """In a graph nothing is resized or scaled, so what does not fit must not get through."""
    tf = pytest.importorskip("tensorflow")
    noise = np.random.default_rng(0).uniform(-1, 1, (4, 8, 8, 1)).astype(np.float32)
    detector = tiny.calibrate(HeldOut(noise))
    with pytest.raises(ValueError, match="images in a graph must be float"):
        tf.function(detector.__call__).get_concrete_function(tf.TensorSpec(shape, dtype))


@pytest.mark.parametrize(
    ("shape", "count"),
    [((64, 64), 32), ((128, 128), 32), ((128, 256), 16), ((256, 256), 8), ((1024, 1024), 1)],
)
def test_of_large_models_fewer_images_are_scored_at_once(shape, count):
    assert fitting_batch(32, shape) == count and fitting_batch(4, shape) == min(4, count)
