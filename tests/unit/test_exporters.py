"""The writers of exports: what they write can be read, in however many parts it was written."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import InvalidInput
from core.exporters import FORMATS, Totals, format_named
from core.exporters.jsonl import VERSION, written
from core.exporters.markdown import harmless
from core.exporters.table import COLUMNS, cell
from core.importers import Conversation, Reject, Source, read
from tests.unit.export_records import CONVERSATIONS, SAID, WORDS, a_call, a_talk, said

OPEN = {"openai", "sharegpt"}  # those that write an element of a conversation while it goes on


def file_of(name, conversations, cuts=()):
    """A whole file; before each message whose number is a cut a part ends, and with it the writer."""
    writer = format_named(name).writer(None)
    parts = [writer.head({"mode": "redacted"})]
    seen = 0
    types = 0
    for conversation in conversations:
        ends = [at for at in range(len(conversation.messages)) if seen + at in cuts] + [None]
        begin = 0
        for end in ends:
            part = replace(conversation, messages=conversation.messages[begin:end])
            wrote = writer.part(part, first=begin == 0 and end == ends[0], last=end is None)
            parts.append(wrote.content)
            types += wrote.types.total()
            writer = format_named(name).writer(json.loads(json.dumps(writer.state)))
            begin = end or 0
        seen += len(conversation.messages)
    return b"".join([*parts, writer.tail(Totals(len(conversations), types))])


def back(raw, name="x.jsonl"):
    return list(read(Source(io.BytesIO(raw), name), None if name == "x.jsonl" else "sharegpt"))


@settings(max_examples=40, deadline=None)
@given(st.lists(CONVERSATIONS, min_size=1, max_size=3))
def test_our_own_format_gives_back_exactly_what_was_written(conversations):
    raw = b"".join(written(conversations))
    found = list(read(Source(io.BytesIO(raw), "x.jsonl"), "crontalk"))
    assert [replace(one, row=0) for one in found] == conversations


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=15, deadline=None)
@given(talks=st.lists(CONVERSATIONS, min_size=1, max_size=3), cuts=st.sets(st.integers(0, 12)))
def test_it_does_not_matter_in_how_many_parts_a_file_is_written(name, talks, cuts):
    # A call and its answer are never parted: see the pages.
    kept = [replace(one, messages=tuple(m for m in one.messages if m.type != "activity")) for one in talks]
    whole, parted = file_of(name, kept), file_of(name, kept, cuts)
    if name == "crontalk":
        assert joined(parted) == joined(whole)
    else:
        assert parted == whole


def joined(raw):
    """The conversations of lines, parts put together."""
    found = {}
    for line in raw.splitlines()[1:-1]:
        document = json.loads(line)
        before = found.setdefault(document["key"], {**document, "messages": []})
        before["messages"] += document["messages"]
    return found


def test_a_file_of_version_1_is_still_read():
    first = {"format": "crontalk", "version": 1}
    talk = {"key": "a", "title": "Old", "messages": [{"key": "m", "type": "user", "text": "Hi"}]}
    raw = b"".join(json.dumps(one).encode() + b"\n" for one in (first, talk))
    import hashlib

    end = {"conversations": 1, "messages": 1, "sha256": hashlib.sha256(raw).hexdigest()}
    (found,) = read(Source(io.BytesIO(raw + b'{"end":' + json.dumps(end).encode() + b"}\n"), "x.jsonl"))
    assert (found.title, found.messages[0].text, found.messages[0].entities) == ("Old", "Hi", ())
    assert VERSION == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": "asleep"},
        {"privacyPolicy": []},
        {"source": 1},
        {"expiresAt": "tomorrow"},
        {"attachments": [{"size": "x"}]},
    ],
)
def test_a_conversation_that_is_none_of_ours_is_refused_and_no_other(wrong):
    raw = b"".join(written([a_talk(said("user", "Hi")), a_talk(said("user", "Ho"), key="c2")]))
    lines = raw.splitlines()
    lines[1] = json.dumps({**json.loads(lines[1]), **wrong}).encode()
    records = list(read(Source(io.BytesIO(b"\n".join(lines) + b"\n"), "x.jsonl"), "crontalk"))
    assert [one.code for one in records if isinstance(one, Reject)] == ["no_conversation", "digest_mismatch"]
    assert [one.key for one in records if isinstance(one, Conversation)] == ["c2"]


@pytest.mark.parametrize(
    "entity",
    [
        {},
        {"type": "X", "begin": 0, "end": 99, "score": 1.0, "source": "given", "operator": "mask"},
        {"type": "X", "begin": 0, "end": 1, "score": "1", "source": "given", "operator": "mask"},
        {"type": "X", "begin": 0, "end": 1, "score": 1.0, "source": "given", "operator": "sell"},
    ],
)
def test_a_message_with_entities_that_are_none_is_told_of(entity):
    lines = b"".join(written([a_talk(said("user", "Hi"))])).splitlines()
    document = json.loads(lines[1])
    document["messages"][0]["entities"] = [entity]
    lines[1] = json.dumps(document).encode()
    records = list(read(Source(io.BytesIO(b"\n".join(lines) + b"\n"), "x.jsonl"), "crontalk"))
    assert "bad_message" in [one.code for one in records if isinstance(one, Reject)]


def test_numbers_and_depths_that_only_postgresql_holds_are_written():
    deep = value = {}
    for _ in range(600):
        value["in"] = value = {}
    raw = b"".join(written([a_talk(said("user", "Hi", big=2**70), meta=deep)]))
    assert str(2**70).encode() in raw


def test_fine_tuning_lines_are_what_a_model_was_shown_and_what_it_said():
    talk = a_talk(
        said("context", "It rains.", 1),
        said("user", "How is it?", 2),
        said("reasoning", "Hm.", 3),
        *a_call("weather", sky="grey"),
        said("bot", "Grey.", 6),
        said("bot", "Secret.", 7, hidden=True),
        backstory="You know the weather.",
    )
    (line,) = file_of("openai", [talk]).splitlines()
    messages = json.loads(line)["messages"]
    assert [one["role"] for one in messages] == ["system", "system", "user", "assistant", "tool", "assistant"]
    assert messages[0] == {"role": "system", "content": "You know the weather."}
    (call,) = messages[3]["tool_calls"]
    assert (call["function"]["name"], json.loads(call["function"]["arguments"])) == (
        "weather",
        {"at": "home"},
    )
    assert messages[4]["tool_call_id"] == call["id"]
    assert json.loads(messages[4]["content"]) == {"sky": "grey"}
    (record,) = back(line)
    assert [one.type for one in record.messages][-3:] == ["activity", "activity", "bot"]


def test_what_says_nothing_is_no_line():
    assert file_of("openai", [a_talk(said("reasoning", "Hm.")), a_talk()]) == b""
    assert json.loads(file_of("sharegpt", [a_talk(said("reasoning", "Hm."))])) == []


def test_the_sides_of_sharegpt_alternate():
    talk = a_talk(
        said("context", "It rains.", 1),
        said("user", "How", 2),
        said("user", "is it?", 3),
        *a_call("weather", sky="grey"),
        said("bot", 'It is "grey".', 6),
        said("context", "Later.", 7),
        said("bot", "And wet.", 8),
        backstory="Be brief.",
    )
    raw = file_of("sharegpt", [talk, a_talk(said("user", "Hi"), said("bot", "Ho"), key="c2")])
    first, second = json.loads(raw)
    assert first["system"] == "Be brief.\n\nContext:\nIt rains."
    assert [(one["from"], one["value"]) for one in first["conversations"]] == [
        ("human", "How\n\nis it?"),
        ("function_call", '{"name": "weather", "arguments": {"at": "home"}}'),
        ("observation", '{"sky": "grey"}'),
        ("gpt", 'It is "grey".\n\nAnd wet.'),
    ]
    assert second == {
        "id": "c2",
        "conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}],
    }
    assert [one.messages[-1].text for one in back(raw, "x.json")] == ['It is "grey".\n\nAnd wet.', "Ho"]


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(["", " ", "\t", "\r", "\n "]), st.sampled_from("=+-@＝＋－＠"), WORDS)
def test_no_cell_begins_like_a_formula(before, sign, rest):
    assert cell(before + sign + rest) == "'" + before + sign + rest
    assert cell("\t" + rest)[0] == cell("\r" + rest)[0] == "'"


@settings(max_examples=40, deadline=None)
@given(st.lists(SAID, min_size=1, max_size=5))
def test_a_table_holds_what_was_said_whatever_that_was(texts):
    talk = a_talk(*(said("user", text, at) for at, text in enumerate(texts)), title="=1+1")
    rows = list(csv.reader(io.StringIO(file_of("csv", [talk]).decode(), newline="")))
    assert tuple(rows[0]) == COLUMNS
    found = [dict(zip(COLUMNS, row, strict=True)) for row in rows[1:]]
    assert [one["text"].removeprefix("'") if cell(t) != t else one["text"] for one, t in zip(found, texts, strict=True)] == texts  # fmt: skip # noqa: E501
    assert {one["conversation_name"] for one in found} == {"'=1+1"}


def test_a_table_can_begin_with_the_mark_that_excel_asks_for():
    writer = FORMATS["csv"].writer(None)
    assert writer.head({"bom": True}).startswith(b"\xef\xbb\xbfconversation_id,")
    assert writer.head({}).startswith(b"conversation_id,")


def test_a_table_is_read_back_by_the_import():
    talk = a_talk(said("user", "Hi", 1), said("bot", "Hello,\nyou", 2), title="A talk")
    (found,) = read(Source(io.BytesIO(file_of("csv", [talk])), "x.csv"))
    assert (found.key, found.title) == ("c1", "A talk")
    assert [(one.type, one.text) for one in found.messages] == [("user", "Hi"), ("bot", "Hello,\nyou")]


@settings(max_examples=40, deadline=None)
@given(st.lists(SAID, min_size=1, max_size=4), WORDS)
def test_nothing_that_was_said_passes_for_a_heading(texts, title):
    talk = a_talk(*(said("user", text, at) for at, text in enumerate(texts)), title=title)
    lines = file_of("markdown", [talk]).decode().split("\n")
    headings = [line for line in lines if line.startswith("#")]
    assert len(headings) == 2 + len(texts)
    ours = ("#", "- Conversation: ", "redacted", ">")
    assert all(line.startswith(ours) for line in lines if line.strip())


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Write to <EMAIL_ADDRESS>.", "Write to \\<EMAIL_ADDRESS>."),
        ("<script>x</script>", "\\<script>x\\</script>"),
        ("![x](http://tracker.example/1.png)", "\\![x](http://tracker.example/1.png)"),
        ("1 < 2 and `a <b>` but <b>", "1 < 2 and `a \\<b>` but \\<b>"),
        # A backslash before ours would take its effect away.
        ("\\<img src=x>", "\\\\\\<img src=x>"),
        ("\\![x](u)", "\\\\\\![x](u)"),
        # What looks like code and is none: escaped, begun in the line before, of unequal length, in a table.
        ("\\` <img src=x> `", "\\` \\<img src=x> `"),
        ("a `\nb ` <img src=x> `", "a `\nb ` \\<img src=x> `"),
        ("``<img src=x>`", "``\\<img src=x>`"),
        ("| ` | <img src=x> ` |", "| ` | \\<img src=x> ` |"),
        # What looks like a block of code and is none, or is one of which another end is seen.
        ("``` a`b\n<img src=x>", "``` a`b\n\\<img src=x>"),
        ("- a\n  ```\n<img src=x>", "- a\n  ```\n\\<img src=x>"),
        (" ```\n```\n<img src=x>", " ```\n```\n\\<img src=x>"),
        ("> ```\n```\n<img src=x>", "> ```\n```\n\\<img src=x>"),
        ("```html\n<b>\n```\n<b>", "```html\n<b>\n```\n\\<b>"),
        ("~~~\n```\n<b>\n~~~~\n<i>", "~~~\n```\n<b>\n~~~~\n\\<i>"),
        ("**bold** and # no heading", "**bold** and # no heading"),
    ],
)
def test_markdown_keeps_its_meaning_but_draws_and_loads_nothing(text, shown):
    assert harmless(text) == shown


def test_markdown_of_a_text_that_is_all_backslashes_or_backticks_takes_no_longer():
    for sign in ("\\", "`", "~", "!", "\\`"):
        assert harmless(sign * 200_000 + "x")


def test_markdown_tells_who_when_and_which_files():
    from core.importers import Attachment, Contact

    talk = a_talk(
        replace(
            said("bot", "Here it is.", 5),
            name="helper",
            attachments=(Attachment("a_b.pdf", "application/pdf", 3),),
        ),
        said("user", "Old.", 6, archived=True),
        title="A *talk*",
        description="About\nthings",
        contact=Contact("k", name="Grace"),
    )
    text = file_of("markdown", [talk]).decode()
    for line in (
        "## A \\*talk\\*",
        "- Contact: Grace",
        "> About",
        "### Bot (helper), 2026-03-01 10:00:05 UTC",
        "Files: a\\_b.pdf (application/pdf)",
        "### User, 2026-03-01 10:00:06 UTC, hidden",
    ):
        assert line in text.split("\n"), line


def test_a_format_that_is_none_is_refused():
    with pytest.raises(InvalidInput, match="The format must be one of crontalk"):
        format_named("fax")
