"""`crontalk task notify …`: who is told what of a task."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import AccountName, AsJson, HomeDir, Take
from cli.reach import reach
from cli.show import Document, facts, items, out, short, table
from core.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable

app = typer.Typer(
    help="Webhooks and e-mail for what happens to a task.", no_args_is_help=True, rich_markup_mode=None
)

TaskId = Annotated[str, typer.Argument(metavar="TASK", help="The task's id.")]
SubscriptionId = Annotated[str, typer.Argument(metavar="SUBSCRIPTION", help="The subscription's id.")]
DeliveryId = Annotated[str, typer.Argument(metavar="DELIVERY", help="The delivery's id.")]
Events = Annotated[
    str | None,
    typer.Option(
        "--on", help="success, recovery, failure, missed, budget, paused, by commas; all unless told."
    ),
]


@app.command()
def add(
    task: TaskId,
    webhook: Annotated[
        str | None, typer.Option("--webhook", help="An https URL; - reads it from standard input.")
    ] = None,
    email: Annotated[str | None, typer.Option("--email", help="One plain e-mail address.")] = None,
    events: Events = None,
    include_text: Annotated[
        bool, typer.Option("--include-text", help="Send answers and the task's name along.")
    ] = False,
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Tell a webhook or an e-mail address of a task. A webhook's secret is shown only here."""
    from core.documents import subscription_document
    from core.subscriptions import create_subscription

    if (webhook is None) == (email is None):
        raise InvalidInput("Say where to: either --webhook or --email.")
    target = sys.stdin.readline().strip() if webhook == "-" else webhook or email or ""
    kind = "webhook" if webhook else "email"
    with reach(home, account) as at, at.transaction() as session:
        row, secret = create_subscription(
            session, task, kind=kind, target=target, events=_split(events), include_text=include_text
        )
        document = subscription_document(row, secret)
    out(document, as_json, _facts(document))


@app.command("list")
def list_(task: TaskId, home: HomeDir = None, account: AccountName = None, as_json: AsJson = False) -> None:
    """A task's subscriptions. Of an address only the host is shown."""
    from core.documents import subscription_document
    from core.subscriptions import list_subscriptions

    with reach(home, account) as at, at.transaction() as session:
        documents = [subscription_document(row) for row in list_subscriptions(session, task)]
    rows = [
        (
            document["id"],
            document.get("disabledReason") or document["state"],
            document["kind"],
            document["host"],
            ", ".join(document["events"]),
        )
        for document in documents
    ]
    out(items(documents), as_json, table(["id", "state", "kind", "host", "events"], rows, "Nobody is told."))


@app.command()
def update(
    task: TaskId,
    subscription: SubscriptionId,
    events: Events = None,
    include_text: Annotated[
        bool | None, typer.Option("--include-text/--no-text", help="Send answers along, or no text.")
    ] = None,
    active: Annotated[
        bool | None, typer.Option("--active/--disabled", help="Start it again, or stop.")
    ] = None,
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Change what a subscription hears, stop it, or start one again that was disabled."""
    from core.documents import subscription_document
    from core.subscriptions import update_subscription

    fields: dict[str, Any] = {"events": _split(events), "include_text": include_text, "active": active}
    with reach(home, account) as at, at.transaction() as session:
        document = subscription_document(update_subscription(session, task, subscription, **fields))
    out(document, as_json, _facts(document))


@app.command()
def remove(
    task: TaskId,
    subscription: SubscriptionId,
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """End a subscription, and its log with it."""
    from core.subscriptions import delete_subscription

    with reach(home, account) as at, at.transaction() as session:
        document: Document = {"id": str(delete_subscription(session, task, subscription))}
    out(document, as_json, facts([("removed", document["id"])]))


@app.command("test")
def try_out(
    task: TaskId,
    subscription: SubscriptionId,
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Send a test, once; `crontalk task notify log` shows what came of it."""
    from core.subscriptions import send_test

    with reach(home, account) as at, at.transaction() as session:
        delivery = send_test(session, task, subscription)
        document: Document = {"id": str(delivery.subscription_id), "deliveryId": str(delivery.id)}
    out(document, as_json, facts([("delivery", document["deliveryId"])]))


@app.command()
def log(
    task: TaskId,
    take: Take = 100,
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """What a task told, newest first, and what came of it."""
    from core.documents import delivery_document
    from core.subscriptions import list_deliveries

    with reach(home, account) as at, at.transaction() as session:
        documents = [delivery_document(*pair) for pair in list_deliveries(session, task, take=take)]
    out(items(documents), as_json, _log(documents))


@app.command()
def redeliver(
    task: TaskId,
    delivery: DeliveryId,
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Send a delivery once more, under its own id."""
    from core.subscriptions import redeliver as again

    with reach(home, account) as at, at.transaction() as session:
        document: Document = {"id": str(again(session, task, delivery).id)}
    out(document, as_json, facts([("delivery", document["id"])]))


def _split(words: str | None) -> list[str] | None:
    return None if words is None else [word.strip() for word in words.split(",")]


def _log(documents: Iterable[Document]) -> Any:
    rows = [
        (
            document["id"],
            document["state"],
            document["event"],
            document["host"],
            document["attempt"],
            document.get("errorCode") or document.get("statusCode"),
            short(document.get("finishedAt") or document.get("nextAttemptAt")),
        )
        for document in documents
    ]
    columns = ["id", "state", "event", "host", "attempt", "answer", "at (UTC)"]
    return table(columns, rows, "Nothing was told yet.")


def _facts(document: Document) -> Any:
    return facts(
        [
            ("subscription", document["id"]),
            ("kind", document["kind"]),
            ("host", document["host"]),
            ("events", ", ".join(document["events"])),
            ("text", "is sent along" if document["includeText"] else "is never sent"),
            ("state", document["state"]),
            ("disabled because", document.get("disabledReason")),
            ("secret (shown once)", document.get("secret")),
        ]
    )
