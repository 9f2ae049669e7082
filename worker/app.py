"""The Celery app: one task per verb, each two lines. Celery wakes; the row decides."""

from __future__ import annotations

import threading
import time
import uuid
from typing import Any

import structlog
from celery import Celery, Task, signals

from core.annotating import annotate
from core.annotations import HINT as ANNOTATE
from core.carrying import carry_on
from core.deliveries import HINT as DELIVER
from core.errors import RunFailed, Unavailable
from core.job_states import HINT as JOB
from core.publisher import broker_app
from core.settings import Settings
from core.turns import carry_out
from models import Action, ErrorClass
from worker.channel import forgive
from worker.process import existing_hands, hands

log = structlog.get_logger()


def make_app(settings: Settings) -> Celery:
    """The worker's app on the settings' broker."""
    forgive()
    app = broker_app(settings.redis_url or "redis://localhost:6379/0")
    # A hint that is lost with its worker is sent again in seconds, by its row. kombu's own record of what was
    # delivered would do so in an hour, and costs two transactions for every hint.
    app.conf.broker_transport_options = {**app.conf.broker_transport_options, "ack_emulation": False}
    app.conf.update(
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        worker_send_task_events=True,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_max_tasks_per_child=1000,
        worker_max_memory_per_child=400_000,
        worker_cancel_long_running_tasks_on_connection_loss=False,
    )

    def work(task: Task, run_id: Any) -> str:
        return _carry_out(settings, task, run_id)

    def tell(delivery_id: Any) -> str:
        return _deliver(settings, delivery_id)

    def look(message_id: Any) -> str:
        return _annotate(settings, message_id)

    def carry(job_id: Any) -> str:
        return _carry_job(settings, job_id)

    for action in Action:
        app.task(bind=True, name=f"crontalk.{action}", throws=(RunFailed,))(work)
    app.task(name=f"crontalk.{DELIVER}")(tell)
    app.task(name=f"crontalk.{ANNOTATE}")(look)
    app.task(name=f"crontalk.{JOB}")(carry)
    return app


def _carry_out(settings: Settings, task: Task, run_id: Any) -> str:
    """Answers in one word; raises RunFailed, so that Flower shows a failed run in red.

    Nothing else is raised: Celery would log it and send it to Flower with whatever row a database error
    quotes.
    """
    asked = _id(run_id)
    if asked is None:
        return "ignored"
    mine = hands(settings)
    mine.delivered_at = time.monotonic()
    if mine.stopping.is_set():
        return "stopping"
    try:
        return carry_out(
            mine.context, mine.leases, asked, worker=task.request.hostname, delivery=task.request.id
        )
    except RunFailed:
        raise
    except Unavailable:
        return "unavailable"
    except Exception as error:  # noqa: BLE001 (see above; the lease runs out and the run is reaped)
        log.error("delivery_broke", run=str(asked), error=type(error).__name__)
    raise RunFailed(ErrorClass.INTERNAL_ERROR)


def _deliver(settings: Settings, delivery_id: Any) -> str:
    """Answers in one word and raises nothing, for the reason above: the row and the log say what happened."""
    asked = _id(delivery_id)
    if asked is None:
        return "ignored"
    mine = hands(settings)
    mine.delivered_at = time.monotonic()
    try:
        return mine.deliver(asked)
    except Unavailable:
        return "unavailable"
    except Exception as error:  # noqa: BLE001 (the lease runs out and it is sent again)
        log.error("delivery_broke", delivery=str(asked), error=type(error).__name__)
        return "broken"


def _annotate(settings: Settings, message_id: Any) -> str:
    """As `_deliver`: one word, and nothing is raised."""
    asked = _id(message_id)
    if asked is None:
        return "ignored"
    try:
        return annotate(hands(settings).context, asked)
    except Unavailable:
        return "unavailable"
    except Exception as error:  # noqa: BLE001 (the leases run out and the messages are claimed again)
        log.error("delivery_broke", message=str(asked), error=type(error).__name__)
        return "broken"


def _carry_job(settings: Settings, job_id: Any) -> str:
    """As `_deliver`: one word, and nothing is raised."""
    asked = _id(job_id)
    if asked is None:
        return "ignored"
    mine = hands(settings)
    try:
        return carry_on(mine.context, asked, mine.stopping)
    except Unavailable:
        return "unavailable"
    except Exception as error:  # noqa: BLE001 (the lease runs out and the job is claimed again)
        log.error("delivery_broke", job=str(asked), error=type(error).__name__)
        return "broken"


def _id(value: Any) -> uuid.UUID | None:
    """The id of a hint; None when whoever wrote it was not us."""
    try:
        return uuid.UUID(value)
    except (ValueError, AttributeError, TypeError):
        return None


@signals.worker_shutting_down.connect(weak=False)
def _finish(**_: Any) -> None:
    """Celery waits for its threads without end; we wait for the grace, give the rest back and leave."""
    mine = existing_hands()
    if mine:
        mine.stopping.set()
        threading.Thread(target=mine.leave, daemon=True).start()
