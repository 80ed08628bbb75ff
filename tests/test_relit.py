"""Images in other light, and what that says of a component."""

import numpy as np
import pytest

from semi_anogan.data.relit import LIGHT, in_light, relit
from semi_anogan.scoring.fit_calibration import HeldOut, fit


def test_light_by_hand():
    """Values 0.2, 0.4, 0.6, 0.8 of mean 0.5: contrast 1.5 makes 0.05, 0.35, 0.65, 0.95."""
    image = np.float32([[-0.6, -0.2], [0.2, 0.6]])[..., None]
    np.testing.assert_allclose(in_light(image, 1, 1, 1), image, atol=1e-6)
    found = in_light(image, 1, 1.5, 1)
    np.testing.assert_allclose((found[..., 0] + 1) / 2, [[0.05, 0.35], [0.65, 0.95]], atol=1e-6)
    found = in_light(image, 2, 1.5, 1)
    np.testing.assert_allclose((found[..., 0] + 1) / 2, [[0.1, 0.7], [1, 1]], atol=1e-6)
    found = in_light(image, 1, 1, 2)
    np.testing.assert_allclose((found[..., 0] + 1) / 2, [[0.04, 0.16], [0.36, 0.64]], atol=1e-6)
    assert found.dtype == np.float32


def test_light_is_drawn_around_that_of_the_image():
    image = np.full((4, 4, 1), 0.2, np.float32)  # 0.6 of the range: brightness and gamma alone move it
    means = [(relit(image, np.random.default_rng(seed)).mean() + 1) / 2 for seed in range(400)]
    low, high = ((0.6 * np.exp(s * LIGHT)) ** np.exp(-s * LIGHT) for s in (-1, 1))
    assert low <= min(means) < 0.55 and 0.66 < max(means) <= high
    assert np.mean(means) == pytest.approx(0.6, abs=0.01)


def test_what_light_moves_counts_for_less():
    """Two components alike but in other light, which moves the second by 6 deviations: it weighs a quarter.

    Half of a mixture of N(0, 1) and N(6, 1) lies within 3 of its median 3: the scale is 1.4826 * 3.
    """
    rng = np.random.default_rng(0)
    normal, relit_rows = rng.standard_normal((2, 4000, 2))
    relit_rows[:, 1] += 6
    found = fit(["steady", "moved"], HeldOut(normal, relit=relit_rows))
    np.testing.assert_allclose(found.scale, [1, 1.4826 * 3], rtol=0.03)
    np.testing.assert_allclose(found.center, [0, 3], atol=0.25)
    step = found.score([[4.0, 0.0], [0.0, 4.0]]) - found.score([[0.0, 0.0]])
    assert step[0] / step[1] == pytest.approx(1.4826 * 3, rel=0.05)
    # The threshold is that of images as they are.
    rate = np.mean(found.score(rng.standard_normal((20000, 2))) > found.threshold)
    assert rate == pytest.approx(0.01, abs=0.004)
    plain = fit(["steady", "moved"], HeldOut(normal))
    np.testing.assert_allclose(plain.scale, [1, 1], rtol=0.05)
