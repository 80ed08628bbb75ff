"""What labels of newly scored images are worth: what comes in, and that it joins as a refit would take it."""

import json

import pytest

from semi_anogan.benchmarks import labels
from semi_anogan.data.dataset import Example


def examples(normal, abnormal):
    found = [Example(f"n{i}", "test", "normal") for i in range(normal)]
    return found + [Example(f"a{i}", "test", "abnormal") for i in range(abnormal)]


def test_a_tenth_of_what_comes_in_is_abnormal():
    incoming, test = labels.halves(examples(36, 20), seed=0)
    assert sum(e.abnormal for e in incoming) == 2 and len(incoming) == 20  # 2 of 20
    assert sum(e.abnormal for e in test) == 18 and len(test) == 36
    assert {*incoming} | {*test} == {*examples(36, 20)}
    incoming, _ = labels.halves(examples(36, 3), seed=0)
    assert sum(e.abnormal for e in incoming) == 1  # half at most


@pytest.mark.slow
def test_labels_join_and_the_run_stays_as_it_is(smoke_run):
    before = {p.name: p.read_bytes() for p in smoke_run.iterdir() if p.is_file()}
    counts = json.loads(before["metrics.json"])["counts"]
    rows = list(labels._rows(smoke_run, [4], 0, anew=True))
    expected = [("–", 0), ("worth", 4), ("worth, trained anew", 4), ("random", 4)]
    assert [(row[0], row[1]) for row in rows] == expected and rows[1][2] == rows[2][2]
    assert all(0 <= row[3] <= 1 and row[2] <= row[1] for row in rows)
    assert {p.name: p.read_bytes() for p in smoke_run.iterdir() if p.is_file()} == before
    assert counts["test_normal"] > 0


def test_a_label_makes_an_image_known_or_trusted(smoke_data):
    config, dataset, splits = smoke_data
    incoming, _ = labels.halves(splits.test, 0)
    found = labels.joined(config, dataset, splits, incoming[:8])
    new = {e.path: e for e in found.training if e.path in {i.path for i in incoming[:8]}}
    assert len(new) == len(incoming[:8]) and all(e.reviewed for e in new.values())
    assert len(found.training) == len(splits.training) + len(new) and found.test == splits.test
