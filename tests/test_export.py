"""Export: every format says what the Keras model says, a failed check fails it, and the command's errors."""

import json
import shutil
import subprocess
import sys
import types

import keras
import numpy as np
import onnx
import pytest

from helpers.exported import BATCH, detector_without_search
from helpers.processes import ENVIRONMENT, command
from semi_anogan.errors import RunError
from semi_anogan.export import auroc, parity, write
from semi_anogan.export.formats import tflite
from semi_anogan.export.runtime import Bundle, EdgeDetector
from semi_anogan.scoring.detector import Detector
from semi_anogan.scoring.drift import Drift
from semi_anogan.scoring.files import scored

KINDS = {"start", "step", "gradient", "score", "map", "search"}


def test_a_bundle_of_another_detector_is_not_compared_with_a_run(tmp_path):
    bundle = types.SimpleNamespace(folder=tmp_path / "b", values={"calibration": {"threshold": 1.5}})
    auroc.check_same(bundle, 1.5, "RUN")
    with pytest.raises(RunError, match="b: has the threshold 1.5, RUN has 2.25: it is of another run, or of"):
        auroc.check_same(bundle, 2.25, "RUN")


def test_every_format_and_precision_is_as_the_model(bundle_folder):
    results = Bundle(bundle_folder).values["parity"]
    checked = {(r["format"], r["precision"]): set() for r in results}
    for r in results:
        assert r["passed"] is not False, r
        checked[r["format"], r["precision"]].add(r["what"])
    for pair in [
        ("saved_model", "float32"),
        ("onnx", "float32"),
        ("onnx", "float16"),
        ("tflite", "float32"),
        ("tflite", "float16"),
        ("tflite", "int8"),
        ("tflite", "int8_full"),
    ]:
        assert checked[pair] == KINDS, pair
    strict = [
        r
        for r in results
        if r["precision"] == "float32" and r["what"] in ("start", "step", "score") and r["passed"]
    ]
    assert len(strict) == 9 and max(r["difference"] for r in strict) < 1e-4


def test_an_eighth_of_the_searches_may_take_another_way():
    expected = np.arange(1.0, 21.0)
    found = expected.copy()
    found[[3, 7]] += 5.0  # two of twenty: int(20 / 8)
    assert parity.relative(found, expected) > 0.1 and parity.relative_of_most(found, expected) == 0
    found[11] += 3.0
    without = np.delete(expected, [3, 7])
    assert parity.relative_of_most(found, expected) == pytest.approx(3 / np.linalg.norm(without))
    found[0] = np.nan
    assert parity.relative_of_most(found, expected) == np.inf


def test_check_finds_a_format_that_differs(bundle_folder, monkeypatch):
    strict = {**parity.TOLERANCES, "float16": {kind: 1e-9 for kind in KINDS}}
    monkeypatch.setattr(parity, "TOLERANCES", strict)
    failed = [r for r in parity.check(Bundle(bundle_folder)) if r["passed"] is False]
    assert {r["precision"] for r in failed} == {"float16"} and len(failed) > 4
    assert "FAILED" in parity.table(failed)


def test_bundle_says_how_it_is_used(bundle_folder, smoke_detector):
    values = Bundle(bundle_folder).values
    assert values["threshold"] == smoke_detector.threshold and values["components"] == list(
        smoke_detector.names
    )
    assert values["images"]["range"] == [-1, 1] and values["images"]["image_shape"] == [16, 16]
    assert values["search"]["iterations"] == 10 and values["search"]["beta_2"] == 0.999
    assert values["config"]["model"]["resolution"] == 16
    assert {f["path"] for f in values["files"]} == {
        p.relative_to(bundle_folder).as_posix()
        for p in bundle_folder.rglob("*")
        if p.is_file() and p.name != "bundle.json"
    }
    step = next(p for p in values["programs"] if p["path"] == f"onnx/search_step_b{BATCH}.onnx")
    assert step["opset"] == 17 and "Conv" in step["operators"] and "ConvTranspose" not in step["operators"]
    assert step["inputs"]["latents"] == [BATCH, 16] and step["outputs"]["loss"] == [BATCH]


def test_full_int8_keeps_the_search_in_float(bundle_folder):
    paths = {
        p["function"]: p["path"]
        for p in Bundle(bundle_folder).values["programs"]
        if p["precision"] == "int8_full"
    }
    assert paths["search_step"] == "tflite/search_step_b3.tflite"
    assert paths["score"].endswith("_int8_full.tflite") and paths["encode"].endswith("_int8_full.tflite")


@pytest.mark.slow
def test_prune_leaves_out_a_search_without_weight(smoke_run, test_images, tmp_path):
    run, bundle = tmp_path / "run", tmp_path / "b"
    shutil.copytree(smoke_run, run)
    state = json.loads((run / "detector.json").read_text())
    state["calibration"]["weights"] = [
        float(name == "discriminator") for name in state["calibration"]["names"]
    ]
    (run / "detector.json").write_text(json.dumps(state))
    done = command(
        "export", f"--workdir={run}", f"--output={bundle}", "--formats=onnx", "--batch=4", "--prune"
    )
    assert done.returncode == 0, done.stderr
    edge = EdgeDetector(bundle, "onnx")
    assert list(edge.programs) == ["score"] and edge.bundle.values["components"] == ["discriminator"]
    np.testing.assert_allclose(
        edge(test_images).scores, Detector.load(run)(test_images).scores, rtol=1e-4, atol=1e-5
    )


def test_a_detector_without_search_exports_its_score(tmp_path):
    detector = detector_without_search()
    images = np.random.default_rng(1).uniform(-1, 1, (5, 8, 8, 3)).astype(np.float32)
    failed = tmp_path / "b.failed"
    write.export(detector, {}, images, tmp_path / "b", ["saved_model", "onnx"], [2], ["float32"])
    assert not failed.exists()
    edge = EdgeDetector(tmp_path / "b", "onnx")
    assert list(edge.programs) == ["score"] and not edge.summarises  # it uses no pretrained features
    for single in (images[0], images[0, ..., 0]):  # whose rows are no images
        with pytest.raises(ValueError, match="images must be several, got one of shape"):
            edge(single)
    np.testing.assert_allclose(edge(iter(images)).scores, edge(images).scores)
    np.testing.assert_allclose(edge(images).scores, detector(images).scores, rtol=1e-4, atol=1e-5)


def found_in(detector, images) -> list:
    """The regions of each image, as `score` and the runtime write them."""
    outcomes = scored(detector, range(len(images)), lambda item, channels: images[item])
    return [outcome.regions for outcome in outcomes]


@pytest.mark.slow
def test_whatever_is_fitted_to_features_exports(tmp_path):
    """Whatever the pretrained features feed, in ONNX and TFLite, scores as the model does."""
    from semi_anogan.networks.model import SemiAnoGAN
    from semi_anogan.networks.segmentation import SegmentationNetwork
    from semi_anogan.scoring.classifier import Classifier
    from semi_anogan.scoring.feature_reader import FeatureReader
    from semi_anogan.scoring.fit_calibration import HeldOut
    from semi_anogan.scoring.likeness import Likeness
    from semi_anogan.scoring.memory import Memory
    from semi_anogan.scoring.segmentation import Segmentation
    from semi_anogan.scoring.views import places_of

    features = {
        "name": "efficientnet_lite0",
        "weights": None,
        "resolution": 32,
        "patch_discriminator": True,
        "trainable_blocks": 1,
        "top_share": 0.05,
        "projected": False,
        "sizes": "32,48,64",  # images of 64 pixels, which are halved, or made 48 by matrix products
    }
    model = SemiAnoGAN(
        resolution=16, latent_channels=8, filters_base=64, filters_cap=8, features=features, seed=1
    )
    images = np.random.default_rng(1).uniform(-1, 1, (24, 64, 64, 1)).astype(np.float32)
    names = ("patches", "memory", "likeness", "classifier", "segmentation")
    widths = model.pretrained.channels
    segmentation = SegmentationNetwork([np.zeros(c) for c in widths], [np.ones(c) for c in widths], seed=1)
    reader, brighter = FeatureReader(model, tile=False, batch_size=2), np.clip(images + 0.5, -1, 1)
    samples = reader.patch_samples(images[:6])
    detector = Detector(
        model,
        components=names,
        batch_size=2,
        # Others are scored below: a patch in the memory is at distance 0, but for rounding.
        memory=Memory.fit(model.memory_sizes, [p.memory for p in samples], places_of(model), 20, seed=0),
        likeness=Likeness.fit(
            [p.likeness for p in samples], reader.bags([(i, None) for i in brighter[6:9]]), ["a", "b", "a"]
        ),
        classifier=Classifier.fit(reader.pooled(images[:6]), reader.pooled(brighter[6:9])),
        segmentation=Segmentation(segmentation.arrays()),
    )
    assert detector.names == names
    detector = detector.calibrate(HeldOut(images[9:19], brighter[19:]), 0.2)
    images = images[9:]
    write.export(detector, {}, images, tmp_path / "b", ["onnx", "tflite"], [2], ["float32"])
    wanted, alike = detector(images), [m.kinds.values for m in detector.measure(images, kinds=True)]
    assert [m.kinds for m in detector.measure(images[:1])] == [None] and np.abs(alike).max() <= 1
    regions = found_in(detector, images)
    found = {r.kind for r in sum(regions, [])}
    assert found and found <= {"a", "b"}
    for engine in ("onnx", "tflite"):
        edge = EdgeDetector(tmp_path / "b", engine)
        found = edge(images)
        np.testing.assert_allclose(found.scores, wanted.scores, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(np.stack(found.maps), wanted.maps, rtol=1e-2, atol=1e-2)
        assert edge.kinds == detector.kinds == ("a", "b")
        measured = list(edge.measure(images, kinds=True))
        np.testing.assert_allclose([m.kinds.values for m in measured], alike, rtol=1e-2, atol=1e-3)
        summaries = [m.summary for m in detector.measure(images)]
        np.testing.assert_allclose([m.summary for m in measured], summaries, rtol=1e-3, atol=1e-4)
        of_features = [n for n in Drift.of(edge).state()["quantities"] if n in ("features", *detector.names)]
        assert edge.exact and of_features == list(
            n for n in Drift.of(detector).state()["quantities"] if n in ("features", *detector.names)
        )
        for one, other in zip(regions, found_in(edge, images), strict=True):
            assert [r.kind for r in one] == [r.kind for r in other]
            values = [[r.kind_likeness for r in rs] for rs in (one, other)]
            np.testing.assert_allclose(*values, atol=1e-3)
    score = next(p for p in Bundle(tmp_path / "b").values["programs"] if p["format"] == "onnx")
    operators = [node.op_type for node in onnx.load(tmp_path / "b" / score["path"]).graph.node]
    # The network's minima are clips. Two are left, which find the second largest of three sizes, and at each
    # of these 14, which find the two nearest of six images.
    assert "Clip" in operators and operators.count("Min") == 2 + 3 * 14


@pytest.mark.slow
@pytest.mark.parametrize("image_weight", [0.0, 1.0])
def test_search_through_the_feature_generator_exports(tmp_path, image_weight):
    """Its gradient and the whole search, alone and with the image and the discriminator's features beside it.

    The reach is short: where a gradient is near 0, rounding decides the sign of Adam's step.
    """
    from semi_anogan.networks.model import SemiAnoGAN
    from semi_anogan.scoring.fit_calibration import HeldOut

    keras.utils.set_random_seed(1)  # else other weights each time, and of some a gradient is about 0
    model = SemiAnoGAN(
        resolution=16,
        latent_channels=8,
        filters_base=64,
        filters_cap=8,
        features={"name": "efficientnet_lite0", "resolution": 64},
        seed=1,
    )
    images = np.random.default_rng(1).uniform(-1, 1, (12, 64, 64, 1)).astype(np.float32)
    model.compile(alpha=1.0)
    model.fit(images, batch_size=6, verbose=0)  # so that features are standardised
    settings = {"iterations": 5, "image_weight": image_weight, "patience": 0, "reach": 0.01}
    names = ("residual", "feature_residual")
    detector = Detector(model, search=settings, components=names, batch_size=2).calibrate(
        HeldOut(images), 0.2
    )
    assert detector.names == names
    write.export(detector, {}, images, tmp_path / "b", ["onnx", "tflite"], [2], ["float32"])
    bundle = Bundle(tmp_path / "b")
    checked = {(r["format"], r["what"]) for r in bundle.values["parity"] if r["passed"]}
    assert checked >= {(f, w) for f in ("onnx", "tflite") for w in ("start", "step", "gradient", "search")}
    step = next(p for p in bundle.values["programs"] if p["function"] == "search_step")
    of_discriminator = sum(int(np.prod(f.shape[1:])) for f in model.discriminator(images[:1, ::4, ::4])[1])
    drawn = sum(int(np.prod(shape)) for shape in model.feature_generator.shapes)
    assert step["inputs"]["features"] == [2, drawn + (of_discriminator if image_weight else 0)]
    assert ("images" in step["inputs"]) == bool(image_weight)
    wanted = detector(images[:4])
    for engine in ("onnx", "tflite"):
        found = EdgeDetector(bundle, engine)(images[:4])
        np.testing.assert_allclose(found.scores, wanted.scores, rtol=1e-2, atol=1e-3)


def test_a_failed_check_fails_the_export(tmp_path, monkeypatch):
    detector = detector_without_search()
    images = np.random.default_rng(1).uniform(-1, 1, (2, 8, 8, 3)).astype(np.float32)
    monkeypatch.setattr(parity, "relative", lambda found, expected: 1.0)
    with pytest.raises(write.ExportError, match=r"b\.failed: differs from the model(.|\n)*onnx"):
        write.export(detector, {}, images, tmp_path / "b", ["onnx"], [2], ["float32"])
    assert not (tmp_path / "b").exists() and (tmp_path / "b.failed" / "bundle.json").exists()


def test_output_that_is_no_bundle_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("x")
    with pytest.raises(write.ExportError, match=f"{tmp_path}: exists and is not a bundle"):
        write.export(None, {}, None, tmp_path, ["onnx"], [1], ["float32"])
    assert (tmp_path / "thesis.txt").exists()


CLIENT = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "semi_anogan":
            raise ImportError("refused: " + name)
sys.meta_path.insert(0, Refuse())
import numpy as np, tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
detect = model.signatures["detect"]
images = tf.data.Dataset.from_tensor_slices(np.load(sys.argv[2])).batch(7)
found = list(images.map(lambda x: detect(images=x)))
np.savez(sys.argv[3], **{k: np.concatenate([f[k] for f in found]) for k in found[0]})
print(sorted(model.signatures))
"""


def test_saved_model_in_another_pipeline(bundle_folder, smoke_detector, test_images, tmp_path):
    """tf.saved_model.load alone, without this package, inside a tf.data pipeline."""
    np.save(tmp_path / "images.npy", test_images)
    arguments = [bundle_folder / "saved_model", tmp_path / "images.npy", tmp_path / "found.npz"]
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, *map(str, arguments)], env=ENVIRONMENT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (
        done.stdout.strip()
        == "['detect', 'detect_bytes', 'detect_uint8', 'encode', 'score', 'search_step', 'serving_default']"
    )
    expected = smoke_detector(test_images)
    with np.load(tmp_path / "found.npz") as found:
        np.testing.assert_allclose(found["score"], expected.scores, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(found["label"], expected.labels)
        differences = np.abs(found["anomaly_map"] - expected.maps).max(axis=(1, 2))
    # Rounding can send the search of one image another way (docs/export.md, "Check"), on some processors and
    # not on others.
    assert len(differences) == 20 and sorted(differences)[-2] < 1e-3 and max(differences) < 0.1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--output=x"], ["--workdir"]),
        (["--workdir=x"], ["--output"]),
        (["--workdir=x", "--output=y", "--formats=onnx,tensorflow"], ["--formats", "tensorflow"]),
        (["--workdir=x", "--output=y", "--precision=float8"], ["--precision", "float8"]),
        (["--workdir=x", "--output=y", "--precision=int8"], ["float32"]),
        (["--workdir=x", "--output=y", "--batch=1,0"], ["--batch", "1,0"]),
        (["--workdir=nowhere", "--output=y"], ["nowhere"]),
        (["--check=nowhere"], ["nowhere/bundle.json"]),
    ],
)
def test_what_the_command_cannot_do_is_one_line(arguments, words):
    done = command("export", *arguments)
    assert done.returncode in (1, 2) and "Traceback" not in done.stderr, done.stderr
    assert done.stderr.startswith("error: ") and all(word in done.stderr for word in words), done.stderr


@pytest.mark.parametrize("batch, part", [(1, 1), (3, 3), (4, 4), (6, 3), (7, 1), (8, 4), (10, 2), (32, 4)])
def test_tflite_files_take_equal_parts_of_a_batch(batch, part):
    assert tflite.file_batch(batch) == part


def test_tflite_batches_share_files(tmp_path):
    detector = detector_without_search()
    images = np.random.default_rng(1).uniform(-1, 1, (7, 8, 8, 3)).astype(np.float32)
    write.export(detector, {}, images, tmp_path / "b", ["tflite"], [2, 6, 10], ["float32"])
    assert sorted(p.name for p in (tmp_path / "b" / "tflite").iterdir()) == [
        "score_b2.tflite",
        "score_b3.tflite",
    ]
    for batch, threads in [(2, 2), (6, 1), (10, 1), (10, 3)]:
        edge = EdgeDetector(tmp_path / "b", "tflite", batch=batch, threads=threads)
        np.testing.assert_allclose(edge(images).scores, detector(images).scores, rtol=1e-4, atol=1e-5)


def test_batches_of_samples_are_filled_up():
    found = tflite.samples({"a": np.arange(5)}, 2)
    assert [f["a"].tolist() for f in found] == [[0, 1], [2, 3], [4, 0]]
    assert tflite.samples({}, 2) == []


def test_bundle_json_is_json(bundle_folder):
    text = (bundle_folder / "bundle.json").read_text()
    json.loads(text, parse_constant=lambda value: pytest.fail(f"{value} is not JSON"))
