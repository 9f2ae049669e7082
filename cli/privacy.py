"""`crontalk privacy …`: policies, what they make of a text, and history under the privacy of today."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.options import UNREAD, AccountName, AsJson, HomeDir
from cli.reach import Reach, reach
from cli.show import Document, console, facts, out, print_json, table
from core.errors import InvalidInput, Unavailable

app = typer.Typer(
    help="Personal data: what is found, and what happens to it.", no_args_is_help=True, rich_markup_mode=None
)
policy = typer.Typer(
    help="Policies of the account, a bot or a conversation.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(policy, name="policy")

OfBot = Annotated[str | None, typer.Option("--bot", help="Of this bot (name or id).")]
OfConversation = Annotated[str | None, typer.Option("--conversation", help="Of this conversation.")]
PresetName = Annotated[
    str | None, typer.Option("--preset", help="off, annotate, recommended, strict or tokenise.")
]
# Where nobody says what is to happen to what is found.
USUAL = "recommended"


@policy.command()
def show(
    bot: OfBot = None,
    conversation: OfConversation = None,
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """The own policy, and what holds with those that are broader."""
    with reach(home, account) as at:
        document = _policy(at, bot, conversation)
    out(document, as_json, _shown(document))


@policy.command("set")
def set_(
    preset: PresetName = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="A JSON document; '-' reads standard input.")
    ] = None,
    bot: OfBot = None,
    conversation: OfConversation = None,
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Replace the policy by a preset, a document, or both: the document with this preset."""
    if preset is None and file is None:
        raise InvalidInput("Say which policy: --preset, --file, or both.")
    given = _read(file) if file is not None else {}
    if preset is not None and isinstance(given, dict):
        given = {**given, "preset": preset}
    _write(given, bot, conversation, home, account, as_json)


@policy.command()
def clear(
    bot: OfBot = None,
    conversation: OfConversation = None,
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Take the policy away; broader ones go on to hold."""
    _write(None, bot, conversation, home, account, as_json)


@app.command("test")
def try_(
    text: Annotated[str, typer.Argument(help="What to look at; '-' reads standard input.")],
    preset: PresetName = None,
    bot: OfBot = None,
    conversation: OfConversation = None,
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Show what is found in a text and what would be stored of it; nothing is kept.

    Under the policy of a bot, a conversation or the account. With --preset, or where nothing runs, a preset
    alone is tried out, without any database.
    """
    said = sys.stdin.read() if text == "-" else text
    found = _tried_at_home(said, preset, bot, conversation, home, account)
    told, document = found or _tried_alone(said, preset or USUAL)
    if as_json:
        print_json({"policy": told, **document})
    else:
        console().print(_preview(said, told, document))


@app.command()
def scan(
    preset: PresetName = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines, which is all it speaks.")] = True,
) -> None:
    """Look at many texts: JSON lines {"id", "text"} in, {"id", "entities", "redacted"} out.

    Types are Presidio's names and places code points. Needs no database and keeps nothing; tokens are made
    with a key that is thrown away. A line that cannot be read is answered by {"line", "error"}, and the exit
    code is then 9.
    """
    del as_json
    from cli.scanning import scan as scan_lines

    scanner = _scanner(preset or USUAL)
    at_once = sys.stdin.isatty() or sys.stdout.isatty()
    bad = scan_lines(scanner, sys.stdin.buffer, sys.stdout.buffer, at_once=at_once)
    if bad:
        print(f"crontalk: {bad} lines could not be read.", file=sys.stderr)
        raise typer.Exit(UNREAD)


@app.command()
def annotate(
    bot: OfBot = None,
    conversation: OfConversation = None,
    again: Annotated[bool, typer.Option("--again", help="Messages that are current as well.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Watch it to its end.")] = False,
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Look at what is stored again, under the policies of today: of a bot, a conversation, or everything."""
    from cli.jobs import shown, watched
    from core.annotation_jobs import create_annotation_job
    from core.documents_jobs import job_document
    from core.jobs import get_job

    with reach(home, account) as at:
        with at.transaction() as session:
            job = create_annotation_job(
                session, conversation_id=conversation, bot_id=_bot(session, bot), again=again
            )
            document = job_document(*get_job(session, job.id))
        if wait:
            document = watched(at, document["id"], quiet=as_json)
    out(document, as_json, shown(document))


def _policy(at: Reach, bot: str | None, conversation: str | None) -> Document:
    from core.documents_privacy import policy_document
    from core.privacy_policies import effective_of, owner_of

    with at.transaction() as session:
        owner = owner_of(session, bot_id=_bot(session, bot), conversation_id=conversation)
        return policy_document(owner, effective_of(session, owner))


def _write(
    document: Any,
    bot: str | None,
    conversation: str | None,
    home: Path | None,
    account: str | None,
    as_json: bool,
) -> None:
    from core.privacy_policies import owner_of, set_policy

    with reach(home, account) as at:
        with at.transaction() as session:
            owner = owner_of(session, bot_id=_bot(session, bot), conversation_id=conversation)
            set_policy(session, owner, document)
        shown = _policy(at, bot, conversation)
    out(shown, as_json, _shown(shown))


def _bot(session: Any, name: str | None) -> Any:
    """A bot by its name or its id."""
    from core.bots import find_bot

    return None if name is None else find_bot(session, name).id


def _read(file: Path) -> Any:
    try:
        return json.loads(sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInput(f"The file cannot be read: {error.strerror}.") from None
    except ValueError:
        raise InvalidInput("The file is not JSON.") from None


def _scanner(preset: str) -> Any:
    from core.privacy.policy_documents import read_policy
    from core.privacy.scanning import Scanner

    return Scanner(read_policy({"preset": preset}))


def _tried_alone(said: str, preset: str) -> tuple[str, Document]:
    from core.documents_entities import preview_document

    found = _scanner(preset).scanned(said)
    return preset, preview_document(said, found.text, found.taken)


def _tried_at_home(
    said: str, preset: str | None, bot: str | None, conversation: str | None, home: Path | None, account: Any
) -> tuple[str, Document] | None:
    """What the policies of an installation make of it; None: there is none to ask, or none that says so."""
    asked = bot is not None or conversation is not None
    if preset is not None and not asked:
        return None
    from core.documents_entities import preview_document
    from core.privacy_policies import effective_of, owner_of, try_out

    try:
        with reach(home, account) as at, at.transaction() as session:
            of = {"bot_id": _bot(session, bot), "conversation_id": conversation}
            given = None if preset is None else {"preset": preset}
            told = preset or effective_of(session, owner_of(session, **of)).preset.value
            if told == "off" and not asked and preset is None:
                return None
            found = try_out(session, said, given, **of)
            return told, preview_document(said, found.text, found.found)
    except Unavailable:
        if asked:
            raise
        return None


def _shown(document: Document) -> Any:
    from rich.console import Group
    from rich.text import Text

    effective = document["effective"]
    head = facts(
        [
            ("privacy", "on" if effective["on"] else "off"),
            ("preset", effective["preset"]),
            ("direction", effective["direction"]),
            ("regions", ", ".join(effective["regions"])),
            ("hidden until annotated", "yes" if effective["blockUntilAnnotated"] else None),
            ("asks a model", "yes" if effective["model"] else None),
            *((name, effective[name] or None) for name in ("thresholds", "allow", "deny", "identities")),
        ]
    )
    own = document.get("policy")
    written = json.dumps(own, indent=2, sort_keys=True, ensure_ascii=False) if own is not None else "none"
    kinds = table(["kind", "what happens"], effective["operators"].items(), "Nothing is looked for.")
    return Group(head, "", Text(f"own policy: {written}"), "", kinds)


def _preview(said: str, told: str, document: Document) -> Any:
    from rich.console import Group
    from rich.text import Text

    from cli.show import underlined

    entities = document["entities"]
    rows = [
        (one["kind"], one["text"], one["operator"], f"{one['score']:.2f}", one["source"]) for one in entities
    ]
    found = table(["kind", "text", "what happens", "score", "found by"], rows, "Nothing was found.")
    stored = underlined(document["text"], [one["replacement"] for one in entities])
    return Group(
        Text(f"policy: {told}", style="dim"), "", underlined(said, entities), "", found, "", "stored:", stored
    )
