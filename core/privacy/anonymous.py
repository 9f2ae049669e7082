"""Anonymous texts: everything that stands for somebody becomes the word of its kind, and nothing leads back.

Stricter than any policy: a token, a mask and a hash still tell one from another; `<EMAIL_ADDRESS>` does not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.privacy.detect import Scope, detect
from core.privacy.kinds import KINDS, LABELS
from core.privacy.operators import Entry, Redacted, read_stored, redact
from core.privacy.placeholders import PLACEHOLDERS
from core.privacy.policy import Operator, Policy, effective
from core.privacy.trees import labelled_tree

_OPERATORS = dict.fromkeys(KINDS, Operator.REPLACE.value)


class _NoTools:
    """Replacing needs nothing of an account: to ask for a token or a digest here would be a bug."""

    def token(self, kind: str, value: str) -> str:
        raise NotImplementedError

    def digest(self, kind: str, value: str) -> str:
        raise NotImplementedError

    def number(self, kind: str, value: str) -> None:
        del kind, value


def strictest(policy: Policy) -> Policy:
    """Every kind is replaced, those among them that are not looked for by default; what is denied is too."""
    document = {"preset": "strict", "operators": _OPERATORS, "deny": list(policy.deny)}
    return effective({**document, "regions": list(policy.regions)})


@dataclass(frozen=True)
class Anonymiser:
    """What makes the texts of one conversation anonymous. `tokens` are those that it keeps values for."""

    policy: Policy
    scope: Scope
    tokens: Collection[str] = field(repr=False, default=())

    def text(self, words: str, pii: Sequence[dict[str, Any]] | None = None) -> Redacted:
        """The text without what is known of it, stands for it or is found in it. Twice changes nothing."""
        words, settled = self._settled(words, pii)
        return redact(words, detect(words, self.scope), self.policy, _NoTools(), settled=settled)

    def label(self, words: str | None) -> str | None:
        return self.text(words).text if words else words

    def tree(self, value: Any) -> Any:
        """A meta as it stays."""
        return labelled_tree(value, self.label)

    def _settled(self, words: str, pii: Sequence[dict[str, Any]] | None) -> tuple[str, list[Entry]]:
        """The text with the words of their kinds for what was known before, and where they stand then."""
        parts: list[str] = []
        entries: list[Entry] = []
        done = length = 0
        for one in self._known(words, pii):
            if one.begin < done:
                continue
            hidden = one.operator is Operator.REDACT
            written = words[one.begin : one.end] if hidden else f"<{one.type}>"
            length += one.begin - done
            parts += (words[done : one.begin], written)
            operator = Operator.REDACT if hidden else Operator.REPLACE
            entries.append(Entry(one.type, length, length + len(written), one.score, one.source, operator))
            length, done = length + len(written), one.end
        return "".join((*parts, words[done:])), entries

    def _known(self, words: str, pii: Sequence[dict[str, Any]] | None) -> list[Entry]:
        stored = [
            one
            for one in read_stored(pii)
            if one.operator is not Operator.KEEP and 0 <= one.begin < one.end <= len(words)
        ]
        return sorted((*stored, *self._standing(words)), key=lambda one: (one.begin, -one.end))

    def _standing(self, words: str) -> Iterator[Entry]:
        """What stands for a value, by its looks: tokens of this conversation, hashes of the account."""
        if "[" not in words and "<" not in words:
            return
        for found in PLACEHOLDERS.finditer(words):
            kind, hashed, _ = found.group()[1:-1].partition(":")
            if found.group() in self.tokens:
                kind = LABELS.get(kind, kind.upper())
            elif not (hashed and found.group().startswith("<")):
                continue
            yield Entry(kind, *found.span(), 1.0, "token", Operator.HASH)
