"""What can go wrong on the way out, as one tree.

OutboundError
├── OutboundRefused      we do not send this, or not there: url, scheme, port, address, header, too_large
├── OutboundUnreachable  nobody there: unknown_host, connect, tls
├── OutboundTimeout      it took too long: deadline, idle
└── OutboundBroken       the answer is none: protocol, cut, encoded, answer_too_large

`code` is static and content-free, fit for rows, logs and metrics; no message holds an address or a text.
"""

from __future__ import annotations

from core.errors import CrontalkError


class OutboundError(CrontalkError):
    """A request that got no answer."""

    def __init__(self, code: str, message: str | None = None) -> None:
        super().__init__(message or f"The request failed ({code}).")
        self.code = code


class OutboundRefused(OutboundError):
    """We do not send this, or not there; the same request will be refused again."""


class OutboundUnreachable(OutboundError):
    """Nobody there, or not who the certificate must name."""


class OutboundTimeout(OutboundError):
    """The deadline passed, or nothing moved for too long."""


class OutboundBroken(OutboundError):
    """The connection broke, or what came is not an answer we take."""
