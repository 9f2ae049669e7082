"""After the storm: what is there against what was asked for, and the figures."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from core.context import Context
from core.invariants import ALWAYS, INVARIANTS, violations
from tests.acceptance.storm.fleet import Kill
from tests.acceptance.storm.telling import wrongly_told
from tests.acceptance.storm.workload import TICK, Op, World
from tests.factories import rows
from tests.hook_server import Asked

# What a run may end in here. A class outside of it is a bug of ours, not the weather's doing.
WEATHER = {"provider_error", "quota", "timeout", "empty_output", "poison"}
UNPROMPTED = (
    "SELECT r.id FROM runs r JOIN conversations c ON c.id = r.conversation_id WHERE r.trigger <> 'api'"
    " AND NOT EXISTS (SELECT FROM messages m WHERE m.run_id = r.id AND m.step = 'prompt')"
)
SCHEDULED = ("schedule", "catch_up")


@dataclass
class State:
    """The rows after the storm, and what was asked."""

    world: World
    runs: list[dict[str, Any]]
    tasks: dict[str, dict[str, Any]]
    conversations: set[str]
    of_task: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def scheduled(self, task: str) -> list[dict[str, Any]]:
        return [run for run in self.of_task.get(task, []) if run["trigger"] in SCHEDULED]


def read(context: Context, world: World) -> State:
    runs = rows(
        context,
        "SELECT id::text, task_id::text, conversation_id::text, trigger, action, state, reason, error_class,"
        " scheduled_for, covers_from, covers_count, attempt, crashes, model_calls, created_at FROM runs"
        " WHERE account_id = ANY(:accounts)",
        accounts=world.accounts,
    )
    tasks = rows(context, "SELECT id::text, name, state FROM tasks")
    kept = rows(context, "SELECT id::text FROM conversations")
    state = State(world, runs, {t["id"]: t for t in tasks}, {c["id"] for c in kept})
    for run in runs:
        state.of_task.setdefault(run["task_id"], []).append(run)
    return state


def faults_in(context: Context, world: World, ledger: Path, asked: Sequence[Asked]) -> list[str]:
    """Everything that is wrong, a sentence each."""
    state = read(context, world)
    found = [*_occurrences(state), *_tickers(state), *_created(state), *_triggered(state), *_ended(state)]
    found += [*_backfilled(state), *wrongly_told(context, asked, world.secrets, state.runs)]
    found += [f"run {row['id']} has no prompt" for row in rows(context, UNPROMPTED)]
    found += [*_deleted(state), *_called(state, ledger), *broken_promises(context)]
    return found


def broken_promises(context: Context, *, always_only: bool = False) -> list[str]:
    with context.transaction() as session:
        found = violations(
            session, attempts=context.settings.attempts, invariants=ALWAYS if always_only else INVARIANTS
        )
    return [f"{v.invariant.name}: {v.count}, such as {v.sample[0]}" for v in found]


def _occurrences(state: State) -> Iterator[str]:
    """Each date of each stored task once: as a run, or as a row that says why there is none."""
    deletes = {op.target: op for op in state.world.of("delete", "ok", "unknown")}
    for task in state.world.seeded:
        yield from _occurrence(state, str(task.id), task.due, deletes.get(str(task.id)), task.name)


def _occurrence(state: State, task: str, due: datetime | None, delete: Op | None, name: str) -> Iterator[str]:
    found = state.scheduled(task)
    assert due is not None
    if delete is None and not found:
        yield f"lost: {name} was due at {due}"
    if len(found) > 1:
        yield f"doubled: {name} has {len(found)} rows"
    if delete and delete.outcome == "ok" and delete.answered_at < due.timestamp() and found:
        yield f"fired after its deletion: {name}"
    for run in found:
        if run["scheduled_for"] != due:
            yield f"invented: {name} was due at {due}, not at {run['scheduled_for']}"
        if run["state"] == "missed" or (run["state"] == "skipped" and run["reason"] != "overlap"):
            yield f"lost: {name} is {run['state']} ({run['reason']})"


def _tickers(state: State) -> Iterator[str]:
    """Every third second is accounted for, from the first to the last, without a gap or an overlap."""
    for task in state.world.tickers:
        expected = task.due
        for run in sorted(state.scheduled(str(task.id)), key=lambda run: run["scheduled_for"]):
            first, count = run["covers_from"] or run["scheduled_for"], run["covers_count"] or 1
            if first != expected or first + TICK * (count - 1) != run["scheduled_for"]:
                yield f"{task.name}: after {expected} comes {first} with {count}"
            expected = run["scheduled_for"] + TICK


def _backfilled(state: State) -> Iterator[str]:
    """Every instant of the range once, and no other."""
    found = Counter(run["scheduled_for"] for run in state.runs if run["trigger"] == "backfill")
    for at in sorted(found.keys() | set(state.world.past)):
        if found[at] != 1 or at not in state.world.past:
            yield f"the backfill ran {at} {found[at]} times"


def _created(state: State) -> Iterator[str]:
    """An acknowledged task is there once and fires once; a refused one is nowhere."""
    by_name = Counter(task["name"] for task in state.tasks.values())
    ids = {task["name"]: task["id"] for task in state.tasks.values()}
    for op in state.world.history:
        if op.kind != "create":
            continue
        count = by_name[op.target]
        allowed = {"ok": {1}, "failed": {0}, "unknown": {0, 1}}[op.outcome]
        if count not in allowed:
            yield f"create {op.target} was {op.outcome} and is there {count} times"
        elif count:
            yield from _occurrence(state, ids[op.target], op.due, None, op.target)


def _triggered(state: State) -> Iterator[str]:
    runs = {run["id"]: run for run in state.runs}
    wanted: dict[str, Counter[str]] = {}
    for op in (op for op in state.world.history if op.kind == "trigger"):
        wanted.setdefault(op.target, Counter())[op.outcome] += 1
        if op.outcome == "ok" and runs.get(op.answer["runId"], {}).get("trigger") != "manual":
            yield f"lost: run {op.answer['runId']} was acknowledged"
    for task, found in state.of_task.items():
        count = sum(run["trigger"] == "manual" for run in found)
        asked = wanted.get(task, Counter())
        if not asked["ok"] <= count <= asked["ok"] + asked["unknown"]:
            yield f"task {task} has {count} manual runs where {dict(asked)} were asked for"


def _ended(state: State) -> Iterator[str]:
    """Every run has ended, in a way that somebody asked for or that the weather explains."""
    cancelled = {op.target for op in state.world.of("cancel run", "ok")}
    excused = {op.target for op in state.world.history if op.outcome != "failed" and op.kind != "create"}
    excused |= {str(op.answer.get("runId")) for op in state.world.of("delete conversation", "ok", "unknown")}
    for run in state.runs:
        if run["state"] in {"pending", "running"}:
            yield f"stuck: run {run['id']} is {run['state']}"
        if run["state"] == "failed" and run["error_class"] not in WEATHER:
            yield f"run {run['id']} failed with {run['error_class']}"
        if run["id"] in cancelled and run["state"] != "cancelled":
            yield f"run {run['id']} was cancelled and is {run['state']}"
        if run["state"] == "cancelled" and not {run["id"], run["task_id"]} & excused:
            yield f"run {run['id']} was cancelled by nobody"


def _deleted(state: State) -> Iterator[str]:
    for op in state.world.of("delete", "ok"):
        if state.tasks[op.target]["state"] != "deleted":
            yield f"task {op.target} is back"
    for op in state.world.of("delete conversation", "ok"):
        if op.target in state.conversations:
            yield f"conversation {op.target} is back"
    asked = {str(op.answer.get("runId")) for op in state.world.of("delete conversation", "ok", "unknown")}
    for run in state.runs:
        opened = run["state"] not in {"skipped", "missed"}
        if opened and run["conversation_id"] is None and run["id"] not in asked:
            yield f"run {run['id']} has no conversation and nobody deleted it"


def _called(state: State, ledger: Path) -> Iterator[str]:
    """The model server has seen no call that is not counted."""
    seen = Counter(
        match[1]
        for call in calls_in(ledger)
        if call["body"]["messages"]
        and (match := re.search(r"\[([a-z0-9-]+)\]", call["body"]["messages"][-1]["content"]))
    )
    # A deleted task is blank, so its name comes from where it was made.
    names = {str(t.id): t.name for t in [*state.world.seeded, *state.world.manual, *state.world.tickers]}
    names |= {task["id"]: task["name"] for task in state.tasks.values() if task["name"]}
    counted: Counter[str] = Counter()
    for run in state.runs:
        counted[names[run["task_id"]]] += run["model_calls"]
    for name, calls in seen.items():
        if calls > counted[name]:
            yield f"{name}: {calls} calls of the model, {counted[name]} counted"


def calls_in(ledger: Path) -> list[dict[str, Any]]:
    if not ledger.exists():
        return []
    with ledger.open(encoding="utf-8") as lines:
        return [call for line in lines if "body" in (call := json.loads(line))]


def figures(context: Context, world: World, kills: Sequence[Kill], logs: str) -> dict[str, Any]:
    """What the report says in numbers."""
    state = read(context, world)
    called = [run for run in state.runs if run["model_calls"]]
    calls = sum(run["model_calls"] for run in called)
    reaped, again = reclaims(context, kills)
    return {
        "occurrences": sum(run["covers_count"] or 1 for run in state.runs if run["trigger"] in SCHEDULED),
        "runs": len(state.runs),
        "by state": dict(Counter(run["state"] for run in state.runs)),
        "failed by class": dict(Counter(r["error_class"] for r in state.runs if r["state"] == "failed")),
        "crashes reaped": sum(run["crashes"] for run in state.runs),
        "late workers stopped or fenced": logs.count('"lease_lost"'),
        "model calls": calls,
        "model calls per run": round(calls / max(1, len(called)), 3),
        "model errors injected": sum(
            row["n"]
            for row in rows(
                context,
                "SELECT count(*) AS n FROM run_steps WHERE error_code IS NOT NULL AND step LIKE 'model.%'",
            )
        ),
        "operations": dict(Counter(f"{op.kind} {op.outcome}" for op in world.history)),
        "reaped after a kill": _spread(reaped),
        "claimed again after a kill": _spread(again),
    }


def reclaims(context: Context, kills: Sequence[Kill]) -> tuple[list[float], list[float]]:
    """Of each run that a killed worker had in hand, the seconds until it was reaped and claimed again."""
    lost = rows(
        context,
        "SELECT s.worker, s.started_at, s.finished_at,"
        " (SELECT min(n.started_at) FROM run_steps n WHERE n.run_id = s.run_id"
        " AND n.step LIKE 'attempt.%' AND n.started_at > s.started_at) AS again FROM run_steps s"
        " WHERE s.step LIKE 'attempt.%' AND s.outcome = 'lost'",
    )
    by_pid = {str(kill.pid): kill for kill in kills if kill.kind in {"worker", "poll"}}
    found: tuple[list[float], list[float]] = ([], [])
    for row in lost:
        match = re.match(r"[a-z]+-(\d+)@", row["worker"] or "")
        kill = by_pid.get(match[1]) if match else None
        killed = datetime.fromtimestamp(kill.at, UTC) if kill else None
        # One that was frozen first had lost its runs before it was killed.
        if killed and row["again"] and row["finished_at"] > killed:
            for seconds, instant in zip(found, (row["finished_at"], row["again"]), strict=True):
                seconds.append((instant - killed) / timedelta(seconds=1))
    return sorted(found[0]), sorted(found[1])


def _spread(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {"count": 0}
    at = lambda share: round(values[min(len(values) - 1, int(len(values) * share))], 1)  # noqa: E731
    return {"count": len(values), "p50": at(0.5), "p95": at(0.95), "max": round(values[-1], 1)}
