"""Migrations from a server that speaks ChatBotKit's API: our own, in the style of the dialect."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from api.auth import Tenant
from api.chatbotkit.answers import also_answers, answer, returns
from api.chatbotkit.shapes import Identified
from api.chatbotkit.shapes_migration import MigrationRequest
from api.once import Route
from core.migration_jobs import create_migration_job

router = APIRouter(prefix="/job", tags=["job"], route_class=Route)


@router.post("/migrate", responses=returns(Identified))
@also_answers(409)
def create_migration(session: Tenant, body: MigrationRequest) -> JSONResponse:
    """Pulls bots, contacts, tasks, conversations and messages from another server; answers the job's id.

    What was pulled before is left alone, so a second one brings what is new since. Tasks come paused. 409
    when too many imports are unfinished, or the installation has no key to seal the token with.
    """
    job = create_migration_job(
        session,
        base_url=body.baseUrl,
        token=body.token,
        only=body.only,
        since=body.since,
        privacy=body.privacy,
    )
    return answer({"id": str(job.id)})
