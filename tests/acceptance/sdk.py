"""The official Python SDK in tests: a story in its own colour, driven against a running service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from chatbotkit import APIError, ChatBotKit

from tests.acceptance.conftest import Service

STORY = 60  # seconds that a story may take
LOOK = 0.05

Story = Callable[[ChatBotKit, Service], Awaitable[None]]


def driven(story: Story) -> Callable[[Service], None]:
    """A test of this story, with the SDK's client signed in as the account of the service."""

    async def drive(service: Service) -> None:
        async with a_kit(service) as kit, asyncio.timeout(STORY):
            await story(kit, service)

    def test(service: Service) -> None:
        asyncio.run(drive(service))

    test.__name__ = story.__name__
    test.__doc__ = story.__doc__
    return test


@asynccontextmanager
async def a_kit(service: Service, token: str | None = "", **options: Any) -> AsyncIterator[ChatBotKit]:
    kit = ChatBotKit(token=service.token if token == "" else token, base_url=service.origin, **options)
    async with kit:
        yield kit


async def a_conversation(kit: ChatBotKit, **fields: Any) -> str:
    return (await kit.conversation.create({"backstory": "You are Bo.", "model": "offline", **fields})).id


async def streamed(response: Any) -> list[Any]:
    return [item async for item in response.stream()]


async def plain_events(kit: ChatBotKit, path: str, record: dict[str, Any]) -> list[dict[str, Any]]:
    """The events as they came, with what the SDK's own types leave out."""
    return await streamed(kit.client_fetch(f"/api/v1/{path}", record=record))


async def heard(kit: ChatBotKit, channel: str, count: int | None = None, **request: Any) -> list[Any]:
    """What is said on a channel: so many, or up to the end of a turn."""
    said = []
    async for item in kit.channel.subscribe(channel, request).stream():
        assert item.type.value == "message"
        said.append(item.data)
        if len(said) == count or (count is None and item.data["type"] in {"result", "error"}):
            break
    return said


async def until(ask: Callable[[], Awaitable[Any]]) -> Any:
    """The first answer that is true; the story's own time bounds it."""
    while not (answer := await ask()):  # noqa: ASYNC110 (nobody here sets an event)
        await asyncio.sleep(LOOK)
    return answer


async def refused(response: Any, status: int, code: str) -> APIError:
    """The error of the SDK that this request ends in."""
    with pytest.raises(APIError) as raised:
        await response
    assert (raised.value.status_code, raised.value.code) == (status, code), raised.value.message
    assert raised.value.data == {"message": raised.value.message, "code": code}
    return raised.value
