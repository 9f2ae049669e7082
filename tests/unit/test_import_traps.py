"""What foreign files do to a reader: each trap is a row's code or a refusal, and no good row is lost."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import InvalidInput
from core.importers import CODES, FORMATS, Conversation, Limits, Reject, Unknowns
from core.importers.cursor import CHUNK, Cursor
from core.importers.deep import parse_deep
from core.importers.records import Unreadable
from models import MAX_TEXT_BYTES
from tests.unit.import_samples import (
    EXAMPLES,
    archive,
    bots,
    compact,
    gpt,
    gpt_node,
    jsonl,
    one,
    openai,
    records,
    sharegpt,
    told,
)

GOOD = compact(gpt("good"))
BAD_ROWS = {
    "not an object": (b"7", "not_an_object"),
    "a list": (b"[[],[]]", "not_an_object"),
    "a string": (b'"],["', "not_an_object"),
    "null": (b"null", "not_an_object"),
    "no JSON": (b'{"mapping": }', "not_json"),
    "no mapping": (b'{"title":"x","id":"y"}', "no_mapping"),
    "mapping of the wrong type": (b'{"mapping":[1]}', "no_mapping"),
    "not UTF-8": (b'{"mapping":{},"title":"\xff\xfe"}', "bad_utf8"),
    "a key twice": (b'{"mapping":{"a":null,"a":null}}', "duplicate_key"),
    "a key twice with blanks": (b'{"mapping" : {"a" : null, "a" : null}}', "duplicate_key"),
    "a foreign format": (compact(bots()), "no_conversation"),
    "an endless number": (b'{"mapping":{},"create_time":' + b"9" * 5000 + b"}", "not_json"),
    "nested beyond reading": (b'{"mapping":' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}", "too_deep"),
    "nested beyond recursion": (b'{"mapping":' + b"[" * 5000 + b"]" * 5000 + b"}", "no_mapping"),
}


@pytest.mark.parametrize("trap", BAD_ROWS)
def test_a_bad_element_takes_no_other_along(trap):
    bad, code = BAD_ROWS[trap]
    found = records(b"[" + GOOD + b"," + bad + b"," + compact(gpt("last")) + b"]", "chatgpt")
    assert found[1] == Reject(2, code)
    assert [(each.row, each.key) for each in found if isinstance(each, Conversation)] == [
        (1, "good"),
        (3, "last"),
    ]


@pytest.mark.parametrize("trap", BAD_ROWS)
def test_a_bad_line_takes_no_other_along(trap):
    bad, code = BAD_ROWS[trap]
    for first, last in ((GOOD, bad), (bad, GOOD)):
        found = records(first + b"\n\n" + last + b"\r\n" + compact(gpt("last")), "chatgpt", name="x.jsonl")
        codes = [each.code for each in found if isinstance(each, Reject)]
        # A line has no brackets counted around it: what is too deep is told by whoever parses it.
        assert codes == [code]
        assert len(found) == 3


@pytest.mark.parametrize("name", [None, "x.json"])
def test_lines_are_known_as_lines_even_where_the_first_is_broken(name):
    found = records(b'{"mapping": {\n' + GOOD + b"\n" + GOOD + b"\n", "chatgpt", name=name)
    assert [type(each) for each in found] == [Reject, Conversation, Conversation]


def test_a_file_that_ends_in_the_middle_keeps_what_came_before():
    whole = b"[" + GOOD + b"," + compact(gpt("second")) + b"]"
    for cut in range(len(GOOD) + 2, len(whole), 7):
        found = records(whole[:cut], "chatgpt")
        assert found[0].key == "good"
        assert found[-1].code == "truncated"
    wrapped = b'{"conversations":[' + GOOD
    assert [each.code for each in records(wrapped, "chatgpt") if isinstance(each, Reject)] == ["truncated"]
    assert [each.code for each in records(whole + b"x", "chatgpt") if isinstance(each, Reject)] == [
        "trailing"
    ]


def test_members_around_the_rows_are_passed():
    around = (
        b'{"a":{"conversations":[1,{"x":"]}"}]},"b":"\\"conversations\\":[","conversations":['
        + GOOD
        + b'],"z":[1]}'
    )
    assert one(around, "chatgpt").key == "good"


def test_nul_halves_of_pairs_and_nan_are_mended_and_counted():
    unknowns = Unknowns()
    text = GOOD.replace(b"384,400 km.", b"a\\u0000b\\ud83dc").replace(
        b'"update_time":1760000009', b'"update_time":NaN'
    )
    found = one(b"[" + text + b"]", "chatgpt", unknowns=unknowns)
    assert found.messages[1].text == "a\ufffdb\ufffdc"
    assert unknowns["mended_text"] == 1
    assert unknowns["not_a_number"] == 1
    kept = one(b"[" + GOOD.replace(b"384,400 km.", b"\\ud83d\\ude00 \\\\u0000") + b"]", "chatgpt")
    assert kept.messages[1].text == "\U0001f600 \\u0000"


def test_a_message_of_the_wrong_shape_is_told_and_the_others_are_kept():
    row = gpt(
        "c", gpt_node("a", "root", "user", "kept"), gpt_node("b", "a", "user"), gpt_node("c", "b", "user")
    )
    row["mapping"]["b"]["message"] = "text"
    row["mapping"]["c"]["message"]["content"] = 5
    row["mapping"]["d"] = None
    found = records(compact([row]))
    assert told(found[0]) == [("user", "kept")]
    assert found[1:] == [Reject(1, "bad_message")] * 3


def test_missing_metadata_roles_and_times_of_the_wrong_type_lose_nothing():
    unknowns = Unknowns()
    node = gpt_node("a", "root", "user", "kept")
    node["message"] |= {"metadata": None, "author": None, "create_time": "yesterday", "update_time": [1]}
    found = one(compact([gpt("c", node, create_time=True, title=5)]), unknowns=unknowns)
    assert told(found) == [("context", "kept")]
    assert found.title is None
    assert unknowns == {"role:other": 1, "time": 3}


def test_parents_in_a_circle_several_roots_and_missing_parents_lose_nothing():
    unknowns = Unknowns()
    nodes = [
        gpt_node("a", "c", "user", "a", 1e9),
        gpt_node("b", "a", "user", "b", 1e9 + 1),
        gpt_node("c", "b", "user", "c", 1e9 + 2),
        gpt_node("d", "c", "user", "d", 1e9 + 3),
        gpt_node("e", None, "user", "e", 1e9 + 4),
        gpt_node("f", "nowhere", "user", "f", 1e9 + 5),
        gpt_node("g", "g", "user", "g", 1e9 + 6),
    ]
    found = one(compact([gpt("c", *nodes, current_node="d")]), unknowns=unknowns)
    assert sorted(message.key for message in found.messages) == list("abcdefg")
    assert unknowns["circle_of_parents"] == 2
    assert unknowns["missing_parent"] == 1
    keys = [message.key for message in found.messages]
    for message in found.messages:
        assert message.parent_key is None or keys.index(message.parent_key) < keys.index(message.key)
    assert next(message for message in found.messages if message.key == "d").active


def test_times_that_go_back_do_not_put_an_answer_before_its_question():
    nodes = [gpt_node("q", "root", "user", "q", 2e9), gpt_node("a", "q", "assistant", "a", 1e9)]
    assert told(one(compact([gpt("c", *nodes)]))) == [("user", "q"), ("bot", "a")]


@pytest.mark.parametrize(
    "text", ["x" * (MAX_TEXT_BYTES + 1), "\u00e4" * MAX_TEXT_BYTES, "\U0001f600" * 200_000]
)
def test_a_text_too_long_to_store_becomes_several_and_together_they_are_it(text):
    found = one(jsonl(sharegpt(conversations=[{"from": "human", "value": text}])))
    assert "".join(message.text for message in found.messages) == text
    assert all(len(message.text.encode()) <= MAX_TEXT_BYTES for message in found.messages)
    assert found.messages[1].meta["part"].startswith("2/")


def test_equal_keys_within_a_conversation_are_told_apart():
    row = bots()
    row["messages"][1]["id"] = "g1"
    assert [message.key for message in one(compact(row)).messages] == ["g1", "g1~2"]


SMALL = Limits(row=2000)


@pytest.mark.parametrize("chunk", [1, 7, 64, CHUNK])
def test_a_row_that_is_too_large_is_passed_without_being_held(chunk, monkeypatch):
    monkeypatch.setattr("core.importers.cursor.CHUNK", chunk)
    large = GOOD.replace(b"The moon", b'\\"]}' * 3000)
    for content in (b"[" + large + b"," + GOOD + b"]", b"[ " + GOOD + b" , " + large + b"]"):
        found = records(content, "chatgpt", limits=SMALL)
        assert {type(each) for each in found} == {Reject, Conversation}
        assert [each.code for each in found if isinstance(each, Reject)] == ["too_large"]
    lines = records(large + b"\n" + GOOD + b"\n" + GOOD, "chatgpt", limits=SMALL)
    assert [getattr(each, "code", None) for each in lines] == ["too_large", None, None]


def test_a_row_of_too_many_values_is_refused_before_it_is_read():
    wide = b'{"mapping":[' + b"[]," * 400_000 + b"[]]}"
    assert records(b"[" + wide + b"," + GOOD + b"]", "chatgpt", limits=Limits(values=200_000))[0] == Reject(
        1, "too_many_values"
    )


@given(
    st.lists(
        st.recursive(
            st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=20,
        ),
        max_size=5,
    ),
    st.integers(1, 40),
    st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_rows_are_cut_where_they_end_however_the_chunks_fall(rows, size, ascii_only):
    raw = json.dumps(rows, ensure_ascii=ascii_only, indent=1 if size % 2 else None).encode()
    file = io.BytesIO(raw)
    cursor = Cursor(lambda _: file.read(size), 1 << 20)
    assert cursor.peek() == ord("[")
    cursor.skip()
    assert [json.loads(each) for each in cursor.elements()] == rows
    assert cursor.rest(inside=False) is None


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    ),
    st.data(),
)
@settings(max_examples=150, deadline=None)
def test_the_deep_reader_reads_as_the_shallow_one(value, data):
    text = json.dumps(
        value, ensure_ascii=data.draw(st.booleans()), indent=data.draw(st.none() | st.integers(0, 2))
    )
    assert parse_deep(text) == value
    at = data.draw(st.integers(0, len(text)))
    broken = text[:at] + data.draw(st.sampled_from(['"', "{", "}", "[", "]", ",", ":", "x"])) + text[at:]
    try:
        expected = json.loads(broken, strict=False)
    except ValueError:
        with pytest.raises(Unreadable):
            parse_deep(broken)
    else:
        assert _deep(broken) in (expected, "duplicate_key")


def _deep(text):
    try:
        return parse_deep(text)
    except Unreadable as why:
        return str(why)


SEEDS = {
    **EXAMPLES,
    "zip": archive({"conversations.json": EXAMPLES["chatgpt"], "user.json": b"{}"}),
    "gz": gzip.compress(EXAMPLES["openai"]),
}


@given(st.sampled_from(sorted(SEEDS)), st.sampled_from([None, *FORMATS]), st.data())
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_damaged_files_raise_nothing_but_a_refusal(seed, name, data):
    content = bytearray(SEEDS[seed])
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(content)))
        cut = data.draw(st.integers(0, 20))
        content[at : at + cut] = data.draw(
            st.binary(max_size=12)
            | st.sampled_from(
                [b'"', b"{", b"[", b"null", b"\\ud800", b"\\u0000", b"\n", b"1e999", b",", b"]}"]
            )
        )
    _read(bytes(content[: data.draw(st.integers(0, len(content)))]), name)
    _read(bytes(content), name)


@given(st.binary(max_size=300), st.sampled_from([None, *FORMATS]))
@settings(max_examples=200, deadline=None)
def test_any_bytes_raise_nothing_but_a_refusal(content, name):
    _read(content, name)
    _read(b"PK\x03\x04" + content, name)
    _read(b"\x1f\x8b\x08" + content, name)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from([name for name in EXAMPLES if name not in {"csv", "crontab"}]), st.data())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_wrong_types_anywhere_are_told_and_nothing_unforeseen_happens(name, data):
    first = EXAMPLES[name].split(b"\n")[0]
    value = json.loads(first)
    for _ in range(data.draw(st.integers(1, 3))):
        _put(value, data)
    for record in _read(json.dumps([value] if isinstance(value, dict) else value).encode(), name):
        assert getattr(record, "code", None) != "unreadable"


def _put(value, data):
    while isinstance(value, dict | list) and value:
        key = data.draw(st.sampled_from(sorted(value) if isinstance(value, dict) else range(len(value))))
        if not isinstance(value[key], dict | list) or not value[key] or data.draw(st.integers(0, 4)) == 0:
            value[key] = data.draw(
                JSON | st.dictionaries(st.sampled_from(["text", "type", "id", "content"]), JSON)
            )
            return
        value = value[key]


def _read(content, name):
    try:
        found = records(content, name)
    except InvalidInput as error:
        sentence = str(error)
    else:
        return _checked(found)
    assert re.fullmatch(r"[A-Z][\x20-\x7e]+\.", sentence)
    return []


def _checked(found):
    for record in found:
        if isinstance(record, Reject):
            assert record.code in CODES
        elif isinstance(record, Conversation):
            json.dumps([record.title, dict(record.meta)], ensure_ascii=False).encode()
            assert len({message.key for message in record.messages}) == len(record.messages)
            for message in record.messages:
                assert message.text.strip()
                assert "\x00" not in message.text + json.dumps(dict(message.meta))
                message.text.encode()
    return found


def test_archives_made_to_harm_are_refused():
    bomb = archive({"conversations.json": b"[" + b" " * 40_000_000 + b"]"})
    with pytest.raises(InvalidInput, match="made to harm"):
        records(bomb)
    with pytest.raises(InvalidInput, match="made to harm"):
        records(gzip.compress(GOOD + b"\n" + b" " * 60_000_000 + b"x", 9), "chatgpt")
    with pytest.raises(InvalidInput, match="made to harm"):
        records(archive({f"{at}.json": b"" for at in range(12)}), limits=Limits(members=10))
    for name in ("../conversations.json", "/conversations.json", "a/../../b.json", "C:/x.json", "..\\x.json"):
        with pytest.raises(InvalidInput, match="leads out of it"):
            records(archive({name: EXAMPLES["chatgpt"]}))
    link = zipfile.ZipInfo("conversations.json")
    link.external_attr = 0o120777 << 16
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr(link, "/etc/passwd")
    with pytest.raises(InvalidInput, match="symbolic link"):
        records(file.getvalue())


def test_many_small_bombs_are_one():
    shards = {f"conversations-{at:03}.json": b"[" + b" " * 15_000_000 + b"]" for at in range(4)}
    with pytest.raises(InvalidInput, match="made to harm"):
        records(archive(shards))


def wide(content: bytes, told_at: int | None = None, **ends: int) -> bytes:
    """The archive with an end in the wide form."""
    at = content.rindex(b"PK\x05\x06")
    count, size, offset = struct.unpack_from("<HLL", content, at + 10)
    counts = (ends.get("count", count), ends.get("count", count), ends.get("size", size), offset)
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, *counts)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, at if told_at is None else told_at, 1)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return content[:at] + record + locator + end


def test_a_directory_is_refused_for_what_it_is_and_not_for_what_it_says(monkeypatch):
    twelve = archive({f"{at}.json": b"" for at in range(12)})
    fake = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, 46, 0)
    assert len(records(wide(archive({"conversations.json": EXAMPLES["chatgpt"]})))) == 2
    elsewhere = archive({"fake": fake, **{f"{at}.json": b"" for at in range(12)}}, zipfile.ZIP_STORED)
    few = Limits(members=10)
    # None of these may reach the library, which takes a directory into memory as a whole.
    monkeypatch.setattr(zipfile, "ZipFile", None)
    at = twelve.rindex(b"PK\x05\x06")
    lying = twelve[: at + 8] + struct.pack("<2H", 1, 1) + twelve[at + 12 :]
    for content in (lying, wide(twelve), wide(twelve, count=1), wide(twelve, size=1 << 40)):
        with pytest.raises(InvalidInput, match="made to harm"):
            records(content, limits=few)
    with pytest.raises(InvalidInput, match="damaged"):
        records(wide(elsewhere, elsewhere.index(fake)), limits=few)


def test_a_damaged_shard_is_told_and_the_next_one_read():
    shards = {f"conversations-{at:03}.json": compact([gpt(f"c{at}")] * 40) for at in range(3)}
    content = bytearray(archive(shards, zipfile.ZIP_STORED))
    at = content.index(b"c1")
    content[at : at + 2] = b"zz"
    codes = [each.code for each in records(bytes(content)) if isinstance(each, Reject)]
    keys = [each.key for each in records(bytes(content)) if isinstance(each, Conversation)]
    assert codes == ["damaged"]
    assert {"c0", "c2"} <= set(keys)
    assert keys.count("c2") == 40
    with pytest.raises(InvalidInput, match="damaged"):
        records(bytes(content[:-30]))


def test_an_archive_in_the_wide_form_is_read():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made, made.open("conversations.json", "w", force_zip64=True) as inside:
        inside.write(EXAMPLES["chatgpt"])
    assert len(records(file.getvalue())) == 2


def test_a_gzip_cut_short_keeps_what_came_before():
    lines = jsonl(*(openai({"role": "user", "content": os.urandom(2000).hex()}) for _ in range(200)))
    found = records(gzip.compress(lines)[:-200_000], name="x.jsonl.gz")
    assert len(found) > 50
    assert found[-1].code == "damaged"


def test_an_unterminated_quote_in_a_table_ends_with_its_row():
    content = b'role,text\nuser,"never closed\n' + b"x" * 100 + b"\n" + b"user,fine\n"
    found = records(content, "csv")
    assert isinstance(found[-1], Conversation)
    bad = records(b"role,text\nuser,ok\nuser,\xff\xfe\nuser,fine\n", "csv")
    assert [getattr(each, "code", None) for each in bad] == ["bad_utf8", None]
    assert told(bad[1]) == [("user", "ok"), ("user", "fine")]


def test_a_row_of_a_table_with_more_cells_than_columns_is_refused_and_not_cut():
    found = records(b"role,text\nuser,ok\nbot,Yes, by the desk.\nuser,fine,,\n", "csv")
    assert [one for one in found if isinstance(one, Reject)] == [Reject(2, "too_broad")]
    said = [message.text for one in found if isinstance(one, Conversation) for message in one.messages]
    assert said == ["ok", "fine"]


MEASURED = """
import re, sys
from core.importers import read
count = sum(len(getattr(each, "messages", ())) for each in read(sys.argv[1]))
print(count, re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is told by Linux")
@pytest.mark.parametrize("shape", ["array", "lines", "zip"])
def test_two_hundred_megabytes_are_read_in_little_memory(shape, tmp_path):
    nodes = [
        gpt_node(f"n{at}", f"n{at - 1}" if at else "root", "user", "lorem ipsum " * 4000) for at in range(5)
    ]
    row, path = compact(gpt("c", *nodes)), tmp_path / "large"
    rows = 200_000_000 // len(row)
    if shape == "zip":
        with (
            zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as made,
            made.open("conversations.json", "w") as file,
        ):
            _fill(file, row, rows, b"[,]")
    else:
        with path.open("wb") as file:
            _fill(file, row, rows, b"[,]" if shape == "array" else b"\n\n\n")
    done = subprocess.run([sys.executable, "-c", MEASURED, path], capture_output=True, check=True, text=True)
    count, peak = map(int, done.stdout.split())
    assert count == 5 * rows
    assert peak < 100 * 1024


def _fill(file, row, rows, marks):
    file.write(marks[:1] + row)
    for _ in range(rows - 1):
        file.write(marks[1:2])
        file.write(row)
    file.write(marks[2:])
