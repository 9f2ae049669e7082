"""Three questions a supervisor asks. Answers hold counts and words, so they need no token."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from api.auth import context_of
from core import reports
from core.errors import Unavailable

router = APIRouter(prefix="/health", tags=["health"])


class Health(BaseModel):
    status: str = Field(description="live, ready, unavailable, working or stuck.")
    reason: str | None = Field(default=None, description="database or schema, where it is unavailable.")


class WorkHealth(Health):
    waiting: int | None = Field(default=None, description="Due runs that nobody has claimed.")
    oldestSeconds: float | None = None  # noqa: N815 (the wire's own spelling)
    schedulerLagSeconds: float | None = None  # noqa: N815
    unannotated: int | None = Field(default=None, description="Messages a worker is still to look at.")
    oldestUnannotatedSeconds: float | None = None  # noqa: N815
    polled: int | None = Field(default=None, description="Runs the poll worker took in five minutes.")


def _answers(shape: type[Health], *, always: bool = False) -> dict[int | str, dict[str, Any]]:
    well: dict[int | str, dict[str, Any]] = {200: {"model": shape, "description": "It is well."}}
    return well if always else {**well, 503: {"model": shape, "description": "Not now; it says why."}}


@router.get("/live", responses=_answers(Health, always=True))
async def live() -> JSONResponse:
    """The process answers. Asks nobody, and waits for no thread."""
    return JSONResponse({"status": "live"})


@router.get("/ready", responses=_answers(Health))
def ready(request: Request) -> JSONResponse:
    """The database answers and stands at the schema of this code."""
    try:
        current = reports.ready(context_of(request))
    except Unavailable:
        return JSONResponse({"status": "unavailable", "reason": "database"}, 503)
    if not current:
        return JSONResponse({"status": "unavailable", "reason": "schema"}, 503)
    return JSONResponse({"status": "ready"})


@router.get("/work", responses=_answers(WorkHealth))
def work(request: Request) -> JSONResponse:
    """Due work is taken up: 503 once a due run or clock has waited for 30 seconds, or a due message that is
    to be annotated while nobody annotates any.

    `polled` above 0 with a broker in place: a worker's consumer stopped, and the poll worker stood in.
    """
    try:
        with context_of(request).transaction() as session:
            health = reports.work_health(session)
    except Unavailable:
        return JSONResponse({"status": "unavailable", "reason": "database"}, 503)
    answer = {
        "status": "working" if health.healthy else "stuck",
        "waiting": health.waiting,
        "oldestSeconds": round(health.oldest_seconds, 3),
        "schedulerLagSeconds": round(health.scheduler_lag_seconds, 3),
        "unannotated": health.annotations.waiting,
        "oldestUnannotatedSeconds": round(health.annotations.oldest_seconds, 3),
        "polled": health.polled,
    }
    return JSONResponse(answer, 200 if health.healthy else 503)
