"""The text of files, and that a hostile one hurts nobody."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core import extracting
from core.errors import InvalidInput, Unavailable
from core.extracting import DOCX, PDF, Part, Unreadable, extract, readable
from tests.documents import (
    HTML,
    a_billion_laughs,
    a_docx,
    a_locked_pdf,
    a_pdf,
    a_word_body,
)

ROOT = Path(__file__).resolve().parents[2]
MARKER = "geheim4711"


def parts(content: bytes, kind: str, name: str | None = None) -> list[tuple[object, str]]:
    return [(part.page or part.heading, part.text.strip()) for part in extract(content, kind, name).parts]


def test_a_pdf_is_read_page_by_page_and_divided_words_are_whole():
    content = a_pdf(["An exam-", "ple of it."], ["The second."])
    assert parts(content, PDF) == [(1, "An example of it."), (2, "The second.")]
    assert extract(content, PDF, None).text == "[page 1]\nAn example of it.\n\n\n[page 2]\nThe second.\n"


def test_a_word_file_is_read_by_its_headings_and_a_table_row_is_a_line():
    found = parts(a_docx(), "application/octet-stream", "x.DOCX")
    assert found == [("Manual > Setup", "Plug it in.\nleft | right"), ("Manual > Setup > Care", "Wipe it.")]


def test_a_page_is_read_by_its_headings_without_scripts_styles_and_navigation():
    assert parts(HTML.encode(), "text/html") == [
        ("Manual", "It is easy."),
        ("Manual > Setup & care", "Plug in\nTurn on\nand wait\na\nb\n\nx = 1\ny = 2"),
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("<p>Grün".encode(), "Grün"),
        ("<meta charset=iso-8859-1><p>Grün".encode("latin-1"), "Grün"),
        (b"<p>a\x00b</p>", "a\ufffdb"),
        (b"no tags at all", "no tags at all"),
        (b"<div>one<div>two</div>three</div>", "one\n\ntwo\n\nthree"),
        (b"<p>a<!-- hidden -->b</p><?php echo 1 ?>", "ab"),
    ],
)
def test_pages_may_be_untidy(content, said):
    assert [text for _, text in parts(content, "text/html")] == [said]


def test_plain_kinds_are_read_as_they_are():
    for kind, name in (("text/plain", None), ("text/markdown", None), ("text/csv", None), (None, "a.JSON")):
        assert extract("\ufeffÄ,b\n".encode(), kind, name).parts == (Part("Ä,b\n"),)


def test_whether_a_file_is_readable_is_told_by_its_type_or_its_ending():
    assert all(readable(kind, None) for kind in ("text/plain", "text/html", PDF, DOCX, "text/csv"))
    assert readable("application/octet-stream", "a.pdf")
    assert readable(None, "a.htm")
    assert not any(
        readable(*one) for one in ((None, None), ("image/png", "x.png"), ("", "pdf"), (None, "doc.doc"))
    )


FAULTS = {
    "an unknown kind": (b"x", "image/png", "unsupported"),
    "no text": (b"\xff\xfe", "text/plain", "not_utf8"),
    "a NUL": (b"a\x00", "text/plain", "nul"),
    "no PDF": (b"%PDF-1.7 " + MARKER.encode(), PDF, "file_damaged"),
    "nothing": (b"", PDF, "file_damaged"),
    "a scan": (a_pdf([], stream=b"q Q"), PDF, "no_text"),
    "a locked PDF": (a_locked_pdf("secret", "other"), PDF, "locked"),
    "no Word file": (MARKER.encode(), DOCX, "file_damaged"),
    "an old or locked Word file": (b"\xd0\xcf\x11\xe0" + b"0" * 2000, DOCX, "locked"),
    "another zip file": (a_docx(b"<a/>"), DOCX, "file_damaged"),
    "an empty page": (b"", "text/html", "no_text"),
    "a page of tags": (b"<p></p>" * 1000, "text/html", "no_text"),
    # Bombs.
    "a billion laughs": (a_billion_laughs(), DOCX, None),
    "a Word file that says it unpacks to 300 MB": (
        a_docx(b"<a>" + b"0" * 300 * 2**20),
        DOCX,
        "too_costly",
    ),
    "a Word file of many members": (a_docx(**{f"x{at}": b"" for at in range(5001)}), DOCX, "too_costly"),
    "a PDF that unpacks to 100 MB": (a_pdf([], stream=b"(aaaaaaaa) Tj " * (7 * 2**20)), PDF, None),
    "a page of a million elements": (b"<b>x</b>" * 2_500_000, "text/html", None),
    "a page nested 200,000 deep": (b"<div>x" * 200_000, "text/html", "too_costly"),
    "a page of 12 MB of text": (b"<p>" + b"word " * 2_600_000, "text/html", "too_much_text"),
    "a file of 51 MiB": (b" " * (51 * 2**20), "text/html", "file_too_large"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_that_cannot_be_read_is_refused_in_a_sentence_without_its_words(fault):
    content, kind, code = FAULTS[fault]
    began = time.monotonic()
    with pytest.raises(InvalidInput) as refusal:
        extract(content, kind, f"{MARKER}.bin")
    assert time.monotonic() - began < extracting.PATIENCE
    assert isinstance(refusal.value, Unreadable)
    assert refusal.value.code in ({code} if code else set(extracting.REASONS))
    assert MARKER not in str(refusal.value)
    assert str(refusal.value).endswith(".")


def test_a_pdf_that_only_its_owner_may_change_is_read():
    assert parts(a_locked_pdf("", "owner"), PDF) == [(1, "Locked words.")]


def test_an_external_entity_is_not_fetched():
    body = a_word_body("before &x; after", '<!ENTITY x SYSTEM "file:///etc/passwd">')
    try:
        told = extract(a_docx(body), DOCX, None).text
    except Unreadable:
        told = ""
    assert "root:" not in told


def test_who_waits_is_asked_and_may_end_the_reading(monkeypatch):
    class Stop(Exception):
        pass

    def stop() -> None:
        raise Stop

    monkeypatch.setattr(extracting, "BEAT", 0.001)
    with pytest.raises(Stop):
        extract(a_pdf(["x"]), PDF, None, beat=stop)
    assert extract(a_pdf(["x"]), PDF, None).text  # its place is free again


def test_no_more_files_are_read_at_once_than_there_is_memory_for(monkeypatch):
    monkeypatch.setattr(extracting, "BEAT", 0.001)
    monkeypatch.setattr(extracting, "PATIENCE", 0.01)
    beats = []
    with extracting._slots, extracting._slots, pytest.raises(Unavailable):
        extract(a_pdf(["x"]), PDF, None, beat=lambda: beats.append(1))
    assert beats


def test_what_takes_too_long_is_ended(monkeypatch):
    monkeypatch.setattr(extracting, "BEAT", 0.001)
    monkeypatch.setattr(extracting, "PATIENCE", 0.002)
    with pytest.raises(Unreadable) as refusal:
        extract(a_pdf(["x"]), PDF, None)
    assert refusal.value.code == "too_costly"


@pytest.mark.parametrize(
    "act",
    [
        "import socket; socket.socket()",
        "import socket; socket.getaddrinfo('localhost', 1)",
        "import os; os.system('true')",
        "import subprocess; subprocess.run(['true'])",
        "import os; os.fork()",
        "open('/tmp/written', 'w').write('x' * 10**6)",
        "bytearray(2**31)",
    ],
)
def test_the_process_that_reads_has_no_network_no_children_no_files_and_little_memory(act):
    said = f"import socket, subprocess\nfrom core.extraction import _limit\n_limit()\n{act}"
    done = subprocess.run([sys.executable, "-c", said], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode != 0, act
    assert any(name in done.stderr for name in (b"PermissionError", b"File too large", b"MemoryError"))


def test_the_process_that_reads_is_told_no_secret(monkeypatch):
    seen = []
    real = subprocess.Popen

    def popen(*args, **options):
        seen.append(options["env"])
        return real(*args, **options)

    monkeypatch.setenv("CRONTALK_KEY", MARKER)
    monkeypatch.setenv("DATABASE_URL", MARKER)
    monkeypatch.setattr(subprocess, "Popen", popen)
    extract(b"<p>x", "text/html", None)
    assert seen
    assert MARKER not in seen[0].values()
    assert os.environ["DATABASE_URL"] == MARKER
