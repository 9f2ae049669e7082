"""Every operation of the OpenAPI document, asked well and badly: nothing breaks or is off the record."""

from __future__ import annotations

import asyncio
import os
import random

import httpx2
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import checks
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi import checks as openapi_checks

from tests.acceptance.sdk import a_kit, until
from tests.factories import a_backfill, a_contact, a_subscription
from tests.knowledge import some_knowledge

pytestmark = pytest.mark.acceptance

SEED = int(os.environ.get("SCHEMA_SEED", "20260101"))
EXAMPLES = int(os.environ.get("SCHEMA_EXAMPLES", "14"))  # `make schemathesis` asks more
PATIENCE = 30  # seconds for one request
CHECKS = [
    checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_headers_conformance,
    openapi_checks.response_schema_conformance,
    openapi_checks.ignored_auth,
]
# They never end: a stream of what happens, open until its reader leaves.
ENDLESS = "/subscribe"


async def a_used_world(service) -> dict[str, str]:
    """The ids of an account with one of nearly everything; the rest of the path parameters are made up."""
    context, account = service.installation.context, service.account
    async with a_kit(service) as kit:
        bot = await kit.bot.create({"name": "Bo", "model": "offline"})
        task = await kit.task.create({"name": "T", "schedule": "@every 1h", "botId": bot.id})
        await kit.task.trigger(task.id)

        async def ended():
            items = (await kit.task.execution.list(task.id)).items
            return items and items[0].completed_at and items[0]

        run = await until(ended)
        path = f"/api/v1/conversation/{run.conversation_id}/message/list"
        message = (await kit.client_fetch(path))["items"][0]["id"]
    return {
        "botId": bot.id,
        "taskId": task.id,
        "runId": run.id,
        "executionId": run.id,
        "conversationId": run.conversation_id,
        "messageId": message,
        "contactId": str(a_contact(context, account).id),
        "subscriptionId": str(a_subscription(context, account, task.id)[0].id),
        "backfillId": str(a_backfill(context, account, task.id).id),
        "channelId": "a-channel-of-our-own",
        **some_knowledge(context, account, run.conversation_id),
    }


def operations_of(service) -> list:
    """All but the endless ones; what deletes comes last, so that the others find something."""
    document = httpx2.get(f"{service.origin}/openapi.json", timeout=30).json()
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=service.origin)
    schema.config.generation.update(with_security_parameters=False)
    found = [result.ok() for result in schema.get_all_operations()]
    kept = [operation for operation in found if not operation.path.endswith(ENDLESS)]
    return sorted(kept, key=lambda operation: (operation.path.endswith("/delete"), operation.label))


def asked_well_and_badly(operation, session: requests.Session, world: dict[str, str]) -> set[int]:
    """The statuses it answered with."""
    cases = st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in GenerationMode))

    statuses: set[int] = set()

    @seed(SEED)
    @settings(
        max_examples=EXAMPLES,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases, made_up=st.sampled_from([False, False, True]))
    def ask(case, made_up) -> None:
        if not made_up:
            case.path_parameters = {name: world.get(name, id_) for name, id_ in case.path_parameters.items()}
        response = case.call(session=session, timeout=PATIENCE)
        statuses.add(response.status_code)
        case.validate_response(response, checks=CHECKS, transport_kwargs={"session": session})

    ask()
    return statuses


@pytest.mark.filterwarnings("ignore")
def test_every_operation_answers_as_the_document_says(service):
    random.seed(SEED)
    world = asyncio.run(a_used_world(service))
    operations = operations_of(service)
    assert len(operations) > 100
    failed, done = {}, 0
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {service.token}"
        for operation in operations:
            try:
                done += 200 in asked_well_and_badly(operation, session, world)
            except BaseExceptionGroup as errors:
                failed[operation.label] = "\n".join(str(error) for error in errors.exceptions)
            except (AssertionError, requests.RequestException) as error:
                failed[operation.label] = str(error)
    assert not failed, "\n\n".join(f"## {label}\n{words}" for label, words in failed.items())
    assert done > len(operations) * 2 // 3, "Too few operations were asked well."
