"""Files cut into records: by headings, pages, paragraphs, rows and items."""

from __future__ import annotations

import pytest

from core.extracting import DOCX, PDF, Unreadable
from core.splitting import MOST_RECORDS, WORTHWHILE, split
from tests.documents import HTML, a_docx, a_pdf

GUIDE = """Before any heading.

# Guide #

Short.

Also short.

```
# no heading

code
```

## Install

First.

Underlined
----------
- a
- b

---

Ruled off.

# Guide again
Right below.
"""


def pieces(content: bytes | str, kind: str, **options) -> list[tuple[str | None, str]]:
    raw = content.encode() if isinstance(content, str) else content
    return [(piece.place, piece.text) for piece in split(raw, kind, "x", **options)]


def test_markdown_is_cut_at_its_headings_and_every_record_says_under_which_it_stands():
    assert pieces(GUIDE, "text/markdown") == [
        (None, "Before any heading."),
        ("Guide", "Guide\n\nShort.\n\nAlso short.\n\n```\n# no heading\n\ncode\n```"),
        ("Guide > Install", "Guide > Install\n\nFirst."),
        ("Guide > Underlined", "Guide > Underlined\n\n- a\n- b\n\n---\n\nRuled off."),
        ("Guide again", "Guide again\n\nRight below."),
    ]


def test_short_paragraphs_of_a_section_are_records_together_and_of_two_sections_never():
    section = "\n\n".join(f"Paragraph {number} says {'words ' * 10}." for number in range(40))
    found = pieces(f"# One\n{section}\n# Two\n{section}", "text/markdown")
    assert {place for place, _ in found} == {"One", "Two"}
    assert all(text.startswith(f"{place}\n\n") for place, text in found)
    assert all(WORTHWHILE / 2 < len(text.encode()) < 2 * WORTHWHILE for _, text in found[:-1])
    said = " ".join(text for place, text in found if place == "One")
    assert all(f"Paragraph {number} says" in said for number in range(40))


def test_pages_and_word_files_are_cut_the_same_way():
    assert pieces(HTML, "text/html") == [
        ("Manual", "Manual\n\nIt is easy."),
        (
            "Manual > Setup & care",
            "Manual > Setup & care\n\nPlug in\nTurn on\nand wait\na\nb\n\nx = 1\ny = 2",
        ),
    ]
    assert [place for place, _ in pieces(a_docx(), DOCX)] == ["Manual > Setup", "Manual > Setup > Care"]


def test_a_pdf_is_cut_at_its_pages_and_a_full_page_between_its_lines():
    lines = [f"Line {number} of a page that has a good deal to say about it." for number in range(50)]
    found = pieces(a_pdf(lines, ["Little."]), PDF)
    assert found[-1] == ("page 2", "Little.")
    assert {place for place, _ in found[:-1]} == {"page 1"}
    assert len(found) > 3
    assert [line for _, text in found[:-1] for line in text.split("\n")] == lines


@pytest.mark.parametrize("kind", ["text/markdown", "text/plain"])
def test_separators_that_are_given_are_all_that_counts(kind):
    assert pieces("# a\n\nb---c", kind, separators="---") == [(None, "# a\n\nb"), (None, "c")]


def test_plain_text_is_cut_at_blank_lines_and_not_put_together():
    assert pieces("One.\n\nTwo.", "text/plain") == [(None, "One."), (None, "Two.")]


def test_what_is_longer_than_a_record_may_be_is_cut_between_words():
    found = pieces("# H\n\n" + "word " * 5000, "text/markdown", max_tokens=100)
    assert all(len(text.encode()) <= 400 for _, text in found)
    assert all(place == "H" for place, _ in found)


@pytest.mark.parametrize(
    "content", ["", "\n\n", "#", "# ", "```", "# only\n## headings", "---", "===", "\r\n# \r\n"]
)
def test_markdown_that_says_nothing_makes_few_records(content):
    assert len(pieces(content, "text/markdown")) <= 1


def test_no_file_makes_more_than_ten_thousand_records():
    section = "# a\nb\n"
    assert len(pieces(section * MOST_RECORDS, "text/markdown")) == MOST_RECORDS
    with pytest.raises(Unreadable) as refusal:
        pieces(section * (MOST_RECORDS + 1), "text/markdown")
    assert refusal.value.code == "too_many_records"
