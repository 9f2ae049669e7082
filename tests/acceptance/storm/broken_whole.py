"""More of the program broken on purpose: what guards calls, follow-ups, sockets, imports, deletions, keys."""

from __future__ import annotations

from typing import Any

from sqlalchemy import insert

import core.buckets
import core.following
import core.import_keys
import core.messages
import core.notes
import core.resuming
from core.context import account_of
from core.said import given_alone
from models import Action, Run, RunState, Trigger, new_id
from tests.acceptance.storm.sabotage import Put, Sabotage, changed


def _no_note_key(put: Put) -> None:
    """What was written down is not looked for, and numbers begin anew."""
    put(core.notes.StoredNotes, "_there", lambda *_: [])
    numbered = "SELECT COALESCE(max(CAST(split_part(step, '.', 2) AS int)), 0)"
    put(core.notes, "WRITTEN", changed(core.notes.WRITTEN, numbered, "SELECT 0 * count(step)"))


def _no_purge_epoch_of_notes(put: Put) -> None:
    """Calls and their answers are written down whatever was deleted meanwhile."""

    def locked(self: Any, session: Any) -> None:
        session.execute(core.notes.LOCK_CONVERSATION, {"id": self.claimed.conversation_id})

    put(core.notes.StoredNotes, "_lock", locked)


def _follow_ups_apart(put: Put) -> None:
    """What waits is not merged: each message has a turn of its own."""

    def waiting(session: Any, conversation: Any, run: Any, epoch: int, listened: str | None) -> Any:
        params = {"behind": {"run": str(run), "epoch": epoch}} | ({"listened": listened} if listened else {})
        stored = insert(Run).values(
            id=new_id(),
            account_id=account_of(session),
            conversation_id=conversation.id,
            trigger=Trigger.API,
            action=Action.RECEIVE,
            state=RunState.WAITING,
            params=params,
        )
        return session.execute(stored.returning(Run.id)).scalar_one()

    put(core.following, "_waiting", waiting)


def _resume_from_the_place(put: Put) -> None:
    put(core.resuming, "SINCE", changed(core.resuming.SINCE, "seq > d.seq", "seq >= d.seq"))


def _no_import_key(put: Put) -> None:
    put(core.import_keys.Keys, "known", lambda *_: {})


def _nothing_taken(put: Put) -> None:
    """A batch is granted what it may do, and nobody writes down that it has done it."""
    put(core.buckets.Buckets, "take", lambda *_: None)


def _no_write_key(put: Put) -> None:
    for module in ("api.once", "api.chatbotkit.turns", "core.idempotency"):
        put(f"{module}.begin", lambda *_: None)


def _no_redaction(put: Put) -> None:
    """Stored as it was said; a worker will look at it later."""

    def unprotected(draft: Any, _shield: Any, _author: Any) -> Any:
        return core.messages._Safe(draft, given_alone(draft.text, draft.entities))

    put(core.messages, "_protected", unprotected)


WHOLE = (
    Sabotage(
        "no_note_key", _no_note_key, "a_call_is_written_and_nobody_hears", "DROP INDEX uq_messages_run_step"
    ),
    Sabotage("no_purge_epoch_of_notes", _no_purge_epoch_of_notes, "a_message_is_deleted_before_a_call"),
    Sabotage(
        "no_follow_up_index", _follow_ups_apart, "much_is_said_during_a_turn", "DROP INDEX uq_runs_follow_up"
    ),
    Sabotage("resume_from_the_place", _resume_from_the_place, "somebody_comes_back"),
    Sabotage(
        "no_import_key",
        _no_import_key,
        "a_file_is_imported_twice",
        "ALTER TABLE import_keys DROP CONSTRAINT pk_import_keys",
    ),
    Sabotage("nothing_taken", _nothing_taken, "a_deletion_has_a_pace"),
    Sabotage("no_write_key", _no_write_key, "a_message_is_sent_again"),
    Sabotage("no_redaction", _no_redaction, "somebody_says_an_address"),
)
