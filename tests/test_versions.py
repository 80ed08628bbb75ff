"""The tables of formats, and the version of the package that stands in two places."""

import configparser
import json

import pytest

from helpers.processes import ROOT
from semi_anogan import __version__, versions
from semi_anogan.versions import refusal

TABLES = (versions.RUN_FOLDERS, versions.BUNDLES, versions.MODELS)


def test_the_version_is_that_of_setup_cfg():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert setup["metadata"]["version"] == __version__


@pytest.mark.parametrize("table", TABLES)
def test_formats_are_counted_from_1_and_no_version_is_later_than_this(table):
    def number(version):
        return tuple(map(int, version.split(".")))

    assert list(table) == list(range(1, len(table) + 1))
    assert [number(v) for v in table.values()] == sorted(number(v) for v in table.values())
    assert number(table[max(table)]) <= number(__version__)


def test_refusal(monkeypatch):
    table = {1: "0.1", 2: "0.3", 3: "0.4"}
    monkeypatch.setattr(versions, "__version__", "0.5.1")
    here = "this is 0.5, which reads format 3: make it again"
    expected = {
        1: f"a file: format 1 is read by semi_anogan 0.1; {here}, or install that version",
        2: f"a file: format 2 is read by semi_anogan 0.3; {here}, or install that version",
        3: None,
        4: f"a file: format 4 is newer than this version reads; {here}, or install a newer version",
        None: f"a file: has no format number, as no version of semi_anogan writes it; {here}",
    }
    assert {found: refusal("a file", found, table, "make it again") for found in expected} == expected
    for found in (0, -1, True, 3.0, "3", [3]):
        told = f"a file: has format {found!r}, as no version of semi_anogan writes it; {here}"
        assert refusal("a file", json.loads(json.dumps(found)), table, "make it again") == told
