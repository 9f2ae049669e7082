"""What leaves a conversation for another place of the account: a memory, a task, another conversation.

Tokens mean their values in one conversation only, and privacy is that conversation's own. So what was said
under privacy leaves it anonymous: of everything that stands for somebody only the word of its kind is left.
Nothing leads back from there, whatever the privacy of the place it comes to.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from core.privacy.altered import Known
from core.privacy.anonymous import Anonymiser, strictest
from core.privacy.detect import Scope
from core.privacy.placeholders import TOKENS
from core.privacy.restoring import restore_altered
from core.privacy.trees import labelled_tree
from core.said import kind_of
from core.shield import FAIL_CLOSED, Shield
from core.shields import shield_of
from core.vault import open_value, values_in


@dataclass(frozen=True)
class Leaving:
    """What makes texts fit to leave. Without a shield only tokens go: those of an earlier privacy."""

    shield: Shield | None

    def label(self, words: str | None) -> str | None:
        """The text as it leaves.

        Raises:
            PrivacyFailed: it could not be looked at.

        """
        return self.text(words) if words else words

    def text(self, words: str) -> str:
        """As `label`, of a text that is there."""
        if self.shield is None:
            return without_tokens(words)
        with FAIL_CLOSED:
            # As they are, however a model has written them; what only looks like one leaves as little.
            words = restore_altered(words, {token: token for token in self.shield.tokens()})
            strict, scope = strictest(self.shield.policy), self.shield.scope
            sought = Scope(regions=scope.regions, kinds=strict.kinds(), known=scope.known)
            return Anonymiser(strict, sought, frozenset(TOKENS.findall(words))).text(words).text

    def tree(self, value: Any) -> Any:
        """As `text`, of every string of a meta, its keys, and numbers that are long enough."""
        return labelled_tree(value, self.text)


def leaving(session: Session, conversation_id: uuid.UUID | None) -> Leaving:
    """What makes fit to leave what is said in a conversation; None: in one that is stored nowhere."""
    return Leaving(None if conversation_id is None else shield_of(session, conversation_id))


def without_tokens(words: str) -> str:
    """A text in which tokens, which mean nothing outside their conversation, are the words of their kinds."""
    return TOKENS.sub(lambda found: f"<{kind_of(found.group())}>", words) if "[" in words else words


def with_values(session: Session, conversation_id: uuid.UUID | None, words: str) -> str:
    """A text of a conversation's model with the values behind its tokens, those only that it was shown.

    Raises:
        PrivacyFailed, KeyUnusable.

    """
    shield = None if conversation_id is None else shield_of(session, conversation_id)
    if shield is None or conversation_id is None:
        return words
    with FAIL_CLOSED:
        named = {one.token for one in Known(shield.tokens()).find(words)}
    if not named:
        return words
    vault = shield.vault
    place = (conversation_id, " ".join(sorted(named)))
    values = values_in(session, vault.account, [place]).get(conversation_id, {})
    for token in named & vault.offered.keys() - values.keys():
        values[token] = open_value(vault.key(), token, vault.offered[token])
    return restore_altered(words, values)
