"""What `crontalk up` shows: what runs where, and the runs as they end."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from cli.show import Document, console, facts, moment, print_json, took, transcript
from core.errors import Unavailable

if TYPE_CHECKING:
    from core.context import Context

NEWS = 50
TRANSCRIPTS = 12


class Screen:
    """The terminal of `up`. Transcripts only where asked for: a screen may be logged.

    As JSON it shows one document on standard output, and on standard error all the rest but the runs.
    """

    def __init__(self, as_json: bool = False) -> None:
        self._as_json = as_json
        self._console = console(stderr=as_json, width_of_pipe=88)
        self._secret: str | None = None
        self._seen: set[uuid.UUID] = set()
        self._shown = 0
        self._since: datetime | None = None

    def line(self, sentence: str, style: str = "dim") -> None:
        self._console.print(Text(sentence, style=style))

    def show(self, what: RenderableType) -> None:
        self._console.print(what)

    def token(self, secret: str, file: Path) -> None:
        """Shows a new token, once."""
        if self._as_json:
            self._secret = secret
            return
        self._console.print(
            Panel(
                facts([("account", "first"), ("token", secret), ("stored for the CLI in", file)]),
                title="A new account. The token is shown only now",
                expand=False,
            )
        )

    def welcome(
        self,
        *,
        home: Path,
        api: str,
        flower: str | None,
        link: str,
        processes: Mapping[str, int],
        seconds: float,
    ) -> None:
        if self._as_json:
            document = {
                "home": str(home),
                "apiUrl": api,
                "flowerUrl": flower,
                "loginUrl": link,
                "token": self._secret,
                "items": [{"name": name, "pid": pid} for name, pid in processes.items()],
            }
            print_json({name: value for name, value in document.items() if value is not None})
            return
        running = ", ".join(f"{name} {pid}" for name, pid in processes.items())
        rows = [
            ("pages", f"{link}  (opens once, within 15 minutes)"),
            ("API", api),
            ("Flower", flower),
            ("home", home),
            ("logs", home / "logs"),
            ("processes", running),
        ]
        title = f"Crontalk is up after {seconds:.1f} s. Ctrl-C stops everything"
        self._console.print(Panel(facts(rows), title=title, expand=False))

    def begin(self, context: Context) -> None:
        """From here on runs are news; those of an earlier start are not."""
        from core.rows import database_now

        with context.transaction() as session:
            self._since = database_now(session)

    def show_news(self, context: Context, account: uuid.UUID, *, transcripts: bool) -> None:
        """Shows the runs that ended since the last look, oldest first."""
        if self._as_json:
            return
        from core.documents import message_document, run_document
        from core.messages import list_messages
        from core.runs import list_runs, names_of_tasks
        from models import OPEN

        try:
            with context.transaction(account) as session:
                runs = [run for run in list_runs(session, take=NEWS) if run.state not in OPEN]
                new = [run for run in runs if self._since is None or run.created_at >= self._since]
                fresh = [run for run in reversed(new) if run.id not in self._seen]
                self._seen = {run.id for run in runs} | {run.id for run in fresh}
                names = names_of_tasks(session, [run.task_id for run in fresh if run.task_id])
                for run in fresh:
                    said: list[Document] = []
                    if transcripts and run.conversation_id and self._shown < TRANSCRIPTS:
                        found = list_messages(session, run.conversation_id, take=20)
                        said = [message_document(message) for message in found]
                    name = names.get(run.task_id) if run.task_id else None
                    self._show(run_document(run), name, said)
        except Unavailable:
            self.line("The database does not answer; looking again.", style="red")

    def _show(self, run: Document, task: str | None, said: list[Document]) -> None:
        state = Text(run["state"], style="green" if run["state"] == "succeeded" else "red")
        title = Text.assemble(state, "  ", task or run["trigger"], "  ", took(run))
        if not said:
            why = run.get("errorClass") or run.get("reason")
            due = moment(run.get("scheduledFor") or run["createdAt"])
            told = [due, run["state"], why, task or run["trigger"], took(run), f"run {run['id']}"]
            self._console.print(Text("  ".join(filter(None, told)), style=state.style), soft_wrap=True)
            return
        self._shown += 1
        ids = facts(
            [("task", run.get("taskId")), ("run", run["id"]), ("conversation", run.get("conversationId"))]
        )
        self._console.print(Panel(Group(ids, "", transcript(said)), title=title, title_align="left"))
        if self._shown == TRANSCRIPTS:
            self.line("From here on one line a run; `crontalk run list --watch` shows them live.")
