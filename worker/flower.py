"""Starts Flower on our broker: ids only, nothing stored, loopback unless a password is set."""

from __future__ import annotations

from core.errors import InvalidInput
from core.settings import Settings
from worker.app import make_app


def serve(settings: Settings, host: str, port: int) -> None:
    """Runs until SIGTERM.

    Raises:
        InvalidInput: no broker.

    """
    if not settings.redis_url:
        raise InvalidInput("Flower needs a broker: set REDIS_URL.")
    auth = settings.flower_auth.get_secret_value() if settings.flower_auth else None
    make_app(settings).start(
        [
            "flower",
            f"--address={host}",
            f"--port={port}",
            "--max_tasks=10000",
            "--purge_offline_workers=60",
            "--logging=error",
            *([f"--basic_auth={auth}"] if auth else []),
        ]
    )
