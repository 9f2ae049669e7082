"""A worker in this process: carries out what is due, as soon as it is there, until the test has ended."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta

from core.context import Context
from core.errors import RunFailed
from core.turns import carry_out
from core.work import Leases, unclaimed


@contextmanager
def _told_of() -> Iterator[None]:
    """What breaks is told and tried again, as a poll worker does: a thread that ended would leave every turn
    after it to nobody, and say nothing.
    """
    try:
        yield
    except Exception:  # noqa: BLE001 (see above)
        traceback.print_exc()


@contextmanager
def hands(context: Context, leases: Leases, threads: int = 8) -> Iterator[None]:
    stop = threading.Event()

    def one(run_id) -> None:
        with _told_of(), suppress(RunFailed):
            carry_out(context, leases, run_id, worker="tests")

    def work() -> None:
        with ThreadPoolExecutor(threads) as pool:
            while not stop.wait(0.01):
                with _told_of():
                    for run_id, _ in unclaimed(context, "chat", timedelta(0), threads):
                        pool.submit(one, run_id)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
