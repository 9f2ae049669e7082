"""`crontalk account …` and `crontalk token …`: tenants and what opens them."""

from __future__ import annotations

import uuid
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import AccountName, AsJson, HomeDir
from cli.reach import context_for, reach
from cli.show import deleting, facts, items, moment, out, table
from core.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from core.context import Context

accounts = typer.Typer(help="Accounts.", no_args_is_help=True, rich_markup_mode=None)
tokens = typer.Typer(help="Tokens of an account.", no_args_is_help=True, rich_markup_mode=None)


@accounts.command("create")
def create_account(
    name: Annotated[str, typer.Argument(help="A name.")], home: HomeDir = None, as_json: AsJson = False
) -> None:
    """Make an account with a default bot and a token, which is shown only now."""
    from core.accounts import create_account as make
    from core.accounts import create_token as make_token
    from core.documents import account_document

    with context_for(home) as context, context.transaction() as session:
        account = make(session, name)
        session.refresh(account)
        _, secret = make_token(session, account.id, "first")
        document = {**account_document(account), "token": secret}
    out(document, as_json, facts([("account", document["id"]), ("token", secret)]))


@accounts.command("list")
def list_accounts(home: HomeDir = None, as_json: AsJson = False) -> None:
    """All accounts."""
    from core.accounts import list_accounts as find
    from core.documents import account_document

    with context_for(home) as context, context.transaction() as session:
        documents = [account_document(account) for account in find(session)]
    rows = [(d["id"], d["name"], moment(d["createdAt"])) for d in documents]
    out(items(documents), as_json, table(["id", "name", "created (UTC)"], rows, "No accounts yet."))


@accounts.command("close")
def close_account(
    name: Annotated[str, typer.Argument(help="Name or id.")], home: HomeDir = None, as_json: AsJson = False
) -> None:
    """Shut an account's doors and stop its clocks; nothing of it is deleted."""
    from core.accounts import close_account as close

    _shut(name, close, home, as_json)


@accounts.command("open")
def open_account(
    name: Annotated[str, typer.Argument(help="Name or id.")], home: HomeDir = None, as_json: AsJson = False
) -> None:
    """Open a closed account again; what was due meanwhile does not run."""
    from core.accounts import open_account as reopen

    _shut(name, reopen, home, as_json)


@accounts.command("delete")
def delete_account(
    name: Annotated[str, typer.Argument(help="Name or id.")],
    yes: Annotated[bool, typer.Option("--yes", help="Really: it cannot be undone.")] = False,
    home: HomeDir = None,
    as_json: AsJson = False,
) -> None:
    """Delete an account with everything in it for good; killed on the way, say it again and it goes on.

    Its key is destroyed first, so that what was sealed for it opens no more.
    """
    from cli.reach import ACTOR
    from core.account_deletion import delete_account as erase
    from core.documents_erasures import erasure_document

    with context_for(home) as context:
        account = _to_delete(context, name)
        if not yes:
            raise InvalidInput("Nothing was deleted. It cannot be undone: say it again with --yes.")
        with deleting(as_json) as tell:
            document = erasure_document(erase(context, account, actor=ACTOR, tell=tell))
    counted = [(noun, document[noun]) for noun in ("conversations", "messages", "attachments")]
    out(document, as_json, facts([("deleted", document["targetId"]), *counted, ("receipt", document["id"])]))


def _to_delete(context: Context, name: str) -> uuid.UUID:
    """The id of an account, or of one that has gone: its receipt is shown again."""
    from core.accounts import find_account

    try:
        with context.transaction() as session:
            return find_account(session, name).id
    except NotFound:
        try:
            return uuid.UUID(name)
        except ValueError:
            raise NotFound("There is no such account.") from None


RateOption = Annotated[str | None, typer.Option(help="Such as 10/s or 600/m; off; default.")]
QuotaOption = Annotated[str | None, typer.Option(help="A number per calendar month (UTC); default: none.")]


@accounts.command("limits")
def limits(
    name: Annotated[str, typer.Argument(help="Name or id.")],
    rate_read: RateOption = None,
    rate_write: RateOption = None,
    rate_turn: RateOption = None,
    rate_delete: RateOption = None,
    rate_bulk: RateOption = None,
    messages_per_month: QuotaOption = None,
    tokens_per_month: QuotaOption = None,
    conversations_per_month: QuotaOption = None,
    home: HomeDir = None,
    as_json: AsJson = False,
) -> None:
    """Show or set what an account may ask for and use; the installation's settings hold for the rest."""
    from core.accounts import find_account
    from core.quotas import set_limits

    given = {
        "rate_read": rate_read,
        "rate_write": rate_write,
        "rate_turn": rate_turn,
        "rate_delete": rate_delete,
        "rate_bulk": rate_bulk,
        "messages_per_month": messages_per_month,
        "tokens_per_month": tokens_per_month,
        "conversations_per_month": conversations_per_month,
    }
    changes = {limit: words for limit, words in given.items() if words is not None}
    with context_for(home) as context, context.transaction() as session:
        account = find_account(session, name)
        stored = set_limits(session, account, changes)
    shown = [(limit.replace("_", " "), stored.get(limit, "default")) for limit in given]
    out({"id": str(account.id), "limits": stored}, as_json, facts([("account", str(account.id)), *shown]))


def _shut(name: str, verb: Any, home: Path | None, as_json: bool) -> None:
    from core.accounts import find_account
    from core.documents import account_document

    with context_for(home) as context, context.transaction() as session:
        document = account_document(verb(session, find_account(session, name)))
    closed = moment(document.get("closedAt")) or "open"
    out(document, as_json, facts([("account", document["id"]), ("closed", closed)]))


@tokens.command("create")
def create_token(
    name: Annotated[str, typer.Argument(help="What it is for.")] = "cli",
    scope: Annotated[
        list[str] | None, typer.Option("--scope", help="read, write, pii:read; the first two by default.")
    ] = None,
    days: Annotated[
        int | None, typer.Option("--days", help="How long it lives; for ever by default.")
    ] = None,
    contact: Annotated[
        str | None,
        typer.Option("--contact", help="A contact's id: it opens that contact's own conversations alone."),
    ] = None,
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """Make a token; its secret is shown only now."""
    from core.accounts import USUAL
    from core.accounts import create_token as make
    from core.documents import token_document

    if days is not None and not 1 <= days <= 3660:
        raise InvalidInput("A token lives 1 to 3660 days.")
    lifetime = timedelta(days=days) if days else None
    with reach(home, account) as at, at.transaction() as session:
        scopes = tuple(scope or USUAL)
        row, secret = make(session, at.account, name, scopes=scopes, lifetime=lifetime, contact_id=contact)
        document = token_document(row, secret)
    out(document, as_json, facts([("id", document["id"]), ("token", secret)]))


@tokens.command("list")
def list_tokens(home: HomeDir = None, account: AccountName = None, as_json: AsJson = False) -> None:
    """The account's tokens, without their secrets."""
    from core.accounts import list_tokens as find
    from core.documents import token_document

    with reach(home, account) as at, at.transaction() as session:
        documents = [token_document(token) for token in find(session)]
    rows = [
        (
            d["id"],
            d["name"],
            d["prefix"] + "…",
            " ".join(d["scopes"]) + (" of a contact" if "contactId" in d else ""),
            "revoked" if "revokedAt" in d else moment(d.get("expiresAt")) or "for ever",
            d.get("lastUsedOn", "never"),
        )
        for d in documents
    ]
    columns = ["id", "name", "begins", "scopes", "lives until", "last used"]
    out(items(documents), as_json, table(columns, rows, "No tokens yet."))


@tokens.command("revoke")
def revoke_token(
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="The token's id.")],
    home: HomeDir = None,
    account: AccountName = None,
    as_json: AsJson = False,
) -> None:
    """End a token at once."""
    from core.accounts import revoke_token as revoke
    from core.documents import token_document

    with reach(home, account) as at, at.transaction() as session:
        document = token_document(revoke(session, token))
    out(document, as_json, facts([("revoked", document["id"])]))


@tokens.command("link")
def login_link(home: HomeDir = None, account: AccountName = None, as_json: AsJson = False) -> None:
    """A link that opens the pages once, within fifteen minutes."""
    from cli.local.home import Home
    from core.accounts import create_login_link

    with reach(home, account) as at:
        with at.transaction() as session:
            code = create_login_link(session, at.account)
        settings = at.context.settings
        running = Home.seen(settings.home).read_running()
    base = running.api_url if running and running.api_url else f"http://{settings.host}:{settings.port}"
    document = {"url": f"{base}/login/{code}"}
    out(document, as_json, facts([("link", document["url"])]))
