"""The server a migration reads from, page by page through the guarded client, and what its answers mean.

Nothing it says is in an error of ours, and neither is where it stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from core.chat.model_failures import parse_retry_after
from core.errors import CrontalkError, InvalidInput
from core.import_columns import NAME
from core.importers.records import MEBIBYTE, Limits, Notes, Unreadable
from core.importers.rows import row_object
from core.outbound import (
    Allowance,
    Answer,
    OutboundError,
    OutboundRefused,
    parse_place,
    refuse_unsendable,
    request,
)

TAKE = 100
MOST_BODY = 16 * MEBIBYTE
TOO_LARGE = "too_large"
HOSTED = "api.chatbotkit.com"
LATER = frozenset({408, 425, 429})
GONE = frozenset({404, 410})
ALLOW = (
    " It is the operator of this installation who lets such an address be asked, with"
    " CRONTALK_OUTBOUND_ALLOW=host:port."
)
DENIED = "The server does not accept the token."


class Final(CrontalkError):
    """It will not get better by asking again: the migration ends with this sentence."""


class Later(CrontalkError):
    """There was no answer that could be used; another try may find one. `after`: when the server wants it."""

    def __init__(self, code: str, after: timedelta | None = None) -> None:
        super().__init__("The server did not answer.")
        self.code = code
        self.after = after

    @property
    def answered(self) -> bool:
        """It is there, and may well answer something else."""
        return self.code in {"status", "garbage"}


class Gone(CrontalkError):
    """There is no such thing, or not any more."""


class Withheld(CrontalkError):
    """The server does not show this; the sentence says why."""


@dataclass(frozen=True)
class Page:
    """Some items of a list and the cursor behind them; empty at the list's end."""

    items: list[Any] = field(repr=False)
    cursor: str = ""


def checked_base(url: str, allow: str) -> str:
    """The base of the API's addresses, as it is kept.

    Raises:
        InvalidInput: no URL that could be asked, in a sentence that does not repeat it.

    """
    try:
        place = parse_place(url.strip())
        refuse_unsendable(place, Allowance.parse(allow))
    except OutboundRefused as refused:
        more = ALLOW if refused.code in {"address", "scheme", "port"} else ""
        raise InvalidInput(f"{refused}{more}") from None
    if "?" in place.target:
        raise InvalidInput("The base URL must not have a query.")
    path = place.target.rstrip("/")
    for known in ("/api/v1", "/v1"):
        path = path.removesuffix(known)
    return f"{place.scheme}://{place.host_header}{path}{'/v1' if place.host == HOSTED else '/api/v1'}"


@dataclass
class Server:
    """A server and the token for it."""

    base: str = field(repr=False)
    token: str = field(repr=False)
    allow: str = field(repr=False)
    within: timedelta
    notes: Notes

    def page(self, path: str, cursor: str, take: int = TAKE) -> Page:
        """A page of a list, oldest first.

        Raises:
            Final, Later, Gone, Withheld.

        """
        query = {"order": "asc", "take": str(take), **({"cursor": cursor} if cursor else {})}
        document = self._asked(f"{path}?{urlencode(query)}")
        items, told = document.get("items"), document.get("cursor")
        if not isinstance(items, list):
            raise Later("garbage")
        last = items[-1].get("id") if items and isinstance(items[-1], Mapping) else None
        behind = told if isinstance(told, str) and told else last
        return Page(items, behind if items and isinstance(behind, str) and len(behind) <= NAME else "")

    def one(self, path: str) -> dict[str, Any]:
        """One thing by its address; raises as `page`."""
        return self._asked(path)

    def _asked(self, path: str) -> dict[str, Any]:
        try:
            answer = request(
                "GET",
                f"{self.base}{path}",
                headers={"Authorization": f"Bearer {self.token}", "Accept": "application/json"},
                within=self.within,
                allowance=Allowance.parse(self.allow),
                body_limit=MOST_BODY,
            )
        except OutboundRefused as refused:
            raise Final(f"{refused}{ALLOW}" if refused.code != "header" else DENIED) from None
        except OutboundError as error:
            raise Later(TOO_LARGE if error.code == "answer_too_large" else error.code) from None
        _judge(answer)
        try:
            return row_object(answer.body, self.notes, Limits())
        except Unreadable:
            raise Later("garbage") from None


def _judge(answer: Answer) -> None:
    """Raises what the answer's status means, unless it is a good one."""
    status = answer.status
    if 200 <= status < 300:
        return
    if status == 401:
        raise Final(DENIED)
    if status in GONE:
        raise Gone("There is no such thing.")
    if status == 403:
        raise Withheld("The token may not see this (403).")
    if status in LATER or status >= 500:
        after = parse_retry_after(answer.headers.get("retry-after"), datetime.now(UTC))
        raise Later("busy" if status == 429 else "status", after)
    if 300 <= status < 400:
        raise Final("The server sends elsewhere: give the base URL that it leads to.")
    raise Withheld(f"The server refuses the request ({status}).")
