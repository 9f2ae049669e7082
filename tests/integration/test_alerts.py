"""The alert rules that we ship turn true by what they are about, and false again; all they name exists."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from sqlalchemy import text

from core.publisher import NoPublisher
from core.vitals import CLAIMED
from tests.api import a_client
from tests.factories import (
    a_conversation,
    a_due_task,
    a_pending_run,
    a_subscription,
    a_task,
    execute,
    one,
)
from tests.promql import evaluate, scraped

HERE = Path(__file__).resolve().parents[2] / "docs" / "operations"
RULES = {
    rule["alert"]: rule
    for group in yaml.safe_load((HERE / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
}
METRIC = re.compile(r"\bcrontalk_[a-z_]+")
JOB = {"job": "crontalk", "instance": "127.0.0.1:8080"}
RUN = "UPDATE runs SET state = '{state}', {why}, finished_at = now(), started_at = now()"
A_JOB = (
    "INSERT INTO jobs (id, account_id, kind, state, created_at, run_at, started_at)"
    " SELECT gen_random_uuid(), id, 'delete', '{state}', now() - interval '{age}', now() - interval '{due}',"
    " now() FROM accounts"
)
AN_ANNOTATION = (
    "INSERT INTO annotations (message_id, account_id, conversation_id, state, run_at)"
    " SELECT id, account_id, conversation_id, '{state}', now() - interval '10 minutes' FROM messages LIMIT 1"
)


def scrape(context):
    answer = a_client(context).get("/metrics")
    return scraped(answer.text if answer.status_code == 200 else "", **JOB)


def firing(context, *, timed=False):
    """What fires; how long the database took is left to the one test that makes it slow."""
    samples = scrape(context)
    found = {name for name, rule in RULES.items() if evaluate(rule["expr"], samples)}
    return found if timed else found - {"CrontalkDatabaseSlow"}


def failed_runs(context, account, cause, count=1):
    for _ in range(count):
        a_pending_run(context, account)
    execute(context, RUN.format(state="failed", why=f"error_class = '{cause}'"))


def due_for(context, account, wait):
    a_pending_run(context, account)
    execute(context, f"UPDATE runs SET run_at = now() - interval '{wait}'")


def polled(context, account):
    a_pending_run(context, account)
    execute(context, RUN.format(state="succeeded", why="worker = 'poll-1'"))


def missed(context, account):
    a_pending_run(context, account)
    execute(context, "UPDATE runs SET state = 'missed', reason = 'late', finished_at = now()")


def annotation(state):
    def make(context, account):
        run = a_pending_run(context, account)
        execute(context, "DELETE FROM annotations")
        execute(context, AN_ANNOTATION.format(state=state))
        execute(context, "UPDATE runs SET run_at = now() + interval '1 hour' WHERE id = :id", id=run.id)

    return make


def delivery(context, account):
    task = a_task(context, account)
    a_subscription(context, account, task.id)
    execute(
        context,
        "INSERT INTO deliveries (id, account_id, subscription_id, task_id, event, occasion, run_at)"
        " SELECT gen_random_uuid(), account_id, id, task_id, 'failure', 'x', now() - interval '3 minutes'"
        " FROM subscriptions",
    )


def refusing(context, account):
    a_subscription(context, account, a_task(context, account).id)
    execute(context, "UPDATE subscriptions SET consecutive_failures = 3, failing_since = now()")


def an_expired_conversation(context, account):
    conversation = a_conversation(context, account)
    execute(
        context,
        "UPDATE conversations SET expires_at = now() - interval '2 days' WHERE id = :id",
        id=conversation.id,
    )


# What is done to the rows, and which alerts it turns true: those and no others.
BREAKS = {
    "a clock that nobody serves": (
        lambda c, a: a_due_task(c, a, late=timedelta(seconds=20)),
        {"CrontalkSchedulerBehind"},
    ),
    "a run that nobody claims": (lambda c, a: due_for(c, a, "20 seconds"), {"CrontalkNobodyClaims"}),
    "a run that waits for long": (
        lambda c, a: due_for(c, a, "40 seconds"),
        {"CrontalkNobodyClaims", "CrontalkDueRunsWait"},
    ),
    "poll workers": (polled, {"CrontalkPollWorkersStandIn"}),
    "failures": (lambda c, a: failed_runs(c, a, "provider_error", 5), {"CrontalkRunsFail"}),
    "poison": (lambda c, a: failed_runs(c, a, "poison"), {"CrontalkPoison"}),
    "a budget": (lambda c, a: failed_runs(c, a, "budget", 5), {"CrontalkBudgetHit"}),
    "a missed occurrence": (missed, {"CrontalkRunsMissed"}),
    "a deletion that does not end": (
        lambda c, _: execute(c, A_JOB.format(state="paused", age="2 days", due="0 seconds")),
        {"CrontalkDeletionsWait"},
    ),
    "a conversation that should have gone": (an_expired_conversation, {"CrontalkDeletionsWait"}),
    "a job that nobody takes": (
        lambda c, _: execute(c, A_JOB.format(state="pending", age="3 minutes", due="3 minutes")),
        {"CrontalkJobsUnclaimed"},
    ),
    "a message that nobody annotates": (annotation("pending"), {"CrontalkAnnotationsWait"}),
    "a message that was given up": (annotation("failed"), {"CrontalkAnnotationsFailed"}),
    "a delivery that nobody sends": (delivery, {"CrontalkDeliveriesWait"}),
    "a receiver that refuses": (refusing, {"CrontalkReceiversFail"}),
}
TABLES = "runs, jobs, annotations, conversations, deliveries, subscriptions, task_clocks, tasks"


@pytest.mark.parametrize("trouble", BREAKS)
def test_an_alert_turns_true_by_what_it_is_about_and_false_again(context, account, trouble):
    assert firing(context) == set()
    breaks, alerts = BREAKS[trouble]
    breaks(context, account)
    assert firing(context) == alerts
    agrees_with_promtool(context)
    execute(context, f"TRUNCATE {TABLES} CASCADE")
    assert firing(context) == set()


def test_a_broker_that_is_away_a_full_queue_and_a_schema_of_another_version_are_told(context, monkeypatch):
    assert firing(replace(context, publisher=NoPublisher())) == {"CrontalkBrokerAway"}
    monkeypatch.setattr(type(context.publisher), "waiting", lambda _self, _queue: 200)
    assert firing(context) == {"CrontalkQueueFull"}
    monkeypatch.undo()
    version = one(context, "SELECT version_num FROM alembic_version")
    execute(context, "UPDATE alembic_version SET version_num = '0000'")
    try:
        assert firing(context) == {"CrontalkSchemaBehind"}
        monkeypatch.setattr("core.vitals.RETRIES", text("SELECT no_such_column FROM runs"))
        assert firing(context) == {"CrontalkSchemaBehind"}
    finally:
        execute(context, "UPDATE alembic_version SET version_num = :version", version=version)


def test_a_slow_database_few_connections_and_one_that_is_away_are_told(context, monkeypatch):
    monkeypatch.setattr(
        "core.vitals.DATABASE",
        text("SELECT 95 AS used, 100 AS most, 1 AS bytes FROM pg_sleep(2.1)"),
    )
    assert firing(context, timed=True) == {"CrontalkDatabaseSlow", "CrontalkConnectionsShort"}
    assert {name for name, rule in RULES.items() if evaluate(rule["expr"], scraped("", **JOB))} == {
        "CrontalkAway"
    }


def test_every_alert_is_proven_to_turn_true():
    proven = set().union(*(alerts for _, alerts in BREAKS.values()))
    elsewhere = {
        "CrontalkBrokerAway", "CrontalkQueueFull", "CrontalkSchemaBehind", "CrontalkDatabaseSlow",
        "CrontalkConnectionsShort", "CrontalkAway",
    }  # fmt: skip
    assert proven | elsewhere == RULES.keys()


def test_a_claim_of_an_old_run_counts_as_a_claim(context, account):
    run = a_pending_run(context, account)
    assert one(context, str(CLAIMED).replace(":since", f"'{run.id}'")) is None
    execute(
        context,
        "UPDATE runs SET state = 'running', epoch = 1, started_at = now() - interval '3 seconds',"
        " lease_until = now() + interval '1 minute'",
    )
    claimed = [one.value for one in scrape(context) if one.name == "crontalk_last_claim_seconds"]
    assert 3 <= claimed[0] < 60


def test_what_rules_dashboard_and_guide_name_is_told_by_metrics(context, account):
    failed_runs(context, account, "quota")
    told = {sample.name for sample in scrape(context)}
    for file in ("alerts.yml", "grafana.json", "README.md", "alerts.md"):
        named = set(METRIC.findall((HERE / file).read_text())) - {"crontalk_pii_entities_total"}
        assert named - {"crontalk_deliveries_last_hour"} <= told, file


def test_every_alert_has_a_section_that_says_what_to_do():
    guide = (HERE / "alerts.md").read_text()
    assert [name for name in RULES if f"\n### {name}\n" not in guide] == []
    assert re.findall(r"^### (\w+)$", guide, re.MULTILINE) == list(RULES)
    for name, rule in RULES.items():
        assert rule["annotations"]["runbook"] == f"docs/operations/alerts.md#{name.lower()}"
        assert rule["labels"]["severity"] in ("page", "warn")
        assert METRIC.search(rule["expr"]) or rule["expr"].startswith("up{")


def test_the_dashboard_is_what_grafana_imports():
    board = json.loads((HERE / "grafana.json").read_text())
    assert board["uid"] == "crontalk"
    assert {panel["type"] for panel in board["panels"]} <= {"stat", "timeseries", "bargauge", "row"}
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            assert target["datasource"]["uid"] == "${datasource}"
            assert METRIC.search(target["expr"])


PROMTOOL = shutil.which("promtool")


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")
def test_prometheus_accepts_the_rules():
    done = subprocess.run(
        [str(PROMTOOL), "check", "rules", str(HERE / "alerts.yml")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"{len(RULES)} rules found" in done.stdout


def agrees_with_promtool(context) -> None:
    """Prometheus's own evaluation of the same scrape comes to the same verdicts."""
    if PROMTOOL is None:
        return
    samples = scrape(context)
    series = [
        {
            "series": name_of(sample),
            "values": repr(sample.value),
        }
        for sample in samples
    ]
    tests = [
        {
            "expr": rule["expr"],
            "eval_time": "0s",
            "exp_samples": [
                {"labels": sample_labels(rule["expr"], labels), "value": value}
                for labels, value in evaluate(rule["expr"], samples).items()
            ],
        }
        for rule in RULES.values()
    ]
    unit = {"tests": [{"interval": "1m", "input_series": series, "promql_expr_test": tests}]}
    done = subprocess.run(
        [str(PROMTOOL), "test", "rules", "/dev/stdin"],
        input=yaml.safe_dump(unit, width=10_000), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def name_of(sample) -> str:
    inner = ",".join(f'{label}="{value}"' for label, value in sorted(sample.labels))
    return f"{sample.name}{{{inner}}}"


def sample_labels(expression: str, labels) -> str:
    name = re.match(r"[a-z_]+", expression)
    inner = ",".join(f'{label}="{value}"' for label, value in sorted(labels))
    return f"{name[0] if name else ''}{{{inner}}}"
