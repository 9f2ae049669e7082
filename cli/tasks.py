"""`crontalk task …`: what to say, to which bot, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

import cli.policies as option
from cli import backfills
from cli.options import AccountName, AsJson, HomeDir, OwnPrompt, Take, said
from cli.policies import assertions, policies, read_instant, told
from cli.reach import reach
from cli.runs import told_in_the_end
from cli.show import Document, facts, items, moment, out, short, table

if TYPE_CHECKING:
    from collections.abc import Iterable

app = typer.Typer(help="Scheduled tasks.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(backfills.app, name="backfill")

TaskId = Annotated[str, typer.Argument(metavar="TASK", help="The task's id.")]
Prompt = Annotated[
    str | None, typer.Option("--prompt", "--description", help="What the bot is told at every run.")
]
Schedule = Annotated[
    str | None,
    typer.Option(
        "--schedule",
        help="Cron ('0 9 * * 1-5'), @daily, HH:MM, '@every 90s', a date, or hourly, daily, weekly …;"
        " '' for none.",
    ),
]
Zone = Annotated[
    str | None, typer.Option("--timezone", help="IANA zone, such as Europe/Berlin; UTC by default.")
]
Bot = Annotated[str | None, typer.Option("--bot", help="Name or id; the default bot by default.")]
Act = Annotated[str | None, typer.Option("--action", help="complete, receive or send.")]
Named = Annotated[str | None, typer.Option("--name", help="A name for lists.")]


@app.command()
def create(
    name: Annotated[str | None, typer.Argument(help="A name for lists.")] = None,
    prompt: Prompt = None,
    schedule: Schedule = None,
    timezone: Zone = None,
    bot: Bot = None,
    action: Act = None,
    max_time: option.MaxTime = None,
    max_iterations: option.MaxIterations = None,
    max_tokens: option.MaxTokens = None,
    max_cost: option.MaxCost = None,
    max_tokens_per_day: option.MaxTokensPerDay = None,
    max_cost_per_day: option.MaxCostPerDay = None,
    overlap: option.Overlap = None,
    catch_up: option.CatchUp = None,
    catch_up_window: option.CatchUpWindow = None,
    catch_up_max: option.CatchUpMax = None,
    jitter: option.Jitter = None,
    starts_at: option.StartsAt = None,
    expires_at: option.ExpiresAt = None,
    max_attempts: option.MaxAttempts = None,
    retry_delay: option.RetryDelay = None,
    retry_on: option.RetryOn = None,
    sessions: option.SessionDuration = None,
    must_contain: option.Contains = None,
    must_not_contain: option.NotContains = None,
    min_length: option.MinLength = None,
    max_failures: option.MaxFailures = None,
    named: Named = None,
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Make a task; without a schedule it runs only when triggered."""
    from core.tasks import create_task, get_task

    fields = policies(
        name=named or name,
        description=prompt,
        schedule=schedule,
        timezone=timezone,
        bot_id=bot,
        action=action,
        max_time_ms=max_time,
        max_iterations=max_iterations,
        max_tokens=max_tokens,
        max_cost=max_cost,
        max_tokens_per_day=max_tokens_per_day,
        max_cost_per_day=max_cost_per_day,
        overlap=overlap,
        catch_up=catch_up,
        catch_up_window=catch_up_window,
        catch_up_max=catch_up_max,
        jitter=jitter,
        starts_at=starts_at,
        expires_at=expires_at,
        max_attempts=max_attempts,
        retry_delay=retry_delay,
        retry_on=retry_on,
        sessions=sessions,
        max_consecutive_failures=max_failures,
    )
    asserted = assertions({}, contains=must_contain, not_contains=must_not_contain, min_length=min_length)
    with reach(home, account) as at, at.transaction() as session:
        made = create_task(session, **fields, assertions=asserted)
        document = _document(get_task(session, made.id))
    out(document, as_json, _facts(document))


@app.command("list")
def list_(
    take: Take = 100, home: HomeDir = None, account: AccountName = None, as_json: AsJson = False
) -> None:
    """The tasks, newest first."""
    from core.tasks import list_tasks

    with reach(home, account) as at, at.transaction() as session:
        documents = [_document(pair) for pair in list_tasks(session, take=take)]
    out(items(documents), as_json, _table(documents))


@app.command()
def show(task: TaskId, home: HomeDir = None, account: AccountName = None, as_json: AsJson = False) -> None:
    """One task with its latest runs and conversations."""
    from core.conversations import list_conversations
    from core.documents import conversation_document, run_document
    from core.runs import list_runs
    from core.tasks import get_task

    with reach(home, account) as at, at.transaction() as session:
        document = _document(get_task(session, task))
        document["runs"] = [run_document(run) for run in list_runs(session, task_id=task, take=10)]
        found = list_conversations(session, task_id=task, take=10)
        document["conversations"] = [conversation_document(one) for one in found]
    out(document, as_json, _with_runs(document))


@app.command()
def update(
    task: TaskId,
    name: Named = None,
    prompt: Prompt = None,
    schedule: Schedule = None,
    timezone: Zone = None,
    bot: Bot = None,
    action: Act = None,
    max_time: option.MaxTime = None,
    max_iterations: option.MaxIterations = None,
    max_tokens: option.MaxTokens = None,
    max_cost: option.MaxCost = None,
    max_tokens_per_day: option.MaxTokensPerDay = None,
    max_cost_per_day: option.MaxCostPerDay = None,
    overlap: option.Overlap = None,
    catch_up: option.CatchUp = None,
    catch_up_window: option.CatchUpWindow = None,
    catch_up_max: option.CatchUpMax = None,
    jitter: option.Jitter = None,
    starts_at: option.StartsAt = None,
    expires_at: option.ExpiresAt = None,
    max_attempts: option.MaxAttempts = None,
    retry_delay: option.RetryDelay = None,
    retry_on: option.RetryOn = None,
    sessions: option.SessionDuration = None,
    must_contain: option.Contains = None,
    must_not_contain: option.NotContains = None,
    min_length: option.MinLength = None,
    max_failures: option.MaxFailures = None,
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Change the given fields of a task; an empty text clears a schedule or a zone."""
    from core.tasks import get_task, update_task

    fields = policies(
        name=name,
        description=prompt,
        schedule=schedule,
        timezone=timezone,
        bot_id=bot,
        action=action,
        max_time_ms=max_time,
        max_iterations=max_iterations,
        max_tokens=max_tokens,
        max_cost=max_cost,
        max_tokens_per_day=max_tokens_per_day,
        max_cost_per_day=max_cost_per_day,
        overlap=overlap,
        catch_up=catch_up,
        catch_up_window=catch_up_window,
        catch_up_max=catch_up_max,
        jitter=jitter,
        starts_at=starts_at,
        expires_at=expires_at,
        max_attempts=max_attempts,
        retry_delay=retry_delay,
        retry_on=retry_on,
        sessions=sessions,
        max_consecutive_failures=max_failures,
    )
    asserted = {"contains": must_contain, "not_contains": must_not_contain, "min_length": min_length}
    with reach(home, account) as at, at.transaction() as session:
        if any(value is not None for value in asserted.values()):
            fields["assertions"] = assertions(get_task(session, task)[0].assertions, **asserted)
        document = _document(get_task(session, update_task(session, task, **fields).id))
    out(document, as_json, _facts(document))


@app.command()
def trigger(
    task: TaskId,
    prompt: OwnPrompt = None,
    wait: Annotated[bool, typer.Option("--wait", help="Show what came of it, once it has ended.")] = False,
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Run a task now, with a prompt of this run's own if need be; its schedule does not change.

    With --wait the exit code is 7 when the run did not succeed.
    """
    from core.documents import run_document
    from core.tasks import trigger_task

    spoken = said(prompt)
    with reach(home, account) as at:
        with at.transaction() as session:
            document = run_document(trigger_task(session, task, spoken))
        if wait:
            told_in_the_end(at, document["id"], as_json)
            return
    out(document, as_json, facts([("run", document["id"]), ("conversation", document["conversationId"])]))


@app.command()
def pause(
    task: TaskId,
    until: Annotated[str, typer.Option("--until", help="When it goes on by itself (ISO 8601).")] = "",
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Stop a task's clock, for good or until a time."""
    from core.tasks import get_task, pause_task

    with reach(home, account) as at, at.transaction() as session:
        moment_ = read_instant(until, "--until", get_task(session, task)[0].timezone)
        document = _document(get_task(session, pause_task(session, task, until=moment_).id))
    out(document, as_json, _facts(document))


@app.command()
def resume(task: TaskId, home: HomeDir = None, account: AccountName = None, as_json: AsJson = False) -> None:
    """Start a task's clock again, from now."""
    from core.tasks import get_task, resume_task

    with reach(home, account) as at, at.transaction() as session:
        document = _document(get_task(session, resume_task(session, task).id))
    out(document, as_json, _facts(document))


@app.command()
def delete(task: TaskId, home: HomeDir = None, account: AccountName = None, as_json: AsJson = False) -> None:
    """Delete a task for good; its conversations stay."""
    from core.tasks import delete_task

    with reach(home, account) as at, at.transaction() as session:
        document: Document = {"id": str(delete_task(session, task))}
    out(document, as_json, facts([("deleted", document["id"])]))


def _document(pair: Any) -> Document:
    from core.documents import task_document

    return task_document(*pair)


def _state(document: Document) -> str:
    return "paused" if document["paused"] else "active"


def _table(documents: Iterable[Document]) -> Any:
    rows = [
        (
            document["id"],
            _state(document),
            document.get("name"),
            document.get("schedule", "by trigger"),
            short(document.get("nextRunAt"), document.get("timezone")),
            document.get("timezone", "UTC"),
        )
        for document in documents
    ]
    return table(["id", "state", "name", "schedule", "next", "zone"], rows, "No tasks yet.")


def _facts(document: Document) -> Any:
    zone = document.get("timezone")
    return facts(
        [
            ("task", document["id"]),
            ("name", document.get("name")),
            ("prompt", document.get("description")),
            ("action", document["action"]),
            ("schedule", document.get("schedule", "by trigger")),
            ("timezone", zone),
            ("state", _state(document)),
            ("paused because", document.get("pauseReason")),
            ("bot", document.get("botId")),
            ("next run", moment(document.get("nextRunAt"), zone)),
            ("last run", moment(document.get("lastRunAt"), zone)),
            *told(document),
        ]
    )


def _with_runs(document: Document) -> Any:
    from rich.console import Group

    from cli.runs import runs_table

    names = {document["id"]: document.get("name")}
    return Group(_facts(document), "", runs_table(document["runs"], names))
