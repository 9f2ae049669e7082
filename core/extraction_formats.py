"""PDF, Word and HTML as text with pages and headings: pure, and run in a process of its own only."""

from __future__ import annotations

import io
import logging
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import docx
from docx.oxml.ns import qn
from lxml import etree
from pypdf import PdfReader

MOST_UNPACKED = 200 * 2**20  # bytes of a Word file, as it says itself
MOST_MEMBERS = 5000
LONGEST_HEADING = 200
PARAGRAPH, ROW, CELL, STYLE = qn("w:p"), qn("w:tr"), qn("w:tc"), qn("w:pStyle")
WORDS = {qn("w:t"): None, qn("w:tab"): "\t", qn("w:br"): "\n", qn("w:cr"): "\n"}
HEADING = re.compile(r"(heading|title|berschrift|titre|titulo|titolo)", re.IGNORECASE)
LEFT_OUT = frozenset(
    {"script", "style", "noscript", "template", "svg", "math", "head", "iframe", "object", "nav", "select"}
)
HEADINGS = {f"h{level}": level for level in range(1, 7)}
INLINE = frozenset({
    "a", "abbr", "acronym", "b", "bdi", "bdo", "big", "button", "cite", "code", "data", "del", "dfn", "em",
    "font", "i", "img", "input", "ins", "kbd", "label", "mark", "meter", "q", "s", "samp", "small", "span",
    "strike", "strong", "sub", "sup", "time", "tt", "u", "var", "wbr",
})  # fmt: skip
CELLS = frozenset({"td", "th"})
PREFORMATTED = "pre"
SPLIT_WORD = re.compile(r"(?<=[^\W\d_])-\n(?=[^\W\d_])")

logging.disable()

Parts = Iterator[dict[str, object]]


class Refused(Exception):
    """A file that cannot be read; its message is a code of core.extracting.REASONS."""


def read_pdf(content: bytes) -> Parts:
    """A part a page. Words that were divided at the end of a line are put together."""
    reader = PdfReader(io.BytesIO(content))
    if reader.is_encrypted and not reader.decrypt(""):
        raise Refused("locked")
    for number, page in enumerate(reader.pages, 1):
        yield {"page": number, "text": SPLIT_WORD.sub("", page.extract_text())}


def read_docx(content: bytes) -> Parts:
    """A part a heading; of a table a line a row."""
    _refuse_bomb(content)
    document = docx.Document(io.BytesIO(content))
    styles = {style.style_id: style.name or "" for style in document.styles}
    sections = _Sections()
    walker = etree.iterwalk(document.element.body, events=("start",), tag=(PARAGRAPH, ROW))
    for _, element in walker:
        walker.skip_subtree()
        if element.tag == ROW:
            cells = (_said(cell).strip() for cell in element.iter(CELL))
            sections.add(" | ".join(cell for cell in cells if cell), line=True)
            continue
        style = element.find(f".//{STYLE}")
        named = "" if style is None else style.get(qn("w:val"), "")
        if HEADING.match(named) or HEADING.match(styles.get(named, "")):
            level = re.search(r"\d", styles.get(named, "") or named)
            yield from sections.begin(_said(element), int(level.group()) if level else 0)
        else:
            sections.add(_said(element))
    yield from sections.end()


def read_html(content: bytes) -> Parts:
    """A part a heading; scripts, styles and navigation are left out, and nothing is fetched."""
    parser = etree.HTMLParser(
        encoding=_encoding(content), no_network=True, huge_tree=True, remove_comments=True
    )
    root = etree.fromstring(content, parser) if content.strip() else None
    if root is None:
        return
    if any("depth" in error.message for error in parser.error_log):
        raise Refused("too_costly")  # the parser has left out what is nested deeper
    sections, line, depth = _Sections(), _Line(), 0
    walker = etree.iterwalk(root, events=("start", "end"))
    level: int | None = None
    for event, element in walker:
        tag = element.tag if isinstance(element.tag, str) else ""
        if event == "start" and (not tag or tag in LEFT_OUT):
            walker.skip_subtree()
            continue
        if tag and tag not in INLINE:
            told = line.take()
            if event == "end" and tag in HEADINGS and level is not None:
                yield from sections.begin(told, level)
                level = None
            elif told and not (level is not None and event == "start"):
                sections.add(told, line=tag in CELLS or tag in {"li", "br", "tr"})
            if event == "start" and tag in HEADINGS:
                level = HEADINGS[tag]
        depth += {"start": 1, "end": -1}[event] if tag == PREFORMATTED else 0
        line.add(element.text if event == "start" else element.tail, kept=depth > 0)
    sections.add(line.take())
    yield from sections.end()


READERS: Mapping[str, Callable[[bytes], Parts]] = {"pdf": read_pdf, "docx": read_docx, "html": read_html}


class _Line:
    """What is said between two beginnings of blocks."""

    def __init__(self) -> None:
        self._pieces: list[str] = []

    def add(self, text: str | None, *, kept: bool) -> None:
        if text:
            self._pieces.append(text if kept else re.sub(r"\s+", " ", text))

    def take(self) -> str:
        told = "".join(self._pieces)
        self._pieces = []
        return re.sub(r" {2,}", " ", told).strip() if "\n" not in told else told.strip("\n")


class _Sections:
    """Paragraphs under headings, in their order."""

    def __init__(self) -> None:
        self._path: list[tuple[int, str]] = []
        self._said: list[str] = []

    def begin(self, heading: str, level: int) -> Parts:
        yield from self.end()
        self._path = [one for one in self._path if one[0] < level]
        told = " ".join(heading.split())[:LONGEST_HEADING]
        if told:
            self._path.append((level, told))

    def add(self, paragraph: str, *, line: bool = False) -> None:
        if paragraph.strip():
            self._said += ["\n" if line else "\n\n", paragraph.strip()]

    def end(self) -> Parts:
        text, self._said = "".join(self._said).strip(), []
        if text:
            heading = " > ".join(one for _, one in self._path)
            yield {"text": text, **({"heading": heading} if heading else {})}


def _said(element: Any) -> str:
    return "".join(WORDS[one.tag] or one.text or "" for one in element.iter(*WORDS))


def _refuse_bomb(content: bytes) -> None:
    """What a file unpacks to is limited by what it says; whoever says less is cut off there by zipfile."""
    try:
        members = zipfile.ZipFile(io.BytesIO(content)).infolist()
    except zipfile.BadZipFile:
        # What Word locks with a password is no zip file, but one of the older kind.
        raise Refused("locked" if content.startswith(b"\xd0\xcf\x11\xe0") else "file_damaged") from None
    if len(members) > MOST_MEMBERS or sum(one.file_size for one in members) > MOST_UNPACKED:
        raise Refused("too_costly")
    if any(one.flag_bits & 1 for one in members):
        raise Refused("locked")


def _encoding(content: bytes) -> str | None:
    """UTF-8 where it is; else what the page says of itself."""
    try:
        content.decode()
    except UnicodeDecodeError:
        return None
    return "utf-8"
