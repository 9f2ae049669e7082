"""Migrations: asked for here; carried out by workers (core/migrating.py), and undone as any import.

Where one reads from and the token for it are sealed with the account's key until it ends; then they go.
"""

from __future__ import annotations

import re
import uuid
from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import datetime

import orjson
from sqlalchemy.orm import Session

from core.bots import find_bot
from core.context import account_of, actor_of, settings_of
from core.errors import InvalidInput
from core.import_jobs import SEALED
from core.job_states import refuse_a_crowd, wake
from core.keys import seal, unseal
from core.migration_place import KINDS
from core.migration_source import checked_base
from models import Job, JobKind

SOURCE = "chatbotkit"
_TOKEN = re.compile(r"[\x21-\x7e]{1,4096}")


def create_migration_job(
    session: Session,
    *,
    base_url: str,
    token: str,
    only: Sequence[str] = (),
    since: datetime | None = None,
    privacy: bool = False,
) -> Job:
    """Pulls bots, contacts, tasks and conversations from a server that speaks ChatBotKit's API.

    `only`: some of these kinds. `since`: no conversations that have not changed since. `privacy`: what is
    pulled has it, whatever its bot has.

    Raises:
        InvalidInput: the URL, the token or a kind, in a sentence that repeats none of them.
        Conflict: too many imports are unfinished, or the installation has no key.

    """
    base = checked_base(base_url, settings_of(session).outbound_allow)
    if not _TOKEN.fullmatch(token):
        raise InvalidInput("The token must be one word of visible ASCII characters.")
    if set(only) - set(KINDS):
        raise InvalidInput(f"What can be pulled is {', '.join(KINDS)}.")
    refuse_a_crowd(session, account_of(session), JobKind.IMPORT)
    job = Job(account_id=account_of(session), kind=JobKind.IMPORT, params={"source": SOURCE})
    session.add(job)
    session.flush()
    secret = orjson.dumps({"base": base, "token": token})
    given = {
        "source": SOURCE,
        "only": [kind for kind in KINDS if kind in only],
        "since": since.isoformat() if since else None,
        "privacy": privacy,
        "bot": _default_bot(session),
        "actor": actor_of(session),
        SEALED: b64encode(seal(session, job.account_id, secret, _purpose(job.id))).decode(),
    }
    job.params = {name: value for name, value in given.items() if value}
    session.flush()
    session.refresh(job)
    wake(session, job)
    return job


def opened_params(session: Session, job: Job) -> tuple[str, str]:
    """Where an unfinished migration reads from, and the token.

    Raises:
        KeyUnusable: the installation's key is not the one that they were sealed with.

    """
    sealed = b64decode(job.params[SEALED])
    told = orjson.loads(unseal(session, job.account_id, sealed, _purpose(job.id)))
    return told["base"], told["token"]


def _default_bot(session: Session) -> str | None:
    """The bot of conversations that name none and have no words of their own for one."""
    try:
        return str(find_bot(session, None).id)
    except InvalidInput:
        return None


def _purpose(job_id: uuid.UUID) -> str:
    return f"job.migration:{job_id}"
