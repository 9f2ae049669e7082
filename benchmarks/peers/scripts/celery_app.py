"""Celery with the beat that `PEERS_BEAT` names; the script stores the schedules it reads from afar.

As Celery's documentation has it for jobs that may run twice but must not be lost: late acknowledgement,
redelivery when a worker is lost, and a visibility time-out longer than any job. Nothing else is changed but
what beat needs to be restarted after kill -9 (redbeat without its lock, which is for several beats).
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from functools import cache
from typing import Any

import job
from celery import Celery
from celery.schedules import crontab, schedule
from celery.signals import before_task_publish

BEAT = os.environ["PEERS_BEAT"]
app = Celery("peer", broker=job.GIVEN["broker"])
app.conf.update(
    broker_connection_retry_on_startup=True,
    broker_transport_options={"visibility_timeout": job.RECOVERY},
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    timezone="UTC",
    beat_schedule_filename=job.GIVEN["directory"] + "/beat-schedule",
)


def entries() -> dict[str, dict[str, Any]]:
    every = crontab() if job.CRON else schedule(job.PERIOD)
    return {
        f"task-{task}": {
            "task": "record",
            "schedule": every,
            "args": [task],
            "last_run_at": datetime.fromtimestamp(job.first_due(task) - job.PERIOD, UTC),
        }
        for task in range(job.TASKS)
    }


if BEAT == "redbeat":
    app.conf.update(
        beat_scheduler="redbeat.RedBeatScheduler",
        redbeat_redis_url=job.GIVEN["redis"],
        redbeat_redis_options={},
        redbeat_lock_key=None,
        beat_max_loop_interval=5,
    )
elif BEAT == "sqlalchemy":
    app.conf.update(
        beat_scheduler="sqlalchemy_celery_beat.schedulers:DatabaseScheduler",
        beat_dburi=job.GIVEN["sqlalchemy"],
        beat_schema="celery_schema",
    )
else:
    app.conf.beat_schedule = entries()


@before_task_publish.connect
def say_when(headers: dict[str, Any] | None = None, **_: Any) -> None:
    if headers is not None:
        headers["sent"] = time.time()


connection = cache(job.connect)


@app.task(bind=True, name="record")
def record(self: Any, task: int) -> None:
    sent = self.request.get("sent") or self.request.headers["sent"]
    connection().execute(job.INSERT, [task, job.due_before(task, sent)])


def prepare() -> None:
    if BEAT == "redbeat":
        from redbeat import RedBeatSchedulerEntry

        for name, entry in entries().items():
            RedBeatSchedulerEntry(name=name, app=app, **entry).save()
    elif BEAT == "sqlalchemy":
        _prepare_rows()


def _prepare_rows() -> None:
    from sqlalchemy_celery_beat.models import CrontabSchedule, IntervalSchedule, Period, PeriodicTask
    from sqlalchemy_celery_beat.session import SessionManager

    manager = SessionManager()
    engine, session_of = manager.create_session(app.conf.beat_dburi, schema="celery_schema")
    manager.prepare_models(engine, schema="celery_schema")
    with session_of() as session:
        every = (
            CrontabSchedule(timezone="UTC")
            if job.CRON
            else IntervalSchedule(every=job.PERIOD, period=Period.SECONDS)
        )
        session.add(every)
        session.commit()
        for name, entry in entries().items():
            session.add(
                PeriodicTask(
                    name=name,
                    task=entry["task"],
                    args=str(entry["args"]),
                    schedule_model=every,
                    last_run_at=entry["last_run_at"],
                )
            )
        session.commit()


if __name__ == "__main__":
    prepare()
