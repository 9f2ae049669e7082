"""The one guarded HTTP client for everything that leaves the house, except the calls of the model provider.

https only, public addresses only, no redirects, no proxies, no cookies, everything bounded; what an operator
allows beyond that stands in `CRONTALK_OUTBOUND_ALLOW`. docs/decisions/0009 says why each rule is there.
"""

from core.outbound.allowance import Allowance
from core.outbound.client import Answer, request
from core.outbound.errors import (
    OutboundBroken,
    OutboundError,
    OutboundRefused,
    OutboundTimeout,
    OutboundUnreachable,
)
from core.outbound.places import Place, parse_place, refuse_unsendable

__all__ = [
    "Allowance",
    "Answer",
    "OutboundBroken",
    "OutboundError",
    "OutboundRefused",
    "OutboundTimeout",
    "OutboundUnreachable",
    "Place",
    "parse_place",
    "refuse_unsendable",
    "request",
]
