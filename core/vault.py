"""The vault of a conversation: the values behind its tokens, sealed with the account's key."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.keys import AccountKey, KeyUnusable, account_key
from core.privacy.placeholders import TOKENS
from core.privacy.tokens import LENGTHS, digest_of, token_of

FIND = text("SELECT value FROM pii_tokens WHERE conversation_id = :conversation AND token = :token")
TOKENS_OF = text("SELECT token FROM pii_tokens WHERE conversation_id = :conversation")
ALL = text("SELECT token, value FROM pii_tokens WHERE conversation_id = :conversation")
SOME = text(
    "SELECT conversation_id, token, value FROM pii_tokens WHERE (conversation_id, token) IN"
    " (SELECT * FROM unnest(CAST(:conversations AS uuid[]), CAST(:tokens AS text[])))"
)
ALL_OF = text(
    "SELECT conversation_id, token, value FROM pii_tokens"
    " WHERE conversation_id = ANY(CAST(:conversations AS uuid[]))"
)
KEEP_MANY = text(
    "INSERT INTO pii_tokens (conversation_id, token, account_id, value)"
    " SELECT t.conversation, t.token, :account, t.value FROM unnest(CAST(:conversations AS uuid[]),"
    "  CAST(:tokens AS text[]), CAST(:values AS bytea[])) AS t (conversation, token, value)"
    " ON CONFLICT (conversation_id, token) DO NOTHING"
)
KEEP = text(
    "INSERT INTO pii_tokens (conversation_id, token, account_id, value)"
    " SELECT :conversation, t.token, :account, t.value"
    " FROM unnest(CAST(:tokens AS text[]), CAST(:values AS bytea[])) AS t (token, value)"
    " ON CONFLICT (conversation_id, token) DO NOTHING"
)
# A token goes with the last text that names it: a message's, a vote's, or of the conversation itself.
FORGET = text(
    "DELETE FROM pii_tokens t WHERE t.conversation_id = :conversation"
    " AND t.token = ANY(CAST(:tokens AS text[]))"
    " AND NOT EXISTS (SELECT FROM messages m WHERE m.conversation_id = :conversation"
    "  AND strpos(concat(m.text, m.name, m.description, m.meta), t.token) > 0)"
    " AND NOT EXISTS (SELECT FROM conversations c WHERE c.id = :conversation"
    "  AND strpos(concat(c.name, c.description, c.meta), t.token) > 0)"
    " AND NOT EXISTS (SELECT FROM ratings r WHERE r.conversation_id = :conversation"
    "  AND strpos(r.reason, t.token) > 0)"
)
FORGET_SOME = text(
    "DELETE FROM pii_tokens WHERE conversation_id = :conversation AND token IN"
    " (SELECT token FROM pii_tokens WHERE conversation_id = :conversation ORDER BY token LIMIT :most)"
)


@dataclass
class Vault:
    """Mints the tokens of one scope, a conversation or a task: the tools of the operators.

    What is minted is stored by `keep`, or taken from `sealed` by whoever keeps it elsewhere. `kept` are the
    scope's tokens so far; one that has them and its key needs no session and works beside a transaction.
    """

    session: Session
    account: uuid.UUID
    scope: uuid.UUID
    kept: Mapping[str, bytes] | None = None  # None: they are looked up in the conversation's rows
    offered: Mapping[str, bytes] = field(default_factory=dict)  # stored only if something names them
    sealed: dict[str, bytes] = field(default_factory=dict)
    minted: dict[str, str] = field(default_factory=dict, repr=False)
    shown: frozenset[str] | None = None  # those that mean something in this turn; None: all do
    _key: AccountKey | None = None
    _values: dict[str, str | None] = field(default_factory=dict)
    _there: frozenset[str] | None = None

    def token(self, kind: str, value: str) -> str:
        """The value's token in this scope; a longer one where another value has the first already."""
        key = self.key()
        for length in LENGTHS:
            token = token_of(key.derived("pii.token"), str(self.scope), kind, value, length)
            there = self._value(token)
            if there is None:
                self.sealed[token] = key.seal(value.encode(), _place(token))
                self._values[token] = self.minted[token] = value
            if there is None or there == value:
                return token
        raise KeyUnusable("The tokens of this conversation cannot be told apart.")

    def digest(self, kind: str, value: str) -> str:
        """80 bits that are the same for the same value within the account, and tell nothing outside."""
        return digest_of(self.key().derived("pii.digest"), kind, value)

    def number(self, kind: str, value: str) -> None:
        """Placeholders are not numbered: a number would have to be remembered."""
        del kind, value

    def tokens(self) -> frozenset[str]:
        """The tokens that mean something here, those just minted among them."""
        there = self.all_tokens() if self.shown is None else self.shown
        return there | self.sealed.keys() | self.offered.keys()

    def all_tokens(self) -> frozenset[str]:
        """The scope's tokens that are kept, whoever may name them."""
        if self._there is None:
            if self.kept is not None:
                self._there = frozenset(self.kept)
            else:
                self._there = frozenset(self.session.scalars(TOKENS_OF, {"conversation": self.scope}))
        return self._there

    def take_up(self, tokens: Iterable[str]) -> None:
        """Of what was offered, keeps what is named."""
        self.sealed |= {token: self.offered[token] for token in tokens if token in self.offered}

    def keep(self) -> None:
        """Stores what was minted; the conversation must be there."""
        if self.sealed:
            values = {"conversation": self.scope, "account": self.account}
            tokens = {"tokens": list(self.sealed), "values": list(self.sealed.values())}
            self.session.execute(KEEP, values | tokens)

    def detached(self) -> Vault:
        """One that goes on beside the transaction: it knows what is there by now, and stores nothing."""
        rows = self.session.execute(ALL, {"conversation": self.scope}).all() if self.kept is None else ()
        kept = {row.token: bytes(row.value) for row in rows} if self.kept is None else dict(self.kept)
        return Vault(self.session, self.account, self.scope, kept | self.sealed, _key=self.key())

    def key(self) -> AccountKey:
        if self._key is None:
            self._key = account_key(self.session, self.account)
        return self._key

    def _value(self, token: str) -> str | None:
        if token not in self._values:
            self._values[token] = self._look_up(token)
        return self._values[token]

    def _look_up(self, token: str) -> str | None:
        sealed: bytes | None
        if self.kept is not None:
            sealed = self.kept.get(token)
        else:
            place = {"conversation": self.scope, "token": token}
            sealed = self.session.execute(FIND, place).scalar_one_or_none()
        return None if sealed is None else open_value(self.key(), token, sealed)


def open_value(key: AccountKey, token: str, sealed: bytes) -> str:
    """The value behind a token.

    Raises:
        KeyUnusable: it was sealed with another key.

    """
    return key.unseal(bytes(sealed), _place(token)).decode()


def tokens_kept(session: Session, conversations: Sequence[uuid.UUID]) -> dict[uuid.UUID, dict[str, bytes]]:
    """The tokens of conversations with their sealed values; in one statement."""
    found: dict[uuid.UUID, dict[str, bytes]] = {}
    if conversations:
        for row in session.execute(ALL_OF, {"conversations": list(conversations)}):
            found.setdefault(row.conversation_id, {})[row.token] = bytes(row.value)
    return found


def keep_all(session: Session, account: uuid.UUID, vaults: Iterable[Vault]) -> None:
    """Stores what was minted in several vaults of an account, in one statement."""
    rows = [(v.scope, token, sealed) for v in vaults for token, sealed in v.sealed.items()]
    if rows:
        conversations, tokens, values = zip(*rows, strict=True)
        lists = {"conversations": list(conversations), "tokens": list(tokens), "values": list(values)}
        session.execute(KEEP_MANY, {"account": account, **lists})


def values_of(session: Session, account: uuid.UUID, conversation: uuid.UUID) -> dict[str, str]:
    """All that can be restored of a conversation, by token."""
    rows = session.execute(ALL, {"conversation": conversation}).all()
    key = account_key(session, account) if rows else None
    return {row.token: open_value(key, row.token, row.value) for row in rows if key}


def values_in(
    session: Session, account: uuid.UUID, texts: Iterable[tuple[uuid.UUID, str]]
) -> dict[uuid.UUID, dict[str, str]]:
    """The values behind the tokens that stand in texts, each with its conversation; in one statement."""
    wanted = {(place, token) for place, said in texts if "[" in said for token in TOKENS.findall(said)}
    if not wanted:
        return {}
    conversations, tokens = zip(*wanted, strict=True)
    found: dict[uuid.UUID, dict[str, str]] = {}
    rows = session.execute(SOME, {"conversations": list(conversations), "tokens": list(tokens)}).all()
    for row in rows:
        key = account_key(session, account)
        found.setdefault(row.conversation_id, {})[row.token] = open_value(key, row.token, row.value)
    return found


def forget_tokens(session: Session, conversation: uuid.UUID, texts: Iterable[str]) -> None:
    """Takes the values behind tokens of texts that have gone, where no other text names them."""
    tokens = {token for said in texts for token in TOKENS.findall(said)}
    if tokens:
        session.execute(FORGET, {"conversation": conversation, "tokens": list(tokens)})


def forget_some(session: Session, conversation: uuid.UUID, most: int) -> int:
    """Takes up to `most` values of a conversation that goes as a whole; answers how many."""
    return int(session.execute(FORGET_SOME, {"conversation": conversation, "most": most}).rowcount)  # type: ignore[attr-defined]


def _place(token: str) -> str:
    return f"pii.token:{token}"
