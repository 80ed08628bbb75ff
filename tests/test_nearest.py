"""Why a place is abnormal: the nearest remembered patches and known defects, and where they lie."""

import threading
import time

import numpy as np
import pytest

from helpers.reasons import Stand
from helpers.trained import tiny_model
from semi_anogan.data.orientation import ORIENTATIONS, oriented
from semi_anogan.errors import RunError, UserError
from semi_anogan.review.why import NotNow, Why
from semi_anogan.runs import remembered
from semi_anogan.scoring import nearest
from semi_anogan.scoring.base_detector import Preparation
from semi_anogan.scoring.feature_reader import FeatureReader
from semi_anogan.scoring.memory import Memory, SizeMemory
from semi_anogan.scoring.nearest import Box, Grid, Near, PatchReader, Place

WHOLE = Preparation(1, (8, 8), (8, 8), tile=False)
TILED = Preparation(1, (8, 12), (16, 24), tile=True)


def test_the_nearest_patch_of_each_image_by_hand():
    # Images 7, 7, 2 and 4 at 0, 3, 5 and 9; that at 5 is isolated by 2, that at 9 is doubtful.
    memory = SizeMemory(
        [[0], [3], [5], [9]], [0, 0, 2, 0], [0], [[1]], owner=[7, 7, 2, 4], doubts=[0, 0, 0, 3]
    )
    # From 4: 16, 1, 1 - 4 and 25 + 3.
    found = nearest.nearest_images(memory, np.float32([4]), 3)
    assert found == [
        Near(2, 2, pytest.approx(-(3**0.5))),
        Near(7, 1, 1.0),
        Near(4, 3, pytest.approx(28**0.5)),
    ]
    assert [n.owner for n in nearest.nearest_images(memory, np.float32([4]), 2, left_out=7)] == [2, 4]
    assert len(nearest.nearest_images(memory, np.float32([4]), 9)) == 3
    np.testing.assert_allclose(nearest.nearest_squared(memory, np.float32([[4], [0]])), [-3, 0], atol=1e-5)


@pytest.mark.parametrize("support", [1, 2])
def test_the_distance_is_the_one_of_the_memory(support):
    rng = np.random.default_rng(0)
    memory = SizeMemory(
        rng.standard_normal((12, 3)),
        rng.uniform(0, 0.5, 12),
        np.zeros(3),
        np.eye(3),
        owner=np.repeat([0, 1, 2, 3], 3),
        doubts=rng.uniform(0, 0.5, 12),
        support=support,
    )
    x = rng.standard_normal((1, 2, 5, 3)).astype(np.float32)
    for left_out in (None, 2):
        whole = np.asarray(memory.distances(x, None if left_out is None else [left_out]))[0, ..., 0]
        own = [[nearest.distance_of(memory, patch, left_out) for patch in row] for row in x[0]]
        np.testing.assert_allclose(own, whole, rtol=1e-4, atol=1e-4)


def test_a_memory_without_owners_is_one_image():
    memory = SizeMemory([[0], [3]], [0, 0], [0], [[1]])
    assert nearest.nearest_images(memory, np.float32([4]), 3) == [Near(-1, 1, 1.0)]
    of_one = SizeMemory([[0], [3]], [0, 0], [0], [[1]], owner=[5, 5], support=2)
    assert nearest.distance_of(of_one, np.float32([4]), left_out=5) == 1.0


def test_places_of_an_image_that_is_not_square_by_hand():
    """30 x 60 pixels as 3 x 4 patches: one is 10 high and 15 wide."""
    grid = Grid(WHOLE, (30, 60), (3, 4))
    assert grid.at(25, 5) == Place(0, 2, 0) and grid.at(30, 60) == Place(0, 2, 3)
    assert grid.at(9.9, 15) == Place(0, 0, 1)
    assert grid.middle(Place(0, 1, 2)) == (15, 37.5)
    assert grid.box((15, 37.5)) == Box(0, 15, 30, 45)
    assert grid.box((15, 37.5), 1) == Box(10, 30, 10, 15)
    assert grid.box(grid.middle(Place(0, 2, 0))) == Box(10, 0, 20, 30)  # as far as there is an image


def test_places_of_tiles_by_hand():
    """16 x 24 pixels are 3 x 3 tiles of 8 x 12, of which one has 2 x 3 patches of 4 x 4 pixels."""
    grid = Grid(TILED, (16, 24), (2, 3))
    # The middle of the image is that of the fifth tile, which begins at 4, 6.
    assert grid.at(8, 12) == Place(4, 1, 1) and grid.middle(Place(4, 1, 1)) == (10, 12)
    assert grid.at(0, 0) == Place(0, 0, 0) and grid.at(15.9, 23.9) == Place(8, 1, 2)
    # A smaller image is enlarged to a tile: of 4 x 24 pixels to 8 x 24, so a patch has 2 x 4 of its own.
    small = Grid(TILED, (4, 24), (2, 3))
    assert small.middle(Place(2, 1, 0)) == (3, 14) and small.box((3, 14), 1) == Box(2, 12, 2, 4)


class Reader(PatchReader):
    """Its features of a place are the mean of 4 x 4 pixels, and how much brighter the right half is."""

    def __init__(self, preparation, memory=None):
        self.preparation, self.memory = preparation, memory

    def read(self, parts):
        found = []
        for part in parts:
            cells = part[..., 0].reshape(part.shape[0] // 4, 4, -1, 4)
            right, left = cells[..., 2:].mean(axis=(1, 3)), cells[..., :2].mean(axis=(1, 3))
            found.append(np.stack([cells.mean(axis=(1, 3)), right - left], axis=-1))
        return found


def noise(height, width):
    return np.random.default_rng(0).uniform(-1, 1, (height, width, 1)).astype(np.float32)


@pytest.mark.parametrize("tile", [False, True])
def test_a_patch_is_found_again_in_its_image(tile):
    preparation = Preparation(1, (8, 16), (8, 16), tile)
    reader = Reader(preparation)
    image = 0.5 * (noise(16, 32) if tile else noise(8, 16))
    image[:, 2::4] += 0.5
    image[:, 3::4] += 0.5
    patches = reader.read(preparation.cut(image))
    grid = reader.grid(image.shape[:2], patches)
    place = grid.at(6, 9)
    remembered_ones = np.stack([patches[0][0, 0], patches[place.part][place.row, place.column]])
    found = reader.find(image, remembered_ones, 1, tuple(ORIENTATIONS))
    assert (found.middle, found.orientation, found.known) == (grid.middle(place), "", True)
    assert found.away < 1e-6
    # Mirrored, the bright half of each place is the other.
    mirrored = reader.read(preparation.cut(oriented(image, "mirrored")))
    at = grid.at(6, image.shape[1] - 9)
    other = np.stack([remembered_ones[0], mirrored[at.part][at.row, at.column]])
    found = reader.find(image, other, 1, tuple(ORIENTATIONS))
    assert found.orientation == "mirrored" and found.known
    np.testing.assert_allclose(found.middle, grid.middle(place), atol=1e-6)
    # Of another image nothing is found again, and it is told.
    found = reader.find(image, np.float32([[3, 0], [3, 3]]), 0)
    assert not found.known and found.away > 1


def test_too_many_tiles_are_not_searched(monkeypatch):
    monkeypatch.setattr(nearest, "MOST_PARTS", 8)
    reader = Reader(Preparation(1, (8, 12), (8, 12), True))
    assert reader.find(noise(16, 24), np.zeros((1, 2), np.float32), 0) is None
    assert nearest.defect_places(reader, noise(16, 24), None) is None
    mask = np.zeros((16, 24), bool)
    mask[14:, 22:] = True  # in the last tile alone, so that one is read
    grid, places, patches = nearest.defect_places(reader, noise(16, 24), mask)
    assert places == [Place(8, 1, 2)] and patches.shape == (1, 2)


def test_what_is_abnormal_in_a_known_defect():
    memory = SizeMemory([[0, 0]], [0], [0, 0], np.eye(2), owner=[0])
    reader = Reader(Preparation(1, (8, 16), (8, 16), False), memory)
    image = np.zeros((8, 16, 1), np.float32)
    image[4:, 12:] = 0.9
    mask = np.zeros((8, 16), bool)
    mask[1, 5:10] = True
    _, places, patches = nearest.defect_places(reader, image, mask)
    assert places == [Place(0, 0, 1), Place(0, 0, 2)] and not patches.any()
    # Without a mask, or with one that marks nothing: the farthest tenth, here one of eight places.
    for nothing in (None, np.zeros((8, 16), bool)):
        _, places, patches = nearest.defect_places(reader, image, nothing)
        assert places == [Place(0, 1, 3)]
        np.testing.assert_allclose(patches, [[0.9, 0]], atol=1e-6)


@pytest.mark.parametrize("tile", [False, True])
def test_patches_of_a_fitted_memory_are_found_again(tile):
    """Of images that are not square, with the features of the embedded network."""
    features = {"name": "efficientnet_lite0", "patch_discriminator": True, "resolution": 32, "sizes": "32"}
    model = tiny_model(resolution=16, features=features)
    images = [noise(24, 40), 0.5 * noise(24, 40)[::-1]]
    of_images = FeatureReader(model, tile, 3)
    samples = of_images.memory_samples(iter(images), 20)
    memory = Memory.fit([32], samples, [16], 40, 0).owned_by([5, 3])

    class Parts:
        preparation, channels = of_images.preparation, 1

    Parts.model, Parts.memory, Parts.tile = model, memory, tile
    reader = PatchReader(Parts)
    size = memory.sizes[32]
    for owner, image in ((5, images[0]), (3, images[1])):
        rows = np.flatnonzero(size.owner == owner)
        for which in (0, len(rows) - 1):
            found = reader.find(image, size.patches[rows], which)
            assert found.away < nearest.SAME and found.known
        # What lies there is that patch: it is the nearest of all, of this image.
        patches = reader.read(reader.preparation.cut(image))
        place = found.grid.at(*found.middle)
        near = nearest.nearest_images(size, patches[place.part][place.row, place.column], 1)[0]
        assert near.owner == owner
    assert not reader.find(noise(30, 40) ** 3, size.patches[:5], 0).known


def test_which_images_are_remembered_is_kept(tmp_path):
    assert remembered.read(tmp_path) is None
    remembered.write(tmp_path, ["a/0.png", "a/\udce4.png"])
    assert remembered.read(tmp_path) == ["a/0.png", "a/\udce4.png"]
    (tmp_path / "remembered.json").write_text('{"images": [1]}')
    with pytest.raises(RunError, match="remembered.json: has no list"):
        remembered.read(tmp_path)
    remembered.write(tmp_path, None)
    remembered.write(tmp_path, None)
    assert remembered.read(tmp_path) is None


# The process that answers


@pytest.fixture
def why():
    found = Why(Stand(), most=2)
    yield found
    found.end()


def test_the_process_begins_when_asked_and_survives_what_is_wrong(why):
    assert not why.running
    assert why.ask("a") == {"asked": "a", "count": 1}
    with pytest.raises(UserError, match="^0.png: cannot be read$"):
        why.ask("bad")
    with pytest.raises(UserError, match="^KeyError: 'center'$"):
        why.ask("bug")
    assert why.ask("b") == {"asked": "b", "count": 4}
    with pytest.raises(NotNow, match="has ended; ask again"):
        why.ask("die")
    assert why.ask("c")["count"] == 1  # of another process
    why.end()
    assert not why.running and why.ask("d")["count"] == 1


def test_questions_that_are_too_many_or_take_too_long(why):
    refused = []

    def ask():
        try:
            why.ask("slow")
        except NotNow as error:
            refused.append(str(error))

    waiting = [threading.Thread(target=ask) for _ in range(3)]
    for thread in waiting:
        thread.start()
    while not refused or not why.running:
        time.sleep(0.01)
    assert refused == ["too many wait for an answer: ask again in a moment"]
    why.end()  # for the one that is answered, and for the one that waits
    for thread in waiting:
        thread.join()
    assert not why.running
    assert refused[1:] == ["the process that looks for reasons has ended; ask again"] * 2
    late = Why(Stand(), late=0.01)
    with pytest.raises(NotNow, match="took more than 0.01 s"):
        late.ask("slow")
    assert not late.running


def test_a_process_that_cannot_begin_says_why_and_one_that_idles_ends():
    broken = Why(Stand(begins=False))
    for _ in range(2):
        with pytest.raises(UserError, match="^run/memory.npz: cannot be read$"):
            broken.ask("a")
        assert not broken.running
    idle = Why(Stand(), idle=0.2)
    assert idle.ask("a")["count"] == 1 and idle.running
    until = time.monotonic() + 30
    while idle.running and time.monotonic() < until:
        time.sleep(0.02)
    assert not idle.running and idle.ask("b")["count"] == 1
    idle.end()
