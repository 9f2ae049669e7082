"""Who is told what of a task, and the log of it: our own, in the style of the dialect."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from sqlalchemy.orm import Session

from api.auth import Tenant
from api.chatbotkit.answers import also_answers, answer, replays, returns
from api.chatbotkit.lists import ListPart, as_list, each, listed, page_of, pages
from api.chatbotkit.shapes import (
    DeliveryAnswer,
    Identified,
    Page,
    Subscribed,
    SubscriptionAnswer,
    SubscriptionChange,
    SubscriptionRequest,
    Tested,
)
from api.once import Replay, Route
from core import subscriptions
from core.documents import delivery_document, subscription_document

router = APIRouter(prefix="/task/{taskId}", tags=["task"], route_class=Route)

VERB_NAMES = {"events": "events", "includeText": "include_text", "active": "active"}


def _created_before(session: Session, replay: Replay) -> dict[str, str]:
    """The secret is opened from its row; a subscription that is gone meanwhile has none."""
    subscription_id = replay.result["id"]
    return _created(subscription_id, subscriptions.secret_of(session, subscription_id))


def _created(subscription_id: str, secret: str | None) -> dict[str, str]:
    return {"id": subscription_id} | ({"secret": secret} if secret else {})


@router.post("/subscription/create", responses=returns(Subscribed))
@also_answers(409)
@replays(_created_before)
def create_subscription(session: Tenant, taskId: str, body: SubscriptionRequest) -> JSONResponse:
    """Tells a webhook or an e-mail address of the task's events. 409 without a key to seal it with."""
    row, secret = subscriptions.create_subscription(
        session,
        taskId,
        kind=body.kind,
        target=body.target,
        events=body.events,
        include_text=body.includeText,
    )
    return answer(_created(str(row.id), secret))


@router.get("/subscription/list", responses=returns(Page[SubscriptionAnswer]))
def list_subscriptions(session: Tenant, taskId: str) -> JSONResponse:
    """All of the task's subscriptions, oldest first."""
    rows = subscriptions.list_subscriptions(session, taskId)
    return answer(page_of([subscription_document(row) for row in rows]))


@router.post("/subscription/{subscriptionId}/update", responses=returns(Identified))
def update_subscription(
    session: Tenant, taskId: str, subscriptionId: str, body: SubscriptionChange
) -> JSONResponse:
    """Changes the fields that are sent. What waits for a subscription that stops is cancelled."""
    row = subscriptions.update_subscription(session, taskId, subscriptionId, **body.given(VERB_NAMES))
    return answer({"id": str(row.id)})


@router.post("/subscription/{subscriptionId}/delete", responses=returns(Identified))
def delete_subscription(session: Tenant, taskId: str, subscriptionId: str) -> JSONResponse:
    """Ends the subscription, and its log with it."""
    return answer({"id": str(subscriptions.delete_subscription(session, taskId, subscriptionId))})


@router.post("/subscription/{subscriptionId}/test", responses=returns(Tested))
@also_answers(409)
def test_subscription(session: Tenant, taskId: str, subscriptionId: str) -> JSONResponse:
    """Sends a test in the background, once. 409 when the subscription is disabled."""
    delivery = subscriptions.send_test(session, taskId, subscriptionId)
    return answer({"id": str(delivery.subscription_id), "deliveryId": str(delivery.id)})


@router.get("/delivery/list", responses=pages(DeliveryAnswer))
@as_list
def list_deliveries(taskId: str, part: ListPart) -> Response:
    """What the task told, newest first: attempts and outcomes, never what was said."""
    fetch = partial(subscriptions.list_deliveries, task_id=taskId)
    return listed(part, fetch, each(lambda pair: delivery_document(*pair)))


@router.post("/delivery/{deliveryId}/redeliver", responses=returns(Identified))
@also_answers(409)
def redeliver(session: Tenant, taskId: str, deliveryId: str) -> JSONResponse:
    """Sends a delivery once more under its own id. 409 while it is being sent."""
    return answer({"id": str(subscriptions.redeliver(session, taskId, deliveryId).id)})
