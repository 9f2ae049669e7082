"""Each format as its source writes it: what becomes of its conversations."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest

from core.errors import InvalidInput
from core.exporters.jsonl import written
from core.importers import FORMATS, Reject, Source, Task, Unknowns, detect_format, digest, format_of
from tests.unit.import_samples import (
    EXAMPLES,
    T0,
    archive,
    automation,
    bots,
    chatbotui,
    claude,
    claude_message,
    compact,
    gpt,
    gpt_node,
    jsonl,
    kit,
    kit_message,
    librechat,
    one,
    openai,
    records,
    sharegpt,
    told,
    webui,
)

SAMPLES = {**EXAMPLES, "crontalk": b"".join(written(records(EXAMPLES["chatgpt"])))}


def test_there_is_a_sample_of_every_format():
    assert SAMPLES.keys() == FORMATS.keys()


@pytest.mark.parametrize("name", SAMPLES)
def test_a_format_is_told_from_its_beginning(name):
    assert detect_format(SAMPLES[name]) == name


@pytest.mark.parametrize("name", SAMPLES)
def test_a_format_is_told_from_a_pretty_file_with_a_mark_at_its_start(name, tmp_path):
    path = tmp_path / "given"
    path.write_bytes(b"\xef\xbb\xbf" + SAMPLES[name].replace(b'":', b'": ').replace(b",{", b",\n  {"))
    if name != "crontalk":
        assert format_of(path) == name


@pytest.mark.parametrize("name", SAMPLES)
def test_every_format_is_read_whole_and_the_same_each_time(name):
    first, again = records(SAMPLES[name]), records(SAMPLES[name])
    assert first
    assert not any(isinstance(record, Reject) for record in first)
    assert first == again
    assert [digest(record) for record in first] == [digest(record) for record in again]
    assert len({digest(record) for record in first}) == len(first)


@pytest.mark.parametrize("name", SAMPLES)
def test_rows_that_were_read_are_passed_the_next_time(name):
    every = records(SAMPLES[name])
    for at, record in enumerate(every):
        assert records(SAMPLES[name], after=record.row) == every[at + 1 :]


@pytest.mark.parametrize("name", SAMPLES)
def test_a_file_is_not_read_as_another_format(name):
    others = {"chatgpt", "claude", "sharegpt", "openwebui-automations", "crontalk"} - {name}
    for other in others:
        with pytest.raises(InvalidInput):
            records(SAMPLES[name], other)


def test_chatgpt_keeps_times_models_and_titles():
    moon = one(compact([gpt()]))
    assert (moon.key, moon.title, moon.row) == ("c1", "The moon", 1)
    assert moon.created_at == datetime.fromtimestamp(T0 + 0.5, UTC)
    assert told(moon) == [("user", "How far is the moon?"), ("bot", "384,400 km.")]
    assert moon.messages[1].created_at == datetime.fromtimestamp(T0 + 2, UTC)
    assert moon.messages[1].meta == {"model": "gpt-9"}
    assert moon.messages[1].parent_key == "n1"


def test_chatgpt_shows_the_branch_that_was_looked_at():
    moon = one(
        compact(
            [
                gpt(
                    "c",
                    gpt_node("q", "root", "user", "Q", T0),
                    gpt_node("a1", "q", "assistant", "first", T0 + 1),
                    gpt_node("u1", "a1", "user", "more", T0 + 2),
                    gpt_node("a2", "q", "assistant", "second", T0 + 3),
                    current_node="a2",
                )
            ]
        )
    )
    assert [(each.key, each.active) for each in moon.messages] == [
        ("q", True),
        ("a1", False),
        ("u1", False),
        ("a2", True),
    ]
    assert moon.messages[1].meta["branch"] == moon.messages[2].meta["branch"] == "a1"
    assert moon.messages[2].meta["archived"] is True
    assert "branch" not in moon.messages[3].meta


def test_chatgpt_contents_of_every_kind_find_their_type():
    unknowns = Unknowns()

    def node(key, parent, role, content, **message):
        return gpt_node(key, parent, role, at=T0, **{"content": content, **message})

    kinds = one(
        compact(
            [
                gpt(
                    "c",
                    node(
                        "a",
                        "root",
                        "user",
                        {
                            "content_type": "user_editable_context",
                            "user_profile": "P",
                            "user_instructions": "I",
                        },
                    ),
                    node(
                        "b",
                        "a",
                        "user",
                        {
                            "content_type": "multimodal_text",
                            "parts": [
                                "See",
                                {"content_type": "image_asset_pointer", "asset_pointer": "sediment://f1"},
                            ],
                        },
                    ),
                    node(
                        "c",
                        "b",
                        "assistant",
                        {"content_type": "thoughts", "thoughts": [{"summary": "S", "content": "C"}]},
                    ),
                    node(
                        "d",
                        "c",
                        "assistant",
                        {"content_type": "code", "language": "python", "text": "1+1"},
                        recipient="python",
                    ),
                    node(
                        "e",
                        "d",
                        "tool",
                        {"content_type": "execution_output", "text": "2"},
                        author={"role": "tool", "name": "python"},
                    ),
                    node("f", "e", "assistant", {"content_type": "novel_thing", "text": "?"}),
                    node("g", "f", "system", {"content_type": "text", "parts": ["secret rules"]}),
                )
            ]
        ),
        unknowns=unknowns,
    )
    assert told(kinds) == [
        ("context", "P\n\nI"),
        ("user", "See\n[image: sediment://f1]"),
        ("reasoning", "S\nC"),
        ("activity", "python(1+1)"),
        ("activity", "2"),
        ("bot", "?"),
        ("context", "secret rules"),
    ]
    assert kinds.messages[3].meta["activity"]["type"] == "request"
    assert kinds.messages[4].meta["activity"]["function"]["name"] == "python"
    assert kinds.messages[5].meta["model"] == "gpt-8"
    assert kinds.messages[6].meta["hidden"] is True
    assert unknowns == {"content_type:novel_thing": 1}


def test_a_chatgpt_archive_is_read_shard_by_shard_and_a_gap_is_told():
    shards = {f"conversations-{at:03}.json": compact([gpt(f"c{at}")]) for at in (0, 2, 10)}
    found = records(archive({"user.json": b'{"email":"x"}', "chat.html": b"<p>", **shards}))
    assert [(each.row, getattr(each, "key", None) or each.code) for each in found] == [
        (1, "c0"),
        (2, "missing_shard"),
        (3, "c2"),
        (4, "missing_shard"),
        (5, "c10"),
    ]


def test_claude_reads_blocks_before_text_and_thoughts_and_tools_apart():
    content = [
        {"type": "thinking", "thinking": "Hm"},
        {"type": "tool_use", "name": "search", "input": {"q": "llama"}},
        {"type": "tool_result", "name": "search", "content": [{"type": "text", "text": "found"}]},
        {"type": "text", "text": "It is", "citations": []},
    ]
    asked = claude_message(
        "m1", "human", "Q", attachments=[{"file_name": "a.txt", "extracted_content": "inside"}]
    )
    found = one(compact([claude("c", asked, claude_message("m2", "assistant", "It is", content=content))]))
    assert told(found) == [
        ("user", "Q"),
        ("context", "[file: a.txt]\ninside"),
        ("reasoning", "Hm"),
        ("activity", 'search({"q":"llama"})'),
        ("activity", "found"),
        ("bot", "It is"),
    ]
    assert found.created_at == datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
    assert len({message.key for message in found.messages}) == 6


def test_claude_builds_the_tree_where_parents_are_told():
    found = one(
        compact(
            [
                claude(
                    "c",
                    claude_message(
                        "1", "human", "a", parent_message_uuid="00000000-0000-4000-8000-000000000000"
                    ),
                    claude_message("2", "assistant", "old", parent_message_uuid="1"),
                    claude_message("3", "assistant", "new", parent_message_uuid="1"),
                )
            ]
        )
    )
    assert [(each.text, each.active) for each in found.messages] == [
        ("a", True),
        ("old", False),
        ("new", True),
    ]


def test_open_webui_reads_today_s_shape_and_the_older_ones():
    found = one(compact([webui()]))
    assert [(each.text, each.active) for each in found.messages] == [
        ("Hi", True),
        ("Old", False),
        ("New", True),
    ]
    assert found.meta["tags"] == ["x"]
    legacy = one(compact([webui()["chat"] | {"id": "old"}]))
    assert legacy.key == "old"
    assert told(legacy) == told(found)
    flat = one(
        compact(
            [
                {
                    "id": "z",
                    "chat": {
                        "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
                    },
                }
            ]
        )
    )
    assert told(flat) == [("user", "a"), ("bot", "b")]


def test_open_webui_prefers_output_and_unfolds_what_is_folded_into_html():
    chat = webui()
    nodes = chat["chat"]["history"]["messages"]
    nodes["b"]["output"] = [
        {"type": "reasoning", "content": [{"type": "output_text", "text": "thought"}]},
        {"type": "function_call", "call_id": "1", "name": "f", "arguments": '{"a":1}'},
        {"type": "function_call_output", "call_id": "1", "output": [{"type": "input_text", "text": "r"}]},
        {"type": "message", "content": [{"type": "output_text", "text": "answer"}]},
    ]
    nodes["c"]["content"] = (
        '<details type="reasoning" done="true"><summary>Thought</summary>\n> deep\n> er</details>\n'
        '<details type="tool_calls" name="g" arguments="{&quot;b&quot;:2}" result="&quot;R&quot;">'
        "<summary>x</summary></details>\nDone"
    )
    assert told(one(compact([chat]))) == [
        ("user", "Hi"),
        ("reasoning", "thought"),
        ("activity", 'f({"a":1})'),
        ("activity", "r"),
        ("bot", "answer"),
        ("reasoning", "deep\ner"),
        ("activity", 'g({"b":2})'),
        ("activity", '"R"'),
        ("bot", "Done"),
    ]


@pytest.mark.parametrize(
    ("rule", "schedule"),
    [
        ("RRULE:FREQ=DAILY;BYHOUR=9;BYMINUTE=30", "30 9 * * *"),
        ("FREQ=WEEKLY;BYDAY=MO,FR;BYHOUR=7;BYMINUTE=0", "0 7 * * MON,FRI"),
        ("FREQ=HOURLY;BYMINUTE=5", "5 * * * *"),
        ("FREQ=MINUTELY;INTERVAL=15", "@every 15m"),
        ("FREQ=MONTHLY;BYMONTHDAY=1;BYHOUR=6;BYMINUTE=0", "0 6 1 * *"),
        ("DTSTART:20260105T080000\nRRULE:FREQ=WEEKLY", "0 8 * * MON"),
        ("DTSTART:20300105T080000\nRRULE:FREQ=DAILY;COUNT=1", "2030-01-05T08:00:00"),
    ],
)
def test_an_automation_s_rule_becomes_a_schedule_that_means_the_same(rule, schedule):
    task = one(compact({"automations": [automation(rule)]}), timezone="Europe/Berlin")
    assert isinstance(task, Task)
    assert (task.schedule, task.timezone, task.prompt) == (schedule, "Europe/Berlin", "Sum up the news")


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        ("FREQ=DAILY;INTERVAL=2;BYHOUR=9", "rrule_unsupported"),
        ("FREQ=MONTHLY;BYDAY=1MO;BYHOUR=9", "rrule_unsupported"),
        ("FREQ=DAILY;BYHOUR=9;BYSETPOS=1", "rrule_unsupported"),
        ("FREQ=DAILY;BYHOUR=99", "bad_schedule"),
        ("nonsense", "rrule_unsupported"),
    ],
)
def test_a_rule_without_such_a_schedule_is_told_and_the_others_are_kept(rule, code):
    good = automation("FREQ=DAILY;BYHOUR=9;BYMINUTE=0")
    first, second = records(compact([automation(rule), good]))
    assert first == Reject(1, code)
    assert isinstance(second, Task)


def test_a_crontab_s_lines_are_tasks_in_the_zone_above_them():
    found = records(b"0 8 * * * Before\n" + EXAMPLES["crontab"] + b"@reboot never\n61 * * * * bad\n")
    assert [(each.schedule, each.timezone, each.prompt) for each in found if isinstance(each, Task)] == [
        ("0 8 * * *", None, "Before"),
        ("0 9 * * 1-5", "Europe/Berlin", "Say good morning"),
        ("@daily", "Europe/Berlin", "Sum up"),
    ]
    assert [each.code for each in found if isinstance(each, Reject)] == ["bad_schedule", "bad_schedule"]


def test_librechat_reads_lists_and_trees_alike():
    flat = one(compact(librechat()))
    assert told(flat) == [("user", "Hey"), ("bot", "Hello")]
    first, second = librechat()["messages"]
    nested = librechat(messagesTree=[{**first, "children": [{**second, "children": []}]}], recursive=True)
    nested.pop("messages")
    tree = one(compact(nested))
    assert digest(tree) == digest(flat)


def test_a_tree_as_deep_as_a_long_conversation_is_read():
    message = None
    for at in reversed(range(3000)):
        children = b"" if message is None else message
        text = compact(
            {
                "messageId": f"m{at}",
                "parentMessageId": f"m{at - 1}" if at else None,
                "text": f"t{at}",
                "isCreatedByUser": at % 2 == 0,
            }
        )
        message = text[:-1] + b',"children":[' + children + b"]}"
    found = one(b'{"conversationId":"deep","messagesTree":[' + message + b"]}")
    assert [each.text for each in found.messages] == [f"t{at}" for at in range(3000)]
    assert all(each.active for each in found.messages)


def test_an_archive_of_librechat_files_is_read_file_by_file():
    files = {f"chat-{at}.json": compact(librechat(f"l{at}")) for at in (2, 10, 1)}
    assert [each.key for each in records(archive({**files, "notes.txt": b"0 9 * * * hello there"}))] == [
        "l1",
        "l2",
        "l10",
    ]


def test_chatbotui_is_read_from_within_its_object():
    assert [each.key for each in records(compact(chatbotui("u1", "u2")))] == ["u1", "u2"]


def test_training_rows_have_keys_that_follow_from_what_is_said():
    rows = [sharegpt("1"), sharegpt(None, conversations=[{"from": "human", "value": "other"}])]
    first, second = records(jsonl(*rows))
    again = records(jsonl(sharegpt("9", system="new"), *rows))
    assert [each.key for each in again[1:]] == [first.key, second.key]
    assert first.key != again[0].key


def test_sharegpt_s_names_may_be_others_and_its_tools_are_activities():
    turns = [
        {"who": "human", "what": "weather?"},
        {"who": "function_call", "what": '{"name":"w","arguments":{"c":"x"}}'},
        {"who": "observation", "what": "sunny"},
        {"who": "gpt", "what": "Sunny."},
    ]
    names = {"conversations": "talk", "from": "who", "value": "what"}
    found = one(compact([{"talk": turns}]), "sharegpt", columns=names)
    assert told(found) == [
        ("user", "weather?"),
        ("activity", 'w({"c":"x"})'),
        ("activity", "sunny"),
        ("bot", "Sunny."),
    ]


def test_fine_tuning_lines_keep_calls_parts_weights_and_lines_without_a_user():
    called = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        "weight": 0,
    }
    answer = {"role": "tool", "tool_call_id": "c1", "content": "ok"}
    parts = {
        "role": "developer",
        "content": [{"type": "text", "text": "do"}, {"type": "image_url", "image_url": {}}],
    }
    found = one(jsonl(openai(parts, called, answer)))
    assert told(found) == [("context", "do\n[image]"), ("activity", "f({})"), ("activity", "ok")]
    assert found.messages[1].meta["weight"] == 0
    assert found.messages[2].meta["activity"]["function"]["name"] == "f"


def test_chatbotkit_finds_messages_beside_conversations_in_an_archive():
    listed = [kit_message("2", "bot", "later", 5), kit_message("1", "user", "first", 1)]
    content = archive(
        {
            "conversations.jsonl": jsonl(
                {"type": "item", "data": kit("k1")}, {"type": "item", "data": kit("k2")}
            ),
            "messages/k1.jsonl": jsonl(*({"type": "item", "data": each} for each in listed)),
        }
    )
    first, second = records(content)
    assert told(first) == [("user", "first"), ("bot", "later")]
    assert first.contact.key == "p1"
    assert first.meta["plan"] == "pro"
    assert first.created_at == datetime.fromtimestamp(T0, UTC)
    assert second.messages == ()


def test_general_bots_histories_are_conversations():
    found = one(compact(bots()))
    assert told(found) == [("user", "Open?"), ("bot", "Until six.")]
    unknowns = Unknowns()
    part = one(compact({**bots(), "has_more": True}), unknowns=unknowns)
    assert part.key == found.key
    assert part.meta["incomplete"] is True
    assert unknowns["history_goes_on"] == 1


def test_a_table_s_rows_are_grouped_and_quoted_lines_kept():
    first, second = records(EXAMPLES["csv"])
    assert told(first) == [("user", "Hi"), ("bot", "Hello,\nyou")]
    assert (second.key, second.row) == ("2", 3)
    questions = one(b"question;answer\nWhy?;Because\n")
    assert told(questions) == [("user", "Why?"), ("bot", "Because")]
    renamed = one(b"who,says\nbot,hey\n", "csv", columns={"role": "who", "text": "says"})
    assert told(renamed) == [("bot", "hey")]


def test_the_own_export_comes_back_as_it_was():
    for name, sample in EXAMPLES.items():
        made = [record for record in records(sample) if not isinstance(record, Task)]
        if name in {"crontab", "openwebui-automations"}:
            continue
        back = records(b"".join(written(made)), name="x.jsonl")
        assert [digest(record) for record in back] == [digest(record) for record in made], name


def test_a_large_conversation_is_exported_in_several_lines_and_comes_back_in_parts():
    turns = [{"from": "human", "value": f"{at}" * 60_000} for at in range(100)]
    (whole,) = records(jsonl(sharegpt(conversations=turns)))
    lines = list(written([whole]))
    assert len(lines) > 3
    parts = records(b"".join(lines))
    assert {part.key for part in parts} == {whole.key}
    assert tuple(message for part in parts for message in part.messages) == whole.messages


def test_an_export_that_was_cut_or_changed_is_known_as_such():
    lines = list(written(records(EXAMPLES["chatgpt"])))
    assert [each.code for each in records(b"".join(lines[:-1])) if isinstance(each, Reject)] == ["truncated"]
    changed = b"".join(lines).replace(b"The moon", b"The sun!", 1)
    assert [each.code for each in records(changed) if isinstance(each, Reject)] == ["digest_mismatch"]
    newer = b"".join(lines).replace(b'"version":2', b'"version":9', 1)
    with pytest.raises(InvalidInput, match="This is no Crontalk export"):
        records(newer)


def test_what_nobody_knows_is_refused_and_asks_for_a_name():
    for content in (b"", b"   ", b"hello world", b'{"a":1}', b"[1,2,3]", b"\x00\x01\x02", b"\xff\xfea\x00"):
        with pytest.raises(InvalidInput):
            records(content)
    with pytest.raises(InvalidInput, match="The format must be one of chatgpt"):
        records(b"[]", "fax")
    with pytest.raises(InvalidInput, match="nothing in it"):
        records(b"[]", "chatgpt")
    with pytest.raises(InvalidInput, match="no such file"):
        format_of("/nowhere/at/all")


def test_a_source_s_name_helps_where_its_content_says_little(tmp_path):
    assert detect_format(compact([{"id": "x", "title": "y"}]), "conversations.json") == "chatgpt"
    assert format_of(Source(io.BytesIO(compact([gpt()])), "x.bin")) == "chatgpt"
