"""What a survey of a file tells: numbers, codes and names, and never what was said."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest

from core.errors import InvalidInput
from core.importers import FORMATS, Reject, Source, Task
from core.importers import survey as module
from core.importers.survey import survey
from tests.unit.import_samples import (
    CRONTAB,
    EXAMPLES,
    claude,
    claude_message,
    compact,
    jsonl,
    openai,
    records,
)

CSV = b"conversation_id,role,text,created_at\n"


def of(content: bytes, format: str | None = None, **options):  # noqa: A002
    return survey(Source(io.BytesIO(content)), format, **options)


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_survey_counts_what_reading_gives(name):
    told, read = of(EXAMPLES[name]), records(EXAMPLES[name])
    conversations = [each for each in read if not isinstance(each, Task | Reject)]
    assert told.format == name
    assert name in FORMATS
    assert told.conversations == len(conversations)
    assert told.messages.total() == sum(len(each.messages) for each in conversations)
    assert told.inactive == sum(not each.active for one in conversations for each in one.messages)
    assert told.tasks == sum(isinstance(each, Task) for each in read)
    assert told == of(EXAMPLES[name])


def test_times_are_the_first_and_the_last_and_those_without_one_are_counted():
    told = of(CSV + b"1,user,Hi,2026-01-05\n1,bot,Hello,2026-01-02\n2,user,Bye,\n")
    assert (told.first, told.last, told.untimed) == (
        datetime(2026, 1, 2, tzinfo=UTC),
        datetime(2026, 1, 5, tzinfo=UTC),
        1,
    )


def test_a_conversation_that_is_there_again_is_stored_once_and_one_that_adds_to_it_is_not_the_same():
    first, more = (
        claude("a", claude_message("1", "human", "Hi")),
        claude("a", claude_message("2", "human", "Yo")),
    )
    told = of(compact([first, first, more, more]))
    assert (told.duplicates.same, told.duplicates.more, told.duplicates.complete) == (2, 1, True)
    assert (told.conversations, told.messages.total()) == (1, 4)
    assert (told.rows["conversation"], told.rows["message"]) == (1, 2)


def test_where_there_are_more_keys_than_are_remembered_duplicates_are_the_least_numbers(monkeypatch):
    monkeypatch.setattr(module, "MOST_KEYS", 2)
    first, other = claude("a"), claude("b")
    told = of(compact([first, first, other, other]))
    assert (told.duplicates.same, told.duplicates.complete) == (1, False)


def test_tasks_are_told_by_schedule_and_without_their_words():
    told = of(CRONTAB)
    assert [(task.row, task.schedule, task.timezone) for task in told.planned] == [
        (4, "0 9 * * 1-5", "Europe/Berlin"),
        (5, "@daily", "Europe/Berlin"),
    ]
    assert told.rows == {"task": 2}


def test_rejects_have_their_first_rows_and_all_are_counted():
    told = of(jsonl(openai()) + b"{broken\n" * 30, "openai")
    assert (told.rejects["not_json"].count, told.rejects["not_json"].rows) == (30, list(range(2, 12)))


def test_a_meta_nested_deeper_than_can_be_written_is_a_reject():
    deep = b'{"a":' * 400 + b"1" + b"}" * 400
    head = b'{"format":"crontalk","version":1}\n'
    told = of(head + b'{"key":"k","messages":[{"key":"m","type":"user","text":"Hi","meta":' + deep + b"}]}\n")
    assert told.rejects["too_deep"].rows == [1]
    assert told.conversations == 0


def test_personal_data_is_estimated_from_a_sample(monkeypatch):
    lines = b"".join(b"%d,user,Write to ada%d@example.com,\n" % (1, one) for one in range(50))
    told = of(CSV + lines)
    assert (told.sampled, told.found.total()) == (50, 50)
    monkeypatch.setattr(module, "SAMPLE", 10)
    told = of(CSV + lines)
    assert (told.sampled, told.found.total()) == (10, 10)
    assert list(told.per_thousand().values()) == [1000.0]


def test_the_largest_text_is_told_in_bytes():
    assert of(CSV + "1,user,Hi,\n1,user,ÄÖÜ😀,\n".encode()).largest_text == 10


def test_no_word_of_the_file_is_in_a_survey():
    secret = "Zugzwang"
    told = of(
        compact(
            [
                claude("a", claude_message("1", "human", secret), name=secret),
                {**claude("b"), "uuid": secret, "chat_messages": [secret]},
                secret,
            ]
        )
    )
    assert told.rejects
    assert secret.lower() not in repr(told).lower()


def test_what_cannot_be_read_at_all_is_refused():
    for content, format_, options in (
        (b"nothing we know", None, {}),
        (EXAMPLES["csv"], "nonsense", {}),
        (CRONTAB, None, {"timezone": "Mars/Olympus"}),
    ):
        with pytest.raises(InvalidInput):
            of(content, format_, **options)
