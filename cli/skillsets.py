"""`crontalk skillset …`: what bots can do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.options import AccountName, AsJson, HomeDir, Take
from cli.reach import reach
from cli.show import Document, facts, items, out, short, table

app = typer.Typer(help="Skillsets: what bots can do.", no_args_is_help=True, rich_markup_mode=None)

Named = Annotated[str, typer.Argument(metavar="SKILLSET", help="Name or id of the skillset.")]
AbilityName = Annotated[str, typer.Argument(metavar="ABILITY", help="Name or id of the ability.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="A name.")],
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Make a skillset."""
    from core.documents_knowledge import skillset_document
    from core.skillsets import create_skillset

    with reach(home, account) as at, at.transaction() as session:
        document = skillset_document(create_skillset(session, name=name))
    out(document, as_json, facts([("skillset", document["id"]), ("name", document["name"])]))


@app.command("list")
def list_(
    take: Take = 100, home: HomeDir = None, account: AccountName = None, as_json: AsJson = False
) -> None:
    """The skillsets, newest first."""
    from core.documents_knowledge import skillset_document
    from core.skillsets import list_skillsets

    with reach(home, account) as at, at.transaction() as session:
        documents = [skillset_document(skillset) for skillset in list_skillsets(session, take=take)]
    rows = [(d["id"], d.get("name"), d["state"], short(d["updatedAt"])) for d in documents]
    out(items(documents), as_json, table(["id", "name", "state", "changed (UTC)"], rows, "No skillsets yet."))


@app.command()
def show(skillset: Named, home: HomeDir = None, account: AccountName = None, as_json: AsJson = False) -> None:
    """The abilities of a skillset."""
    from core.documents_knowledge import ability_document
    from core.fields import find_named
    from core.skillsets import list_abilities
    from models import Skillset

    with reach(home, account) as at, at.transaction() as session:
        found = find_named(session, Skillset, skillset)
        documents = [ability_document(one) for one in list_abilities(session, found.id, ascending=True)]
    rows = [
        (d["id"], d["name"], d.get("action", {}).get("type", "(instruction)"), d["description"])
        for d in documents
    ]
    out(items(documents), as_json, table(["id", "name", "does", "description"], rows, "No abilities yet."))


@app.command()
def add(
    skillset: Named,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the model calls it.")],
    action: Annotated[
        str | None,
        typer.Option("--action", help="How it is done, as JSON, or @FILE (docs/skills.md)."),
    ] = None,
    parameters: Annotated[
        str | None,
        typer.Option("--parameters", help="A JSON schema of its arguments, or @FILE; else the action's own."),
    ] = None,
    description: Annotated[str | None, typer.Option("--description", help="What the model is told.")] = None,
    instruction: Annotated[
        str | None, typer.Option("--instruction", help="Without an action: what the model is given.")
    ] = None,
    secret: Annotated[
        str | None, typer.Option("--secret", help="Name or id of the secret a request shows.")
    ] = None,
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Add an ability."""
    from core.documents_knowledge import ability_document
    from core.fields import find_named
    from core.secrets import find_secret
    from core.skillsets import create_ability
    from models import Skillset

    fields: dict[str, Any] = {
        "name": name,
        "description": description,
        "instruction": instruction,
        "action": _json(action, "--action"),
        "parameters": _json(parameters, "--parameters"),
    }
    with reach(home, account) as at, at.transaction() as session:
        links = {"secretId": str(find_secret(session, secret).id)} if secret else {}
        given = {key: value for key, value in fields.items() if value is not None}
        found = find_named(session, Skillset, skillset)
        document = ability_document(create_ability(session, found.id, links=links, **given))
    out(document, as_json, facts([("ability", document["id"]), ("name", document["name"])]))


@app.command()
def remove(
    skillset: Named,
    ability: AbilityName,
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Remove an ability."""
    from core.skillsets import delete_ability

    with reach(home, account) as at, at.transaction() as session:
        found = _ability(session, skillset, ability)
        document: Document = {"id": str(delete_ability(session, found.skillset_id, found.id))}
    out(document, as_json, facts([("removed", document["id"])]))


@app.command("try")
def try_(
    skillset: Named,
    ability: AbilityName,
    words: Annotated[
        str, typer.Argument(metavar="INPUT", help="The arguments as JSON, or a text to make them of.")
    ] = "",
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Carry an ability out, as a bot would; exit code 7 when it failed."""
    from core.chat.provider import Deadline
    from core.executing import Execution, execute
    from core.notes import MemoryNotes
    from core.skills.abilities import skill_of
    from core.skills.skill import Acting
    from core.telling import Silence
    from models import new_id

    with reach(home, account) as at:
        with at.transaction() as session:
            skill = skill_of(_ability(session, skillset, ability))
        deadline = Deadline.after(at.context.settings.turn_time)
        execution = Execution(new_id(), skill, words, Acting(at.account), deadline)
        notes = MemoryNotes(at.context, at.account, execution.id, lambda: None)
        document = execute(at.context, execution, notes, Silence())
        notes.settle(None)
    told = document["error"] if "error" in document else json.dumps(document["result"], ensure_ascii=False)
    out(document, as_json, facts([("error" if "error" in document else "result", told)]))
    if "error" in document:
        raise typer.Exit(7)


def _ability(session: Any, skillset: str, ability: str) -> Any:
    from core.fields import find_named
    from core.skillsets import get_ability, list_abilities
    from models import Skillset

    found = find_named(session, Skillset, skillset)
    named = [one for one in list_abilities(session, found.id, take=1000) if one.name == ability]
    return named[0] if len(named) == 1 else get_ability(session, found.id, ability)


def _json(written: str | None, option: str) -> Any:
    from core.errors import InvalidInput

    if written is None:
        return None
    try:
        text = Path(written[1:]).read_text() if written.startswith("@") else written
        return json.loads(text)
    except (OSError, ValueError, RecursionError):
        raise InvalidInput(f"{option} is no JSON, and no file with some.") from None
