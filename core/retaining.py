"""Retaining: rules of retention whose time has come start their jobs, beside a scheduler's clocks."""

from __future__ import annotations

import uuid

import structlog
from sqlalchemy import text

from core.context import Context
from core.errors import Unavailable
from core.retention import actor_of_rule, start_jobs
from models import RetentionRule

log = structlog.get_logger()

BATCH = 100
DUE = text(
    "SELECT r.id, r.account_id FROM retention_rules r JOIN accounts a ON a.id = r.account_id"
    " WHERE r.next_run_at <= now() AND a.closed_at IS NULL ORDER BY r.next_run_at LIMIT :batch"
)
# Whoever comes second passes it by, or finds that its time has moved.
TAKE = text("SELECT id FROM retention_rules WHERE id = :id AND next_run_at <= now() FOR UPDATE SKIP LOCKED")
PUT_OFF = text(
    "UPDATE retention_rules SET next_run_at = now() + interval '1 hour'"
    " WHERE id = :id AND next_run_at <= now()"
)


def start_retention(context: Context) -> int:
    """Starts the jobs of the rules that are due; answers how many. Once, however many schedulers ask."""
    with context.transaction() as session:
        due = session.execute(DUE, {"batch": BATCH}).all()
    return sum(_start(context, row.id, row.account_id) for row in due)


def _start(context: Context, rule_id: uuid.UUID, account: uuid.UUID) -> int:
    """The jobs of one rule; one that cannot be started keeps no other and is tried again in an hour."""
    for counted in (True, False):  # where there is too much to count, it begins uncounted
        try:
            return _started(context, rule_id, account, counted=counted)
        except Unavailable as error:
            log.warning("retention_not_started", rule=str(rule_id), error=type(error).__name__)
        except Exception as error:  # noqa: BLE001 (as the docstring says; no traceback: it can hold a source)
            log.error("retention_broke", rule=str(rule_id), error=type(error).__name__)
            break
    with context.transaction() as session:
        session.execute(PUT_OFF, {"id": rule_id})
    return 0


def _started(context: Context, rule_id: uuid.UUID, account: uuid.UUID, *, counted: bool) -> int:
    with context.transaction(account, actor=actor_of_rule(rule_id)) as session:
        if session.execute(TAKE, {"id": rule_id}).one_or_none() is None:
            return 0
        jobs = start_jobs(session, session.get_one(RetentionRule, rule_id), counted=counted)
        for job in jobs:
            log.info("retention_started", rule=str(rule_id), job=str(job.id), kind=job.kind)
    return len(jobs)
