"""Files that callers bring, in the four forms of the contract (section 3.3, Attachment).

JSON that announces a file is answered with a link for its bytes; JSON with a data or http(s) URL, a form and
raw bytes are the file itself.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from sqlalchemy.orm import Session

from api.auth import context_of, signed_in
from api.chatbotkit.shapes_files import FileBrought, UploadRequest
from api.links import link_to
from api.multipart import FormFile
from api.once import HEADER
from api.streams import on_thread, pieces_of, write_all
from core.accounts import Caller
from core.blobs import Writing, drop, open_writing
from core.context import Context
from core.errors import InvalidInput
from core.file_names import Described, media_type, safe_name
from core.incoming import read_reference
from core.tickets import make_ticket
from models import Blob, TicketKind

Start = Callable[[Session, Described], Blob]
Uploader = Annotated[Caller, Depends(signed_in)]
SHAPE = FileBrought.model_json_schema(ref_template="#/components/schemas/{model}")
SHAPE.pop("$defs")  # api/openapi.py puts it where the reference looks for it
BODY: dict[str, Any] = {
    "requestBody": {
        "content": {
            "application/json": {"schema": SHAPE},
            "multipart/form-data": {
                "schema": {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}
            },
            "*/*": {"schema": {"type": "string", "format": "binary"}},
        }
    }
}


async def take_in(request: Request, caller: Caller, start: Start, most: int | None = None) -> dict[str, Any]:
    """The answer to an upload: `name` where the file has one, `uploadRequest` where its bytes are to come.

    `start(session, told)` makes the pending blob in the caller's account. It may have `most` bytes,
    `max_file` unless told.
    """
    if HEADER in request.headers:
        raise InvalidInput(f"An upload takes no {HEADER}: what it did not finish is cleared away by itself.")
    context = context_of(request)
    written = request.headers.get("content-type", "")
    kind = written.partition(";")[0].strip().lower()
    if kind == "application/json":
        return await on_thread(partial(_from_json, request, context, caller, start, await request.body()))
    if kind == "multipart/form-data":
        return await _from_form(context, caller, start, FormFile(written), pieces_of(request), most=most)
    told = Described(None, media_type(written))
    writing, answer = await on_thread(partial(_begin, context, caller, start, told, most))
    await write_all(writing, pieces_of(request), partial(drop, context, writing))
    return answer


def _from_json(
    request: Request, context: Context, caller: Caller, start: Start, body: bytes
) -> dict[str, Any]:
    file = _parsed(body).file
    if isinstance(file, UploadRequest):
        told = Described(safe_name(file.name), media_type(file.type), file.size)
        with context.transaction(caller.account_id) as session:
            blob = start(session, told)
            token = make_ticket(session, blob, TicketKind.UPLOAD)
        return _answer(blob) | {
            "uploadRequest": {
                "method": "PUT",
                "url": link_to(request, "upload", token),
                "headers": {"content-type": "application/octet-stream"},
            }
        }
    told, content = read_reference(context.settings, file)
    writing, answer = _begin(context, caller, start, told)
    try:
        writing.add(content)
        writing.finish()
    except BaseException:
        drop(context, writing)
        raise
    return answer


async def _from_form(
    context: Context,
    caller: Caller,
    start: Start,
    form: FormFile,
    pieces: AsyncIterator[bytes],
    *,
    most: int | None,
) -> dict[str, Any]:
    """The file's row is made when the form comes to its file, whose bytes then follow."""
    first: list[bytes] = []
    while form.told is None:
        piece = await anext(pieces, None)
        if piece is None:
            form.finish()
            raise InvalidInput("The form holds no file.")
        first += form.feed(piece)

    async def bytes_of_file() -> AsyncIterator[bytes]:
        yield b"".join(first)
        async for more in pieces:
            yield b"".join(form.feed(more))
        form.finish()

    writing, answer = await on_thread(partial(_begin, context, caller, start, form.told, most))
    await write_all(writing, bytes_of_file(), partial(drop, context, writing))
    return answer


def _begin(
    context: Context, caller: Caller, start: Start, told: Described, most: int | None = None
) -> tuple[Writing, dict[str, Any]]:
    with context.transaction(caller.account_id) as session:
        blob = start(session, told)
        return open_writing(context, session, blob, most=most), _answer(blob)


def _answer(blob: Blob) -> dict[str, Any]:
    owner = blob.attachment_id or blob.file_id
    return {"id": str(owner), **({"name": blob.name} if blob.name else {})}


def _parsed(body: bytes) -> FileBrought:
    try:
        return FileBrought.model_validate(json.loads(body))
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from None
