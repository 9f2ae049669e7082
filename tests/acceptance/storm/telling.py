"""Who is told during the storm, and whether what they heard fits the rows."""

from __future__ import annotations

import hmac
import json
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from core.context import Context
from core.subscriptions import create_subscription
from core.webhooks import signature
from tests.factories import rows
from tests.hook_server import Asked, HookServer, status

# What a run's end is told as; a cancelled one is told to nobody.
TOLD = {
    "succeeded": {"success", "recovery"},
    "failed": {"failure"},
    "skipped": {"missed"},
    "missed": {"missed"},
}
DELIVERIES = "SELECT id::text, task_id::text, run_id::text, event, state FROM deliveries"


def a_moody_server() -> HookServer:
    """Refuses, is busy and hangs up at first; then it takes everything."""
    server = HookServer()
    server.replies.extend([status(500), b"", status(503, "Retry-After: 1"), status(302, "Location: /"), b""])
    return server


def subscribe(
    context: Context, server: HookServer, tasks: Sequence[tuple[uuid.UUID, uuid.UUID]]
) -> dict[str, str]:
    """Each of these (account, task) tells the server at a path of its own; answers the secrets by path."""
    secrets = {}
    for account, task in tasks:
        with context.transaction(account) as session:
            secret = create_subscription(session, task, kind="webhook", target=server.url(f"/{task}"))[1]
        secrets[f"/{task}"] = secret or ""
    return secrets


def wrongly_told(
    context: Context, asked: Sequence[Asked], secrets: Mapping[str, str], runs: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    """Every end of a run is one delivery, every delivery was heard, and nothing else was."""
    deliveries = rows(context, DELIVERIES)
    heard = [request for request in asked if _is_whole(request)]
    ids = {request.headers["webhook-id"] for request in heard}
    for delivery in deliveries:
        if delivery["state"] != "delivered" or delivery["id"] not in ids:
            yield f"untold: delivery {delivery['id']} is {delivery['state']}"
    listening = {row["path"] for row in rows(context, "SELECT '/' || task_id AS path FROM subscriptions")}
    events = Counter((delivery["run_id"], delivery["event"]) for delivery in deliveries)
    for run in runs:
        if f"/{run['task_id']}" in listening:
            count = sum(events[run["id"], event] for event in TOLD.get(run["state"], ()))
            every = sum(number for (run_id, _), number in events.items() if run_id == run["id"])
            if (count, every) != ((1, 1) if run["state"] in TOLD else (0, 0)):
                yield f"run {run['id']} is {run['state']} and was announced {every} times, {count} rightly"
    known = {run["id"]: run["task_id"] for run in runs}
    for request in heard:
        yield from _wrongly_heard(request, secrets, known)


def _is_whole(request: Asked) -> bool:
    """Not cut off by the death of its sender."""
    return len(request.body) == int(request.headers.get("content-length", "-1"))


def _wrongly_heard(request: Asked, secrets: Mapping[str, str], known: Mapping[str, str]) -> Iterator[str]:
    path, headers = request.line.split(" ")[1], request.headers
    name, told = headers["webhook-id"], json.loads(request.body)["data"]
    right = signature(secrets[path], name, int(headers["webhook-timestamp"]), request.body)
    if not hmac.compare_digest(right, headers["webhook-signature"]):
        yield f"delivery {name} has a wrong signature"
    if f"/{told['taskId']}" != path or known.get(told["runId"]) != told["taskId"]:
        yield f"delivery {name} tells {path} of run {told['runId']}, which is none of its own"
