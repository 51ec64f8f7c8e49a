"""The documents agree with the code: links lead somewhere, and the map of CONTRIBUTING.md is that of the layers."""

import re
from pathlib import Path

import pytest

from test_architecture import LAYERS

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def anchors(page: Path) -> set[str]:
    """The anchors that a page's headings have on GitHub."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        place, _, anchor = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_map_has_every_layer_in_order():
    block = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## The map")[2].split("```")[1]
    names = [re.split(r"\s{3,}", line)[0] for line in block.strip().splitlines()]
    listed = [name.strip("/") for line in names for name in re.split(r",?\s+", line)]
    known = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
    assert set(listed) == set(known)
    assert [known[name] for name in listed] == sorted(known[name] for name in listed)
