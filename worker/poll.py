"""The poll loop: serves due rows that nobody has claimed, without any broker.

Few slots: it is there for the outage of the broker and for wedged consumers, not instead of them. It also
starts the processes in which runs that have lost two workers are tried a last time.
"""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import structlog
from sqlalchemy.exc import SQLAlchemyError

from core.annotating import annotate
from core.annotations import unannotated
from core.carrying import carry_on
from core.deliveries import unsent
from core.errors import RunFailed, Unavailable
from core.slices import unserved_jobs
from core.turns import carry_out
from core.work import next_suspect, unclaimed
from worker import alone
from worker.process import Hands

log = structlog.get_logger()

QUEUES = ("chat",)
SLOTS = 4
SENDERS = 2


def run(hands: Hands, stop: threading.Event, *, slots: int = SLOTS) -> None:
    """Turns until `stop` is set, then finishes within the grace."""
    name = f"poll-{os.getpid()}@{socket.gethostname()}"
    log.info("poll_started", slots=slots)
    hands.senders = SENDERS
    pool = ThreadPoolExecutor(slots + SENDERS + 2, thread_name_prefix="poll")
    busy: dict[uuid.UUID, _Served] = {}
    sending: dict[uuid.UUID, Future[str]] = {}
    suspect: subprocess.Popen[bytes] | None = None
    looking: Future[str] | None = None
    carrying: Future[str] | None = None
    while not stop.is_set():
        busy = {run_id: served for run_id, served in busy.items() if not served.future.done()}
        try:
            for run_id, account in _take(hands, busy, slots):
                busy[run_id] = _Served(account, pool.submit(_serve, hands, run_id, name))
            if suspect is None or suspect.poll() is not None:
                suspect = _next_alone(hands)
            sending = {one: future for one, future in sending.items() if not future.done()}
            for delivery_id in _untold(hands, sending):
                sending[delivery_id] = pool.submit(_tell, hands, delivery_id)
            if looking is None or looking.done():
                looking = _unlooked(hands, pool)
            if carrying is None or carrying.done():
                carrying = _unserved(hands, pool)
        except (Unavailable, SQLAlchemyError) as error:
            log.warning("poll_failed", error=type(error).__name__)
        stop.wait(min(1.0, hands.context.settings.poll_after.total_seconds() / 2))
    if suspect is not None and suspect.poll() is None:
        alone.stop(suspect, hands.context.settings)
    hands.leave()
    pool.shutdown(wait=False, cancel_futures=True)


def _next_alone(hands: Hands) -> subprocess.Popen[bytes] | None:
    """One suspect at a time: a process for it costs as much as a worker."""
    run_id = next_suspect(hands.context)
    return None if run_id is None else alone.start(hands.context.settings, run_id)


@dataclass(frozen=True)
class _Served:
    account: uuid.UUID
    future: Future[str]


def _take(
    hands: Hands, busy: Mapping[uuid.UUID, _Served], slots: int
) -> Iterator[tuple[uuid.UUID, uuid.UUID]]:
    """Overdue runs for the free slots. One slot is never one account's alone: when a tenant's hanging
    model has filled every Celery slot there is, the others are still served here.
    """
    held = Counter(served.account for served in busy.values())
    free = slots - len(busy)
    for queue in QUEUES if free else ():
        for run_id, account in unclaimed(hands.context, queue, hands.context.settings.poll_after, 2 * slots):
            if free and run_id not in busy and held[account] < max(1, slots - 1):
                held[account] += 1
                free -= 1
                yield run_id, account


def _untold(hands: Hands, sending: Mapping[uuid.UUID, Future[str]]) -> list[uuid.UUID]:
    """Overdue deliveries for the free senders, which are beside the slots, so that neither waits."""
    free = SENDERS - len(sending)
    if not free:
        return []
    found = unsent(hands.context, hands.context.settings.poll_after, SENDERS + len(sending))
    return [one for one in found if one not in sending][:free]


def _unlooked(hands: Hands, pool: ThreadPoolExecutor) -> Future[str] | None:
    """The messages of one account that nobody has annotated for long enough, one batch at a time."""
    found = unannotated(hands.context, hands.context.settings.poll_after, 1)
    return pool.submit(_annotate, hands, found[0]) if found else None


def _annotate(hands: Hands, message_id: uuid.UUID) -> str:
    try:
        return annotate(hands.context, message_id)
    except Unavailable:
        return "unavailable"
    except Exception as error:  # noqa: BLE001 (the leases run out and the messages are claimed again)
        log.error("delivery_broke", message=str(message_id), error=type(error).__name__)
        return "broken"


def _unserved(hands: Hands, pool: ThreadPoolExecutor) -> Future[str] | None:
    """The job that nobody has carried on for longest, one slice at a time."""
    found = unserved_jobs(hands.context, hands.context.settings.poll_after, 1)
    return pool.submit(_carry, hands, found[0]) if found else None


def _carry(hands: Hands, job_id: uuid.UUID) -> str:
    try:
        return carry_on(hands.context, job_id, hands.stopping)
    except Unavailable:
        return "unavailable"
    except Exception as error:  # noqa: BLE001 (the lease runs out and the job is claimed again)
        log.error("delivery_broke", job=str(job_id), error=type(error).__name__)
        return "broken"


def _tell(hands: Hands, delivery_id: uuid.UUID) -> str:
    try:
        return hands.deliver(delivery_id)
    except Unavailable:
        return "unavailable"
    except Exception as error:  # noqa: BLE001 (the lease runs out and it is sent again)
        log.error("delivery_broke", delivery=str(delivery_id), error=type(error).__name__)
        return "broken"


def _serve(hands: Hands, run_id: uuid.UUID, name: str) -> str:
    try:
        return carry_out(hands.context, hands.leases, run_id, worker=name)
    except RunFailed as failure:
        return str(failure)
    except Unavailable:
        return "unavailable"
    except Exception as error:  # noqa: BLE001 (the lease runs out and the run is reaped)
        log.error("delivery_broke", run=str(run_id), error=type(error).__name__)
        return "broken"
