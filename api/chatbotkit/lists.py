"""Lists as the dialect wants them: take, cursor, order and meta, as a page or as a stream (section 1.6).

A list is asked for in one of its forms. JSON is one page; JSON lines and CSV are the whole list, which the
server walks page by page, each read for itself.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import structlog
from fastapi import Depends, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from sqlalchemy.orm import Session

from api.auth import context_of, signed_in
from api.chatbotkit.answers import CSV, JSON, JSONL, answers_in, event_line, form_of, returns
from api.chatbotkit.shapes import Page
from api.errors import UNFORESEEN, answer_to
from core.accounts import Caller
from core.context import Context
from core.documents import Document, conversation_document
from core.errors import CrontalkError, InvalidInput
from core.rows import MetaFilter
from core.sight import SCOPE, see_conversations
from models import Conversation

log = structlog.get_logger()

MOST = 100
METAS = 20
FIRST = uuid.UUID(int=0)
LAST = uuid.UUID(int=2**128 - 1)
META = re.compile(r"meta(?:\.|\[)(.+)", re.DOTALL)
# What a spreadsheet would take for a formula.
FORMULA = re.compile(r"[=+\-@\t\r]")

Row = TypeVar("Row")
Fetch = Callable[..., Sequence[Row]]
Show = Callable[[Session, Sequence[Row]], list[Document]]


@dataclass(frozen=True)
class Listing:
    """Which part of a list is asked for, by whom, and in which form."""

    context: Context
    caller: Caller
    form: str
    take: int | None
    cursor: str
    order: str
    meta: tuple[MetaFilter, ...]

    def window(self, *, ascending: bool) -> dict[str, Any]:
        """The arguments of a listing verb; `ascending` is the order of this list when none is asked for."""
        upward = {"asc": True, "desc": False}.get(self.order, ascending)
        return {
            "take": min(self.take or MOST, MOST),
            "before": _row_of(self.cursor, upward=upward),
            "ascending": upward,
            **({"meta": self.meta} if self.meta else {}),
        }


def _row_of(cursor: str, *, upward: bool) -> uuid.UUID | None:
    """A cursor that is no id names nothing, and the page after it is empty."""
    if not cursor:
        return None
    try:
        return uuid.UUID(cursor)
    except ValueError:
        return LAST if upward else FIRST


async def _listing(
    request: Request,
    caller: Annotated[Caller, Depends(signed_in)],
    take: Annotated[str, Query(description="1 to 100 items, 100 unless told; of a stream, all.")] = "",
    cursor: Annotated[str, Query(description="The `cursor` of the page before; empty for the first.")] = "",
    order: Annotated[str, Query(description="`asc` or `desc`.")] = "",
) -> Listing:
    form = form_of(request)
    meta = tuple(_meta(request.query_params.multi_items()))
    most = MOST if form == JSON else None
    return Listing(context_of(request), caller, form, _clamped(take, most), cursor, order, meta)


ListPart = Annotated[Listing, Depends(_listing)]


def _clamped(take: str, most: int | None) -> int | None:
    """0 and what is not a number mean the most, what is negative 1, what is larger the most; None is all."""
    try:
        number = float(take[:40])
    except ValueError:
        return most
    if math.isnan(number) or number == 0:
        return most
    return int(min(max(number, 1), most or 2**31))


def _meta(parameters: Iterable[tuple[str, str]]) -> Iterator[MetaFilter]:
    """`meta.app=x` and `meta[app]=x`: true and false compare as booleans, all else as text."""
    count = 0
    for name, value in parameters:
        found = META.fullmatch(name)
        if found is None:
            continue
        count += 1
        path = tuple(re.split(r"\]\[|\]\.|\.|\[", found[1].removesuffix("]")))
        if count > METAS or len(path) > 8 or len(name) > 1000 or len(value) > 10_000:
            raise InvalidInput(f"A list takes up to {METAS} meta filters, up to 8 keys deep.")
        yield MetaFilter(path, value)


def alternatives(value: str) -> list[str] | None:
    """The ids of a filter, separated by commas; None when it is not given."""
    return [part.strip() for part in value.split(",")] if value.strip() else None


def page_of(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A page and its cursor, which is never null: the Python SDK refuses that."""
    return {"items": items, "cursor": items[-1]["id"] if items else ""}


def each(document: Callable[[Row], Document]) -> Show[Row]:
    """Shows rows one by one, for `listed`."""
    return lambda _session, rows: [document(row) for row in rows]


def shown_to(caller: Caller) -> Show[Conversation]:
    """Shows conversations: to whoever has the scope pii:read with the values behind their tokens."""

    def show(session: Session, rows: Sequence[Conversation]) -> list[Document]:
        if SCOPE in caller.scopes:
            see_conversations(session, rows)
        return [conversation_document(row) for row in rows]

    return show


def listed(
    wanted: Listing,
    fetch: Fetch[Row],
    show: Show[Row],
    *,
    ascending: bool = False,
    in_transaction: bool = False,
) -> Response:
    """Answers a list in the form that is asked for.

    `fetch(session, take=…, before=…, ascending=…)` reads a page, with `meta=…` when that is filtered by;
    the id of its last document is where the next one begins. The first page is read before anything is
    answered, so what is wrong with the request is an error like any other. A page's statements are their own
    transactions unless they need one in common, such as a search for its time-out.
    """
    window = wanted.window(ascending=ascending)
    begin = wanted.context.transaction if in_transaction else wanted.context.reading

    def read(window: Mapping[str, Any]) -> list[Document]:
        with begin(wanted.caller.account_id, actor=wanted.caller.name) as session:
            return show(session, fetch(session, **window))

    first = read(window)
    if wanted.form == JSON:
        return JSONResponse(page_of(first))
    pages = _pages(wanted, read, window, first)
    written = _as_csv(pages) if wanted.form == CSV else _as_lines(pages)
    return StreamingResponse(written, media_type=wanted.form)


def pages(shape: Any, *more: str) -> dict[int | str, dict[str, Any]]:
    """The documented answer of a list, which is a stream as well."""
    return returns(Page[shape], JSONL, *more)


as_list = answers_in(JSONL)
as_export = answers_in(JSONL, CSV)


def _pages(
    wanted: Listing,
    read: Callable[[Mapping[str, Any]], list[Document]],
    window: dict[str, Any],
    page: list[Document],
) -> Iterator[list[Document]]:
    left = math.inf if wanted.take is None else wanted.take
    while page:
        left -= len(page)
        yield page
        if left <= 0 or len(page) < window["take"]:
            return
        window = window | {"take": int(min(left, MOST)), "before": uuid.UUID(page[-1]["id"])}
        page = read(window)


def _as_lines(pages: Iterator[list[Document]]) -> Iterator[bytes]:
    try:
        for page in pages:
            yield b"".join(event_line("item", item) for item in page)
    except CrontalkError as error:
        _, message, code, _ = answer_to(error)
        yield event_line("error", {"message": message, "code": code})
    except Exception as error:  # noqa: BLE001 (the headers are out: an event is all that can still be said)
        log.error("list_broke", error=type(error).__name__)
        yield event_line("error", {"message": UNFORESEEN, "code": "INTERNAL_SERVER_ERROR"})


def _as_csv(pages: Iterator[list[Document]]) -> Iterator[bytes]:
    """The first page's keys are the columns; what a spreadsheet would compute is written as text."""
    columns: list[str] = []
    for page in pages:
        text = io.StringIO()
        writer = csv.writer(text, quoting=csv.QUOTE_ALL)
        if not columns:
            columns = list(dict.fromkeys(key for item in page for key in item))
            writer.writerow(columns)
        writer.writerows([cell(item.get(name)) for name in columns] for item in page)
        yield text.getvalue().encode()


def cell(value: Any) -> str:
    """A value of a CSV; what a spreadsheet would compute is text."""
    if isinstance(value, str):
        return f"'{value}" if FORMULA.match(value) else value
    return "" if value is None else json.dumps(value, ensure_ascii=False)
