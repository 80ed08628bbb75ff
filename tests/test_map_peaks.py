"""What calibrate keeps of map layers has the highest value of their map."""

import numpy as np
import pytest
from scipy import ndimage

from semi_anogan.data.image_arrays import smooth_map
from semi_anogan.scoring.map_peaks import PLACES, highest_places


def test_of_a_small_map_all_places_are_kept():
    layers = np.random.default_rng(0).standard_normal((8, 12, 3)).astype(np.float32)
    places = highest_places(layers, 1.0)
    assert places.shape == (96, 3)
    # Weighed after the smoothing or before, it is the same map.
    weights = np.float32([0.2, 0.5, 0.3])
    np.testing.assert_allclose(places @ weights, smooth_map(layers @ weights, 1.0).ravel(), atol=1e-5)


@pytest.mark.parametrize("weights", [[1, 0, 0, 0], [0.25, 0.25, 0.25, 0.25], [0.6, 0.1, 0.1, 0.2]])
def test_of_a_large_map_the_highest_value_is_kept(weights):
    rng = np.random.default_rng(1)
    for _ in range(5):
        noise = rng.standard_normal((200, 300, 4))
        layers = ndimage.gaussian_filter(noise, (3, 3, 0)).astype(np.float32) * [1, 5, 0.1, 2]
        places = highest_places(layers, 1.0)
        assert len(places) <= PLACES
        expected = smooth_map(layers @ np.float64(weights), 1.0).max()
        assert (places @ np.float64(weights)).max() == pytest.approx(expected, rel=1e-4)
