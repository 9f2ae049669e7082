"""Flower shows a failed run in red, and each finds the other by its id."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import pytest

from api.dashboard.views import flower_link
from tests.acceptance.test_up import free_port
from tests.factories import a_bot, a_task, one, rows

TALK = "https://talk.example"
pytestmark = pytest.mark.acceptance


def test_a_failed_run_is_red_and_the_ids_lead_both_ways(installation, account, eventually):
    context = installation.context
    good, bad = a_bot(context, account, name="good"), a_bot(context, account, model="offline/finish=length")
    tasks = {name: a_task(context, account, bot_id=bot.id).id for name, bot in (("ok", good), ("no", bad))}
    port = free_port()
    installation.start("worker", "--queues", "chat")
    told = {"CRONTALK_FLOWER_AUTH": "ops:secret", "CRONTALK_PUBLIC_URL": TALK}
    installation.start("flower", "--port", str(port), **told)

    def ask(path: str, **headers: str) -> dict:
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.load(answer)

    login = {"Authorization": "Basic " + base64.b64encode(b"ops:secret").decode()}
    eventually(lambda: ready(ask, login), 60)
    for task in tasks.values():
        assert installation.crontalk("task", "trigger", str(task)).returncode == 0
    installation.start("scheduler")
    eventually(lambda: one(context, "SELECT count(*) FROM runs WHERE finished_at IS NOT NULL") == 2, 60)
    runs = {row["task_id"]: row for row in rows(context, "SELECT id, task_id, delivery_id FROM runs")}
    eventually(lambda: states(ask, login, runs) == {"SUCCESS", "FAILURE"}, 30)
    failed = ask(f"/api/task/info/{runs[tasks['no']]['delivery_id']}", **login)
    assert failed["state"] == "FAILURE"
    assert (
        failed["exception"] == "RunFailed(<ErrorClass.TRUNCATED: 'truncated'>)"
        or "truncated" in failed["exception"]
    )
    assert failed["args"] == f"['{runs[tasks['no']]['id']}']"
    assert "Say good morning" not in json.dumps(failed)
    with pytest.raises(urllib.error.HTTPError, match="401"):
        ask("/api/tasks")
    leads_back(port, login, runs[tasks["ok"]])


def leads_back(port, login, run) -> None:
    """The delivery's page, which the run's page links to, links to the run's page; the table names it."""

    def page(path: str) -> str:
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=login)
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.read().decode()

    link = flower_link(f"http://127.0.0.1:{port}", run["delivery_id"])
    address = f"{TALK}/runs/{run['id']}"
    shown = page(urlsplit(link).path)
    assert f'<a href="{address}" rel="noopener">{address}</a>' in shown
    assert ">crontalk.complete</a>" in shown
    table = json.loads(page("/tasks/datatable?draw=1&start=0&length=10&search[value]=&order[0][column]=0"))
    assert address in {row["args"] for row in table["data"]}


def ready(ask, login) -> bool:
    try:
        return bool(ask("/api/workers?refresh=1", **login))
    except OSError:
        return False


def states(ask, login, runs) -> set[str]:
    known = ask("/api/tasks", **login)
    return {known[row["delivery_id"]]["state"] for row in runs.values() if row["delivery_id"] in known}


def test_flower_beyond_loopback_needs_a_password(installation):
    refused = installation.crontalk("flower", "--host", "0.0.0.0")
    assert refused.returncode == 2
    assert "CRONTALK_FLOWER_AUTH" in refused.stderr
