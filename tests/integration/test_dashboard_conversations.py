"""The conversations' pages: found, read, marked, revealed, edited, and deleted one by one or all at once."""

from __future__ import annotations

import json
import re
import uuid
from urllib.parse import quote

import pytest
from sqlalchemy import text

from core.audit import list_audit
from core.browsing import find_conversations, glimpses_of
from core.conversations import delete_conversation
from core.messages import append
from core.privacy_policies import set_policy
from core.queries import read_query
from models import Bot, Conversation, MessageType
from tests.api import LOOPBACK, a_browser
from tests.factories import (
    a_bot,
    a_contact,
    a_conversation,
    a_hold,
    a_pending_run,
    an_account,
    execute,
    one,
    rows,
)
from tests.knowledge import an_attachment
from tests.pages import Page

OURS = {"Origin": LOOPBACK}


@pytest.fixture
def browser(context, account):
    return a_browser(context, account)


def said(context, account, *words, kind=MessageType.USER, **fields):
    conversation = a_conversation(context, account, **fields)
    with context.transaction(account) as session:
        for one_of_them in words:
            append(session, conversation.id, kind, one_of_them)
    return conversation


def found(browser, q):
    answer = browser.get(f"/conversations?q={quote(q)}")
    assert answer.status_code == 200, answer.text
    return [a["href"][15:51] for a in Page(answer).all("a") if "data-row" in a]


def test_filters_and_words_find_what_they_say(browser, context, account):
    helper = a_bot(context, account, name="Night watch")
    grace = a_contact(context, account)
    with context.transaction(account) as session:
        session.get(Bot, helper.id).privacy = True
    a = said(context, account, "The parcel is late", name="Delivery", source="widget", contact_id=grace.id)
    b = said(context, account, "write to x@example.com", bot_id=helper.id, source="my mail")
    c = said(context, account, "a thought about parcels", kind=MessageType.REASONING, source="widget")
    execute(context, "UPDATE conversations SET status = 'archived' WHERE id = :id", id=c.id)
    execute(context, "UPDATE conversations SET created_at = '2020-01-01Z' WHERE id = :id", id=a.id)
    a, b, c = str(a.id), str(b.id), str(c.id)
    assert found(browser, "") == [c, b, a]
    assert found(browser, "parcel") == [a]
    assert found(browser, "delivery") == [a]
    assert found(browser, 'bot:"night watch"') == [b]
    assert found(browser, f"bot:{helper.id}") == [b]
    assert found(browser, "contact:Grace") == [a]
    assert found(browser, "source:widget") == [c, a]
    assert found(browser, 'source:"my mail" source:widget') == [c, b, a]
    assert found(browser, "status:archived") == [c]
    assert found(browser, "has:pii") == [b]
    assert found(browser, "type:reasoning") == [c]
    assert found(browser, "before:2021-01-01") == [a]
    assert found(browser, "after:2021-01-01 source:widget") == [c]
    assert found(browser, "source:widget parcel -late") == []
    assert found(browser, "bot:nobody") == []


def test_runs_are_found_by_their_task(browser, context, account):
    run = a_pending_run(context, account, name="Report")
    said(context, account, "x")
    wanted = [str(one(context, "SELECT conversation_id FROM runs"))]
    assert found(browser, "task:report") == wanted
    assert found(browser, f"task:{run.task_id}") == wanted


def test_a_filter_that_is_none_is_explained_and_drops_nothing(browser, context, account):
    said(context, account, "x")
    answer = browser.get("/conversations?q=colour:red")
    assert answer.status_code == 400
    page = Page(answer)
    assert "There is no such filter" in page.text
    assert {"value": "colour:red"}.items() <= next(f for f in page.all("input") if f.get("id") == "q").items()
    assert not [a for a in page.all("a") if "data-row" in a]


def test_a_snippet_marks_what_was_searched_for_and_nothing_else(browser, context, account):
    said(context, account, "nothing", "for 3 < 4 the REFUND & \x02co\x03 comes", name="Shop")
    answer = browser.get("/conversations?q=refund")
    assert "<mark>REFUND</mark>" in answer.text
    assert answer.text.count("<mark>") == 1
    assert "for 3 &lt; 4 the <mark>REFUND</mark> &amp; co comes" in answer.text
    path = next(a["href"] for a in Page(answer).all("a") if "data-row" in a)
    assert path.endswith("?after=0#m2")


def test_what_nobody_may_see_yet_is_in_no_list_and_no_page(browser, context, account):
    conversation = said(context, account, "a secret of somebody")
    execute(context, "UPDATE messages SET pii_state = 'blocked'")
    assert "secret" not in browser.get("/conversations").text
    assert found(browser, "secret") == []
    assert "secret" not in browser.get(f"/conversations/{conversation.id}").text


def test_pages_follow_each_other_without_a_gap_and_survive_deletions(browser, context, account):
    made = [str(a_conversation(context, account).id) for _ in range(90)]
    seen, path = [], "/conversations"
    while path:
        page = Page(browser.get(path))
        seen += [a["href"].split("/")[2] for a in page.all("a") if "data-row" in a]
        path = next((a["href"] for a in page.all("a") if a.get("rel") == "next"), None)
        more = [attributes for _, attributes in page.elements if attributes.get("class") == "more"]
        assert [one_of_them["hx-get"] for one_of_them in more] == ([path] if path else [])
        if path:
            with context.transaction(account) as session:
                delete_conversation(session, seen[-1])  # the cursor's own row
    assert seen == made[::-1]


def test_the_list_and_a_filter_are_read_from_an_index(context, account):
    for _ in range(3):
        said(context, account, "x")
    with context.transaction(account) as session:
        session.execute(text("SET LOCAL enable_seqscan = off"))
        found_ones = find_conversations(session, read_query("has:pii type:user source:x"), take=10)
        assert found_ones == []
        plan = "\n".join(
            session.scalars(
                text(
                    "EXPLAIN SELECT * FROM conversations WHERE account_id = :account AND id < :id"
                    " ORDER BY id DESC LIMIT 41"
                ),
                {"account": account, "id": account},
            )
        )
        assert "Index" in plan
        assert "Sort" not in plan
        assert len(glimpses_of(session, [one_of.id for one_of in session.query(Conversation)], "x")) == 3


def test_a_transcript_shows_every_type_and_what_an_answer_was_made_from(browser, context, account, world):
    conversation = a_conversation(context, account, name="All of it")
    call = {"name": "look_up", "arguments": {"order": 42}}
    with context.transaction(account) as session:
        for kind in MessageType:
            if kind != MessageType.ACTIVITY:
                append(session, conversation.id, kind, f"words of {kind}")
        for activity in (
            {"type": "request", "function": call},
            {"type": "response", "function": {**call, "result": {"found": "yes"}}},
        ):
            append(session, conversation.id, MessageType.ACTIVITY, "x", meta={"activity": activity})
        use = {"datasetId": world.datasetId, "recordId": world.recordId, "source": "Guide", "score": 0.5}
        append(session, conversation.id, MessageType.BOT, "made", meta={"records": [use, 7, {"x": None}]})
    page = Page(browser.get(f"/conversations/{conversation.id}"))
    for kind in MessageType:
        assert kind == MessageType.ACTIVITY or f"words of {kind}" in page.text
    assert "Call of look_up" in page.text
    assert '"order": 42' in page.text
    assert '"found": "yes"' in page.text
    link = f"/datasets/{world.datasetId}/records/{world.recordId}"
    assert link in [a.get("href") for a in page.all("a")]
    assert browser.get(link).status_code == 200


def test_a_conversation_shows_all_it_is_linked_to(browser, context, account, world):
    page = Page(browser.get(f"/conversations/{world.conversationId}"))
    links = {a["href"] for a in page.all("a")}
    assert {f"/tasks/{world.taskId}", f"/runs/{world.runId}"} <= links
    assert f"/conversations/{world.conversationId}/attachments/{world.attachmentId}" in links
    assert "attempt.1" in page.text
    assert "model.1" in page.text
    grace = a_contact(context, account)
    mine = said(context, account, "x", contact_id=grace.id, name="This one")
    said(context, account, "y", contact_id=grace.id, name="The other one")
    page = Page(browser.get(f"/conversations/{mine.id}"))
    assert "The other one" in page.text
    assert f"/contacts/{grace.id}" in [a["href"] for a in page.all("a")]


def test_an_attachment_is_a_download_and_never_shown_in_place(browser, context, account):
    conversation = a_conversation(context, account)
    there = an_attachment(
        context, account, conversation.id, b"<script>alert(1)</script>", kind="text/html", name="x.html"
    )
    answer = browser.get(f"/conversations/{conversation.id}/attachments/{there}")
    assert answer.content == b"<script>alert(1)</script>"
    assert answer.headers["content-disposition"].startswith("attachment")
    other = a_conversation(context, account)
    assert browser.get(f"/conversations/{other.id}/attachments/{there}").status_code == 404


def test_a_long_conversation_is_paged_and_every_message_is_there_once(browser, context, account):
    conversation = said(context, account, *(f"said {n:03}" for n in range(250)))
    path, seen = f"/conversations/{conversation.id}", []
    while path:
        page = Page(browser.get(path))
        seen += re.findall(r"said (\d{3})", page.text)
        path = next((a["href"] for a in page.all("a") if a.get("rel") == "next"), None)
    assert seen == [f"{n:03}" for n in range(250)]


@pytest.fixture
def private(context, account):
    conversation = a_conversation(context, account)
    with context.transaction(account) as session:
        set_policy(session, session.get(Conversation, conversation.id), {"preset": "tokenise"})
        append(session, conversation.id, MessageType.USER, "Write to ada@example.com, please.")
    return conversation


def test_entities_are_marked_and_what_is_behind_them_is_not_there(browser, context, private):
    answer = browser.get(f"/conversations/{private.id}")
    assert re.search(r'<span class="pii" title="email address, tokenise">\[email:\w+\]', answer.text)
    assert "ada@example.com" not in answer.text


def test_a_reveal_needs_its_scope_and_is_written_into_the_audit(context, account, private):
    message = rows(context, "SELECT id FROM messages")[0]["id"]
    place = f"/conversations/{private.id}/messages/{message}/reveal"
    plain = a_browser(context, account, ("read", "write"))
    assert "Reveal" not in Page(plain.get(f"/conversations/{private.id}")).text
    assert plain.post(place, headers=OURS).status_code == 403
    seer = a_browser(context, account)
    assert {"action": place}.items() <= Page(seer.get(f"/conversations/{private.id}")).all("form")[1].items()
    assert one(context, "SELECT count(*) FROM audit_events") == 0
    answer = seer.post(place, headers=OURS)
    assert "ada@example.com" in answer.text
    assert "The audit says that you looked." in Page(answer).text
    part = seer.post(place, headers={**OURS, "HX-Request": "true"})
    assert part.text.strip().startswith("<li")
    with context.transaction(account) as session:
        events = list_audit(session)
    assert [(event.action, str(event.target_id)) for event in events] == [
        ("message.reveal", str(message))
    ] * 2
    assert all(event.actor.startswith("token:") for event in events)


def test_name_description_and_meta_are_edited(browser, context, account):
    conversation = said(context, account, "x", name="Old", meta={"keep": 1, "go": 2})
    place = f"/conversations/{conversation.id}/edit"
    body = {"name": " New ", "description": "Two\r\nlines", "meta": '{"keep": 1, "come": [3]}'}
    assert browser.post(place, data=body, headers=OURS).status_code == 303
    row = rows(context, "SELECT name, description, meta FROM conversations")[0]
    assert row == {"name": "New", "description": "Two\nlines", "meta": {"keep": 1, "come": [3]}}
    assert browser.post(place, data={"meta": "{}"}, headers=OURS).status_code == 303
    assert rows(context, "SELECT name, description, meta FROM conversations")[0] == {
        "name": None,
        "description": None,
        "meta": {},
    }


@pytest.mark.parametrize("meta", ["[1]", "{", "7", '{"a": NaN}', '{"_x": 1}', "[" * 5000, '{"a": "\\u0000"}'])
def test_what_cannot_be_stored_is_explained_and_what_was_typed_stays(browser, context, account, meta):
    conversation = said(context, account, "x", name="Old")
    answer = browser.post(
        f"/conversations/{conversation.id}/edit", data={"name": "New", "meta": meta}, headers=OURS
    )
    assert answer.status_code == 400
    page = Page(answer)
    assert 'role="alert"' in answer.text
    assert "New" in [field.get("value") for field in page.all("input")]
    assert one(context, "SELECT name FROM conversations") == "Old"


def test_a_conversation_is_previewed_and_then_deleted(browser, context, account):
    conversation = said(context, account, "x", "y", name="Going")
    place = f"/conversations/{conversation.id}/delete"
    assert "Messages 2 Attachments 0" in Page(browser.get(place)).text
    assert one(context, "SELECT count(*) FROM conversations") == 1
    answer = browser.post(place, headers=OURS)
    assert (answer.status_code, answer.headers["location"]) == (303, "/conversations")
    assert one(context, "SELECT count(*) FROM messages") == 0
    assert one(context, "SELECT actor FROM erasures").startswith("token:")


def test_a_legal_hold_keeps_a_conversation_and_says_so(browser, context, account):
    conversation = said(context, account, "x")
    a_hold(context, account, conversation_id=conversation.id)
    place = f"/conversations/{conversation.id}/delete"
    assert "legal hold" in Page(browser.get(place)).text
    assert browser.post(place, headers=OURS).status_code == 409
    assert one(context, "SELECT count(*) FROM conversations") == 1


def previewed(browser, **data):
    answer = browser.post("/conversations/delete/preview", data=data, headers=OURS)
    assert answer.status_code == 200, answer.text
    page = Page(answer)
    hidden = [f for f in page.all("input") if f.get("type") == "hidden"]
    body = {name: [f["value"] for f in hidden if f["name"] == name] for name in {f["name"] for f in hidden}}
    return page, body


@pytest.mark.parametrize("q", ["source:widget", "parcel", "has:pii"])
def test_everything_that_matches_is_previewed_and_becomes_a_job(browser, context, account, q):
    with context.transaction(account) as session:
        session.query(Bot).one().privacy = True
    for n in range(3):
        said(context, account, f"parcel of x{n}@example.com", source="widget")
    said(context, account, "other")
    page, body = previewed(browser, q=q, scope="all")
    assert "Delete 3 conversations?" in page.text
    assert one(context, "SELECT count(*) FROM jobs") == 0
    answer = browser.post("/conversations/delete", data=body, headers=OURS)
    assert answer.status_code == 303
    job = rows(context, "SELECT id, kind, state, total, params FROM jobs")[0]
    assert answer.headers["location"] == f"/jobs/{job['id']}"
    assert (job["kind"], job["state"], job["total"]) == ("delete", "pending", 3)
    assert "parcel" not in json.dumps(job["params"])
    assert "0 of 3" in Page(browser.get(f"/jobs/{job['id']}")).text


def test_a_selection_by_hand_deletes_that_and_no_more(browser, context, account):
    made = [str(said(context, account, "x").id) for _ in range(4)]
    foreign = str(said(context, an_account(context, "Grace"), "x").id)
    page, body = previewed(browser, scope="picked", ids=[made[0], made[2], foreign])
    assert "Delete 2 conversations?" in page.text
    assert browser.post("/conversations/delete", data=body, headers=OURS).status_code == 303
    assert one(context, "SELECT total FROM jobs") == 2


def test_what_has_changed_since_its_preview_is_previewed_again(browser, context, account):
    said(context, account, "parcel")
    _, body = previewed(browser, q="parcel", scope="all")
    said(context, account, "another parcel")
    answer = browser.post("/conversations/delete", data=body, headers=OURS)
    assert answer.status_code == 409
    assert "Delete 2 conversations?" in Page(answer).text
    assert one(context, "SELECT count(*) FROM jobs") == 0


@pytest.mark.parametrize(
    "data",
    [
        {"scope": "picked"},
        {"scope": "all", "q": "bot:nobody"},
        {"scope": "all", "q": "nothing-like-it"},
        {"scope": "all", "q": "colour:red"},
        {"scope": "picked", "ids": "nonsense"},
        {"scope": "picked", "ids": ["01a2"] * 1001},
    ],
)
def test_nothing_to_delete_is_said(browser, context, account, data):
    said(context, account, "x")
    answer = browser.post("/conversations/delete/preview", data=data, headers=OURS)
    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize("rare", [0, 2, 5000])
@pytest.mark.parametrize("looked_through", [(1, 2), (4, 30), (1000, 20_000)])
def test_however_it_is_looked_for_the_same_is_found(context, account, monkeypatch, rare, looked_through):
    monkeypatch.setattr("core.browsing.LOOKED_THROUGH", looked_through)
    monkeypatch.setattr("core.browsing.NEWEST", looked_through[1])
    monkeypatch.setattr("core.browsing.RARE", rare)
    monkeypatch.setattr("core.search.RARE", rare)
    other = an_account(context, "Grace")
    made = []
    for n in range(12):
        kind = MessageType.ACTIVITY if n % 5 == 0 else MessageType.USER
        words = "often " + ("seldom" if n in {1, 7} else "else")
        made.append(str(said(context, account, "a start", words, kind=kind, name=f"Talk {n}").id))
        said(context, other, "often seldom", kind=kind)
    hidden = str(said(context, account, "often seldom", kind=MessageType.ACTIVITY).id)
    execute(context, "UPDATE messages SET pii_state = 'blocked' WHERE conversation_id = :id", id=hidden)
    execute(
        context,
        "UPDATE messages SET pii = '[]', pii_types = '{EMAIL_ADDRESS}' WHERE conversation_id = ANY(:ids)",
        ids=[uuid.UUID(made[n]) for n in (0, 3, 7)] + [uuid.UUID(hidden)],
    )
    wanted = {
        "often": range(12),
        "seldom": (1, 7),
        "often -seldom": (0, 2, 3, 4, 5, 6, 8, 9, 10, 11),
        "nowhere": (),
        "talk": range(12),
        "has:pii": (0, 3, 7),
        "has:pii seldom": (7,),
        "type:activity": (0, 5, 10),
        "type:activity type:reasoning often": (0, 5, 10),
        "type:activity type:user": range(12),
        "type:checkpoint": (),
    }
    for q, places in wanted.items():
        found, before = [], None
        while True:
            with context.transaction(account) as session:
                page = find_conversations(session, read_query(q), take=4, before=before)
            found += [str(one.id) for one in page]
            if len(page) < 4:
                break
            before = page[-1].id
        assert found == [made[n] for n in reversed(places)], q


def test_a_search_that_takes_long_is_refused_in_time(browser, context, account, monkeypatch):
    monkeypatch.setattr("core.search.TIME", text("SET LOCAL statement_timeout = '1ms'"))
    said(context, account, *("word " * 2000 for _ in range(20)))
    answer = browser.get("/conversations?q=type:activity%20word")
    assert answer.status_code in {200, 400}
    if answer.status_code == 400:
        assert "takes too long" in Page(answer).text
