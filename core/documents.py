"""The JSON documents of our nouns: camelCase keys and epoch milliseconds, as in the ChatBotKit contract.

Absent values are left out. The API and `crontalk … --json` show the same documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row

from core.backfills import Plan, Progress
from core.explain import Explanation, History
from core.past import read_past
from core.said import stored_said
from models import (
    OPEN,
    Account,
    ApiToken,
    Conversation,
    Delivery,
    Job,
    Message,
    PiiState,
    Run,
    RunState,
    RunStep,
    Subscription,
    Task,
    TaskClock,
    TaskState,
)

Document = dict[str, Any]
OUTCOMES = {RunState.SUCCEEDED: "success", RunState.FAILED: "failure"}


def milliseconds(instant: datetime | None) -> int | None:
    return None if instant is None else int(instant.timestamp() * 1000)


def money(millionths: int | None) -> float | None:
    return None if millionths is None else millionths / 1_000_000


def _span(span: timedelta | None) -> int | None:
    return None if span is None else span // timedelta(milliseconds=1)


def _without_nulls(document: Document) -> Document:
    return {key: value for key, value in document.items() if value is not None}


def account_document(account: Account) -> Document:
    return _without_nulls(
        {
            "id": str(account.id),
            "name": account.name,
            "createdAt": milliseconds(account.created_at),
            "closedAt": milliseconds(account.closed_at),
        }
    )


def token_document(token: ApiToken, secret: str | None = None) -> Document:
    """A token without its secret; with it only where it was just made."""
    return _without_nulls(
        {
            "id": str(token.id),
            "name": token.name,
            "prefix": token.prefix,
            "scopes": list(token.scopes),
            "contactId": _id(token.contact_id),
            "token": secret,
            "createdAt": milliseconds(token.created_at),
            "expiresAt": milliseconds(token.expires_at),
            "revokedAt": milliseconds(token.revoked_at),
            "lastUsedOn": token.last_used_on.isoformat() if token.last_used_on else None,
        }
    )


def task_document(task: Task, clock: TaskClock) -> Document:
    return _without_nulls(
        {
            "id": str(task.id),
            "name": task.name,
            "description": task.description,
            "botId": _id(task.bot_id),
            "contactId": _id(task.contact_id),
            "action": task.action,
            "schedule": task.schedule,
            "timezone": task.timezone,
            "paused": task.state == TaskState.PAUSED,
            "pauseReason": task.pause_reason,
            "maxTime": task.max_time_ms,
            "maxIterations": task.max_iterations,
            "maxCalls": task.max_calls,
            "maxTokens": task.max_tokens,
            "maxCost": money(task.max_cost),
            "maxTokensPerDay": task.max_tokens_per_day,
            "maxCostPerDay": money(task.max_cost_per_day),
            **_policies(task),
            "consecutiveFailures": task.consecutive_failures,
            "lastRunAt": milliseconds(clock.last_run_at),
            "nextRunAt": None if task.paused_until else milliseconds(clock.next_run_at),
            "meta": task.meta or None,
            "createdAt": milliseconds(task.created_at),
            "updatedAt": milliseconds(task.updated_at),
        }
    )


def _policies(task: Task) -> Document:
    kept = task.assertions
    assertions = {
        "contains": kept.get("contains"),
        "notContains": kept.get("not_contains"),
        "minLength": kept.get("min_length"),
    }
    return {
        "overlap": task.overlap,
        "catchUp": task.catch_up,
        "catchUpWindow": _span(task.catch_up_window),
        "catchUpMax": task.catch_up_max,
        "jitter": _span(task.jitter),
        "startsAt": milliseconds(task.starts_at),
        "expiresAt": milliseconds(task.expires_at),
        "pausedUntil": milliseconds(task.paused_until),
        "maxAttempts": task.max_attempts,
        "retryDelay": _span(task.retry_delay),
        "retryOn": task.retry_on,
        "conversationMode": task.conversation_mode,
        "sessionDuration": _span(task.session_duration),
        "assertions": _without_nulls(assertions) or None,
        "maxConsecutiveFailures": task.max_consecutive_failures,
    }


def task_status(latest: Run | None) -> Document:
    """The contract's `status` and `outcome` of a task, told by its newest run (section 4.2)."""
    if latest is None or latest.state in OPEN:
        return {"status": "idle" if latest is None else "running", "outcome": "pending"}
    return {"status": "idle", "outcome": OUTCOMES.get(RunState(latest.state), "failure")}


def execution_document(run: Run, task: Task) -> Document:
    """A run as the contract's TaskExecution. Its `completedAt` alone is an ISO-8601 string (section 3.8)."""
    status = task_status(run)
    if run.state == RunState.CANCELLED:
        status["status"] = "canceled"
    finished = run.finished_at
    return _without_nulls(
        {
            "id": str(run.id),
            "name": task.name,
            "taskId": str(task.id),
            "conversationId": _id(run.conversation_id),
            **status,
            "summary": run.summary or run.error_class,
            "completedAt": finished.strftime("%Y-%m-%dT%H:%M:%S.") + f"{finished.microsecond // 1000:03}Z"
            if finished
            else None,
            "createdAt": milliseconds(run.created_at),
            "updatedAt": milliseconds(finished or run.started_at or run.created_at),
        }
    )


def run_document(run: Run, steps: Sequence[RunStep] | None = None) -> Document:
    """A run; with its timeline when steps are given."""
    document: Document = {
        "id": str(run.id),
        "taskId": _id(run.task_id),
        "conversationId": _id(run.conversation_id),
        "trigger": run.trigger,
        "action": run.action,
        "scheduledFor": milliseconds(run.scheduled_for),
        "coversFrom": milliseconds(run.covers_from),
        "coversCount": run.covers_count,
        "backfillId": _id(run.backfill_id),
        "state": run.state,
        "outcome": OUTCOMES.get(RunState(run.state)),
        "reason": run.reason,
        "errorClass": run.error_class,
        "errorCode": run.error_code,
        "summary": run.summary,
        "attempt": run.attempt,
        "crashes": run.crashes,
        "worker": run.worker,
        "deliveryId": run.delivery_id,
        "model": run.model,
        "usage": {
            "token": run.input_tokens + run.output_tokens,
            "inputTokens": run.input_tokens,
            "outputTokens": run.output_tokens,
            "modelCalls": run.model_calls,
            **({"cost": money(run.cost)} if run.cost else {}),
        },
        "runAt": milliseconds(run.run_at),
        "createdAt": milliseconds(run.created_at),
        "startedAt": milliseconds(run.started_at),
        "finishedAt": milliseconds(run.finished_at),
    }
    if steps is not None:
        document["steps"] = [step_document(step) for step in steps]
    return _without_nulls(document)


def explanation_document(at: datetime, found: Explanation) -> Document:
    return {
        "at": milliseconds(at),
        "verdict": found.verdict,
        "sentences": list(found.sentences),
        "runs": [run_document(run) for run in found.runs],
    }


def history_document(found: History) -> Document:
    """A task's history; durations in milliseconds."""

    def pair(seconds: tuple[float, float] | None) -> Document | None:
        return None if seconds is None else {"p50": round(seconds[0] * 1000), "p95": round(seconds[1] * 1000)}

    return _without_nulls(
        {
            "items": [run_document(run) for run in found.runs],
            "counts": found.counts,
            "successRate": found.success_rate,
            "duration": pair(found.took),
            "lateness": pair(found.late),
            "usage": {"token": found.tokens, "modelCalls": found.model_calls, "cost": money(found.cost)},
        }
    )


def backfill_document(job: Job, progress: Progress) -> Document:
    """A backfill and how far it is; `leftSeconds` at the pace so far, while it goes on."""
    past, params = read_past(job.params), job.params
    ended = progress.done + progress.failed
    left = (job.total or 0) - job.skipped - ended - progress.under_way
    goes_on = job.finished_at is None and ended and progress.seconds
    return _without_nulls(
        {
            "id": str(job.id),
            "taskId": _id(job.task_id),
            "state": job.state,
            "errorClass": job.error_class,
            "from": milliseconds(past.since),
            "until": milliseconds(past.until),
            "schedule": past.schedule,
            "timezone": past.timezone,
            "all": params.get("everything", False),
            "atOnce": params.get("at_once", 1),
            "pace": params.get("pace"),
            "prompt": params.get("prompt"),
            "total": job.total,
            "done": progress.done,
            "skipped": job.skipped,
            "failed": progress.failed,
            "underWay": progress.under_way,
            "left": left,
            "leftSeconds": round(progress.seconds / ended * left) if goes_on and progress.seconds else None,
            "cursor": milliseconds(datetime.fromisoformat(job.cursor)) if job.cursor else None,
            "createdAt": milliseconds(job.created_at),
            "startedAt": milliseconds(job.started_at),
            "finishedAt": milliseconds(job.finished_at),
        }
    )


def plan_document(plan: Plan, job: Job | None = None) -> Document:
    """What a backfill comes to; with the id of the job that was made of it."""
    return _without_nulls(
        {
            "id": str(job.id) if job else None,
            "total": plan.total,
            "toRun": plan.to_run,
            "first": milliseconds(plan.first),
            "last": milliseconds(plan.last),
            "ledger": plan.states,
            "estimate": {"tokens": plan.tokens, "cost": plan.cost, "fromRuns": plan.sample}
            if plan.sample
            else None,
        }
    )


def step_document(step: RunStep) -> Document:
    return _without_nulls(
        {
            "step": step.step,
            "outcome": step.outcome,
            "errorCode": step.error_code,
            "worker": step.worker,
            "deliveryId": step.delivery_id,
            "model": step.model,
            "finishReason": step.finish_reason,
            "inputTokens": step.input_tokens,
            "outputTokens": step.output_tokens,
            "startedAt": milliseconds(step.started_at),
            "finishedAt": milliseconds(step.finished_at),
        }
    )


def subscription_document(subscription: Subscription, secret: str | None = None) -> Document:
    """A subscription, of whose target only the host is shown; its secret only where it was just made."""
    return _without_nulls(
        {
            "id": str(subscription.id),
            "taskId": str(subscription.task_id),
            "kind": subscription.kind,
            "host": subscription.hint,
            "events": list(subscription.events),
            "includeText": subscription.include_text,
            "state": subscription.state,
            "disabledReason": subscription.disabled_reason,
            "consecutiveFailures": subscription.consecutive_failures,
            "failingSince": milliseconds(subscription.failing_since),
            "secret": secret,
            "createdAt": milliseconds(subscription.created_at),
            "updatedAt": milliseconds(subscription.updated_at),
        }
    )


def delivery_document(delivery: Delivery, subscription: Subscription) -> Document:
    """A delivery as the log shows it: what became of it, never what it said."""
    return _without_nulls(
        {
            "id": str(delivery.id),
            "taskId": str(delivery.task_id),
            "subscriptionId": str(delivery.subscription_id),
            "runId": _id(delivery.run_id),
            "kind": subscription.kind,
            "host": subscription.hint,
            "event": delivery.event,
            "state": delivery.state,
            "attempt": delivery.attempt,
            "statusCode": delivery.status_code,
            "errorCode": delivery.error_code,
            "nextAttemptAt": milliseconds(delivery.run_at) if delivery.finished_at is None else None,
            "createdAt": milliseconds(delivery.created_at),
            "finishedAt": milliseconds(delivery.finished_at),
        }
    )


def conversation_document(conversation: Conversation, messages: Sequence[Message] | None = None) -> Document:
    """A conversation, with what it says itself of its bot; with its messages when they are given."""
    document: Document = {
        "id": str(conversation.id),
        "name": conversation.name,
        "description": conversation.description,
        "botId": _id(conversation.bot_id),
        "contactId": _id(conversation.contact_id),
        "taskId": _id(conversation.task_id),
        "runId": _id(conversation.run_id),
        "backstory": conversation.backstory,
        "model": conversation.model,
        "datasetId": _id(conversation.dataset_id),
        "skillsetId": _id(conversation.skillset_id),
        "privacy": conversation.privacy,
        "moderation": conversation.moderation,
        "source": conversation.source,
        "status": conversation.status,
        "expiresAt": milliseconds(conversation.expires_at),
        "meta": conversation.meta or None,
        "createdAt": milliseconds(conversation.created_at),
        "updatedAt": milliseconds(conversation.updated_at),
    }
    if messages is not None:
        document["messages"] = [message_document(message) for message in messages]
    return _without_nulls(document)


def message_document(message: Message | Row[Any]) -> Document:
    """A message as it is stored. `entities` are places in the text shown here, in UTF-16 units.

    One that nobody may see before it was annotated has no words yet.
    """
    blocked = message.pii_state == PiiState.BLOCKED
    known = [] if blocked else stored_said(message.text, message.pii).documents(message.text)
    return _without_nulls(
        {
            "id": str(message.id),
            "conversationId": str(message.conversation_id),
            "type": message.type,
            "text": "" if blocked else message.text,
            "name": None if blocked else message.name,
            "description": None if blocked else message.description,
            "meta": None if blocked else message.meta or None,
            "entities": known or None,
            "isAnnotated": False if blocked else None,
            "runId": _id(message.run_id),
            "createdAt": milliseconds(message.created_at),
            "updatedAt": milliseconds(message.updated_at),
        }
    )


def _id(value: object) -> str | None:
    return None if value is None else str(value)
