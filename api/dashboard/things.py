"""What conversations draw on and belong to: bots, contacts, datasets, skillsets, and the account's tokens."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from fastapi import APIRouter, Request
from sqlalchemy.orm import Session
from starlette.responses import RedirectResponse, Response

from api.auth import context_of
from api.dashboard.cookies import Editor, Visitor
from api.dashboard.rendering import address, page_for
from api.dashboard.views import Instant, instant
from api.dashboard.views_conversations import filter_path, title_of
from core.accounts import list_tokens, revoke_token
from core.bots import get_bot, list_bots
from core.browsing import names_of
from core.contacts import get_contact, list_contacts, list_conversations_of
from core.datasets import get_dataset, get_record, list_datasets, list_records
from core.errors import InvalidInput
from core.skillsets import get_skillset, list_abilities, list_skillsets
from models import Ability, ApiToken, Dataset, Record, Skillset

router = APIRouter()

ON_A_PAGE = 50
PARTS = 50  # records or abilities on a page
LATEST = 10
EMPTY = {
    "bots": "A bot says who answers: its backstory and its model. Make one with the API.",
    "contacts": "A contact is whom a conversation is with. They come with conversations, or with the API.",
    "datasets": "A dataset holds what a bot can look up. Make one with the API.",
    "skillsets": "A skillset holds what a bot can do. Make one with the API.",
}
SEARCHED = {"bots": "A part of a bot's name", "contacts": "How a contact's name begins"}
Rows = Sequence[Sequence[Any]]


def _list_page(
    visitor: Any,
    section: str,
    heads: Sequence[str],
    rows: Sequence[Sequence[Any]],
    before: str,
    *,
    q: str = "",
    wrong: str | None = None,
) -> Response:
    """Rows begin with an id; one more than a page was looked up."""
    base = f"/{section}"
    shown = rows[:ON_A_PAGE]
    return page_for(
        visitor,
        section,
        "things.html",
        400 if wrong else 200,
        title=section.capitalize(),
        base=base,
        q=q,
        hint=SEARCHED.get(section),
        wrong=wrong,
        newest=address(base, q=q),
        heads=heads,
        rows=[(row[0], row[1], row[2:]) for row in shown],
        older=address(base, q=q, before=shown[-1][0]) if len(rows) > ON_A_PAGE else None,
        first=not before,
        empty=EMPTY[section],
    )


def _found(request: Request, visitor: Any, find: Callable[[Session], Rows]) -> tuple[Rows, str | None]:
    """The rows, or none and what is wrong with the name that is looked for."""
    try:
        with context_of(request).transaction(visitor.account_id) as session:
            return find(session), None
    except InvalidInput as error:
        return (), str(error)


def _facts(*pairs: tuple[str, Any] | None) -> list[tuple[str, Any]]:
    return [pair for pair in pairs if pair is not None and pair[1] not in {None, ""}]


def _thing_page(
    visitor: Any, section: str, title: str | None, facts: Sequence[tuple[str, Any]], **more: Any
) -> Response:
    values: dict[str, Any] = {"texts": [], "links": [], "parts": [], "parts_title": "", "more_parts": None}
    return page_for(
        visitor,
        section,
        "thing.html",
        title=title or "Unnamed",
        section_title=section.capitalize(),
        base=f"/{section}",
        facts=facts,
        **{**values, **more},
    )


def _texts(*pairs: tuple[str, str | None]) -> list[tuple[str, str]]:
    return [(label, words) for label, words in pairs if words]


def _meta(meta: dict[str, Any]) -> str | None:
    return json.dumps(meta, indent=2, ensure_ascii=False) if meta else None


def _times(row: Any) -> tuple[tuple[str, Instant], tuple[str, Instant]]:
    return ("Made", instant(row.created_at, None)), ("Changed", instant(row.updated_at, None))


@router.get("/bots")
def show_bots(request: Request, visitor: Visitor, before: str = "", q: str = "") -> Response:
    q = q.strip()

    def find(session: Session) -> Rows:
        bots = list_bots(session, named=q or None, take=ON_A_PAGE + 1, before=before or None)
        datasets = names_of(session, Dataset, [bot.dataset_id for bot in bots])
        skillsets = names_of(session, Skillset, [bot.skillset_id for bot in bots])
        return [
            (
                str(bot.id),
                bot.name,
                bot.model or "the installation's",
                _named(datasets, bot.dataset_id),
                _named(skillsets, bot.skillset_id),
                "default" if bot.is_default else "",
            )
            for bot in bots
        ]

    heads = ("Bot", "Model", "Dataset", "Skillset", "")
    rows, wrong = _found(request, visitor, find)
    return _list_page(visitor, "bots", heads, rows, before, q=q, wrong=wrong)


def _named(names: dict[Any, str | None], row_id: Any) -> str:
    return "" if row_id is None else names.get(row_id) or "unnamed"


@router.get("/bots/{bot_id}")
def show_bot(request: Request, visitor: Visitor, bot_id: str) -> Response:
    with context_of(request).transaction(visitor.account_id) as session:
        bot = get_bot(session, bot_id)
        datasets = names_of(session, Dataset, [bot.dataset_id])
        skillsets = names_of(session, Skillset, [bot.skillset_id])
    links = [("Conversations", "Show them", filter_path("bot", str(bot.id)))]
    if bot.dataset_id:
        links.append(("Dataset", _named(datasets, bot.dataset_id), f"/datasets/{bot.dataset_id}"))
    if bot.skillset_id:
        links.append(("Skillset", _named(skillsets, bot.skillset_id), f"/skillsets/{bot.skillset_id}"))
    facts = _facts(
        ("Model", bot.model or "the installation's"),
        ("Privacy", "on" if bot.privacy or bot.privacy_policy else "off"),
        ("Moderation", "on" if bot.moderation else "off"),
        ("Default bot", "yes" if bot.is_default else "no"),
        ("Bot", str(bot.id)),
        *_times(bot),
    )
    texts = _texts(("Description", bot.description), ("Backstory", bot.backstory), ("Meta", _meta(bot.meta)))
    return _thing_page(visitor, "bots", bot.name, facts, links=links, texts=texts)


@router.get("/contacts")
def show_contacts(request: Request, visitor: Visitor, before: str = "", q: str = "") -> Response:
    q = q.strip()

    def find(session: Session) -> Rows:
        found = list_contacts(session, named=q or None, take=ON_A_PAGE + 1, before=before or None)
        return [
            (
                str(one.id),
                one.name or one.nick,
                one.email or "",
                one.phone or "",
                f"{one.created_at:%Y-%m-%d}",
            )
            for one in found
        ]

    heads = ("Contact", "Email", "Phone", "Since")
    rows, wrong = _found(request, visitor, find)
    return _list_page(visitor, "contacts", heads, rows, before, q=q, wrong=wrong)


@router.get("/contacts/{contact_id}")
def show_contact(request: Request, visitor: Visitor, contact_id: str) -> Response:
    with context_of(request).transaction(visitor.account_id) as session:
        one = get_contact(session, contact_id)
        latest = list_conversations_of(session, contact_id=one.id, take=LATEST)
    facts = _facts(
        ("Name", one.name),
        ("Nick", one.nick),
        ("Email", one.email),
        ("Phone", one.phone),
        ("Verified", instant(one.verified_at, None) if one.verified_at else None),
        ("Fingerprint", one.fingerprint),
        ("Contact", str(one.id)),
        *_times(one),
    )
    parts = [(title_of(other), None, None, f"/conversations/{other.id}") for other in latest]
    return _thing_page(
        visitor,
        "contacts",
        one.name or one.nick,
        facts,
        links=[("Conversations", "Show them all", filter_path("contact", str(one.id)))],
        texts=_texts(
            ("Description", one.description), ("Preferences", one.preferences), ("Meta", _meta(one.meta))
        ),
        parts=parts,
        parts_title="Latest conversations",
    )


@router.get("/datasets")
def show_datasets(request: Request, visitor: Visitor, before: str = "") -> Response:
    with context_of(request).transaction(visitor.account_id) as session:
        found = list_datasets(session, take=ON_A_PAGE + 1, before=before or None)
    rows = [(str(one.id), one.name, one.description or "", f"{one.updated_at:%Y-%m-%d}") for one in found]
    return _list_page(visitor, "datasets", ("Dataset", "Description", "Changed"), rows, before)


@router.get("/datasets/{dataset_id}")
def show_dataset(request: Request, visitor: Visitor, dataset_id: str, before: str = "") -> Response:
    with context_of(request).transaction(visitor.account_id) as session:
        one = get_dataset(session, dataset_id)
        records = list_records(session, dataset_id=one.id, take=PARTS + 1, before=before or None)
    older = f"/datasets/{one.id}?before={records[PARTS - 1].id}" if len(records) > PARTS else None
    return _thing_page(
        visitor,
        "datasets",
        one.name,
        _facts(("Store", one.store), ("Visibility", one.visibility), ("Dataset", str(one.id)), *_times(one)),
        texts=_texts(
            ("Description", one.description), ("Settings", _meta(one.config)), ("Meta", _meta(one.meta))
        ),
        parts=[_record(record) for record in records[:PARTS]],
        parts_title="Records",
        more_parts=older,
    )


@router.get("/datasets/{dataset_id}/records/{record_id}")
def show_record(request: Request, visitor: Visitor, dataset_id: str, record_id: str) -> Response:
    with context_of(request).transaction(visitor.account_id) as session:
        dataset = get_dataset(session, dataset_id)
        record = get_record(session, dataset.id, record_id)
    return _thing_page(
        visitor,
        "datasets",
        record.source or "Record",
        _facts(("Record", str(record.id)), *_times(record)),
        links=[("Dataset", dataset.name or "unnamed", f"/datasets/{dataset.id}")],
        texts=_texts(("Text", record.text), ("Meta", _meta(record.meta))),
    )


def _record(record: Record) -> tuple[str, str, str | None, str]:
    path = f"/datasets/{record.dataset_id}/records/{record.id}"
    return record.source or "Record", record.text[:400], None, path


@router.get("/skillsets")
def show_skillsets(request: Request, visitor: Visitor, before: str = "") -> Response:
    with context_of(request).transaction(visitor.account_id) as session:
        found = list_skillsets(session, take=ON_A_PAGE + 1, before=before or None)
    rows = [(str(one.id), one.name, one.description or "", "on" if one.enabled else "off") for one in found]
    return _list_page(visitor, "skillsets", ("Skillset", "Description", "Enabled"), rows, before)


@router.get("/skillsets/{skillset_id}")
def show_skillset(request: Request, visitor: Visitor, skillset_id: str, before: str = "") -> Response:
    with context_of(request).transaction(visitor.account_id) as session:
        one = get_skillset(session, skillset_id)
        found = list_abilities(session, skillset_id=one.id, take=PARTS + 1, before=before or None)
    older = f"/skillsets/{one.id}?before={found[PARTS - 1].id}" if len(found) > PARTS else None
    return _thing_page(
        visitor,
        "skillsets",
        one.name,
        _facts(("Enabled", "yes" if one.enabled else "no"), ("Skillset", str(one.id)), *_times(one)),
        texts=_texts(("Description", one.description), ("Meta", _meta(one.meta))),
        parts=[_ability(ability) for ability in found[:PARTS]],
        parts_title="Abilities",
        more_parts=older,
    )


def _ability(one: Ability) -> tuple[str, str, str | None, None]:
    kind = one.action.get("type")
    return one.name, one.description, kind if isinstance(kind, str) else None, None


@router.get("/tokens")
def show_tokens(request: Request, visitor: Visitor) -> Response:
    with context_of(request).transaction(visitor.account_id) as session:
        tokens = list_tokens(session)
    rows = [_token(one) for one in reversed(tokens)]
    return page_for(visitor, "tokens", "tokens.html", tokens=rows, mine=str(visitor.token_id))


def _token(one: ApiToken) -> dict[str, Any]:
    return {
        "id": str(one.id),
        "name": one.name,
        "prefix": one.prefix,
        "scopes": ", ".join(one.scopes),
        "created": instant(one.created_at, None),
        "expires": instant(one.expires_at, None) if one.expires_at else None,
        "revoked": instant(one.revoked_at, None) if one.revoked_at else None,
        "used": f"{one.last_used_on:%Y-%m-%d}" if one.last_used_on else None,
    }


@router.post("/tokens/{token_id}/revoke")
def revoke(request: Request, editor: Editor, token_id: str) -> Response:
    with context_of(request).transaction(editor.account_id, actor=editor.name) as session:
        revoke_token(session, token_id)
    return RedirectResponse("/tokens", 303)
