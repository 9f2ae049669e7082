"""An account goes for good: its key first, then everything it had, whatever happens on the way."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from core.account_deletion import _Erasing, delete_account
from core.accounts import create_token, find_account, open_account
from core.blobs import sweep_blobs
from core.errors import Conflict, NotFound, Unavailable
from core.invariants import violations
from core.keys import KeyUnusable, seal
from core.talking import dispatch, send
from core.turn_requests import TurnRequest
from tests.api import a_client, a_secret, a_world
from tests.factories import (
    A_KEY,
    a_bot,
    a_contact,
    a_conversation,
    a_due_task,
    a_pending_turn,
    an_account,
    execute,
    one,
    rows,
)
from tests.knowledge import a_dataset
from tests.traces import analyse, forget_words, statistics_with, traces_of

MARK = "xyloquartz"
MAIL = f"{MARK}@example.com"
MANY = (
    "INSERT INTO messages (id, account_id, conversation_id, seq, type, text) SELECT gen_random_uuid(),"
    " :account, :conversation, 100 + n, 'user', 'Number ' || n || ' of :mark'"
    " FROM generate_series(1, :count) AS n"
)


@pytest.fixture(autouse=True)
def _silence(context):
    forget_words(context)


@pytest.fixture
def marked(context, leases):
    """An account with one of everything, and a word that stands in many places."""
    account = an_account(context, f"The {MARK}")
    a_world(context, account, leases)
    execute(context, "DELETE FROM legal_holds WHERE account_id = :id", id=account)
    bot = a_bot(context, account, backstory=f"About {MARK}.", privacy=True)
    talk = a_conversation(context, account, bot_id=bot.id, name=MARK, meta={"mail": MAIL})
    a_contact(context, account, name=MARK, email=MAIL, fingerprint=MARK)
    a_due_task(context, account, name=MARK, description=f"Write to {MAIL}")
    a_dataset(context, account, f"A record of {MARK}.", name=MARK)
    with context.transaction(account) as session:
        send(session, talk.id, f"Write to {MAIL}")
        create_token(session, account, MARK)
        _, channel = dispatch(session, talk.id, f"Say {MARK}", TurnRequest())
    context.live.publish(account, channel, [{"data": MARK}])
    a_pending_turn(context, account)
    return account


def left_of(context, account):
    """The tables that still hold rows of an account."""
    query = (
        "SELECT table_name FROM information_schema.columns WHERE table_schema = 'public'"
        " AND column_name = 'account_id' AND table_name <> 'erasures'"
    )
    return {
        row["table_name"]
        for row in rows(context, query)
        if one(context, f"SELECT count(*) FROM {row['table_name']} WHERE account_id = :id", id=account)
    }


def test_nothing_of_a_deleted_account_is_left_and_nobody_elses_is_touched(
    context, account, leases, marked, admin_url
):
    other = a_world(context, account, leases)
    before = {
        t: rows(context, f"SELECT * FROM {t} WHERE account_id = :id", id=account)
        for t in ("messages", "runs")
    }
    analyse(context)
    count = one(context, "SELECT count(*) FROM messages WHERE account_id = :id", id=marked)
    talks = one(context, "SELECT count(*) FROM conversations WHERE account_id = :id", id=marked)
    receipt = delete_account(context, marked, actor="cli")
    assert left_of(context, marked) == {"blob_leftovers"}
    assert traces_of(context, MARK) == []
    assert statistics_with(context, admin_url, MARK) == []
    sweep_blobs(context)
    assert left_of(context, marked) == set()
    assert (receipt.messages, receipt.conversations, receipt.attachments) == (count, talks, 1)
    assert (receipt.kind, receipt.target_id, receipt.actor) == ("account", marked, "cli")
    assert receipt.completed_at is not None
    for table, stored in before.items():
        assert rows(context, f"SELECT * FROM {table} WHERE account_id = :id", id=account) == stored
    assert other.conversationId
    with context.transaction() as session:
        assert violations(session) == []


def test_its_key_goes_first_and_it_gets_no_other(context, marked):
    secret = a_secret(context, marked)
    _Erasing(context, marked, None, lambda _table, _rows: None).shred(held=False)
    assert one(context, "SELECT wrapped_key FROM accounts WHERE id = :id", id=marked) is None
    assert a_client(context, secret).get("/api/v1/task/list").status_code == 401
    with pytest.raises(KeyUnusable, match="being deleted"), context.transaction(marked) as session:
        seal(session, marked, b"words", "place")
    with pytest.raises(Conflict, match="being deleted"), context.transaction() as session:
        open_account(session, find_account(session, str(marked)))
    assert one(context, "SELECT completed_at FROM erasures WHERE target_id = :id", id=marked) is None
    assert delete_account(context, marked).completed_at is not None


def test_it_goes_in_small_slices_and_each_is_counted_once(context, account, monkeypatch):
    monkeypatch.setattr("core.account_deletion.SLICE", 7)
    monkeypatch.setattr("core.account_deletion.CONVERSATIONS", 3)
    talks = [a_conversation(context, account, privacy=True).id for _ in range(10)]
    with context.transaction(account) as session:
        for talk in talks:
            for n in range(9):
                send(session, talk, f"a{n}@example.com")
    heard = []
    receipt = delete_account(context, account, tell=lambda table, gone: heard.append((table, gone)))
    assert (receipt.messages, receipt.conversations) == (90, 10)
    assert max(gone for _, gone in heard) <= 7
    assert sum(gone for table, gone in heard if table == "messages") == 90
    assert sum(gone for table, gone in heard if table == "pii_tokens") == 90


def test_it_may_be_stopped_after_every_slice_and_goes_on(context, marked, monkeypatch):
    monkeypatch.setattr("core.account_deletion.SLICE", 1)
    count = one(context, "SELECT count(*) FROM messages WHERE account_id = :id", id=marked)
    stops = 0
    while True:
        try:
            receipt = delete_account(context, marked, tell=_stop)
            break
        except KeyboardInterrupt:
            stops += 1
    assert stops > 20
    assert receipt.messages == count
    assert one(context, "SELECT count(*) FROM erasures WHERE kind = 'account'") == 1
    assert traces_of(context, MARK) == []
    assert delete_account(context, marked).id == receipt.id


def _stop(_table, _rows):
    raise KeyboardInterrupt


def test_a_slice_that_takes_too_long_is_tried_again_smaller(context, account, monkeypatch):
    monkeypatch.setattr("core.account_deletion.PAUSE", 0)
    talk = a_conversation(context, account).id
    with context.transaction(account) as session:
        send(session, talk, "Hello")
    rows_of, sizes = _Erasing._rows, []

    def slow(erasing, statement, session, **values):
        sizes.append(erasing._slice)
        if erasing._slice > 500:
            raise Unavailable("too slow")
        return rows_of(erasing, statement, session, **values)

    monkeypatch.setattr(_Erasing, "_rows", slow)
    assert delete_account(context, account).messages == 1
    assert sizes[:3] == [2000, 1000, 500]


def test_an_unknown_account_is_not_found(context):
    with pytest.raises(NotFound):
        delete_account(context, an_account_id())


def an_account_id():
    from models import new_id

    return new_id()


def command(context, *words, home):
    env = {
        "DATABASE_URL": context.settings.database_url,
        "REDIS_URL": context.settings.redis_url,
        "CRONTALK_HOME": str(home),
        "CRONTALK_KEY": A_KEY,
        "PATH": "",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "cli", *words],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_it_may_be_killed_at_any_point(context, account, tmp_path, eventually):
    doomed = an_account(context, "Doomed")
    talks = [a_conversation(context, doomed).id for _ in range(40)]
    for talk in talks:
        execute(context, MANY.replace(":mark", MARK), account=doomed, conversation=talk, count=500)
    kept = a_conversation(context, account).id
    execute(context, MANY.replace(":mark", "us"), account=account, conversation=kept, count=50)
    mine = "SELECT count(*) FROM messages WHERE account_id = :id"
    kills = 0
    for enough in (20_000, 15_000, 8_000):
        process = command(context, "account", "delete", "Doomed", "--yes", home=tmp_path)
        while process.poll() is None and one(context, mine, id=doomed) >= enough:
            time.sleep(0.002)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.communicate()
    assert kills
    assert one(context, "SELECT closed_at IS NOT NULL FROM accounts WHERE id = :id", id=doomed)
    process = command(context, "account", "delete", str(doomed), "--yes", "--json", home=tmp_path)
    told, _ = process.communicate(timeout=120)
    assert process.returncode == 0, told
    assert '"messages": 20000' in told
    assert left_of(context, doomed) == set()
    assert one(context, mine, id=account) == 50
    again = command(context, "account", "delete", str(doomed), "--yes", "--json", home=tmp_path)
    assert again.communicate(timeout=60)[0] == told


def test_it_is_not_deleted_without_a_word(context, account, tmp_path):
    process = command(context, "account", "delete", str(account), home=tmp_path)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "--yes" in complaint
    assert one(context, "SELECT closed_at FROM accounts WHERE id = :id", id=account) is None
    nobody = command(context, "account", "delete", "Nobody", "--yes", home=tmp_path)
    nobody.communicate(timeout=60)
    assert nobody.returncode == 3
