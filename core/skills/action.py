"""What an action is, and the bounds within which each is carried out.

An action changes rows of the account in the transaction that stores what came of it, so it happens once. That
transaction has locked the conversation and the run of the turn; the order of locks has clocks before them,
and other conversations beside them. So an action waits for nobody: what others have locked is `busy`, and the
same call may succeed a moment later.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any

from sqlalchemy import Row, TextClause, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from core.context import account_of
from core.errors import (
    Conflict,
    CrontalkError,
    InvalidInput,
    LimitReached,
    NotAuthorized,
    NotFound,
    PrivacyFailed,
)
from core.skills.skill import Acting, SkillFailed

Json = Mapping[str, Any]
Act = Callable[[Session, Acting, Json, Json], Any]

LOCKED = "55P03"
BUSY = "Somebody is changing this at the moment; try again."
# What our verbs say is fit for the model: sentences that repeat nothing. Whose a thing is it does not learn.
CODES: Mapping[type[CrontalkError], str] = {
    InvalidInput: "invalid",
    NotFound: "not_found",
    NotAuthorized: "not_found",
    Conflict: "conflict",
    LimitReached: "limit",
    PrivacyFailed: "privacy",
}
# What a session knows of the tokens of one turn, and must not know where another place is written to.
OF_THE_TURN = ("offered_tokens", "shown_tokens", "minted_tokens")
HOPS = text("SELECT CAST(params ->> 'hops' AS int) FROM runs WHERE id = :run AND account_id = :account")
KEEP_BOT = text("SELECT id FROM bots WHERE id = :id AND account_id = :account FOR KEY SHARE NOWAIT")
KEEP_CONTACT = text("SELECT id FROM contacts WHERE id = :id AND account_id = :account FOR KEY SHARE NOWAIT")
TRY_ALONE = text("SELECT pg_try_advisory_xact_lock(hashtextextended(:scope, 0))")
# The lock that deletions share with each other and with nobody who places a legal hold (core/holds.py).
TRY_HOLDS = text("SELECT pg_try_advisory_xact_lock_shared(hashtextextended('legal_holds:' || :account, 0))")


@dataclass(frozen=True)
class Action:
    """Something a bot can do here. `parameters` is the JSON schema of what the model gives.

    `checked(document)` is how an ability's document is looked at when it is saved: the document as it is
    kept; it raises InvalidInput. `act(session, acting, document, arguments)` does it and answers JSON; it
    raises SkillFailed, and then nothing has been done.
    """

    description: str
    parameters: Json
    checked: Callable[[Json], dict[str, Any]]
    act: Act


def action(description: str, parameters: Json, checked: Callable[[Json], dict[str, Any]], act: Act) -> Action:
    """An action out of what it does, with the bounds of every one around it."""
    return Action(description, parameters, checked, _within_bounds(act))


def schema(properties: Json, *required: str) -> Json:
    """The schema of an action's arguments: these and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def _within_bounds(act: Act) -> Act:
    """All or nothing, and failures as the model may hear of them."""

    @wraps(act)
    def bounded(session: Session, acting: Acting, document: Json, arguments: Json) -> Any:
        asked = {name: len(session.info.get(name, ())) for name in ("hints", "silenced")}
        try:
            with session.begin_nested():
                return act(session, acting, document, arguments)
        except Exception as error:
            for name, count in asked.items():  # nothing is announced of what has not been done
                del session.info.get(name, [])[count:]
            failed = _failure(error)
            if failed is None:
                raise
            raise failed from None

    return bounded


def _failure(error: Exception) -> SkillFailed | None:
    if isinstance(error, SkillFailed):
        return error
    if isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) == LOCKED:
        return busy()
    code = next((CODES[kind] for kind in type(error).__mro__ if kind in CODES), None)
    return SkillFailed(code, str(error), retryable=code == "limit") if code else None


def busy() -> SkillFailed:
    return SkillFailed("busy", BUSY, retryable=True)


def missing(noun: str) -> SkillFailed:
    """What is not there, is another account's, or out of the ability's reach: the model learns not which."""
    return SkillFailed("not_found", f"There is no such {noun}.")


def at_once(session: Session, statement: TextClause, **values: Any) -> Row[Any] | None:
    """The row that a statement locks, or None. It says NOWAIT.

    Raises:
        SkillFailed: somebody else has it locked.

    """
    try:
        with session.begin_nested():
            return session.execute(statement, values).one_or_none()
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == LOCKED:
            raise busy() from None
        raise


def alone(session: Session, scope: str) -> None:
    """Makes this transaction the only one that counts and adds within a scope.

    Raises:
        SkillFailed: another one does.

    """
    if not session.scalar(TRY_ALONE, {"scope": scope}):
        raise busy()


def hold_off_holds(session: Session) -> None:
    """`core.holds.keep_holds` without waiting.

    Raises:
        SkillFailed: a legal hold is being placed.

    """
    if not session.scalar(TRY_HOLDS, {"account": str(account_of(session))}):
        raise busy()


def keep_company(session: Session, acting: Acting) -> None:
    """Sees to it that the bot and the contact stay until the end: what is stored is linked to them.

    Raises:
        SkillFailed: one of them is going, or has gone.

    """
    account = account_of(session)
    for noun, statement, one in (
        ("bot", KEEP_BOT, acting.bot_id),
        ("contact", KEEP_CONTACT, acting.contact_id),
    ):
        if one is not None and at_once(session, statement, id=one, account=account) is None:
            raise missing(noun)


@contextmanager
def elsewhere(session: Session) -> Iterator[None]:
    """While another place than the turn's conversation is written to: its tokens mean nothing there."""
    kept = {name: session.info.pop(name) for name in OF_THE_TURN if name in session.info}
    try:
        yield
    finally:
        for name in OF_THE_TURN:
            session.info.pop(name, None)
        session.info.update(kept)


def hops_of(session: Session, acting: Acting) -> int:
    """How many turns, each asked for by the one before it, have led to this one."""
    if acting.run_id is None:
        return 0
    return session.scalar(HOPS, {"run": acting.run_id, "account": account_of(session)}) or 0


def unattended(session: Session, acting: Acting) -> bool:
    """Nobody has asked for this turn: a schedule has, or another turn."""
    return acting.task_id is not None or hops_of(session, acting) > 0


def checked_document(document: Json, **checks: Callable[[Any], Any]) -> dict[str, Any]:
    """The document of an ability with these settings, each of which may be left out.

    Raises:
        InvalidInput: a setting that is unknown, or that its check refuses.

    """
    if document.keys() - checks.keys() - {"type"}:
        settings = ", ".join(checks) or "none"
        raise InvalidInput(f"This action has other settings: {settings}.")
    given = {name: check(document[name]) for name, check in checks.items() if document.get(name) is not None}
    return {"type": document.get("type"), **given}


def one_of(label: str, *values: str) -> Callable[[Any], str]:
    """A check: one of these words."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in values:
            raise InvalidInput(f"{label} is one of {', '.join(values)}.")
        return value

    return check


def whole(label: str, least: int, most: int) -> Callable[[Any], int]:
    """A check: a whole number within these bounds."""

    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise InvalidInput(f"{label} is a whole number from {least} to {most}.")
        return value

    return check


def flag(label: str) -> Callable[[Any], bool]:
    """A check: true or false."""

    def check(value: Any) -> bool:
        if not isinstance(value, bool):
            raise InvalidInput(f"{label} is true or false.")
        return value

    return check


def an_id(value: Any, noun: str) -> uuid.UUID:
    """An id that a model gives.

    Raises:
        SkillFailed: it is none.

    """
    try:
        return uuid.UUID(value)
    except (ValueError, AttributeError, TypeError):
        raise missing(noun) from None
