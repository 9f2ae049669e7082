"""Links and images of README.md and docs lead to files that exist, and their anchors to headings."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\(([^()\s]+)\)")
FENCED = re.compile(r"^( *`{3,})[^`\n]*\n.*?^\1$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`[^`\n]+`")


def links(text: str) -> list[str]:
    """What relative links point at; those in code are nobody's."""
    prose = INLINE.sub("code", FENCED.sub("", text))
    return [target for target in LINK.findall(prose) if "://" not in target]


def anchors(text: str) -> set[str]:
    """The headings, as GitHub names them: lower case, no punctuation, a second one of a name numbered."""
    named: list[str] = []
    for heading in re.findall(r"^#+ (.+)$", FENCED.sub("", text), re.MULTILINE):
        plain = re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
        named.append(plain if plain not in named else f"{plain}-{named.count(plain)}")
    return set(named)


@cache
def anchors_of(page: Path) -> set[str]:
    return anchors(page.read_text(encoding="utf-8"))


def broken(page: Path) -> list[str]:
    found = []
    for link in links(page.read_text(encoding="utf-8")):
        name, _, anchor = link.partition("#")
        place = (page.parent / name).resolve() if name else page
        leads = place.exists() and ROOT in place.parents
        if not leads or (anchor and anchor not in anchors_of(place)):
            found.append(link)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    assert broken(page) == []


def test_every_page_is_reached_from_the_readme():
    seen, ahead = set(), [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        if page.is_dir():
            ahead += page.glob("*.md")
        if page in seen or page.suffix != ".md" or not page.exists():
            continue
        seen.add(page)
        names = [link.partition("#")[0] for link in links(page.read_text(encoding="utf-8"))]
        ahead += [(page.parent / name).resolve() for name in names if name]
    assert [str(page.relative_to(ROOT)) for page in PAGES if page not in seen] == []


def test_anchors_are_named_as_on_github():
    text = "# One, and `two`!\n## A run's states\n## Twice\n## Twice\n"
    assert anchors(text) == {"one-and-two", "a-runs-states", "twice", "twice-1"}


def test_a_link_in_code_is_none():
    assert links("[a](b.md) `[c](d.md)`\n```\n[e](f.md)\n```\n[g](https://h)") == ["b.md"]
