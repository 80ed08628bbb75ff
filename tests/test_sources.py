"""The named sources: MNIST, ELPV, Caltech-256 and TensorFlow Datasets."""

import collections
import importlib.util
import pathlib
import subprocess
import sys
import types

import numpy as np
import pytest
from PIL import Image

from semi_anogan.data import catalog
from semi_anogan.data.sources import caltech256, elpv, mnist, tfds
from semi_anogan.data.sources.classes import parse_classes, split_classes
from semi_anogan.errors import DataError


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """100 training and 20 test digits in Keras layout: image i has the value i and the label i % 10."""
    path = tmp_path_factory.mktemp("mnist") / "mnist.npz"
    arrays = {}
    for split, count in (("train", 100), ("test", 20)):
        arrays[f"x_{split}"] = np.arange(count, dtype=np.uint8)[:, None, None] * np.ones((28, 28), np.uint8)
        arrays[f"y_{split}"] = (np.arange(count) % 10).astype(np.uint8)
    np.savez(path, **arrays)
    return path


def test_mnist_classes_become_normal_and_abnormal(digits):
    dataset = mnist.load(1, digits, normal_classes=(0, 4))
    normals = dataset.select("train", "normal")
    assert [e.key for e in normals] == sorted([*range(0, 100, 10), *range(4, 100, 10)])
    assert normals[2].path == "mnist/train/000010" and not any(e.mislabelled for e in normals)
    assert dataset.select("train", "abnormal") == []
    assert [e.key for e in dataset.select("test", "normal")] == [0, 4, 10, 14]
    assert len(dataset.select("test")) == 20


def test_mnist_images_are_padded_with_background(digits):
    dataset = mnist.load(3, digits)
    image = dataset.read_image(dataset.select("train")[3])  # number 30
    assert image.shape == (32, 32, 3) and image.dtype == np.float32
    value = np.float32(30) / np.float32(127.5) - 1
    np.testing.assert_array_equal(image[2:30, 2:30], np.full((28, 28, 3), value))
    assert (image[:2] == -1).all() and (image[30:] == -1).all() and (image[:, :2] == -1).all()
    assert dataset.read_image(dataset.select("test")[7])[16, 16, 0] == pytest.approx(7 / 127.5 - 1)


def test_contamination_is_the_share_of_the_final_normal_images(digits):
    dataset = mnist.load(1, digits, contamination=0.2, abnormal_count=27, seed=5)
    normals = dataset.select("train", "normal")
    assert len(normals) == 12  # 10 of digit 0, and 0.2 / 0.8 * 10 = 2.5, rounded to 2
    hidden = {e.key for e in normals if e.mislabelled}
    assert len(hidden) == 2 and all(key % 10 for key in hidden)
    assert [e.key for e in normals] == sorted(e.key for e in normals)
    known = [e.key for e in dataset.select("train", "abnormal")]
    assert not hidden & set(known) and len(set(known)) == 27
    assert collections.Counter(key % 10 for key in known) == {digit: 3 for digit in range(1, 10)}
    again, other = (mnist.load(1, digits, contamination=0.2, abnormal_count=27, seed=s) for s in (5, 6))
    assert again.examples == dataset.examples
    assert {e.key for e in other.select("train", "normal")} != {e.key for e in normals}


def test_fewer_known_abnormals_are_the_first_of_more(digits):
    few, many = (mnist.load(1, digits, abnormal_count=n).select("train", "abnormal") for n in (5, 14))
    assert few == many[:5]
    assert len({e.key % 10 for e in few}) == 5 and len({e.key % 10 for e in many}) == 9
    everything = mnist.load(1, digits, abnormal_count=None, contamination=0.5)
    assert len(everything.select("train", "abnormal")) == 80
    assert len(everything.select("train", "normal")) == 20


def test_known_abnormals_of_uneven_classes():
    labels = np.array([0] * 5 + [1] * 2 + [2] * 50)
    examples = split_classes("x", labels, labels[:0], [0], 0.0, 10, seed=0)
    known = [labels[e.key] for e in examples if e.abnormal]
    assert collections.Counter(known) == {1: 2, 2: 8} and set(known[:2]) == set(known[2:4]) == {1, 2}


@pytest.mark.parametrize(
    "options, words",
    [
        ({"normal_classes": 10}, "10 is not a class; there are 10: 0, 1, 2"),
        ({"normal_classes": "zero"}, "'zero' is not a class"),
        ({"normal_classes": ()}, "names no class"),
        ({"normal_classes": range(10)}, "are all classes"),
        ({"contamination": 1.0}, "data.contamination: 1.0 is not in"),
        ({"contamination": 0.95}, "takes 190 images of the other classes .* but there are 90"),
        ({"contamination": 0.5, "abnormal_count": 81}, "abnormal_count is 81, but there are 90"),
        ({"abnormal_count": -1}, "abnormal_count is -1"),
    ],
)
def test_settings_that_cannot_be_met(digits, options, words):
    with pytest.raises(DataError, match=words):
        mnist.load(1, digits, **options)


def test_mnist_files_that_are_not_as_expected(tmp_path):
    x, y = np.zeros((3, 28, 28), np.uint8), np.zeros(3, np.uint8)
    good = {"x_train": x, "y_train": y, "x_test": x, "y_test": y}
    np.savez(tmp_path / "no_y.npz", x_train=x)
    np.savez(tmp_path / "size.npz", **{**good, "x_test": x[:, :20]})
    np.savez(tmp_path / "float.npz", **{**good, "x_train": x / 255})
    np.savez(tmp_path / "labels.npz", **{**good, "y_test": y + 10})
    np.savez(tmp_path / "pickle.npz", **{**good, "y_test": np.array([None] * 3)})
    np.save(tmp_path / "array.npy", x)
    (tmp_path / "text.npz").write_text("no")
    (tmp_path / "empty.npz").write_bytes(b"")
    for name, words in (
        ("no_y", "not in Keras layout: .*y_train"),
        ("size", r"x_test is uint8 \(3, 20, 28\)"),
        ("float", "x_train is float64"),
        ("labels", "y_test must be whole numbers from 0 to 9"),
        ("pickle", "cannot be read"),
        ("text", "cannot be read"),
        ("empty", "cannot be read"),
        ("none", "cannot be read.*No such file"),
    ):
        with pytest.raises(DataError, match=words) as error:
            mnist.load(1, tmp_path / f"{name}.npz")
        assert f"{name}.npz" in str(error.value)
    with pytest.raises(DataError, match="cannot be read"):
        mnist.load(1, tmp_path / "array.npy")


@pytest.mark.parametrize(
    "given, numbers",
    [
        (4, [4]),
        (np.int64(4), [4]),
        ((4, 0, 4), [0, 4]),
        ([0], [0]),
        ("0,4", [0, 4]),
        ("(0, 4)", [0, 4]),
        ("(4,)", [4]),
        ("cat", [1]),
        ("dog, cat", [1, 2]),
        (["dog", 0], [0, 2]),
        ("7", [3]),
        (("'dog'",), [2]),
        ("a, b", [5]),
    ],
)
def test_parse_classes(given, numbers):
    assert parse_classes(given, dict(enumerate(["bird", "cat", "dog", "7", "eel", "a, b"]))) == numbers


class FakeBuilder:
    """Two classes of grey images that become larger, as TensorFlow Datasets would give them."""

    class Features(dict):
        pass

    def __init__(self, image=None):
        features = {
            "image": image or FakeTfds.features.Image(),
            "label": types.SimpleNamespace(names=["cat", "dog"]),
        }
        self.info = types.SimpleNamespace(
            supervised_keys=("image", "label"), features=features, splits=["train", "test"]
        )

    def download_and_prepare(self):
        pass

    def as_dataset(self, split, as_supervised):
        assert as_supervised
        if split not in ("train", "test", "train[:4]"):
            raise ValueError(f"Unknown split {split!r}")
        count = {"train": 6, "test": 3, "train[:4]": 4}[split]
        return [(np.full((8 + i, 9, 1), i, np.uint8), np.int64(i % 2)) for i in range(count)]


class FakeTfds(types.ModuleType):
    features = types.SimpleNamespace(Image=type("Image", (), {}))
    as_numpy = staticmethod(iter)

    def builder(self, name, data_dir=None):
        if name == "tabular":
            return FakeBuilder(image=types.SimpleNamespace())
        if name != "pets":
            raise RuntimeError(f"Dataset {name} not found.\nAvailable datasets: ...")
        return FakeBuilder()


@pytest.fixture
def fake_tfds(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", FakeTfds("tensorflow_datasets"))


def test_tfds_by_class_name(fake_tfds):
    dataset = catalog.load("tfds", 3, dataset="pets", normal_classes="dog", abnormal_count=1)
    assert [e.path for e in dataset.select("train", "normal")] == [f"pets/train/00000{i}" for i in (1, 3, 5)]
    assert [e.label for e in dataset.select("test")] == ["abnormal", "normal", "abnormal"]
    assert len(dataset.select("train", "abnormal")) == 1
    image = dataset.read_image(dataset.select("train", "normal")[2])
    np.testing.assert_array_equal(image, np.full((13, 9, 3), np.float32(5) / np.float32(127.5) - 1))
    assert len(tfds.load(1, "pets", 0, train_split="train[:4]").select("train")) == 2


@pytest.mark.parametrize(
    "options, words",
    [
        (
            {"dataset": "pest"},
            r"pest: TensorFlow Datasets cannot provide it: RuntimeError: Dataset pest not found\.$",
        ),
        ({"dataset": "tabular"}, "not an image classification data set; its features are .'image', 'label'"),
        (
            {"dataset": "pets", "test_split": "validation"},
            "split 'validation': Unknown split.*splits: train, test",
        ),
        ({"dataset": "pets", "normal_classes": "cow"}, "'cow' is not a class; there are 2: 0 cat, 1 dog"),
    ],
)
def test_tfds_errors(fake_tfds, options, words):
    with pytest.raises(DataError, match=words):
        catalog.load("tfds", 1, **{"normal_classes": 0, **options})


def test_mnist_without_a_file_and_without_network(fake_tfds):
    with pytest.raises(DataError, match="cannot provide it: .*set data.path to a file in Keras layout"):
        mnist.load(1)


def test_real_tfds_with_mocked_data():
    """The real package with random images, not a download; in its own process, as it imports TensorFlow."""
    code = """
import tensorflow_datasets
from semi_anogan.data import catalog
with tensorflow_datasets.testing.mock_data(num_examples=40):
    dataset = catalog.load("mnist", 1, normal_classes="0,1,2,3,4")
print(dataset.read_image(dataset.examples[0]).shape, [e.path for e in dataset.select("test")][-1])
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert run.stdout.strip() == "(32, 32, 1) mnist/test/000039", run.stderr[-2000:]


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """A small copy of the package's layout: 10 cells of probability 0, 5 of 1/3, 3 of 2/3, 7 of 1."""
    root = tmp_path_factory.mktemp("elpv")
    (root / "images").mkdir()
    probabilities = [0.0] * 10 + [1 / 3] * 5 + [2 / 3] * 3 + [1.0] * 7
    lines = []
    for i, probability in enumerate(probabilities):
        Image.new("L", (8, 8), i).save(root / f"images/cell{i:04d}.png")
        lines.append(f"images/cell{i:04d}.png  {probability}    {'mono' if i % 2 else 'poly'}\n")
    (root / "labels.csv").write_text("".join(lines))
    return root


def numbers(examples):
    return {int(e.path[-8:-4]) for e in examples}


def test_elpv_split(cells):
    dataset = catalog.load("elpv", 1, root=str(cells), test_normal=4, test_abnormal=3)
    train, test = dataset.select("train", "normal"), dataset.select("test", "normal")
    assert len(train) == 11 and len(test) == 4 and numbers(train + test) == set(range(15))
    assert numbers(train) >= set(range(10, 15))  # the uncertain ones only train
    known, abnormal = dataset.select("train", "abnormal"), dataset.select("test", "abnormal")
    assert len(known) == 4 and len(abnormal) == 3 and numbers(known + abnormal) == set(range(18, 25))
    number = int(test[0].path[-8:-4])
    assert dataset.read_image(test[0])[0, 0, 0] == pytest.approx(number / 127.5 - 1)
    fewer = elpv.load(1, root=cells, test_normal=4, test_abnormal=3, abnormal_count=2, uncertain=False)
    assert fewer.select("train", "abnormal") == known[:2] and fewer.select("test") == dataset.select("test")
    assert numbers(fewer.select("train", "normal")) == numbers(train) - set(range(10, 15))
    assert elpv.load(1, root=cells, test_normal=4, test_abnormal=3, seed=1).examples != dataset.examples


def test_elpv_errors(cells, tmp_path, monkeypatch):
    with pytest.raises(DataError, match="test_normal is 400 .* there are 10 normal and 7 abnormal"):
        elpv.load(1, root=cells)
    with pytest.raises(DataError, match="data.abnormal_count: 5, but .*labels.csv has 4 known abnormal"):
        elpv.load(1, root=cells, test_normal=4, test_abnormal=3, abnormal_count=5)
    with pytest.raises(DataError, match="labels.csv: cannot be read: No such file"):
        elpv.load(1, root=tmp_path)
    (tmp_path / "labels.csv").write_text("images/a.png 0.0 mono\nimages/b.png zero mono\n")
    words = "row 2: wanted path, probability and type, not 'images/b.png zero mono"
    with pytest.raises(DataError, match=words):
        elpv.load(1, root=tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"pip install semi_anogan\[elpv\]"):
        elpv.load(1)


def test_elpv_by_manifest(cells, tmp_path):
    (tmp_path / "list.csv").write_text(
        "path,split,label,mask\nimages/cell0003.png,train,normal,\n"
        "images/cell0020.png,train,abnormal,\nimages/cell0021.png,test,abnormal,\n"
    )
    dataset = elpv.load(1, path=tmp_path / "list.csv", root=cells, abnormal_count=0)
    assert [e.path[-8:-4] for e in dataset.examples] == ["0003", "0021"]
    plain = catalog.load("manifest", 1, path=tmp_path / "list.csv", root=cells, abnormal_count=0)
    assert plain.examples == dataset.examples


def test_elpv_of_the_installed_package():
    if importlib.util.find_spec("elpv_dataset") is None:
        pytest.skip("elpv-dataset is not installed")
    dataset = elpv.load(1)
    count = collections.Counter((e.split, e.label) for e in dataset.examples)
    assert count == {
        ("train", "normal"): 1403,
        ("train", "abnormal"): 415,
        ("test", "normal"): 400,
        ("test", "abnormal"): 300,
    }
    assert dataset.read_image(dataset.examples[0]).shape == (300, 300, 1)


@pytest.fixture(scope="module")
def categories(tmp_path_factory):
    """Four categories of 12, 8, 12 and 3 images, of which the first 10 are to be used, and 30 of clutter."""
    root = tmp_path_factory.mktemp("caltech") / "256_ObjectCategories"
    for number, name, count in (
        (1, "ak47", 12),
        (2, "american-flag", 8),
        (56, "dog", 12),
        (90, "hawksbill-101", 3),
        (257, "clutter", 30),
    ):
        folder = root / f"{number:03d}.{name}"
        folder.mkdir(parents=True)
        for i in range(1, count + 1):
            Image.new("RGB", (8, 6), (number % 256, i, 0)).save(folder / f"{number:03d}_{i:04d}.jpg")
    (root / "056.dog/greg").mkdir()
    (root / "056.dog/RENAME2").write_text("as in the real archive")
    return root


def test_caltech256_named_categories(categories):
    dataset = catalog.load(
        "caltech256",
        3,
        root=str(categories.parent),
        normal_classes="dog,1",
        abnormal_count=6,
        contamination=0.2,
        images_per_class=10,
    )
    train = dataset.select("train", "normal")
    inliers = {f"{c}_{i:04d}" for c in ("001", "056") for i in range(1, 6)}
    assert {pathlib.Path(e.path).stem for e in train if not e.mislabelled} == inliers
    assert [e.path for e in dataset.select("test", "normal")] == [
        *(f"001.ak47/001_{i:04d}.jpg" for i in range(6, 11)),
        *(f"056.dog/056_{i:04d}.jpg" for i in range(6, 11)),
    ]
    hidden = [e.path for e in train if e.mislabelled]
    known, outliers = ([e.path for e in dataset.select(split, "abnormal")] for split in ("train", "test"))
    # 0.2 / 0.8 * 10 = 2.5 -> 2; outliers are half.
    assert (len(hidden), len(known), len(outliers)) == (2, 6, 10)
    assert len(set(hidden + known + outliers)) == 18
    assert all(path.startswith("257.clutter/") for path in hidden + known + outliers)
    assert dataset.read_image(train[0]).shape == (6, 8, 3)


def test_caltech256_test_set_does_not_depend_on_the_training_options(categories):
    one = caltech256.load(1, categories, "ak47", images_per_class=10)
    two = caltech256.load(1, categories, "ak47", images_per_class=10, abnormal_count=None, contamination=0.5)
    assert one.select("test") == two.select("test") and len(one.select("test")) == 10
    assert len(one.select("train", "abnormal")) == 0
    assert len(two.select("train", "abnormal")) == 30 - 5 - 5
    third = caltech256.load(1, categories, "ak47", images_per_class=10, outlier_share=0.2, train_share=0.6)
    assert [len(third.select("test", label)) for label in ("normal", "abnormal")] == [4, 1]


def test_caltech256_random_categories_are_full_ones(categories):
    def chosen(count, seed=0):
        dataset = caltech256.load(1, categories, inlier_count=count, images_per_class=10, seed=seed)
        return {e.path[:3] for e in dataset.select("train")}

    single = [chosen(1, seed) for seed in range(8)]
    assert {"001"} in single and {"056"} in single and all(c in ({"001"}, {"056"}) for c in single)
    assert chosen(2) == {"001", "056"}
    words = "data.inlier_count: 3, but .* has 2 categories of at least 10 images"
    with pytest.raises(DataError, match=words):
        caltech256.load(1, categories, inlier_count=3, images_per_class=10)


@pytest.mark.parametrize(
    "options, words",
    [
        (
            {"normal_classes": "cat"},
            "'cat' is not a class; there are 4: 1 ak47, 2 american-flag, 56 dog, 90 hawksbill-101",
        ),
        ({"normal_classes": 257}, "257 is not a class"),
        ({"normal_classes": 3}, "3 is not a class"),
        ({"normal_classes": "dog", "abnormal_count": 26}, "257.clutter has 30 images; testing takes 5"),
        ({"normal_classes": "dog", "outlier_share": 0.95}, "testing takes 95"),
        ({"normal_classes": "dog", "outlier_share": 1.5}, "data.outlier_share: 1.5"),
        ({"normal_classes": "dog", "train_share": 0.0}, "give 0 training and 10 test images"),
        ({"normal_classes": "dog", "images_per_class": 1}, "data.images_per_class: 1 is not at least 2"),
    ],
)
def test_caltech256_errors(categories, options, words):
    with pytest.raises(DataError, match=words):
        caltech256.load(1, categories, **{"images_per_class": 10, **options})


def test_caltech256_wrong_folder(tmp_path):
    for root in (tmp_path, tmp_path / "none"):
        with pytest.raises(DataError, match="no folder 257.clutter; data.root must be"):
            caltech256.load(1, root)


def test_importing_the_catalog_is_cheap():
    code = """
import sys
from semi_anogan.data import catalog, listing, splits
heavy = ("tensorflow", "tensorflow_datasets", "keras", "jax", "sklearn", "scipy", "matplotlib")
print([name for name in heavy if name in sys.modules])
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
