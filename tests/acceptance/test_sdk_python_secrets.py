"""Secrets through the official Python SDK, unmodified, against the real processes."""

from __future__ import annotations

import json

import pytest

from tests.acceptance.sdk import driven, refused, streamed

pytestmark = pytest.mark.acceptance

VALUE = "CANARY-sk-5e1f"


@driven
async def test_secrets(kit, service):
    secret = await kit.secret.create(
        {"name": "weather", "type": "bearer", "kind": "shared", "value": VALUE, "meta": {"of": "sdk"}}
    )
    found = await kit.secret.fetch(secret.id)
    assert (found.id, found.name, found.type.value, found.kind.value) == (
        secret.id,
        "weather",
        "bearer",
        "shared",
    )
    assert (found.meta, found.visibility.value) == ({"of": "sdk"}, "private")
    change = {"type": "basic", "value": f"ada:{VALUE}", "description": "Opens it."}
    assert (await kit.secret.update(secret.id, change)).id == secret.id
    (listed,) = (await kit.secret.list({"meta": {"of": "sdk"}})).items
    assert (listed.id, listed.type.value, listed.description) == (secret.id, "basic", "Opens it.")
    (item,) = await streamed(kit.secret.list({"meta": {"of": "sdk"}}))
    assert item.data.id == secret.id
    plain = await kit.client_fetch(f"/api/v1/secret/{secret.id}/fetch")
    assert VALUE not in json.dumps(plain)
    await refused(kit.secret.create({"name": "x", "type": "oauth", "value": VALUE}), 400, "BAD_REQUEST")
    await refused(kit.secret.create({"name": "x"}), 400, "BAD_REQUEST")
    assert (await kit.secret.delete(secret.id)).id == secret.id
    await refused(kit.secret.fetch(secret.id), 404, "NOT_FOUND")
