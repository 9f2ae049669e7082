"""Files that come as a text: a data URL holds its bytes, an http(s) URL says where they are."""

from __future__ import annotations

import base64
import binascii
import re
from datetime import timedelta
from urllib.parse import unquote, unquote_to_bytes

from core.blobs import TooLarge
from core.errors import InvalidInput
from core.file_names import UNKNOWN, Described, media_type, safe_name
from core.outbound import Allowance, OutboundBroken, OutboundError, OutboundRefused, request
from core.settings import Settings

MOST = 4_500_000  # bytes, of the contract's section 3.3: for all forms but an upload request
FETCHING = timedelta(seconds=30)
_DATA = re.compile(r"data:([^,;]{0,200})((?:;[^,;]{0,200}){0,5}?)(;base64)?,", re.IGNORECASE)
_BAD_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def read_reference(settings: Settings, words: str) -> tuple[Described, bytes]:
    """The file that a text holds or names. No transaction may be open: it may be fetched from afar.

    Raises:
        InvalidInput: neither kind of URL, malformed, or not to be had; the sentence does not repeat it.
        TooLarge: more than 4.5 MB.

    """
    if words[:5].lower() == "data:":
        return _from_data(words)
    if words[:8].lower().startswith(("http://", "https://")):
        return _fetched(settings, words)
    raise InvalidInput("The file must be a data URL, an http(s) URL or {type, size, name}.")


def _from_data(words: str) -> tuple[Described, bytes]:
    head = _DATA.match(words)
    if head is None:
        raise InvalidInput("The data URL is malformed: data:<type>;base64,<bytes>.")
    try:
        body = words[head.end() :].encode("ascii")
        content = base64.b64decode(_unquoted(body), validate=True) if head[3] else _unquoted(body)
    except (UnicodeEncodeError, binascii.Error, ValueError):
        raise InvalidInput("The data URL's bytes are malformed.") from None
    if len(content) > MOST:
        raise TooLarge(f"A file in a data URL has at most {MOST} bytes; ask for an upload request.")
    return Described(None, media_type(head[1] or "text/plain"), len(content)), content


def _unquoted(body: bytes) -> bytes:
    if b"%" not in body:
        return body
    if _BAD_PERCENT.search(body):
        raise ValueError
    return unquote_to_bytes(body)


def _fetched(settings: Settings, url: str) -> tuple[Described, bytes]:
    most = min(MOST, settings.max_file)
    try:
        answer = request(
            "GET",
            url,
            headers={"accept": "*/*"},
            within=FETCHING,
            allowance=Allowance.parse(settings.outbound_allow),
            body_limit=most,
        )
    except OutboundBroken as error:
        if error.code == "answer_too_large":
            raise TooLarge(f"A file that is fetched has at most {most} bytes.") from None
        raise InvalidInput(f"The file could not be fetched ({error.code}).") from None
    except OutboundRefused as error:
        raise InvalidInput(str(error)) from None
    except OutboundError as error:
        raise InvalidInput(f"The file could not be fetched ({error.code}).") from None
    if answer.error_code is not None:
        raise InvalidInput(f"The file could not be fetched ({answer.error_code}).")
    return Described(
        _name_in(url), _type_of(answer.headers.get("content-type")), len(answer.body)
    ), answer.body


def _name_in(url: str) -> str | None:
    path = url.partition("://")[2].partition("/")[2]
    return safe_name(unquote(re.split(r"[?#]", path)[0].rpartition("/")[2]))


def _type_of(written: str | None) -> str:
    """What a server says of a file is not the caller's fault."""
    try:
        return media_type(written)
    except InvalidInput:
        return UNKNOWN
