"""The scheduler's loop: fire, advance jobs, reap, promote, hint, and sleep until something is due.

Any number of them may run; none leads. Whatever dies between two statements is repaired by the next turn
of any of them.
"""

from __future__ import annotations

import threading
import time

import structlog
from sqlalchemy.exc import SQLAlchemyError

from core.advancing import advance_backfills
from core.annotations import hint_annotations
from core.blobs import sweep_blobs
from core.context import Context
from core.deliveries import hint_deliveries
from core.errors import CrontalkError, Unavailable
from core.expiring import expire_conversations
from core.exports import expire_exports
from core.feeding import feed_annotations
from core.firing import fire, fire_besides_the_crowd
from core.following import follow_up_all
from core.idempotency import sweep_keys
from core.publisher import QUEUES
from core.retaining import start_retention
from core.session_tokens import sweep_session_tokens
from core.slices import hint_jobs
from core.waiting import promote
from core.work import hint, reap, seconds_to_next_due

log = structlog.get_logger()

TEND_EVERY = 1.0
SWEEP_EVERY = 60.0
HELD = 0.01  # seconds before a due clock that somebody else has locked is asked for again


def run(context: Context, stop: threading.Event) -> None:
    """Turns until `stop` is set; a database that is away is waited for."""
    context.publisher.get_ready()
    sweeper = threading.Thread(target=_sweep, args=(context, stop), name="sweeper", daemon=True)
    sweeper.start()
    log.info("scheduler_started")
    tended_at = 0.0
    while not stop.is_set():
        try:
            if time.monotonic() - tended_at >= TEND_EVERY:
                reap(context)
                follow_up_all(context)  # people before tasks that wait for the same conversation
                promote(context)
                fire_besides_the_crowd(context)
                expire_conversations(context)
                tended_at = time.monotonic()
            pause = turn(context)
        except (Unavailable, SQLAlchemyError) as error:
            log.warning("turn_failed", error=type(error).__name__)
            pause = 1.0
        stop.wait(pause)
    sweeper.join(5)
    log.info("scheduler_stopped")


def turn(context: Context) -> float:
    """Fires what is due, advances jobs and hints what waits; answers how many seconds nothing is due."""
    fired = fire(context)
    if fired < context.settings.fire_batch:
        advance_backfills(context)
        feed_annotations(context)
    hinted = sum(hint(context, queue) for queue in QUEUES)
    hinted += hint_deliveries(context) + hint_annotations(context) + hint_jobs(context)
    if fired or hinted:
        log.info("turned", fired=fired, hinted=hinted)
    if fired >= context.settings.fire_batch:
        return 0.0
    with context.transaction() as session:
        due_in = seconds_to_next_due(session)
    tick = context.settings.tick.total_seconds()
    if due_in is None:
        return tick
    return min(tick, max(due_in, 0.0 if fired else HELD))


def _sweep(context: Context, stop: threading.Event) -> None:
    """Clears away what nobody needs and starts retention, about once a minute, beside the clocks: whatever is
    slow makes none of them late.
    """
    while not stop.is_set():
        try:
            start_retention(context)
            sweep_keys(context)
            sweep_session_tokens(context)
            expire_exports(context)
            sweep_blobs(context)
        except (CrontalkError, SQLAlchemyError) as error:
            log.warning("sweep_failed", error=type(error).__name__)
        stop.wait(SWEEP_EVERY)
