"""Starts Flower on our broker: ids only, nothing stored, loopback unless a password is set.

A run's delivery shows the address of the run's page in place of its arguments, which are no more than its id:
in the table as text, on the delivery's own page as a link.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import structlog

from core.errors import InvalidInput
from core.settings import Settings
from models import Action
from worker.app import make_app

log = structlog.get_logger()

COLUMNS = "name,uuid,args,state,received,runtime,worker"
SHOWN = b"<code>{{ task.args }}</code>"
LINKED = (
    b'{% if str(task.args).startswith(("http://", "https://")) %}'
    b'<a href="{{ task.args }}" rel="noopener">{{ task.args }}</a>{% else %}' + SHOWN + b"{% end %}"
)
RUNS = frozenset(f"crontalk.{action}" for action in Action)


def serve(settings: Settings, host: str, port: int) -> None:
    """Runs until SIGTERM.

    Raises:
        InvalidInput: no broker.

    """
    if not settings.redis_url:
        raise InvalidInput("Flower needs a broker: set REDIS_URL.")
    auth = settings.flower_auth.get_secret_value() if settings.flower_auth else None
    _lead_back(settings.public_url or f"http://{settings.host}:{settings.port}")
    make_app(settings).start(
        [
            "flower",
            f"--address={host}",
            f"--port={port}",
            f"--tasks_columns={COLUMNS}",
            "--max_tasks=10000",
            "--purge_offline_workers=60",
            "--logging=error",
            *([f"--basic_auth={auth}"] if auth else []),
        ]
    )


def naming(base_url: str) -> Callable[[Any], Any]:
    """What Flower asks for every task it shows (its option `format_task`)."""

    def named(task: Any) -> Any:
        run = _run_of(task)
        if run is not None:
            task.args = f"{base_url.rstrip('/')}/runs/{run}"
        return task

    return named


def _run_of(task: Any) -> uuid.UUID | None:
    """The run that a delivery was for; None of any other, and of what somebody else wrote into the broker."""
    if getattr(task, "name", None) not in RUNS:
        return None
    try:
        return uuid.UUID(str(task.uuid).rpartition(".")[0])
    except ValueError:
        return None


def _lead_back(base_url: str) -> None:
    """Flower escapes all it shows and has no option for links, so one line of its page is put into another
    form; a Flower whose page has no such line shows the address as text.
    """
    import flower.options  # noqa: F401 (defines the options)
    from flower.urls import settings as application
    from tornado.options import options
    from tornado.template import Loader, Template

    class Linking(Loader):
        def _create_template(self, name: str) -> Template:
            if name != "task.html":
                return super()._create_template(name)
            with open(f"{self.root}/{name}", "rb") as file:  # noqa: PTH123 (as Tornado's own)
                page = file.read()
            if SHOWN not in page:
                log.warning("flower_page_is_another")
            return Template(page.replace(SHOWN, LINKED), name=name, loader=self)

    options.format_task = naming(base_url)
    application["template_loader"] = Linking(application["template_path"])
