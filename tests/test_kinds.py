"""Which known kind a region is most alike to, by hand."""

import numpy as np
import pytest

from semi_anogan.scoring.kinds import KindMap, KnownKinds, named
from semi_anogan.scoring.likeness import Likeness, patches_of
from semi_anogan.scoring.regions import Region


def region(left, top, rows) -> Region:
    mask = np.array([[c == "x" for c in row] for row in rows])
    return Region(left, top, mask.shape[1], mask.shape[0], int(mask.sum()), 1.0, 1.0, 0.0, 0.0, True, mask)


def test_directions_are_the_means_of_those_of_the_known_defects():
    worst = np.float64([[3, 4], [-2, 0], [0, 2], [5, 5]])
    center, projection = np.float64([1, 2, 3]), np.float64([[1, 0], [0, 2], [1, 1]])
    kinds = KnownKinds.fit(worst, ["b", "a", "b", None], center, projection)
    assert kinds.names == ("a", "b")
    # Of b: (0.6, 0.8) and (0, 1), whose mean is (0.3, 0.9).
    expected = np.transpose([[-1, 0], np.array([1, 3]) / np.sqrt(10)])
    np.testing.assert_allclose(kinds.directions, expected, rtol=1e-6)
    np.testing.assert_array_equal(kinds.offset, [-4, -7])
    assert KnownKinds.fit(worst, [None, "", None, None], center, projection) is None


def test_a_region_has_the_mean_over_its_pixels():
    """4 x 6 pixels, 2 x 3 places: an L of three pixels lies in two places of the second column."""
    values = np.zeros((1, 2, 3, 2), np.float32)
    values[0, 0, 1], values[0, 1, 1] = (0.5, 0.1), (-0.25, 0.4)
    found = KindMap(values, (4, 6), (4, 6))
    shape = region(2, 1, ["x.", "xx"])
    np.testing.assert_allclose(found.of_region(shape, (4, 6)), [(0.5 - 0.5) / 3, (0.1 + 0.8) / 3], rtol=1e-6)
    (told,) = named([shape], found, (4, 6), ("cut", "dent"))
    assert told[:-2] == shape[:-2] and told.kind == "dent" and told.kind_likeness == pytest.approx(0.3)
    # Of an image twice as large that is reduced to the same the pixel at 5, 3 lies there too.
    (told,) = named([region(5, 3, ["x"])], found, (8, 12), ("cut", "dent"))
    assert told.kind == "cut" and told.kind_likeness == pytest.approx(0.5)
    assert named([shape], None, (4, 6), ()) == [shape] and (shape.kind, shape.kind_likeness) == ("", None)


def test_of_tiles_each_pixel_counts_in_each_that_it_lies_in():
    """4 x 8 pixels in tiles of 4 x 4 at columns 0, 2 and 4, each of 2 x 2 places."""
    values = np.zeros((3, 2, 2, 1), np.float32)
    values[0, 0, 1], values[1, 0, 0], values[2, 0, 1] = 0.2, 0.6, 0.9
    found = KindMap(values, (4, 8), (4, 4))
    # Column 3: the second place of the first tile and the first of the second.
    np.testing.assert_allclose(found.of_region(region(3, 0, ["x", "x"]), (4, 8)), [0.4], rtol=1e-6)
    # Columns 3 and 6: 6 lies in the third tile alone.
    np.testing.assert_allclose(found.of_region(region(3, 0, ["x..x"]), (4, 8)), [1.7 / 3], rtol=1e-6)


def test_values_are_cosines_of_white_features():
    """By hand, in float64: 3 x 3 means, whitened, over their length; 0 where there is nothing to compare."""
    rng = np.random.default_rng(0)
    features = [rng.normal(size=(1, 4, 4, 2)).astype(np.float32), rng.normal(size=(1, 2, 2, 3)).astype("f4")]
    coarsest = np.zeros((1, 1, 1, 4), np.float32)
    unit = rng.normal(size=(3, 2))
    unit /= np.linalg.norm(unit, axis=0)
    arrays = rng.normal(size=(5, 3)), rng.normal(size=3), unit
    kinds = KnownKinds(("a", "b"), *(np.float32(a) for a in arrays))
    likeness = Likeness([np.zeros(2), np.zeros(3)], 0.0, kinds=kinds)
    patches = patches_of([f[0] for f in (*features, coarsest)]).astype(np.float64)
    white = patches @ arrays[0] + arrays[1]
    expected = (white / np.linalg.norm(white, axis=1, keepdims=True)) @ unit
    found = np.asarray(likeness.kind_values([*features, coarsest]))
    assert found.shape == (1, 2, 2, 2) and np.abs(found).max() <= 1
    np.testing.assert_allclose(found.reshape(4, 2), expected, rtol=1e-4, atol=1e-5)
    nothing = Likeness([np.zeros(2), np.zeros(3)], 0.0, kinds=kinds._replace(offset=np.zeros(3, np.float32)))
    assert not np.asarray(nothing.kind_values([np.zeros_like(f) for f in (*features, coarsest)])).any()


def defect(rng, channel: int):
    """Features of three scales of an image with a defect in its upper left corner."""
    features = [rng.normal(size=s).astype(np.float32) for s in ((8, 8, 2), (4, 4, 3), (2, 2, 2))]
    features[1][:2, :2, channel] += 6.0
    return features


def test_known_kinds_are_told_apart():
    rng = np.random.default_rng(0)
    normal = [[rng.normal(size=s).astype(np.float32) for s in ((8, 8, 2), (4, 4, 3))] for _ in range(100)]
    drawn = [patches_of([*n, np.zeros((2, 2, 2), np.float32)]) for n in normal]
    where = np.zeros((32, 32), bool)
    where[:16, :16] = True
    known = [[(defect(rng, i % 2), where if i < 2 else None)] for i in range(5)]
    kinds = ["dent", "cut", "dent", "cut", None, "not used"]
    likeness = Likeness.fit(drawn, known, kinds)
    assert likeness.kinds.names == ("cut", "dent")
    for channel, name in ((0, "dent"), (1, "cut")):
        features = [f[None] for f in defect(rng, channel)]
        found = KindMap(np.asarray(likeness.kind_values(features)), (4, 4), (4, 4))
        (told,) = named([region(0, 0, ["xx", "xx"])], found, (4, 4), likeness.kinds.names)
        assert told.kind == name and told.kind_likeness > 0.5
    plain = Likeness.fit(drawn, known)
    assert plain.kinds is None
    np.testing.assert_array_equal(np.concatenate(plain.weights), np.concatenate(likeness.weights))

    again = Likeness.of_arrays(**likeness.arrays())
    assert again.kinds.names == ("cut", "dent")
    for one, other in zip(again.kinds[1:], likeness.kinds[1:], strict=True):
        np.testing.assert_array_equal(one, other)
    # A run of before.
    before = {name: array for name, array in likeness.arrays().items() if not name.startswith("kind_")}
    assert Likeness.of_arrays(**before).kinds is None


@pytest.mark.parametrize(
    "changes, told",
    [
        ({"kind_offset": np.zeros(4)}, "have projection, offset and directions"),
        ({"kind_names": np.array(["a", "a"])}, r"kinds \('a', 'a'\)"),
        ({"kind_projection": np.zeros((9, 3))}, "kinds are of 9 features, weights of 5"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(changes, told):
    kinds = KnownKinds(("a", "b"), np.zeros((5, 3)), np.zeros(3), np.eye(3)[:, :2])
    arrays = Likeness([np.zeros(2), np.zeros(3)], 0.0, kinds=kinds).arrays()
    with pytest.raises(ValueError, match=told):
        Likeness.of_arrays(**{**arrays, **changes})
