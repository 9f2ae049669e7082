"""APScheduler 3 with its jobs in PostgreSQL, in one process with its threads, as its user guide has it.

Given what helps it under kill -9: occurrences that nobody ran are caught up, however late, each of them.
`python aps.py prepare` stores the jobs.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

import job
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.schedulers.blocking import BlockingScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

_local = threading.local()


def record(task: int) -> None:
    # A job is not told what it was due for; whoever calls it knows.
    due = sys._getframe(1).f_locals["run_time"]  # noqa: SLF001
    if not hasattr(_local, "connection"):
        _local.connection = job.connect()
    _local.connection.execute(job.INSERT, [task, due])


def trigger(task: int) -> Any:
    first = job.instant(job.first_due(task))
    if job.CRON:
        return CronTrigger(minute="*", timezone="UTC", start_date=first)
    return IntervalTrigger(seconds=job.PERIOD, timezone="UTC", start_date=first)


def options() -> dict[str, Any]:
    return {
        "jobstores": {"default": SQLAlchemyJobStore(url=job.GIVEN["sqlalchemy"])},
        "executors": {"default": ThreadPoolExecutor(10)},
        "job_defaults": {"coalesce": False, "misfire_grace_time": 3600, "max_instances": 10},
        "timezone": "UTC",
    }


if __name__ == "__main__":
    # The store refers to the job by its module's name, which must not be that of the script.
    import aps

    if sys.argv[1:] == ["prepare"]:
        scheduler = BackgroundScheduler(**options())
        scheduler.start(paused=True)
        for task in range(job.TASKS):
            scheduler.add_job(aps.record, trigger(task), args=[task], id=str(task), replace_existing=True)
        scheduler.shutdown()
    else:
        BlockingScheduler(**options()).start()
