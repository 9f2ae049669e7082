"""Every error Crontalk raises on purpose, as one tree.

CrontalkError
├── InvalidInput        the caller's words cannot be accepted; nothing was stored
├── NotAuthenticated    no token, or one that is unknown, expired or revoked
├── NotAuthorized       the object belongs to another account, or the token lacks the scope
├── NotFound            no such object
├── Conflict            the object is in a state that does not allow this
├── KeyReused           an Idempotency-Key that was used for another request
├── LimitReached        too much, too fast; `retry_after` says when to come back
├── PrivacyFailed       a text could not be looked at; nothing was stored
├── Unavailable         a server we depend on is away or too busy; a commit cut off meanwhile is unknown
│   └── Contended       another transaction went first; the same one may succeed at once
└── RunFailed           a run ended in failure; its message is the error class and nothing else

Messages are sentences for the caller. They never hold the text of a message, an address or a secret.
Each door maps the tree once: HTTP status, run outcome, exit code.
"""

from __future__ import annotations

from datetime import timedelta


class CrontalkError(Exception):
    """The root of the tree."""


class InvalidInput(CrontalkError):
    """The caller's words cannot be accepted; nothing was stored."""


class NotAuthenticated(CrontalkError):
    """No token, or one that is unknown, expired or revoked."""


class NotAuthorized(CrontalkError):
    """The object belongs to another account, or the token lacks the scope."""


class NotFound(CrontalkError):
    """No such object."""


class Conflict(CrontalkError):
    """The object is in a state that does not allow this."""


class KeyReused(CrontalkError):
    """An Idempotency-Key that was used for another request."""


class LimitReached(CrontalkError):
    """Too much or too fast."""

    def __init__(self, message: str, retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class PrivacyFailed(CrontalkError):
    """A text could not be looked at for personal data, and so nothing was stored."""


class Unavailable(CrontalkError):
    """A server we depend on is away or too busy. Nothing was stored, unless the connection broke while the
    commit was under way: then nobody can tell, and whoever asked looks before asking again.
    """


class Contended(Unavailable):
    """Another transaction went first and this one ended (40P01, 40001, 23503); it may be repeated."""


class RunFailed(CrontalkError):
    """A run ended in failure; the message is the error class and nothing else."""
