"""Retention: rules, what they would do, and legal holds. Our own, in the style of the dialect."""

from __future__ import annotations

import uuid
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from sqlalchemy.orm import Session

from api.auth import Tenant
from api.chatbotkit.answers import also_answers, answer, replays, returns
from api.chatbotkit.lists import ListPart, as_list, each, listed, pages
from api.chatbotkit.shapes import Identified
from api.chatbotkit.shapes_retention import (
    ChangeRule,
    CreateRule,
    ForecastAnswer,
    HoldAnswer,
    PlaceHold,
    RuleAnswer,
    RuleRun,
    SimulateRetention,
)
from api.once import Replay, Route
from core import retention
from core.documents import Document
from core.documents_retention import forecast_document, hold_document, rule_document, run_document
from core.errors import InvalidInput
from core.holds import list_holds as find_holds
from core.holds import place_hold as hold
from core.holds import release_hold as release
from core.simulating import simulate
from models import Job

router = APIRouter(prefix="/retention", tags=["retention"], route_class=Route)


@router.post("/rule/create", responses=returns(Identified))
@also_answers(409)
def create_rule(session: Tenant, body: CreateRule) -> JSONResponse:
    """A rule of a task, a bot, a source or the account. It is due for the first time in a day.

    The narrowest rule that fits a conversation decides, alone: task, bot, source, account. 409: there is one
    of this scope.
    """
    return answer({"id": str(retention.create_rule(session, **body.fields()).id)})


@router.get("/rule/list", responses=pages(RuleAnswer))
@as_list
def list_rules(part: ListPart) -> Response:
    """The account's rules, newest first."""
    return listed(part, retention.list_rules, each(rule_document))


@router.get("/rule/{ruleId}/fetch", responses=returns(RuleAnswer))
def fetch_rule(session: Tenant, ruleId: str) -> JSONResponse:
    """A rule."""
    return answer(rule_document(retention.get_rule(session, ruleId)))


@router.post("/rule/{ruleId}/update", responses=returns(Identified))
def update_rule(session: Tenant, ruleId: str, body: ChangeRule) -> JSONResponse:
    """Changes what is given. What it has under way is cancelled, and it is due again in a day."""
    return answer({"id": str(retention.update_rule(session, ruleId, **body.changes()).id)})


@router.post("/rule/{ruleId}/delete", responses=returns(Identified))
def delete_rule(session: Tenant, ruleId: str) -> JSONResponse:
    """Takes the rule away. What it has under way is cancelled; what it has done stays done."""
    return answer({"id": str(retention.delete_rule(session, ruleId))})


def _ran_again(session: Session, replay: Replay) -> Document:
    """The jobs of the first time, whatever has become of them."""
    jobs = [session.get(Job, uuid.UUID(one["id"])) for one in replay.result["jobs"]]
    return run_document(replay.result["id"], [job for job in jobs if job is not None])


@router.post("/rule/{ruleId}/run", responses=returns(RuleRun))
@replays(_ran_again)
def run_rule(session: Tenant, ruleId: str) -> JSONResponse:
    """Starts what the rule has to do, at once: jobs, or none where nothing is due or it is under way."""
    started = retention.run_rule(session, ruleId)
    return answer(run_document(str(retention.get_rule(session, ruleId).id), started))


def _simulated_again(session: Session, replay: Replay) -> Document:
    """As things stand now: a simulation has no effect that could be repeated."""
    return _simulated(session, SimulateRetention.model_validate(replay.body))


@router.post("/simulate", responses=returns(ForecastAnswer))
@replays(_simulated_again)
def simulate_retention(session: Tenant, body: SimulateRetention) -> JSONResponse:
    """What a rule would do today and within 30 days, stored or only described. Changes nothing."""
    return answer(_simulated(session, body))


def _simulated(session: Session, body: SimulateRetention) -> Document:
    fields: dict[str, Any] = body.fields()
    if body.ruleId is None:
        return forecast_document(simulate(session, retention.drafted_rule(session, **fields)))
    if any(value is not None for value in fields.values()):
        raise InvalidInput("Simulate a stored rule by its ruleId, or describe one, not both.")
    return forecast_document(simulate(session, retention.get_rule(session, body.ruleId)))


@router.post("/hold/create", responses=returns(Identified))
def place_hold(session: Tenant, body: PlaceHold) -> JSONResponse:
    """Holds a conversation, a contact, a task, a bot, or all: nothing of it is deleted or made anonymous."""
    placed = hold(
        session,
        conversation_id=body.conversationId,
        contact_id=body.contactId,
        task_id=body.taskId,
        bot_id=body.botId,
        everything=body.everything,
        reason=body.reason,
    )
    return answer({"id": str(placed.id)})


@router.get("/hold/list", responses=pages(HoldAnswer))
@as_list
def list_holds(part: ListPart) -> Response:
    """The account's legal holds, newest first."""
    return listed(part, find_holds, each(hold_document))


@router.post("/hold/{holdId}/delete", responses=returns(Identified))
def release_hold(session: Tenant, holdId: str) -> JSONResponse:
    """Releases the hold, with its reason. The audit keeps who placed and who released it."""
    return answer({"id": str(release(session, holdId))})
