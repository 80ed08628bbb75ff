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


def test_rows_are_the_runs_search(smoke_run, smoke_data, capsys):
    config, dataset, splits = smoke_data
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
    losses_of_rows = [float(row[5]) for row in rows]  # searching lowers them
    assert losses_of_rows[1] < losses_of_rows[0] and losses_of_rows[3] < losses_of_rows[2]
    # The first row by hand: no step, so the encoder's own reconstruction.
    model = Detector.load(smoke_run).model
    images = np.stack([dataset.read_image(e) for e in splits.test])
    latents = bounded(model.encoder_average(images))
    features, reconstructions = model.discriminator_average(images)[1], model.generator_average(latents)
    found = model.discriminator_average(reconstructions)[1]
    loss = np.asarray(
        losses.search_loss(images, reconstructions, features, found, config.search.feature_weight)
    )
    abnormal = [e.abnormal for e in splits.test]
    assert float(rows[0][2]) == pytest.approx(roc_auc_score(abnormal, loss), abs=1e-3)
    assert float(rows[0][5]) == pytest.approx(loss.mean(), abs=1e-3)


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
