import pytest

from core.errors import InvalidInput
from core.file_names import disposition, media_type, safe_name, served_type


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\ada\\notes.txt", "notes.txt"),
        ("..", None),
        ("", None),
        (None, None),
        ("   ", None),
        ("a/", None),
        ("exe\u202egpj.exe", "exegpj.exe"),
        ("a\r\nSet-Cookie: x=1", "aSet-Cookie: x=1"),
        ("a\x00b\x7f\u2028c", "abc"),
        ("\ud800half.txt", "half.txt"),
        ("übersicht 東京 👩\u200d🚀.csv", "übersicht 東京 👩\u200d🚀.csv"),
        ("e\u0301.txt", "é.txt"),
        (".hidden. ", "hidden"),
    ],
)
def test_a_name_is_the_last_part_of_a_path_without_controls(written, kept):
    assert safe_name(written) == kept


def test_a_long_name_keeps_its_ending_and_is_cut_between_characters():
    kept = safe_name("é" * 500 + ".markdown")
    assert kept.endswith("é.markdown")
    assert len(kept.encode()) <= 255
    assert len(safe_name("x" * 300).encode()) == 255
    assert len(safe_name("x." + "y" * 300).encode()) == 255
    assert len(safe_name("x" * 1_000_000).encode()) == 255


def test_types_are_media_types_without_parameters():
    assert media_type("Text/HTML; charset=utf-8") == "text/html"
    assert media_type(None) == media_type("") == "application/octet-stream"
    for wrong in ("text", "text/", "/x", "a/b/c", "text/pl ain", "x" * 200 + "/y", "text/\n", "é/é", "*/*"):
        with pytest.raises(InvalidInput):
            media_type(wrong)


def test_what_a_browser_might_run_is_sent_as_bytes():
    for active in ("text/html", "image/svg+xml", "application/xhtml+xml", "text/javascript", "text/xml"):
        assert served_type(active) == "application/octet-stream"
    for harmless in ("image/png", "text/plain", "text/csv"):
        assert served_type(harmless) == harmless


def test_a_download_carries_its_name_in_both_spellings():
    assert disposition(None) == "attachment"
    assert disposition('a"b;ü.txt') == (
        "attachment; filename=\"a_b__.txt\"; filename*=UTF-8''a%22b%3B%C3%BC.txt"
    )
    disposition("\u4e00" * 85).encode("latin-1")
