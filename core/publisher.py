"""Sends hints to Celery by name: the one file of core that knows a broker exists.

A hint is an id. It may be lost, doubled, late or forged without harm, so a broker that is away is logged
and swallowed here, never waited for.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

import structlog

log = structlog.get_logger()

BATCH = 1000
AWAY = 2.0  # seconds for which a broker that did not answer is not asked again
PATIENCE = {"socket_timeout": 1, "socket_connect_timeout": 1}
QUEUES = ("chat", "annotate", "bulk")


@dataclass(frozen=True)
class Hint:
    """Wakes a worker for a run, or for a row of deliveries (action `deliver`), whose id `run_id` then is.

    `number` counts the hints of a row, so every delivery by Celery has its own id.
    """

    run_id: uuid.UUID
    action: str
    queue: str
    number: int

    @property
    def delivery_id(self) -> str:
        """Celery's task id: Flower shows it, the run's timeline stores it, each finds the other by it."""
        return f"{self.run_id}.{self.number}"


class Publisher(Protocol):
    def get_ready(self) -> None:
        """Does now what would keep the first hint waiting; may be left out."""

    def publish(self, hints: Sequence[Hint]) -> bool:
        """Sends the hints; False when the broker did not take them (they are then sent again later)."""

    def waiting(self, queue: str) -> int | None:
        """How many hints wait in a queue; None when the broker is away."""

    def close(self) -> None: ...


class NoPublisher:
    """No broker: poll workers alone serve the rows."""

    def get_ready(self) -> None:
        return

    def publish(self, hints: Sequence[Hint]) -> bool:
        return not hints

    def waiting(self, queue: str) -> int | None:
        del queue
        return None

    def close(self) -> None:
        return


class CeleryPublisher:
    """Hints over Redis or Valkey, in batches on one connection (kombu's `Producer.batch`)."""

    def __init__(self, redis_url: str) -> None:
        self._url = redis_url
        self._app: Any = None
        self._redis: Any = None
        self._making = threading.Lock()
        self._away_until = 0.0

    def get_ready(self) -> None:
        """Half a second: Celery's imports, those of the first message among them, and the connection."""
        try:
            with self._celery().producer_pool.acquire(block=True, timeout=2) as producer:
                producer.channel  # noqa: B018 (connects)
        except Exception as error:  # noqa: BLE001 (as below)
            log.warning("broker_away", error=type(error).__name__)
            self._away_until = time.monotonic() + AWAY

    def publish(self, hints: Sequence[Hint]) -> bool:
        if self._is_away():
            return False
        try:
            with self._celery().producer_pool.acquire(block=True, timeout=2) as producer:
                for start in range(0, len(hints), BATCH):
                    with producer.batch(max_size=BATCH):
                        for hint in hints[start : start + BATCH]:
                            self._send(hint, producer)
        except Exception as error:  # noqa: BLE001 (whatever the broker does, the row is safe)
            log.warning("hints_not_sent", hints=len(hints), error=type(error).__name__)
            self._away_until = time.monotonic() + AWAY
            return False
        return True

    def _send(self, hint: Hint, producer: Any) -> None:
        self._celery().send_task(
            f"crontalk.{hint.action}",
            args=[str(hint.run_id)],
            task_id=hint.delivery_id,
            queue=hint.queue,
            producer=producer,
            ignore_result=True,
        )

    def waiting(self, queue: str) -> int | None:
        if self._is_away():
            return None
        try:
            return int(self._client().llen(queue))
        except Exception as error:  # noqa: BLE001 (as above)
            log.warning("broker_away", error=type(error).__name__)
            self._away_until = time.monotonic() + AWAY
            return None

    def _is_away(self) -> bool:
        """Whether it failed just now: a scheduler asks many times a second and has clocks to serve."""
        return time.monotonic() < self._away_until

    def close(self) -> None:
        if self._app is not None:
            self._app.close()
        if self._redis is not None:
            self._redis.close()

    def _celery(self) -> Any:
        """The app, with all that a message asks for: Celery's lazy imports fail in threads that race."""
        if self._app is None:
            with self._making:
                if self._app is None:
                    self._app = self._made()
        return self._app

    def _made(self) -> Any:
        app = broker_app(self._url)
        app.conf.broker_transport_options = {
            **app.conf.broker_transport_options,
            **PATIENCE,
            "max_retries": 0,
        }
        app.amqp, app.producer_pool, app.backend  # noqa: B018 (made when asked for; none connects)
        return app

    def _client(self) -> Any:
        if self._redis is None:
            import redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry

            # Once more at once: the first error may only tell of a connection that the broker closed.
            again = Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,))
            self._redis = redis.Redis.from_url(self._url, retry=again, **PATIENCE)
        return self._redis


def broker_app(redis_url: str) -> Any:
    """A Celery app that speaks JSON, stores no results and never waits long for its broker."""
    from celery import Celery
    from kombu import Queue

    app = Celery("crontalk", broker=celery_url(redis_url), set_as_current=False)
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        result_backend=None,
        task_ignore_result=True,
        task_acks_late=False,
        task_publish_retry=False,
        task_send_sent_event=False,
        task_default_queue="chat",
        task_create_missing_queues=False,
        task_queues=[Queue(name, routing_key=name) for name in QUEUES],
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "socket_timeout": 5,
            "socket_connect_timeout": 2,
            "socket_keepalive": True,
            "health_check_interval": 10,
        },
    )
    return app


def celery_url(redis_url: str) -> str:
    """Celery's spelling of a socket: `unix:///path?db=0` becomes `redis+socket:///path?virtual_host=0`."""
    parts = urlsplit(redis_url)
    if parts.scheme != "unix":
        return redis_url
    database = parse_qs(parts.query).get("db", ["0"])[0]
    return f"redis+socket://{parts.path}?virtual_host={database}"
