"""Scanning: texts looked at without an account, a conversation or a database."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from core.privacy.detect import Scope, detect
from core.privacy.operators import Redacted, redact
from core.privacy.policy import Policy, effective
from core.privacy.tokens import LENGTHS, digest_of, token_of


@dataclass
class PassingTools:
    """Tools with a key that is thrown away: the same value has the same token, which leads nowhere."""

    key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    _values: dict[str, str] = field(default_factory=dict, repr=False)

    def token(self, kind: str, value: str) -> str:
        token = ""
        for length in LENGTHS:
            token = token_of(self.key, "", kind, value, length)
            if self._values.setdefault(token, value) == value:
                break
        return token

    def digest(self, kind: str, value: str) -> str:
        return digest_of(self.key, kind, value)

    def number(self, kind: str, value: str) -> None:
        del kind, value


class Scanner:
    """Looks at texts under a policy document, at the engine's own speed."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.policy: Policy = effective(dict(document))
        self._tools = PassingTools()
        self._scope = Scope(
            regions=self.policy.regions, kinds=self.policy.kinds(), thresholds=self.policy.thresholds
        )

    def scanned(self, text: str) -> Redacted:
        """What is found in a text, and what would be stored of it."""
        return redact(text, detect(text, self._scope), self.policy, self._tools)
