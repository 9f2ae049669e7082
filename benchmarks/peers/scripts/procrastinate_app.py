"""procrastinate: its worker is its scheduler as well. `python procrastinate_app.py prepare` makes its tables.

Its documentation's task that retries stalled jobs is part of it, with its times shortened to what every
peer's recovery takes here.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import job
import procrastinate
import psycopg_pool

CONCURRENCY = 10
app = procrastinate.App(
    connector=procrastinate.PsycopgConnector(conninfo=job.DATABASE, min_size=4, max_size=20)
)
_pool: list[psycopg_pool.AsyncConnectionPool[Any]] = []


@app.task(name="record")
async def record(timestamp: int, task: int) -> None:
    async with _pool[0].connection() as connection:
        await connection.execute(job.INSERT, [task, job.instant(timestamp)])


for number in range(job.TASKS):
    seconds = "" if job.CRON else f" {int(job.first_due(number)) % 60}"
    app.periodic(cron="* * * * *" + seconds, periodic_id=str(number), task_kwargs={"task": number})(record)


@app.periodic(cron="* * * * * */5")
@app.task(name="retry_stalled", queueing_lock="retry_stalled", pass_context=True)
async def retry_stalled(_context: Any, timestamp: int) -> None:  # noqa: ARG001
    for stalled in await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=job.RECOVERY):
        await app.job_manager.retry_job(stalled)


async def main() -> None:
    async with app.open_async():
        if sys.argv[1:] == ["prepare"]:
            await app.schema_manager.apply_schema_async()
            return
        async with psycopg_pool.AsyncConnectionPool(
            job.DATABASE, min_size=2, max_size=CONCURRENCY, kwargs={"autocommit": True}
        ) as pool:
            _pool.append(pool)
            await app.run_worker_async(
                concurrency=CONCURRENCY,
                update_heartbeat_interval=job.RECOVERY / 3,
                stalled_worker_timeout=job.RECOVERY,
            )


if __name__ == "__main__":
    asyncio.run(main())
