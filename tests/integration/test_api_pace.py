"""Rates and quotas at the door: told in headers, refused before any effect, waited for by deletes."""

from __future__ import annotations

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
import structlog
from structlog.testing import capture_logs

from api.app import make_app
from core.limits import Kind, RateLimits
from core.quotas import set_limits
from core.rates import Rate, parse_rate
from core.usage import count_usage
from models import Account, new_id
from tests.api import a_client, a_secret
from tests.factories import a_task, an_account, execute, one
from tests.integration.test_api_isolation import refused

LIST, CREATE = "/api/v1/task/list", "/api/v1/task/create"


def with_rates(context, **rates):
    """The same context under other settings."""
    given = {f"rate_{kind}": parse_rate(words) for kind, words in rates.items()}
    return replace(context, settings=context.settings.model_copy(update=given))


def own_limits(context, account, **limits):
    with context.transaction() as session:
        set_limits(session, session.get(Account, account), limits)


def used(context, account, **counts):
    with context.transaction(account) as session:
        count_usage(session, account, **counts)


def test_an_answer_tells_the_limit_and_what_is_left_of_it(context, account):
    client = a_client(with_rates(context, read="5/m"), a_secret(context, account))
    for left in (4, 3):
        answer = client.get(LIST)
        assert answer.headers["ratelimit-limit"] == answer.headers["x-ratelimit-limit"] == "5"
        assert answer.headers["ratelimit-remaining"] == answer.headers["x-ratelimit-remaining"] == str(left)
        assert answer.headers["ratelimit-reset"] == answer.headers["x-ratelimit-reset"]
        assert 12 * (4 - left) < int(answer.headers["ratelimit-reset"]) <= 12 * (5 - left)


def test_errors_and_streams_tell_it_as_well(context, account):
    client = a_client(with_rates(context, read="50/m"), a_secret(context, account))
    for path, headers, status in (
        ("/api/v1/task/nonsense/fetch", {}, 404),
        (LIST, {"Accept": "application/jsonl"}, 200),
        ("/api/v1/task/x/preview?count=x", {}, 400),
    ):
        answer = client.get(path, headers=headers)
        assert (answer.status_code, answer.headers["ratelimit-limit"]) == (status, "50"), path


def test_too_many_are_refused_before_any_effect(context, account):
    client = a_client(with_rates(context, write="2/h"), a_secret(context, account))
    for _ in range(2):
        assert client.post(CREATE, json={"name": "a"}).status_code == 200
    answer = client.post(CREATE, json={"name": "a"}, headers={"Idempotency-Key": "k"})
    refused(answer, 429, "LIMITS_REACHED")
    assert answer.headers["x-failure-code"] == "LIMITS_REACHED"
    assert 1790 < int(answer.headers["retry-after"]) <= 1800
    assert answer.headers["ratelimit-remaining"] == "0"
    assert one(context, "SELECT count(*) FROM tasks") == 2
    assert one(context, "SELECT count(*) FROM idempotency_keys") == 0


def test_kinds_and_accounts_have_counters_of_their_own(context, account):
    slow = with_rates(context, read="1/h", write="1/h", turn="1/h", delete="1/h")
    client = a_client(slow, a_secret(context, account))
    task = str(a_task(context, account).id)
    for path in (CREATE, f"/api/v1/task/{task}/trigger", f"/api/v1/task/{task}/delete"):
        assert client.post(path, json={"name": "a"}).status_code == 200
        refused(client.post(path, json={"name": "a"}), 429, "LIMITS_REACHED")
    assert client.get(LIST).status_code == 200
    refused(client.get(LIST), 429, "LIMITS_REACHED")
    assert a_client(slow, a_secret(context, an_account(context, "Grace"))).get(LIST).status_code == 200


def test_all_tokens_and_processes_of_an_account_share_a_counter(context, account):
    slow = with_rates(context, read="2/h")
    clients = [a_client(slow, a_secret(context, account)) for _ in range(3)]
    assert [client.get(LIST).status_code for client in clients] == [200, 200, 429]


def test_who_has_no_valid_token_is_not_counted(context, account, nobody):
    answer = nobody.get(LIST)
    assert (answer.status_code, "ratelimit-limit" in answer.headers) == (401, False)


def test_a_request_that_is_refused_for_its_scope_counts(context, account):
    client = a_client(with_rates(context, write="1/h"), a_secret(context, account, ("read",)))
    refused(client.post(CREATE, json={"name": "a"}), 403, "NOT_AUTHORIZED")
    refused(client.post(CREATE, json={"name": "a"}), 429, "LIMITS_REACHED")


def test_an_account_may_have_rates_of_its_own(context, account):
    client = a_client(with_rates(context, read="1/h"), a_secret(context, account))
    own_limits(context, account, rate_read="3/h")
    assert [client.get(LIST).status_code for _ in range(4)] == [200, 200, 200, 429]
    own_limits(context, account, rate_read="off")
    answer = client.get(LIST)
    assert (answer.status_code, "ratelimit-limit" in answer.headers) == (200, False)
    own_limits(context, account, rate_read="default")
    assert client.get(LIST).status_code == 429


def test_a_loop_over_single_deletes_is_paced_and_loses_nothing(context, account):
    client = a_client(with_rates(context, delete="20/s"), a_secret(context, account))
    tasks = [a_task(context, account).id for _ in range(30)]
    began = time.monotonic()
    statuses = {client.post(f"/api/v1/task/{task}/delete").status_code for task in tasks}
    assert statuses == {200}
    assert time.monotonic() - began >= 10 / 20


def test_a_delete_that_would_wait_longer_than_two_seconds_is_refused(context, account):
    client = a_client(with_rates(context, delete="1/m"), a_secret(context, account))
    first, second = (a_task(context, account).id for _ in range(2))
    assert client.post(f"/api/v1/task/{first}/delete").status_code == 200
    answer = client.post(f"/api/v1/task/{second}/delete")
    refused(answer, 429, "LIMITS_REACHED")
    assert 55 < int(answer.headers["retry-after"]) <= 60
    assert one(context, "SELECT state FROM tasks WHERE id = :id", id=second) == "active"


def test_deletes_that_wait_hold_no_thread(context, account):
    small = with_rates(context, delete="2/s")
    own = replace(small, settings=small.settings.model_copy(update={"pool_size": 2}))
    with a_client(own, a_secret(context, account)) as client, ThreadPoolExecutor(8) as many:
        paths = [f"/api/v1/task/{a_task(context, account).id}/delete" for _ in range(5)]
        waiting = [many.submit(client.post, path) for path in paths]
        began = time.monotonic()
        while not any(each.running() for each in waiting):
            time.sleep(0.01)
        assert client.get(LIST).status_code == 200
        assert time.monotonic() - began < 1.5
        assert [each.result().status_code for each in waiting] == [200] * 5


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "unix:///nowhere/socket?db=0", None])
def test_without_a_valkey_everybody_is_let_in(context, account, url):
    alone = with_rates(context, read="1/h")
    alone = replace(alone, settings=alone.settings.model_copy(update={"redis_url": url}))
    client = a_client(alone, a_secret(context, account))
    structlog.reset_defaults()
    with capture_logs() as logs:
        answers = [client.get(LIST) for _ in range(5)]
    assert {answer.status_code for answer in answers} == {200}
    assert all("ratelimit-limit" not in answer.headers for answer in answers)
    said = [line["event"] for line in logs if line["event"] == "rates_not_counted"]
    assert len(said) == (1 if url else 0)


def test_places_are_given_out_one_by_one(redis_url):
    rates, account, rate = RateLimits(redis_url), new_id(), Rate(10, 1)
    with ThreadPoolExecutor(8) as many:
        asked = [many.submit(rates.take, account, Kind.DELETE, rate, timedelta(seconds=2)) for _ in range(60)]
        decisions = [each.result() for each in asked]
    rates.close()
    let_in = [decision for decision in decisions if decision.allowed]
    waits = sorted(decision.wait.total_seconds() for decision in let_in)
    assert 30 <= len(let_in) <= 40
    assert max(waits) <= 2
    assert all(decision.wait > timedelta(seconds=2) for decision in decisions if not decision.allowed)


def test_the_counter_keeps_microseconds(redis_url):
    """Lua writes large numbers with 14 digits unless it is told otherwise."""
    rates, account, rate = RateLimits(redis_url), new_id(), Rate(1_000_000, 3600)
    first, second = (rates.take(account, Kind.READ, rate) for _ in range(2))
    rates.close()
    assert first.reset == timedelta(microseconds=3600)
    assert second.reset <= timedelta(microseconds=7200)
    assert second.remaining >= 999_997


def test_a_quota_that_is_used_up_refuses_what_draws_on_it(context, account, world, client):
    own_limits(context, account, tokens_per_month="100", messages_per_month="1000000")
    trigger = f"/api/v1/task/{world.taskId}/trigger"
    used(context, account, input=60, output=39)
    assert one(context, "SELECT sum(input_tokens + output_tokens) FROM usage_days") >= 100
    answer = client.post(trigger)
    refused(answer, 429, "LIMITS_REACHED")
    assert answer.headers["x-failure-code"] == "LIMITS_REACHED"
    assert 0 < int(answer.headers["retry-after"]) <= 31 * 86_400
    assert "tokens" in answer.json()["message"]
    for turn in ("receive", "complete", "compact", "dispatch"):
        asked = client.post(f"/api/v1/conversation/{world.conversationId}/{turn}", json={})
        refused(asked, 429, "LIMITS_REACHED")
    assert client.post(CREATE, json={"name": "a"}).status_code == 200
    assert client.get(LIST).status_code == 200


def test_a_quota_counts_the_slots_and_days_of_this_month_alone(context, account, client, world):
    execute(context, "DELETE FROM usage_days")
    own_limits(context, account, tokens_per_month="100")
    trigger = f"/api/v1/task/{world.taskId}/trigger"
    used(context, account, input=10_000)
    execute(context, "UPDATE usage_days SET day = date_trunc('month', current_date) - interval '1 day'")
    assert client.post(trigger).status_code == 200
    for slot in range(4):
        execute(
            context,
            "INSERT INTO usage_days (account_id, day, slot, input_tokens)"
            " VALUES (:account, date_trunc('month', current_date), :slot, 25)",
            account=account,
            slot=slot,
        )
    again = a_client(context, a_secret(context, account))
    refused(again.post(trigger), 429, "LIMITS_REACHED")


def test_usage_far_from_a_quota_is_remembered_and_near_it_counted_each_time(context, account, world, client):
    execute(context, "DELETE FROM usage_days")
    own_limits(context, account, messages_per_month="10000")
    create = f"/api/v1/bot/{world.botId}/session/create"
    assert client.post(create).status_code == 200
    used(context, account, messages=20_000)
    assert client.post(create).status_code == 200, "remembered for seconds"
    execute(context, "DELETE FROM usage_days")
    used(context, account, messages=9_900)
    near = a_client(context, a_secret(context, account), app=make_app(context))  # it remembers nothing
    assert near.post(create).status_code == 200
    used(context, account, messages=100)
    refused(near.post(create), 429, "LIMITS_REACHED")


def test_a_write_that_was_made_is_told_again_when_the_quota_is_used_up(context, account, world, client):
    execute(context, "DELETE FROM usage_days")
    own_limits(context, account, conversations_per_month="1")
    create, key = f"/api/v1/bot/{world.botId}/session/create", {"Idempotency-Key": "k"}
    made = client.post(create, headers=key)
    assert made.status_code == 200
    refused(client.post(create), 429, "LIMITS_REACHED")
    again = client.post(create, headers=key)
    assert (again.status_code, again.json()) == (200, made.json())
    refused(client.post(create, headers={"Idempotency-Key": "other"}), 429, "LIMITS_REACHED")


def test_runs_on_schedule_are_not_stopped_by_quotas(context, account, leases):
    from core.turns import carry_out
    from tests.factories import a_pending_run

    own_limits(context, account, tokens_per_month="0", messages_per_month="0", conversations_per_month="0")
    run = a_pending_run(context, account)
    assert carry_out(context, leases, run.id, worker="w", delivery="d") == "succeeded"


def test_the_command_shows_and_changes_an_accounts_limits(context, account, settings, monkeypatch, tmp_path):
    from typer.testing import CliRunner

    from cli.main import app

    monkeypatch.setenv("DATABASE_URL", settings.database_url)
    monkeypatch.setenv("REDIS_URL", settings.redis_url)

    def said(*words):
        done = CliRunner().invoke(app, ["account", "limits", "Ada", "--home", str(tmp_path), *words])
        return done.exit_code, done.stdout, done.exception

    code, shown, _ = said("--rate-delete", "10/s", "--messages-per-month", "5000", "--json")
    assert (code, json.loads(shown)["limits"]) == (0, {"rate_delete": "10/s", "messages_per_month": 5000})
    code, shown, _ = said("--messages-per-month", "default", "--rate-read", "off", "--json")
    assert json.loads(shown)["limits"] == {"rate_delete": "10/s", "rate_read": "off"}
    code, shown, _ = said()
    assert "10/s" in shown
    for wrong in (("--rate-read", "fast"), ("--tokens-per-month", "-1"), ("--tokens-per-month", "1" * 5000)):
        assert "InvalidInput" in repr(said(*wrong)[2])


def test_a_valkey_that_hangs_holds_nobody_up_for_long(context, account):

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(16)
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        own = replace(context, settings=context.settings.model_copy(update={"redis_url": url}))
        client = a_client(own, a_secret(context, account))
        began = time.monotonic()
        assert {client.get(LIST).status_code for _ in range(20)} == {200}
        assert time.monotonic() - began < 6.0, "only the first of them waited"
