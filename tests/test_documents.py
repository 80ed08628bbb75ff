"""The documents: README is short, and links lead somewhere."""

import re

import pytest

from helpers.processes import ROOT

DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [path.relative_to(ROOT).as_posix() for path in DOCUMENTS]


def prose(path):
    """A document without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.S | re.M)


def anchors(text):
    """The anchors that headings get on GitHub; of equal ones the second ends in -1, and so on."""
    found, counts = set(), {}
    for heading in re.findall(r"^#+ +(.+?) *$", text, re.M):
        heading = re.sub(r"\[(.*?)\]\(.*?\)", r"\1", heading).lower()
        anchor = re.sub(r"[^\w\- ]", "", heading).replace(" ", "-")
        count = counts[anchor] = counts.get(anchor, -1) + 1
        found.add(f"{anchor}-{count}" if count else anchor)
    return found


def broken(path, text):
    """The relative links of a document, pictures too, whose file or anchor there is not."""
    wrong = []
    for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", text)):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        if not target.exists() or anchor and anchor not in anchors(prose(target)):
            wrong.append(link)
    return wrong


def test_anchors_by_hand():
    text = "# A title\n## `data.tile`: 1 to 4, or [more](x.md)\n## A title\n### Not — kept?\n"
    assert anchors(text) == {"a-title", "datatile-1-to-4-or-more", "a-title-1", "not--kept"}


def test_broken_links_are_found(tmp_path):
    (tmp_path / "b.md").write_text("# There\n```\n# not a heading\n```\n")
    path = tmp_path / "a.md"
    text = "# Here\n[1](b.md) [2](b.md#there) [3](#here) [4](https://x.org/y) `[5](c.md)`\n"
    text += "![6](b.png) [7](b.md#here) [8](#not) [9](b.md#not-a-heading)\n"
    path.write_text(text)
    assert broken(path, prose(path)) == ["b.png", "b.md#here", "#not", "b.md#not-a-heading"]


@pytest.mark.parametrize("path", DOCUMENTS, ids=NAMES)
def test_links_lead_somewhere(path):
    assert broken(path, prose(path)) == []


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 130
