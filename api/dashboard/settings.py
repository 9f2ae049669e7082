"""The account's settings: its privacy, tried out on a text; its limits; and what retention would do."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request
from sqlalchemy.orm import Session
from starlette.responses import RedirectResponse, Response

from api.auth import context_of
from api.dashboard.cookies import Editor, Visitor, own_form
from api.dashboard.rendering import page_for
from api.dashboard.views import Instant, instant
from api.dashboard.views_conversations import Part, parts_of
from api.pace import Doorkeeper
from core.accounts import Caller
from core.browsing import names_of
from core.errors import InvalidInput, PrivacyFailed, Unavailable
from core.limits import Kind
from core.privacy.presets import Preset
from core.privacy_policies import effective_of, owner_of, set_policy, try_out
from core.quotas import bulk_rate_of, used_this_month
from core.retention import delete_rule, drafted_rule, get_rule, list_rules, set_rule
from core.simulating import simulate
from models import Bot, JobKind, Kept, RetentionRule, Task

router = APIRouter(prefix="/settings")

PATH = "/settings"
LONGEST = 20_000  # characters that the page tries out
DOES = {JobKind.DELETE: "Deleted", JobKind.ANONYMISE: "Made anonymous"}


@dataclass(frozen=True)
class Tried:
    """What would be stored of a text, and how much was found of which kind and treated how."""

    parts: tuple[Part, ...]
    found: tuple[tuple[str, str, int], ...]


@dataclass(frozen=True)
class LimitLine:
    name: str
    words: str
    used: str | None = None


@dataclass(frozen=True)
class RuleLine:
    id: str
    scope: str
    what: str
    anonymise: str | None
    delete: str | None
    due: Instant


@dataclass(frozen=True)
class TallyLine:
    """What one of a rule's jobs comes to."""

    does: str
    when: str
    conversations: int
    messages: int
    held: int
    oldest: Instant | None


@router.get("")
def show_settings(request: Request, visitor: Visitor) -> Response:
    return _page(request, visitor)


@router.post("/privacy/try", dependencies=[Depends(own_form)])
def try_privacy(
    request: Request,
    visitor: Visitor,
    words: Annotated[str, Form()] = "",
    preset: Annotated[str, Form()] = "",
) -> Response:
    """What the account's policy, or a preset, makes of a text. Nothing of it is kept or logged."""
    said = words.replace("\r\n", "\n")
    try:
        tried = _tried(request, visitor, said[:LONGEST], preset)
    except (InvalidInput, PrivacyFailed) as error:
        return _page(request, visitor, words=said, preset=preset, wrong={"try": str(error)})
    return _page(request, visitor, words=said, preset=preset, tried=tried)


def _tried(request: Request, visitor: Caller, words: str, preset: str) -> Tried | None:
    if not words.strip():
        return None
    with context_of(request).transaction(visitor.account_id) as session:
        said = try_out(session, words, {"preset": preset} if preset else None)
    counted = Counter((one.type, one.operator.value) for one in said.found)
    found = tuple((kind, how, n) for (kind, how), n in sorted(counted.items()))
    return Tried(parts_of(said.text, said.pii), found)


@router.post("/privacy/preset")
def choose_preset(
    request: Request, editor: Editor, preset: Annotated[str, Form(max_length=40)] = ""
) -> Response:
    """Another preset under what else the account's policy says; none: no policy of its own is left."""
    with context_of(request).transaction(editor.account_id, actor=editor.name) as session:
        owner = owner_of(session)
        kept = {name: value for name, value in (owner.privacy_policy or {}).items() if name != "preset"}
        document: Mapping[str, Any] = {**kept, **({"preset": preset} if preset else {})}
        set_policy(session, owner, document or None)
    return RedirectResponse(f"{PATH}#privacy", 303)


@router.post("/privacy/policy")
def write_policy(request: Request, editor: Editor, policy: Annotated[str, Form()] = "") -> Response:
    """The whole policy, as JSON."""
    try:
        document = _read_json(policy)
        with context_of(request).transaction(editor.account_id, actor=editor.name) as session:
            set_policy(session, owner_of(session), document)
    except InvalidInput as error:
        return _page(request, editor, policy=policy, wrong={"policy": str(error)})
    return RedirectResponse(f"{PATH}#privacy", 303)


def _read_json(policy: str) -> Any:
    try:
        return json.loads(policy) if policy.strip() else None
    except (ValueError, RecursionError):
        raise InvalidInput('A privacy policy must be JSON, such as {"preset": "recommended"}.') from None


def _ages(
    what: str = Kept.CONVERSATIONS.value, anonymise_after: str = "", delete_after: str = ""
) -> dict[str, str | None]:
    return {
        "what": what,
        "anonymise_after": anonymise_after.strip() or None,
        "delete_after": delete_after.strip() or None,
    }


def _ages_of_form(
    what: Annotated[str, Form(max_length=40)] = Kept.CONVERSATIONS.value,
    anonymise_after: Annotated[str, Form(max_length=40)] = "",
    delete_after: Annotated[str, Form(max_length=40)] = "",
) -> dict[str, str | None]:
    return _ages(what, anonymise_after, delete_after)


Ages = Annotated[dict[str, str | None], Depends(_ages)]
AgesOfForm = Annotated[dict[str, str | None], Depends(_ages_of_form)]


@router.get("/retention/simulate")
def simulate_retention(request: Request, visitor: Visitor, ages: Ages, rule: str = "") -> Response:
    """What a rule would do today and within 30 days: one that is stored, or one for the whole account."""
    if not (rule or ages["anonymise_after"] or ages["delete_after"]):
        return _page(request, visitor, ages=ages)
    try:
        with context_of(request).transaction(visitor.account_id) as session:
            judged = get_rule(session, rule) if rule else drafted_rule(session, **ages)
            found = simulate(session, judged)
            shown = rule_line(judged, {}) if rule else None
    except (InvalidInput, Unavailable) as error:
        return _page(request, visitor, ages=ages, wrong={"retention": str(error)})
    tallies = [
        TallyLine(
            DOES[kind],
            when,
            tally.conversations,
            tally.messages,
            tally.held_messages,
            instant(tally.oldest, None) if tally.oldest else None,
        )
        for when, each in (("today", found.now), ("within 30 days", found.ahead))
        for kind, tally in each.items()
    ]
    return _page(request, visitor, ages=ages, tallies=tallies, judged=shown)


@router.post("/retention")
def keep_rule(request: Request, editor: Editor, ages: AgesOfForm) -> Response:
    """Makes it the account's rule; it is due in a day."""
    try:
        with context_of(request).transaction(editor.account_id, actor=editor.name) as session:
            set_rule(session, **ages)
    except InvalidInput as error:
        return _page(request, editor, ages=ages, wrong={"retention": str(error)})
    return RedirectResponse(f"{PATH}#retention", 303)


@router.post("/retention/{rule_id}/delete")
def drop_rule(request: Request, editor: Editor, rule_id: str) -> Response:
    with context_of(request).transaction(editor.account_id, actor=editor.name) as session:
        delete_rule(session, rule_id)
    return RedirectResponse(f"{PATH}#retention", 303)


def _page(
    request: Request,
    visitor: Caller,
    *,
    words: str = "",
    preset: str = "",
    tried: Tried | None = None,
    policy: str | None = None,
    ages: Mapping[str, str | None] | None = None,
    tallies: list[TallyLine] | None = None,
    judged: RuleLine | None = None,
    wrong: Mapping[str, str] | None = None,
) -> Response:
    doorkeeper: Doorkeeper = request.app.state.doorkeeper
    with context_of(request).transaction(visitor.account_id) as session:
        owner = owner_of(session)
        stored = owner.privacy_policy or {}
        effective = effective_of(session, owner)
        rules = _rules(session)
        limits = _limits(session, doorkeeper, visitor)
    return page_for(
        visitor,
        "settings",
        "settings.html",
        400 if wrong else 200,
        presets=[one.value for one in Preset],
        chosen=stored.get("preset", ""),
        begins=effective.preset.value,
        more=sorted(stored.keys() - {"preset"}),
        policy=json.dumps(stored, indent=2, ensure_ascii=False) if policy is None else policy,
        words=words,
        preset=preset,
        tried=tried,
        limits=limits,
        rules=rules,
        kept=[one.value for one in Kept],
        ages=ages or {"what": Kept.CONVERSATIONS.value, "anonymise_after": None, "delete_after": None},
        tallies=tallies,
        judged=judged,
        wrong=wrong or {},
    )


def _limits(session: Session, doorkeeper: Doorkeeper, visitor: Caller) -> list[LimitLine]:
    settings = doorkeeper.settings
    lines = [
        LimitLine(f"{kind.value} requests", _rate_words(doorkeeper.rate_of(visitor, kind))) for kind in Kind
    ]
    bulk = bulk_rate_of(session, visitor.account_id, settings.rate_bulk)
    lines.append(LimitLine("deletions by jobs", _rate_words(bulk)))
    used = used_this_month(session, visitor.account_id)
    for name, n in used.items():
        most = visitor.limits.quotas.get(name)
        words = "no limit" if most is None else f"{most:,} a month"
        lines.append(LimitLine(name, words, f"{n:,}"))
    return lines


def _rate_words(rate: object) -> str:
    return "no limit" if rate is None else str(rate)


def _rules(session: Session) -> list[RuleLine]:
    found = list_rules(session)
    names = names_of(session, Task, [one.task_id for one in found])
    names |= names_of(session, Bot, [one.bot_id for one in found])
    return [rule_line(one, names) for one in found]


def rule_line(rule: RetentionRule, names: Mapping[Any, str | None]) -> RuleLine:
    scope = "The whole account"
    for kind, row_id in (("Task", rule.task_id), ("Bot", rule.bot_id)):
        if row_id is not None:
            scope = f"{kind} {names.get(row_id) or row_id}"
    if rule.source is not None:
        scope = f"Source {rule.source}"
    due = instant(rule.next_run_at, None)
    return RuleLine(str(rule.id), scope, rule.what, rule.anonymise_after, rule.delete_after, due)
