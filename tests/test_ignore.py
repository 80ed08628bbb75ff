"""Regions to ignore: how masks are read, found and fitted, and that nothing inside one is ever seen."""

import json

import numpy as np
import pytest
from PIL import Image

from helpers.trained import StandInDetector
from semi_anogan.data import ignore, ignore_files
from semi_anogan.data.batches import Batches, ImageStore
from semi_anogan.data.check_files import read_all
from semi_anogan.data.dataset import Dataset, Example, Masked
from semi_anogan.data.images import Reader
from semi_anogan.data.listing import list_inputs
from semi_anogan.data.notes import Notes
from semi_anogan.data.synthetic import KINDS, synthesise
from semi_anogan.errors import ConfigError, DataError, RunError
from semi_anogan.evaluation.metrics import PixelMetrics
from semi_anogan.runs import build
from semi_anogan.runs import folder as run_folder
from semi_anogan.scoring import regions
from semi_anogan.scoring.map_peaks import highest_places


def corner(height=12, width=16, rows=4, columns=6):
    """A mask of the lower right corner."""
    mask = np.zeros((height, width), bool)
    mask[height - rows :, width - columns :] = True
    return mask


def save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.uint8(values)).save(path)
    return path


# Painting


def test_painted_by_hand():
    """One unknown pixel of a block of four is the mean of what lies around, enlarged bilinearly."""
    image = np.float32([[0, 0.4], [0.2, 9]])[..., None]
    ignored = np.array([[False, False], [False, True]])
    expected = (0 + 0.4 + 0.2) / 3
    np.testing.assert_allclose(ignore.painted(image, ignored)[..., 0], [[0, 0.4], [0.2, expected]], rtol=1e-6)
    # Two blocks, of means 0 and 1; the right one's last column is not known: 3/4 of its own and 1/4 beyond.
    row = np.float32([[0, 0, 1, 7], [0, 0, 1, 7]])[..., None]
    found = ignore.painted(row, np.array([[0, 0, 0, 1]] * 2, bool))[..., 0]
    np.testing.assert_allclose(found, [[0, 0, 1, 1]] * 2)


@pytest.mark.parametrize("shape", [(37, 53, 1), (64, 64, 3), (5, 200, 1)])
def test_what_is_ignored_does_not_matter_and_the_rest_stays(shape):
    rng = np.random.default_rng(0)
    image = rng.uniform(-1, 1, shape).astype(np.float32)
    for ignored in (corner(*shape[:2], 3, 20), rng.random(shape[:2]) < 0.8):
        other = np.where(ignored[..., None], rng.uniform(-1, 1, shape).astype(np.float32), image)
        other[ignored] = np.nan
        found = ignore.painted(image, ignored)
        np.testing.assert_array_equal(found, ignore.painted(other, ignored))
        np.testing.assert_array_equal(found, ignore.painted(found, ignored))
        np.testing.assert_array_equal(found[~ignored], image[~ignored])
        assert image[~ignored].min() <= found.min() and found.max() <= image[~ignored].max()
    assert ignore.painted(image, None) is image and ignore.painted(image, np.zeros(shape[:2], bool)) is image


def test_keras_paints_the_same():
    from keras import ops

    rng = np.random.default_rng(0)
    images, ignored = rng.uniform(-1, 1, (3, 21, 30, 3)).astype(np.float32), corner(21, 30, 7, 9)
    expected = np.stack([ignore.painted(image, ignored) for image in images])
    np.testing.assert_array_equal(ignore.painted_with(images, ignored, np), expected)
    found = ops.convert_to_numpy(ignore.painted_with(ops.convert_to_tensor(images), ignored, ops))
    np.testing.assert_allclose(found, expected, atol=1e-6)


# Masks


def test_grey_counts_from_half_on_and_all_or_nothing_is_an_error(tmp_path):
    values = np.zeros((6, 8))
    values[:, 4], values[:, 5:] = 120, 255
    mask = ignore.read_fixed(save(tmp_path / "m.png", values))
    np.testing.assert_array_equal(mask, np.broadcast_to(np.arange(8) >= 5, (6, 8)))
    with pytest.raises(DataError, match="black.png: ignores nothing"):
        ignore.read_fixed(save(tmp_path / "black.png", np.zeros((6, 8))))
    with pytest.raises(DataError, match="white.png: ignores all of the image"):
        ignore.read(save(tmp_path / "white.png", np.full((6, 8), 255)))
    with pytest.raises(DataError, match="m.png: is not the mask that the run was trained with"):
        ignore.read_fixed(tmp_path / "m.png", "0" * 64)
    assert ignore.told(mask, "m.png") == "38 % of each image is ignored (m.png)"
    assert "inverted" in ignore.told(~mask, "m.png")
    np.testing.assert_array_equal(ignore.of_png(ignore.png_of(mask)), mask)


def test_labelme_polygons(tmp_path):
    """A rectangle from 2, 1 to 5, 3 covers the pixels 2 to 4 of the rows 1 and 2, and touches one around."""
    shapes = [{"label": "serial", "shape_type": "rectangle", "points": [[2, 1], [5, 3]]}]
    file = tmp_path / "a.json"
    values = {"version": "5.4", "shapes": shapes, "imageHeight": 8, "imageWidth": 10}
    file.write_text(json.dumps(values))
    found = ignore.read(file)
    assert found.shape == (8, 10) and found[1:3, 2:5].all()
    assert not found[4:].any() and not found[:, 6:].any() and not found[:, 0].any()
    shapes[0] = {"points": [[0, 0], [10, 0], [0, 8]]}
    file.write_text(json.dumps(values))
    found = ignore.read(file)
    assert found[0, 0] and found[0, 8] and found[6, 0] and not found[7, 9] and 0.4 < found.mean() < 0.65
    for shape, told in (
        ({"shape_type": "line", "points": [[0, 0], [5, 5]]}, "shape 1 is a line of 2 points"),
        ({"points": [[0, 0]]}, "shape 1 is a polygon of 1 points"),
        ({"points": "x"}, "not as labelme or COCO write it"),
        (
            {"points": [[11, 2], [15, 2], [15, 4]]},
            r"a shape from 11, 2 to 15, 4 \(x, y\) lies outside the image, which has 10 x 8 pixels",
        ),
    ):
        shapes[0] = shape
        file.write_text(json.dumps(values))
        with pytest.raises(DataError, match=f"a.json: {told}"):
            ignore.read(file)
    file.write_text(json.dumps({"shapes": []}))
    with pytest.raises(DataError, match="imageHeight and imageWidth must be the image's size"):
        ignore.read(file)
    for text in ("{", "[" * 100_000):
        file.write_text(text)
        with pytest.raises(DataError, match="a.json: is no JSON"):
            ignore.read(file)
    file.write_text("[]")
    with pytest.raises(DataError, match="neither polygons of labelme .* nor of COCO"):
        ignore.read(file)


def test_coco_polygons_boxes_and_runs(tmp_path):
    file = tmp_path / "a.json"
    image = {"id": 7, "file_name": "x/a.png", "height": 4, "width": 6}
    of_other = {"image_id": 8, "bbox": [0, 0, 6, 4]}
    runs = {"size": [4, 6], "counts": [5, 2, 17]}  # down the columns: rows 1 and 2 of the second
    values = {
        "images": [image],
        "annotations": [{"image_id": 7, "segmentation": runs, "bbox": [0, 0, 6, 4]}, of_other],
    }
    file.write_text(json.dumps(values))
    expected = np.zeros((4, 6), bool)
    expected[1:3, 1] = True
    np.testing.assert_array_equal(ignore.read(file), expected)
    values["annotations"][0] = {"image_id": 7, "segmentation": [[4, 1, 6, 1, 6, 3, 4, 3]]}
    file.write_text(json.dumps(values))
    found = ignore.read(file)
    assert found[1:3, 4:6].all() and not found[:, :3].any()
    values["annotations"][0] = {"image_id": 7, "segmentation": [], "bbox": [4, 1, 2, 2]}
    file.write_text(json.dumps(values))
    np.testing.assert_array_equal(ignore.read(file), found)
    values["images"] = [image, {**image, "id": 8, "file_name": "b.png"}]
    file.write_text(json.dumps(values))
    np.testing.assert_array_equal(ignore.read(file, image="parts/a.png"), found)
    with pytest.raises(DataError, match="has 2 images; a mask is of one"):
        ignore.read(file)
    values["annotations"][0] = {"image_id": 7, "segmentation": {"size": [4, 6], "counts": "52a0"}}
    file.write_text(json.dumps(values))
    np.testing.assert_array_equal(ignore.read(file, image="a.png"), expected)


def test_a_mask_is_scaled_as_its_image_and_refused_at_another_shape():
    mask = corner(6, 8, 2, 3)
    np.testing.assert_array_equal(ignore.fitted(mask, (12, 16), "m", "a"), corner(12, 16, 4, 6))
    # Reduced, what it touches is ignored: 2 of 6 rows are one of 3, 3 of 8 columns two of 4.
    np.testing.assert_array_equal(ignore.fitted(mask, (3, 4), "m", "a"), corner(3, 4, 1, 2))
    assert ignore.fitted(mask, (3, 5), "m", "a").shape == (3, 5)  # rounding
    with pytest.raises(DataError, match="m: the mask .* has 8 x 6 pixels, but a has 30 x 10: another shape"):
        ignore.fitted(mask, (10, 30), "m", "a")
    with pytest.raises(DataError, match="a.png: all of it is ignored"):
        ignore.joined(mask, ~mask, (6, 8), "m", "a.png")


# Detectors


def test_a_detector_sees_nothing_of_it_and_its_map_has_nothing_there():
    rng = np.random.default_rng(0)
    image = rng.uniform(-0.5, 0.5, (12, 16, 1)).astype(np.float32)
    ignored = corner()
    stamped = image.copy()
    stamped[ignored] = 1.0
    for tile in (False, True):
        detector = StandInDetector(tile=tile, map_sigma_px=1.0)
        plain = detector([stamped])
        detector.ignore = corner(6, 8, 2, 3)  # half the size
        found, other = detector([image]), detector([stamped])
        masked = StandInDetector(tile=tile, map_sigma_px=1.0)([Masked(stamped, ignored)])
        painted = Masked(ignore.painted(stamped, ignored), ignored, painted=True)
        for one in (other, masked, detector([painted])):
            np.testing.assert_array_equal(one.scores, found.scores)
            np.testing.assert_array_equal(one.maps, found.maps)
        assert plain.scores[0] != found.scores[0]
        lowest = min(0.0, found.maps[0][~ignored].min())
        assert (found.maps[0][ignored] == lowest).all() and np.abs(found.maps[0][~ignored]).max() > 0.01
        uint8 = np.uint8(np.round((stamped + 1) * 127.5))
        np.testing.assert_allclose(detector([uint8]).scores, found.scores, atol=0.01)
        np.testing.assert_array_equal(detector([stamped[..., 0]]).maps, found.maps)
        with pytest.raises(DataError, match="an image has 12 x 12: another shape"):
            detector([image[:, :12]])


def test_no_region_is_where_it_is_ignored():
    rng = np.random.default_rng(0)
    for low, high in ((0.5, 1), (-3, -2), (-1, 4)):
        found = rng.uniform(low, high, (12, 16)).astype(np.float32)
        blank = ignore.blanked(found, corner())
        for threshold in (0.1, 0.8, 5.0):
            inside = regions.union(regions.find(blank, threshold), found.shape)
            assert inside.any() and not (inside & corner()).any()


def test_places_and_pixels_inside_do_not_count():
    layers = np.zeros((12, 16, 1), np.float32)
    layers[corner(), 0] = 9.0
    layers[0, 0, 0] = 1.0
    assert highest_places(layers, 0.0).max() == 9.0
    found = highest_places(layers, 0.0, corner())
    assert found.max() == 1.0 and len(found) == 12 * 16 - 24
    # A normal pixel that the map marks costs AUROC unless it is ignored.
    mask = np.zeros((12, 16), bool)
    mask[0, 0] = True
    counted = PixelMetrics()
    counted.update(layers[..., 0], mask)
    left_out = PixelMetrics()
    left_out.update(layers[..., 0], mask, corner())
    assert counted.result()["pixel_auroc"] == pytest.approx(1 - 24 / 191)
    assert left_out.result() == {"pixel_auroc": 1.0, "pixel_aupro": 1.0}
    np.testing.assert_array_equal(ignore.wholly(corner(), 6, 8), corner(6, 8, 2, 3))
    assert ignore.wholly(corner(12, 16, 3, 5), 6, 8).sum() == 1 * 2


# Training


@pytest.mark.parametrize("kind", KINDS)
def test_synthetic_defects_are_drawn_outside(kind):
    rng = np.random.default_rng(1)
    image, other = rng.uniform(-0.5, 0.5, (2, 32, 32, 1)).astype(np.float32)
    ignored = np.ones((32, 32), bool)
    ignored[8:20, 10:20] = False
    for seed in range(5):
        drawn, mask = synthesise(image, other, np.random.default_rng(seed), kind, ignored)
        assert mask.any() and not (mask & ignored).any()
        np.testing.assert_array_equal(drawn[~mask], image[~mask])


def test_batches_carry_what_is_ignored_through_crops_flips_and_shifts():
    """Images are -0.5, 0.5 where ignored; defects of 1 come no nearer."""
    examples = [Example(f"n{i}", "train", "normal") for i in range(3)]
    examples += [Example("d", "train", "abnormal", "m")]
    image = np.where(corner(24, 32, 10, 14)[..., None], np.float32(0.5), np.float32(-0.5))
    defect = np.zeros((24, 32), bool)
    defect[2:5, 2:6] = True

    def read(e):
        return np.where(defect[..., None] & e.abnormal, np.float32(0.9), image)

    dataset = Dataset(
        "made",
        tuple(examples),
        read,
        lambda e: defect if e.abnormal else None,
        ignored=lambda e: corner(24, 32, 10, 14),
    )
    for tile in (False, True):
        store = ImageStore(dataset, 16, tile, aspect=None if tile else 4 / 3)
        settings = {"flips": "hvr", "shift_px": 3, "masks": True, "pasted_share": 1.0}
        batches = Batches(store, examples[:3], examples[3:], 4, synthetic_share=1.0, **settings)
        for step in range(12):
            batch = batches.batch(4 * step, 4)
            images, marked = batch["images"][4:, ..., 0], batch["masks"][4:, ..., 0] > 0
            assert marked.any((1, 2)).all()
            assert not (marked & (np.abs(images - 0.5) < 1e-6)).any()


# Files


@pytest.fixture
def parts(tmp_path):
    """A folder of 12 x 16 images with a bright number in the lower right corner, other in each."""
    rng = np.random.default_rng(0)
    for folder, count in (("train/good", 10), ("train/cut", 2), ("test/good", 2), ("test/cut", 2)):
        for i in range(count):
            values = np.full((12, 16), 100)
            values[corner()] = rng.integers(0, 256, 24)
            save(tmp_path / f"parts/{folder}/{i}.png", values)
    return tmp_path / "parts"


def config_of(parts, **changes):
    from semi_anogan.config import default_config

    config = default_config()
    config.update_from_flattened_dict({"data.name": "folder", "data.root": str(parts), "features.name": ""})
    config.update_from_flattened_dict({f"data.{k}": v for k, v in changes.items()})
    return config


def test_a_fixed_mask_paints_every_image_and_its_digest_is_kept(parts, tmp_path):
    mask = save(tmp_path / "m.png", 255 * corner())
    config = config_of(parts, ignore=str(mask))
    dataset, splits, _ = build.load_data(config)
    for example in dataset.examples:
        image = dataset.read_image(example)
        np.testing.assert_allclose(image, 100 / 127.5 - 1, atol=1e-6)
        np.testing.assert_array_equal(dataset.ignored(example), corner())
    assert config.data.ignore_digest == ignore.digest_of(corner())
    run = tmp_path / "run"
    run.mkdir()
    run_folder.claim(run, config)
    run_folder.write_ignore(run, dataset.ignore)
    # The file may lie elsewhere, or be of another format, but not mark something else.
    moved = config_of(parts, ignore=str(mask.rename(tmp_path / "moved.png")))
    build.load_data(moved, run)
    assert run_folder.claim(run, moved) == [f"data.ignore was {str(mask)!r}, now {str(moved.data.ignore)!r}"]
    other = config_of(parts, ignore=str(save(tmp_path / "other.png", 255 * corner(rows=5))))
    without = config_of(parts)
    for changed in (other, without):
        build.load_data(changed, run)
        with pytest.raises(RunError, match="data.ignore is another mask than the run's"):
            run_folder.claim(run, changed)
    # What reads the run takes its own copy.
    (tmp_path / "moved.png").unlink()
    loaded = run_folder.load_config(run)
    assert loaded.data.ignore == str(run / "ignore.png")
    np.testing.assert_array_equal(build.load_data(loaded)[0].ignore, corner())
    save(run / "ignore.png", 255 * corner(rows=5))
    with pytest.raises(DataError, match="ignore.png: is not the mask that the run was trained with"):
        build.load_data(loaded)


def test_masks_of_their_own_are_found_by_the_images_path(parts):
    save(parts / "ignore/train/good/3.png", 255 * corner(6, 8, 2, 3))
    save(parts / "ignore/test/cut/1_mask.png", 255 * corner())
    save(parts / "ignore/test/cut/9.png", 255 * corner())
    dataset, splits, _ = build.load_data(config_of(parts))
    found = {e.path: e.ignore for e in dataset.examples if e.ignore}
    assert found == {
        "train/good/3.png": "ignore/train/good/3.png",
        "test/cut/1.png": "ignore/test/cut/1_mask.png",
    }
    lines = dataset.notes.lines()
    assert any(
        "1 masks of what is ignored are of no image, such as ignore/test/cut/9.png" in m for m in lines
    )
    one = next(e for e in dataset.examples if e.path == "train/good/3.png")
    np.testing.assert_allclose(dataset.read_image(one), 100 / 127.5 - 1, atol=1e-6)
    masked = dataset.masked(one)
    assert masked.painted and (masked.ignored == corner()).all()
    read_all(dataset, splits.training + splits.test)
    assert any("2 images have a mask of their own" in line for line in dataset.notes.lines())
    save(parts / "ignore/train/good/3_mask.png", 255 * corner())
    with pytest.raises(DataError, match="3.png and 3_mask.png are masks of the same image"):
        build.load_data(config_of(parts))
    (parts / "ignore/train/good/3_mask.png").unlink()
    save(parts / "ignore/train/good/3.png", 255 * corner(40, 16))
    dataset, splits, _ = build.load_data(config_of(parts))
    with pytest.raises(DataError, match="3.png: the mask of what is ignored has 16 x 40 pixels"):
        read_all(dataset, splits.training)


def test_a_manifest_has_a_column_for_it(parts, tmp_path):
    save(parts / "m.png", 255 * corner())
    rows = [f"train/good/{i}.png,train,normal,{'m.png' if i < 2 else ''}" for i in range(10)]
    (parts / "list.csv").write_text("path,split,label,ignore\n" + "\n".join(rows) + "\n")
    dataset, _, _ = build.load_data(config_of(None, name="manifest", root=None, path=str(parts / "list.csv")))
    assert sum(dataset.ignored(e) is not None for e in dataset.examples) == 2
    (parts / "list.csv").write_text("path,split,label,ignore\ntrain/good/0.png,train,normal,gone.png\n")
    with pytest.raises(DataError, match="row 2: gone.png"):
        build.load_data(config_of(None, name="manifest", root=None, path=str(parts / "list.csv")))


def test_defects_that_are_ignored_wholly_are_left_out_and_others_cut(parts, tmp_path):
    whole, half = corner(rows=2), np.zeros((12, 16), bool)
    half[5:10, 10:] = True
    for split in ("train", "test"):
        for i, mask in enumerate((whole, half)):
            save(parts / f"ground_truth/{split}/cut/{i}.png", 255 * mask)
    mask = save(tmp_path / "m.png", 255 * corner())
    dataset, splits, _ = build.load_data(config_of(parts, ignore=str(mask)))
    assert [e.path for e in dataset.examples if e.abnormal] == ["train/cut/1.png", "test/cut/1.png"]
    assert any("2 abnormal images are left out, such as train/cut/0.png" in m for m in dataset.notes.lines())
    np.testing.assert_array_equal(dataset.read_mask(splits.abnormal[0]), half & ~corner())


def test_depth_is_that_of_what_counts(tmp_path):
    for i in range(6):
        values = np.full((12, 16), 900, np.uint16)
        values[corner()] = 60000
        path = tmp_path / f"parts/train/good/{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values).save(path)
    config = config_of(tmp_path / "parts", ignore=str(save(tmp_path / "m.png", 255 * corner())))
    build.load_data(config)
    assert config.data.white == 1023


def test_a_source_without_files_has_a_fixed_mask_too(tmp_path):
    config = config_of(None, name="surface", root=None, size=16, train_normal=6, test_normal=2)
    config.data.update({"train_abnormal": 1, "test_abnormal": 1})
    config.data.ignore = str(save(tmp_path / "m.png", 255 * corner(16, 16)))
    dataset, splits, _ = build.load_data(config)
    np.testing.assert_array_equal(dataset.ignored(splits.normal[0]), corner(16, 16))
    config.data.ignore = str(tmp_path / "gone.png")
    with pytest.raises((DataError, ConfigError), match="gone.png: no such file"):
        build.load_data(config)


def test_masks_of_new_images(parts, tmp_path):
    """In `ignore` within --input or up to three folders above it, or in the CSV file's column."""
    save(parts / "ignore/test/good/1.png", 255 * corner())
    for given in (parts, parts / "test", parts / "test/good", parts / "test/good/1.png"):
        files = list_inputs(str(given))
        assert not any("ignore" in file for file in files)
        mask_of = ignore_files.of_input(str(given))
        assert [file for file in files if mask_of(file)] == [str(parts / "test/good/1.png")]
    reader = ignore_files.MaskedReader(Reader(notes=Notes()), None, mask_of)
    found = reader(str(parts / "test/good/1.png"), 1)
    np.testing.assert_array_equal(found.ignored, corner())
    assert not found.painted and len(reader.reader.notes.lines()) == 1
    assert isinstance(reader(str(parts / "test/good/0.png"), 1), np.ndarray)
    reader.fixed = corner(40, 16)
    with pytest.raises(DataError, match="0.png has 16 x 12: another shape"):
        reader(str(parts / "test/good/0.png"), 1)
    csv = parts / "new.csv"
    csv.write_text("path,ignore\ntest/good/0.png,ignore/test/good/1.png\ntest/good/1.png,\n")
    mask_of = ignore_files.of_input(str(csv))
    assert mask_of(str(parts / "test/good/0.png")) == str(parts / "ignore/test/good/1.png")
    assert mask_of(str(parts / "test/good/1.png")) is None
    csv.write_text("path,ignore\na.png,b.png\na.png,c.png\n")
    with pytest.raises(DataError, match="row 3: 'a.png' has another mask in an earlier row"):
        ignore_files.of_input(str(csv))
