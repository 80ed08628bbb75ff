"""The benchmark of the search's length: its rows are the run's search with so many steps."""

import re

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from semi_anogan.benchmarks import search as search_lengths
from semi_anogan.errors import RunError
from semi_anogan.networks import losses
from semi_anogan.networks.layers import bounded
from semi_anogan.scoring.detector import Detector


@pytest.mark.slow
def test_rows_are_the_runs_search(smoke_run, smoke_data, capsys):
    _, dataset, splits = smoke_data
    text = search_lengths.run(str(smoke_run), [0, 20], 20)
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if re.match(r"\| (enc|cand)", line)
    ]
    assert [row[:2] for row in rows] == [
        ["encoder", "0"],
        ["encoder", "20"],
        ["candidates", "0"],
        ["candidates", "20"],
    ]
    # The first row by hand: no step, so the encoder's own reconstruction.
    model = Detector.load(smoke_run).model
    images = np.stack([dataset.read_image(e) for e in splits.test])
    reconstructions = model.generator_average(bounded(model.encoder_average(images)))
    found = (model.discriminator_average(x)[1] for x in (images, reconstructions))
    abnormal = [e.abnormal for e in splits.test]
    expected = [losses.residual(images, reconstructions), losses.feature_distance(*found)]
    for cell, values in zip(rows[0][2:4], expected, strict=True):
        assert float(cell) == pytest.approx(roc_auc_score(abnormal, np.asarray(values)), abs=1e-3)
    # Searching changes what is told.
    assert rows[0][2:4] != rows[1][2:4] and rows[2][2:4] != rows[3][2:4]
    assert "| residual | feature_distance | images/s |" in text


@pytest.mark.parametrize(
    "normal, abnormal, most, expected",
    [(10, 10, 8, (4, 4)), (10, 2, 8, (6, 2)), (2, 10, 8, (2, 6)), (3, 3, 100, (3, 3))],
)
def test_half_of_the_images_are_normal_where_there_are_enough(normal, abnormal, most, expected):
    truth = np.array([False] * normal + [True] * abnormal)
    chosen = search_lengths.choose(truth, most, seed=0)
    assert len(set(chosen)) == len(chosen) and (np.sort(chosen) == chosen).all()
    assert (np.count_nonzero(~truth[chosen]), np.count_nonzero(truth[chosen])) == expected


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(RunError, match=f"{tmp_path}/config.json: no such file"):
        search_lengths.run(str(tmp_path), [10], 20)
