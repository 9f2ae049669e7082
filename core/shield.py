"""The shield of a conversation: what its privacy makes of a text before the text is stored.

Nothing raw is written: detection and redaction run in the transaction of the write, in the process that
received the text, and if they fail nothing is stored. What is found later is a worker's (core/annotating.py).
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.context import at_the_end
from core.entities import Entity
from core.errors import CrontalkError, InvalidInput, PrivacyFailed
from core.privacy.altered import Known as Tokens
from core.privacy.detect import Scope, detect
from core.privacy.operators import Entry, Redacted, Taken, read_stored, redact
from core.privacy.placeholders import PLACEHOLDERS, TOKENS
from core.privacy.policy import Direction, Operator, Policy
from core.privacy.presets import LEAVING
from core.privacy.redacting import Redactor
from core.privacy.restoring import escape_lookalikes
from core.privacy.spans import Span
from core.privacy.trees import labelled_tree
from core.privacy.wire import given_spans
from core.said import GIVEN, Said, kind_of, told_entries
from core.usage import a_slot
from core.vault import Vault
from models import MAX_TEXT_BYTES, PiiState

# Labels that are remembered for as long as a shield lasts: names of models and fields come again and again.
_SHORT, _MOST_HARMLESS = 40, 200
COUNT = text(
    "INSERT INTO pii_days AS d (account_id, day, slot, kind, count)"
    " SELECT f.account, current_date, :slot, f.kind, f.count FROM unnest(CAST(:accounts AS uuid[]),"
    "  CAST(:kinds AS text[]), CAST(:counts AS bigint[])) AS f (account, kind, count)"
    " ORDER BY f.account, f.kind"
    " ON CONFLICT (account_id, day, slot, kind) DO UPDATE SET count = d.count + excluded.count"
)


@dataclass
class Shield:
    """What protects one conversation, or one task, for the length of a transaction."""

    policy: Policy
    scope: Scope
    vault: Vault
    version: str
    _found: Counter[str] = field(default_factory=Counter)
    _harmless: set[tuple[str, Direction]] = field(default_factory=set, repr=False)

    def said(
        self,
        words: str,
        *,
        given: Sequence[Entity] = (),
        author: Direction = Direction.INBOUND,
        honoured: Collection[str] = (),
    ) -> Said:
        """A text as it may be stored. `given`: the spans its sender knows of.

        `honoured`: tokens that mean their values where they stand in this text. What a person writes is never
        taken for one, so that nobody reads a value by guessing its token.

        Raises:
            PrivacyFailed: nothing may be stored. InvalidInput: too long with what stands for the entities.

        """
        with FAIL_CLOSED:
            if honoured and author is Direction.OUTBOUND:  # who sends a text has its places answered
                words = _canonical(words, honoured)
            spans = self._spans(words, author)
            if given:
                spans = [*spans, *given_spans(given)]
            if not spans and not self.policy.deny and not honoured:
                return Said(words)  # as nearly every text
            redacted = redact(words, spans, self.policy, self.vault)
        return self._checked(words, Said(redacted.text, redacted.taken, self._standing(redacted, honoured)))

    def _checked(self, words: str, said: Said) -> Said:
        if len(said.text) > len(words) and len(said.text.encode()) > MAX_TEXT_BYTES:
            raise InvalidInput(f"The text is longer than {MAX_TEXT_BYTES} bytes with its entities replaced.")
        self._found.update(taken.type for taken in said.taken)
        return said

    def said_again(
        self,
        words: str,
        pii: Sequence[dict[str, Any]] | None,
        more: Sequence[Span] = (),
        *,
        author: Direction,
        honoured: Collection[str] = (),
    ) -> Said:
        """A stored text looked at once more; `more`: what the operator's own model found in it.

        What stands for an entity stays, and so does what a caller knew of. The rest is found again.

        Raises:
            PrivacyFailed: nothing may be stored.

        """
        before = read_stored(pii)
        given = [Span(e.type, e.begin, e.end, e.score, GIVEN) for e in before if e.source == GIVEN]
        asked = self.asks_model(author)
        named = [span for span in more if asked and span.type in self.policy.kinds()]
        with FAIL_CLOSED:
            spans = [*self._spans(words, author), *named, *given]
            redacted = redact(words, spans, self.policy, self.vault, settled=before)
        known = {(entry.type, entry.begin) for entry in before}
        self._found.update(t.type for t in redacted.taken if (t.type, t.begin) not in known)
        return Said(redacted.text, redacted.taken, self._standing(redacted, honoured))

    def said_elsewhere(self, words: str, entries: Sequence[Entry]) -> Said:
        """A text of a file that tells of its entities. What it says stands for one stays where it could be no
        raw value: a placeholder, or nothing that is found. Tokens of elsewhere mean nothing here.

        Raises:
            PrivacyFailed, InvalidInput: as `said`.

        """
        with FAIL_CLOSED:
            spans = self._spans(words, Direction.INBOUND)
            told = told_entries(entries)
            settled = [one for one in told if one.operator not in LEAVING and _stands_in(one, words, spans)]
            given = [Span(e.type, e.begin, e.end, e.score, GIVEN) for e in told if e.operator in LEAVING]
            redacted = redact(words, [*spans, *given], self.policy, self.vault, settled=settled)
        return self._checked(words, Said(redacted.text, redacted.taken))

    def asks_model(self, author: Direction) -> bool:
        """The operator's own model is to look at what this one says."""
        return self.policy.asks_model and self.policy.applies(author)

    def tokens(self) -> frozenset[str]:
        """The conversation's tokens so far."""
        return self.vault.tokens()

    def unnamed(self, value: Any, honoured: Collection[str]) -> Any:
        """What a call brought or gave, with the tokens that mean nothing in it written so that they are none:
        what only looks like one would be taken for one by the turns that are shown it.
        """
        return _escaped(value, self.vault.all_tokens().difference(honoured))

    def label(
        self, words: str | None, author: Direction = Direction.INBOUND, honoured: Collection[str] = ()
    ) -> str | None:
        """A name or a description as it may be stored. Short ones that come again are looked at once."""
        if not words or (not honoured and (words, author) in self._harmless):
            return words
        said = self.said(words, author=author, honoured=honoured)
        if not honoured and not said.taken and len(words) <= _SHORT and len(self._harmless) < _MOST_HARMLESS:
            self._harmless.add((words, author))
        return said.text

    def tree(self, value: Any, author: Direction = Direction.INBOUND, honoured: Collection[str] = ()) -> Any:
        """A meta as it may be stored: every string of it, its keys, and numbers that are long enough to be
        somebody's. What replaces a number is a text.
        """
        return labelled_tree(value, lambda words: self.label(words, author, honoured))

    def detached(self) -> Shield:
        """One that goes on beside the transaction, and stores nothing."""
        return Shield(self.policy, self.scope, self.vault.detached(), self.version)

    def keep(self) -> None:
        """Stores what was minted, and sees to it that what was found is counted."""
        self.vault.keep()
        session = self.vault.session
        session.info.setdefault("minted_tokens", {}).update(self.vault.sealed)
        counts: Counter[tuple[uuid.UUID, str]] | None = session.info.get("pii_found")
        if counts is None and self._found:
            counts = session.info["pii_found"] = Counter()
            at_the_end(session, _count)
        for kind, count in self._found.items():
            counts[self.vault.account, kind] += count  # type: ignore[index]  # made above
        self._found.clear()

    @property
    def state(self) -> PiiState:
        """Of a message that a worker is still to look at."""
        return PiiState.BLOCKED if self.policy.block_until_annotated else PiiState.PENDING

    def redactor(self) -> Redactor:
        """Redacts what the bot says while it says it."""
        return Redactor(lambda words: self._spans(words, Direction.OUTBOUND), self.policy, self.vault)

    def _standing(self, redacted: Redacted, honoured: Collection[str]) -> tuple[Taken, ...]:
        standing = _standing(redacted, honoured)
        self.vault.take_up(redacted.text[one.begin : one.end] for one in standing)
        return standing

    def _spans(self, words: str, author: Direction) -> list[Span]:
        return detect(words, self.scope) if self.policy.applies(author) else []


def _count(session: Session) -> None:
    """Adds what was found to the counters of the day: at the very end, in one order, so that nobody waits."""
    found: Counter[tuple[uuid.UUID, str]] = session.info.pop("pii_found")
    accounts, kinds = zip(*sorted(found), strict=True)
    counts = [found[place] for place in zip(accounts, kinds, strict=True)]
    values = {"accounts": list(accounts), "kinds": list(kinds), "counts": counts, "slot": a_slot()}
    session.execute(COUNT, values)


class _FailClosed:
    """Whatever goes wrong inside, nothing is stored, and no traceback leads to the text.

    A class: every message passes here, and a generator would cost it as much as the gate of the detector.
    """

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        if kind is not None and issubclass(kind, Exception) and not issubclass(kind, CrontalkError):
            raise PrivacyFailed("The text could not be looked at; nothing was stored.") from None


FAIL_CLOSED = _FailClosed()


def _stands_in(entry: Entry, words: str, spans: Sequence[Span]) -> bool:
    """Whether something stands there for a value, and not the value."""
    if PLACEHOLDERS.fullmatch(words, entry.begin, entry.end):
        return True
    return all(span.end <= entry.begin or entry.end <= span.begin for span in spans)


def spoken_by_us(run_id: uuid.UUID | None, step: str | None) -> bool:
    """A run wrote it, and not the prompt: whoever wrote it knew the conversation's tokens."""
    return run_id is not None and step != "prompt"


def _canonical(words: str, tokens: Collection[str]) -> str:
    """The text with the tokens as they are, however a model has written them."""
    parts: list[str] = []
    done = 0
    for found in Tokens(tokens).find(words):
        parts += (words[done : found.begin], found.token)
        done = found.end
    return "".join((*parts, words[done:])) if parts else words


def _escaped(value: Any, tokens: Collection[str]) -> Any:
    if not tokens:
        return value
    if isinstance(value, str):
        return escape_lookalikes(value, (), tokens)
    if isinstance(value, Mapping):
        return {escape_lookalikes(key, (), tokens): _escaped(inner, tokens) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_escaped(inner, tokens) for inner in value]
    return value


def _standing(redacted: Redacted, honoured: Collection[str]) -> tuple[Taken, ...]:
    """The real tokens that stood in a text before it was looked at."""
    if not honoured:
        return ()
    taken = {one.stored_begin for one in redacted.taken}
    return tuple(
        Taken(
            kind_of(found.group()),
            *found.span(),
            *found.span(),
            1.0,
            "token",
            Operator.TOKENISE,
        )
        for found in TOKENS.finditer(redacted.text)
        if found.start() not in taken and found.group() in honoured
    )
