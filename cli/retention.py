"""`crontalk retention …`: how long what was said is kept."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.options import AccountName, AsJson, HomeDir
from cli.reach import reach
from cli.show import Document, facts, items, moment, out, short, table

app = typer.Typer(
    help="Retention: anonymise after a time, delete after a longer one.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

RuleId = Annotated[str, typer.Argument(metavar="RULE", help="The rule's id.")]
OfTask = Annotated[str | None, typer.Option("--task", help="Of this task's conversations.")]
OfBot = Annotated[str | None, typer.Option("--bot", help="Of this bot's conversations.")]
OfSource = Annotated[str | None, typer.Option("--source", help="Of conversations from there, such as api.")]
Anonymise = Annotated[
    str | None, typer.Option("--anonymise-after", help="Such as 30d, 12w or 1y; without it never.")
]
Delete = Annotated[str | None, typer.Option("--delete-after", help="The same, and later; without it never.")]
PerMessage = Annotated[
    bool,
    typer.Option("--messages", help="Each message by its own age, not conversations by their last message."),
]


@app.command("list")
def list_(home: HomeDir = None, account: AccountName = None, as_json: AsJson = False) -> None:
    """The rules, newest first."""
    from core.documents_retention import rule_document
    from core.retention import list_rules

    with reach(home, account) as at, at.transaction() as session:
        documents = [rule_document(rule) for rule in list_rules(session)]
    rows = [
        (d["id"], _scope(d), d["what"], d.get("anonymiseAfter", "never"), d.get("deleteAfter", "never"),
         short(d["nextRunAt"])) for d in documents
    ]  # fmt: skip
    columns = ["id", "of", "what", "anonymise", "delete", "next (UTC)"]
    out(items(documents), as_json, table(columns, rows, "No rules: everything is kept."))


@app.command("set")
def set_(
    task: OfTask = None,
    bot: OfBot = None,
    source: OfSource = None,
    anonymise_after: Anonymise = None,
    delete_after: Delete = None,
    messages: PerMessage = False,
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Make or change the rule of a task, a bot, a source or the account; it is due in a day.

    The narrowest rule that fits decides, alone: task, bot, source, account. Said again it changes nothing.
    """
    from core.documents_retention import rule_document
    from core.retention import set_rule

    fields = _fields(task, bot, source, anonymise_after, delete_after, messages)
    with reach(home, account) as at, at.transaction() as session:
        document = rule_document(set_rule(session, **fields))
    out(document, as_json, _shown(document))


@app.command()
def remove(rule: RuleId, home: HomeDir = None, account: AccountName = None, as_json: AsJson = False) -> None:
    """Take a rule away; what it has done stays done."""
    from core.retention import delete_rule

    with reach(home, account) as at, at.transaction() as session:
        document: Document = {"id": str(delete_rule(session, rule))}
    out(document, as_json, facts([("removed", document["id"])]))


@app.command()
def simulate(
    rule: Annotated[
        str | None, typer.Argument(metavar="[RULE]", help="A rule's id; or describe one.")
    ] = None,
    task: OfTask = None,
    bot: OfBot = None,
    source: OfSource = None,
    anonymise_after: Anonymise = None,
    delete_after: Delete = None,
    messages: PerMessage = False,
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """What a rule would do today and within 30 days, stored or only described; changes nothing."""
    from core.documents_retention import forecast_document
    from core.errors import InvalidInput
    from core.retention import drafted_rule, get_rule
    from core.simulating import simulate as forecast

    fields = _fields(task, bot, source, anonymise_after, delete_after, messages)
    described = any(value is not None for name, value in fields.items() if name != "what") or messages
    if rule is not None and described:
        raise InvalidInput("Simulate a rule by its id, or describe one, not both.")
    with reach(home, account) as at, at.transaction() as session:
        wanted = get_rule(session, rule) if rule is not None else drafted_rule(session, **fields)
        document = forecast_document(forecast(session, wanted))
    out(document, as_json, _forecast(document))


@app.command()
def run(rule: RuleId, home: HomeDir = None, account: AccountName = None, as_json: AsJson = False) -> None:
    """Start what a rule has to do at once, and not in its turn."""
    from core.documents_retention import run_document
    from core.retention import run_rule

    with reach(home, account) as at, at.transaction() as session:
        document = run_document(rule, run_rule(session, rule))
    rows = [(job["id"], job["kind"]) for job in document["jobs"]]
    out(document, as_json, table(["job", "kind"], rows, "Nothing is due, or it is under way."))


def _fields(
    task: str | None,
    bot: str | None,
    source: str | None,
    anonymise_after: str | None,
    delete_after: str | None,
    messages: bool,
) -> dict[str, Any]:
    return {
        "task_id": task,
        "bot_id": bot,
        "source": source,
        "anonymise_after": anonymise_after,
        "delete_after": delete_after,
        "what": "messages" if messages else "conversations",
    }


def _scope(document: Document) -> str:
    for name, key in (("task", "taskId"), ("bot", "botId"), ("source", "source")):
        if key in document:
            return f"{name} {document[key]}"
    return "account"


def _shown(document: Document) -> Any:
    return facts(
        [
            ("rule", document["id"]),
            ("of", _scope(document)),
            ("what", document["what"]),
            ("anonymise after", document.get("anonymiseAfter", "never")),
            ("delete after", document.get("deleteAfter", "never")),
            ("next", moment(document["nextRunAt"])),
        ]
    )


def _forecast(document: Document) -> Any:
    rows = []
    for when, name in (("today", "today"), ("within 30 days", "within30Days")):
        for action, tally in document[name].items():
            held = tally["held"]
            rows.append(
                (when, action, tally["conversations"], tally["messages"], short(tally.get("oldest")),
                 held["conversations"], held["messages"])
            )  # fmt: skip
    columns = ["when", "does", "conversations", "messages", "oldest (UTC)", "held", "held messages"]
    return table(columns, rows, "Nothing.")
