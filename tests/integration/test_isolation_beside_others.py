"""Two accounts that look alike: whatever one asks for or does, the other is neither seen nor touched."""

from __future__ import annotations

import re
from contextlib import nullcontext

import pytest

from tests.api import a_browser, a_client, a_secret, a_world
from tests.factories import an_account
from tests.hands import hands
from tests.integration.test_api_isolation import ROUTES, WAITING, asked, everything_of, ids_of

GETS = [route for route in ROUTES if route[0] == "get" and not route[1].endswith("/download")]
POSTS = [route for route in ROUTES if route[0] == "post" and not route[1].endswith("/subscribe")]
SCOPES = ("read", "write", "pii:read")
PAGES = [
    "/",
    "/conversations",
    "/conversations?q=bot:Morning",
    "/conversations/{conversationId}",
    "/tasks",
    "/tasks/{taskId}",
    "/runs/{runId}",
    "/tokens",
    "/conversations?q=morning",
    "/jobs",
    "/jobs/{jobId}",
    "/bots",
    "/bots/{botId}",
    "/contacts",
    "/contacts/{contactId}",
    "/datasets",
    "/datasets/{datasetId}",
    "/datasets/{datasetId}?q=x",
    "/skillsets",
    "/skillsets/{skillsetId}",
]


@pytest.fixture
def mine(context, account):
    return a_client(context, a_secret(context, account, SCOPES))


def twin(context, leases):
    return a_world(context, an_account(context, "Grace"), leases)


def names_of(world):
    return set(ids_of(world).values()) - {world.channelId}


@pytest.mark.parametrize("route", GETS, ids=" ".join)
def test_another_account_that_comes_changes_no_answer(route, context, leases, mine, world):
    before = asked(mine, route, **ids_of(world))
    assert before.status_code in {200, 409}
    twin(context, leases)
    after = asked(mine, route, **ids_of(world))
    assert after.text == before.text


@pytest.mark.parametrize("path", PAGES)
def test_another_account_that_comes_changes_no_page(path, context, account, leases, world):
    browser = a_browser(context, account)

    def shown() -> str:
        answer = browser.get(path.format(**ids_of(world)))
        assert answer.status_code == 200
        return re.sub(r'name="once" value="[^"]*"', "", answer.text)  # a form's own name, new each time

    before = shown()
    twin(context, leases)
    assert shown() == before


@pytest.mark.parametrize("route", POSTS, ids=" ".join)
def test_another_accounts_rows_are_untouched_by_what_is_done_beside_them(route, context, leases, mine, world):
    other = twin(context, leases)
    before = everything_of(context, other.account)
    with hands(context, leases) if route[1].endswith(WAITING) else nullcontext():
        answer = asked(mine, route, **ids_of(world))
    assert answer.status_code in {200, 409}, answer.text
    assert not [name for name in names_of(other) if name in answer.text]
    assert everything_of(context, other.account) == before
