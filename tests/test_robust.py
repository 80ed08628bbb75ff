"""Median absolute deviation and robust standard deviations, by hand."""

import numpy as np
import pytest

from semi_anogan.scoring.robust import robust_spread, robust_z


def test_the_spread_by_hand():
    """Distances from 3 are 2, 1, 0, 1 and 997, of which the middle one is 1."""
    values = np.array([1.0, 2.0, 3.0, 4.0, 1000.0])
    assert robust_spread(values, 3.0) == pytest.approx(1.4826)
    # From another center: 1, 0, 1, 2 and 998.
    assert robust_spread(values, 2.0) == pytest.approx(1.4826)
    assert robust_spread(values, 1.0) == pytest.approx(2 * 1.4826)


def test_the_spread_of_each_column_by_hand():
    values = np.array([[0.0, 5.0], [1.0, 5.0], [10.0, 5.0], [13.0, 5.0]])
    # Medians 5.5 and 5; distances 5.5, 4.5, 4.5, 7.5 and four times 0.
    np.testing.assert_allclose(robust_spread(values, np.array([5.5, 5.0]), axis=0), [1.4826 * 5.0, 0.0])


def test_of_normal_variables_it_is_the_standard_deviation_whatever_a_tenth_of_wild_values():
    rng = np.random.default_rng(0)
    values = rng.normal(7.0, 3.0, 20000)
    assert robust_spread(values, np.median(values)) == pytest.approx(3.0, rel=0.02)
    values[:2000] = 1e9
    assert robust_spread(values, np.median(values)) < 3.6


def test_robust_z_by_hand():
    """Median 3, median absolute deviation 1; the wild value moves neither."""
    found = robust_z([1, 2, 3, 4, 1000])
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, np.array([-2.0, -1.0, 0.0, 1.0, 997.0]) / (1.4826 + 1e-6), rtol=1e-12)
    # Where the values hardly vary nothing is divided by 0.
    np.testing.assert_allclose(robust_z(np.float32([5, 5, 5, 6])), [0.0, 0.0, 0.0, 1e6], rtol=1e-12)
