"""The folder to try the commands on: pieces of surfaces that hold their defects."""

import numpy as np
import pytest

from semi_anogan.benchmarks import example
from semi_anogan.errors import RunError


@pytest.mark.parametrize("top, left, side", [(0, 0, 10), (250, 120, 6), (60, 246, 10), (100, 20, 128)])
def test_a_piece_holds_the_whole_defect(top, left, side):
    mask = np.zeros((256, 256), bool)
    mask[top : top + side, left : left + side] = True
    image = np.arange(256 * 256).reshape(256, 256, 1)
    places = set()
    for index in range(8):
        piece, inside = example._piece(image, mask, index)
        assert piece.shape == (128, 128, 1) and inside.shape == (128, 128) and inside.sum() == mask.sum()
        np.testing.assert_array_equal(piece[inside], image[mask])
        places.add(int(piece[0, 0, 0]))
    assert len(places) > 1 or top == left == 0 or side == 128
    assert example._piece(image, np.zeros_like(mask), 0)[0].shape == (128, 128, 1)


def test_a_folder_that_is_there_is_left_alone(tmp_path):
    (tmp_path / "mine.png").write_text("x")
    with pytest.raises(RunError, match="exists already; give another --output"):
        example.run(str(tmp_path))
    assert [p.name for p in tmp_path.iterdir()] == ["mine.png"]
