"""What the tests of migrations share: servers of ChatBotKit's API on loopback, and migrations carried out."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import uvicorn

from core.carrying import carry_on
from core.context import Context
from core.migration_jobs import create_migration_job
from models import Job
from tests.api import the_app
from tests.factories import execute
from tests.imports import ENDED, the_job

TOKEN = "ct_canary_4c7d2b90e1f35a68"
Answer = tuple[int, dict[str, str], bytes]
Hook = Callable[[str, dict[str, str]], Answer | None]


@contextmanager
def served(context: Context) -> Iterator[str]:
    """The API of a context as it is, on a port of its own."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(the_app(context), log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()


def told(document: Any, status: int = 200, **headers: str) -> Answer:
    return status, headers, document if isinstance(document, bytes) else json.dumps(document).encode()


class Elsewhere:
    """A server of ChatBotKit's API that holds what it is given, and lists it in the order it was given.

    `hook` may answer instead of it; `asked` are the paths that it was asked for.
    """

    def __init__(self, hook: Hook | None = None, **lists: list[Any]) -> None:
        self.lists = {"bot": [], "contact": [], "task": [], "conversation": [], **lists}
        self.messages: dict[str, list[Any]] = {}
        self.hook = hook
        self.asked: list[str] = []
        self.tokens: set[str] = set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def talk(self, key: str, *texts: str, **fields: Any) -> None:
        """Adds a conversation; user and bot take turns, a second apart."""
        self.lists["conversation"].append(
            {"id": key, "name": f"About {key}", "createdAt": 1_700_000_000_000, **fields}
        )
        self.messages[key] = [
            {
                "id": f"{key}-m{at}",
                "type": "user" if at % 2 else "bot",
                "text": text,
                "createdAt": 1_700_000_000_000 + at * 1000,
            }
            for at, text in enumerate(texts, 1)
        ]

    def answer(self, path: str, query: dict[str, str]) -> Answer:
        parts = path.removeprefix("/api/v1/").split("/")
        if len(parts) == 4 and parts[2:] == ["message", "list"]:
            rows = self.messages.get(parts[1])
        elif len(parts) == 5 and parts[4] == "fetch":
            found = [row for row in self.messages.get(parts[1], []) if row.get("id") == parts[3]]
            return told(found[0]) if found else told({"message": "none", "code": "NOT_FOUND"}, 404)
        elif len(parts) == 3 and parts[2] == "fetch":
            found = [row for row in self.lists.get(parts[0], []) if row.get("id") == parts[1]]
            return told(found[0]) if found else told({"message": "none", "code": "NOT_FOUND"}, 404)
        else:
            rows = self.lists.get(parts[0]) if parts[1:] == ["list"] else None
        if rows is None:
            return told({"message": "none", "code": "NOT_FOUND"}, 404)
        return told(self.page(rows, query))

    def page(self, rows: list[Any], query: dict[str, str]) -> dict[str, Any]:
        cursor, take = query.get("cursor", ""), int(query.get("take", "100"))
        ids = [row.get("id") if isinstance(row, dict) else None for row in rows]
        begin = ids.index(cursor) + 1 if cursor in ids else len(rows) if cursor else 0
        items = rows[begin : begin + take]
        last = items[-1].get("id", "") if items and isinstance(items[-1], dict) else ""
        return {"items": items, **({"cursor": last} if items else {})}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                split = urlsplit(self.path)
                query = {name: values[-1] for name, values in parse_qs(split.query).items()}
                outer.asked.append(split.path)
                outer.tokens.add(self.headers.get("authorization", ""))
                hooked = outer.hook(split.path, query) if outer.hook else None
                status, headers, body = hooked or outer.answer(split.path, query)
                with contextlib.suppress(OSError):  # who asked may be gone
                    self._send(status, headers, body)

            def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        return Handler


def a_migration(context: Context, account: uuid.UUID, url: str, token: str = TOKEN, **options: Any) -> Job:
    with context.transaction(account, actor="tests") as session:
        return create_migration_job(session, base_url=url, token=token, **options)


def migrated(context: Context, account: uuid.UUID, url: str, token: str = TOKEN, **options: Any) -> Job:
    """A migration that was carried out to its end."""
    job = a_migration(context, account, url, token, **options)
    finish(context, job.id)
    return the_job(context, account, job.id)


def finish(context: Context, job_id: uuid.UUID) -> str:
    """Carries it on to its end, whatever it waits for."""
    for _ in range(200):
        word = carry_on(context, job_id)
        if word in ENDED | {"lost"}:
            return word
        make_due(context, job_id)
    raise AssertionError("It did not come to its end.")


def make_due(context: Context, job_id: uuid.UUID) -> None:
    execute(
        context,
        "UPDATE jobs SET run_at = now(), lease_until = CASE WHEN lease_until IS NULL THEN NULL ELSE now() END"
        " WHERE id = :id",
        id=job_id,
    )
