"""What open pages are told by themselves: ids of what has changed in their account, while they may look."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from contextlib import contextmanager

import httpx

from api.dashboard import live
from core.accounts import list_tokens, revoke_token
from core.jobs import cancel_job, pause_job
from core.messages import append
from models import MessageType
from tests.api import LOOPBACK, a_browser, a_secret
from tests.deletions import a_deletion
from tests.factories import a_conversation, an_account
from tests.sockets import a_door

PATIENCE = 10.0


class Page:
    """An open page: the ids it has been told, in order."""

    def __init__(self, response) -> None:
        self.status = response.status_code
        self.ids: list[str] = []
        self.ended = threading.Event()
        self._thread = threading.Thread(target=self._read, args=(response,), daemon=True)
        self._thread.start()

    def _read(self, response) -> None:
        try:
            for line in response.iter_lines():
                if line.startswith("data: "):
                    self.ids += line.removeprefix("data: ").split()
        except httpx.HTTPError:
            pass
        self.ended.set()

    def hears(self, row) -> bool:
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            if str(row) in self.ids:
                return True
            time.sleep(0.01)
        return False


@contextmanager
def an_open_page(door, secret):
    with (
        httpx.Client(base_url=f"http://127.0.0.1:{door.port}", cookies={"crontalk": secret}) as client,
        client.stream("GET", "/live", timeout=httpx.Timeout(30.0)) as response,
    ):
        yield Page(response)


def test_a_page_hears_of_a_message_and_of_a_job_and_not_of_other_accounts(door, context, account):
    other = an_account(context)
    ours, theirs = a_conversation(context, account), a_conversation(context, other)
    with an_open_page(door, a_secret(context, account)) as page:
        assert page.status == 200
        time.sleep(1.1)  # until whoever announces knows that somebody reads
        for conversation, owner in ((theirs, other), (ours, account)):
            with context.transaction(owner) as session:
                append(session, conversation.id, MessageType.USER, "hello")
        assert page.hears(ours.id)
        job = a_deletion(context, account, "conversations", ids=[str(ours.id)])
        assert page.hears(job.id)
        page.ids.clear()
        with context.transaction(account) as session:
            cancel_job(session, job.id)
        assert page.hears(job.id)
        assert str(theirs.id) not in page.ids


def test_without_a_login_nothing_is_told(door, context):
    answer = httpx.get(f"http://127.0.0.1:{door.port}/live")
    assert answer.status_code == 401


def test_a_page_whose_token_is_revoked_is_told_no_more(door, context, account, monkeypatch):
    monkeypatch.setattr(live, "BEAT", 0.1)
    monkeypatch.setattr(live, "PACE", 0.01)
    with an_open_page(door, a_secret(context, account)) as page:
        assert page.status == 200
        assert not page.ended.wait(0.5)
        with context.transaction(account) as session:
            for token in list_tokens(session):
                revoke_token(session, token.id)
        assert page.ended.wait(PATIENCE)


def test_an_api_that_ends_does_not_wait_for_open_pages(context, account):
    with a_door(context) as door, an_open_page(door, a_secret(context, account)) as page:
        assert page.status == 200
        began = time.monotonic()
        door.close()
        assert page.ended.wait(PATIENCE)
        assert time.monotonic() - began < PATIENCE


def test_progress_of_a_job_is_told_at_once(door, context, account, monkeypatch):
    monkeypatch.setattr("api.chatbotkit.job_events.LOOK", 60.0)
    conversation = a_conversation(context, account)
    job = a_deletion(context, account, "conversations", ids=[str(conversation.id)])
    headers = {"Authorization": f"Bearer {a_secret(context, account)}", "Accept": "application/jsonl"}
    url = f"http://127.0.0.1:{door.port}/api/v1/job/{job.id}/subscribe"
    states = []
    with httpx.stream("POST", url, headers=headers, json={}, timeout=30.0) as response:
        lines = (json.loads(line) for line in response.iter_lines() if line.strip())
        states.append(next(lines)["data"]["state"])
        time.sleep(1.1)
        for act in (pause_job, cancel_job):
            with context.transaction(account) as session:
                act(session, job.id)
            told = next(line for line in lines if line["type"] in {"progress", "result"})
            states.append(told["data"]["state"])
    assert states[-2:] == ["paused", "cancelled"]


def test_what_somebody_says_on_the_page_is_said_once_and_answered(context, account):
    browser = a_browser(context, account)
    conversation = a_conversation(context, account)
    path = f"/conversations/{conversation.id}"
    form = {"once": "a1", "words": "Is the parcel late?"}
    ours = {"Origin": LOOPBACK}
    for _ in range(2):
        answer = browser.post(f"{path}/say", data=form, headers=ours)
        assert answer.status_code == 303, answer.text
    assert answer.headers["location"].startswith(path)
    shown = browser.get(path).text
    assert shown.count("Is the parcel late?") == 1
    assert "An answer is being written" in shown
    reused = browser.post(f"{path}/say", data={**form, "words": "Another"}, headers=ours)
    assert reused.status_code == 400
    assert "Another" in reused.text


def test_a_crowd_of_newer_conversations_is_told_of_and_a_list_is_not_loaded_anew(context, account):
    browser = a_browser(context, account)
    first = a_conversation(context, account)
    for _ in range(39):
        newest = a_conversation(context, account)
    few = browser.get(f"/conversations?since={first.id}")
    assert few.text.count("data-row") == 39
    assert f"since={newest.id}" in few.text
    a_conversation(context, account)
    many = browser.get(f"/conversations?since={first.id}")
    assert many.text.count("data-row") == 0
    assert "Many newer conversations" in many.text
    assert "hx-refresh" not in many.headers


def test_a_stream_that_begins_while_the_process_ends_ends_with_it(context, account):
    with a_door(context) as door:
        with an_open_page(door, a_secret(context, account)) as page:
            assert page.status == 200
            (loop,) = door.app.state.papers._by_loop
            asyncio.run_coroutine_threadsafe(door.app.state.papers.close(), loop).result(PATIENCE)
            assert page.ended.wait(PATIENCE)
        with an_open_page(door, a_secret(context, account)) as late:
            assert late.ended.wait(PATIENCE)
