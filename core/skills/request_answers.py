"""What a model is shown of an answer: JSON or text, cut to size, with the secret out of sight. Pure."""

from __future__ import annotations

import re
from typing import Any

from core.outbound import Answer
from core.secrets import SecretValue
from core.skills.request_json import clean, compact, read_json, storable
from core.skills.skill import SkillFailed

MOST_SHOWN = 256 * 1024  # bytes of UTF-8
_MEDIA = re.compile(r"\s*([\w.+-]{1,60}/[\w.+-]{1,60})\s*(?:;|$)", re.ASCII)
_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([\w.:-]{1,40})", re.ASCII | re.IGNORECASE)
_READABLE = re.compile(
    r"text/.+|application/([\w.-]+\+)?(json|xml|yaml)|application/(javascript|x-ndjson|jsonl|graphql"
    r"|x-www-form-urlencoded|problem|x-yaml|toml)|image/svg\+xml",
    re.ASCII,
)
_JSON = re.compile(r"(application|text)/([\w.-]+\+)?json", re.ASCII)
# Codecs whose work is linear; Python's others include idna and punycode.
_CHARSETS = re.compile(
    r"utf-?8|utf-?16([bl]e)?|us-ascii|ascii|iso-?8859-\d{1,2}|latin-?1|(windows-|cp)125\d|koi8-[ru]|shift_jis"
    r"|euc-(jp|kr)|iso-2022-jp|gb2312|gbk|gb18030|big5",
    re.ASCII | re.IGNORECASE,
)
_UNREADABLE = re.compile(r"[\x00-\x08\x0e-\x1f]")


def answer_document(answer: Answer, expected: str | None, secret: SecretValue | None) -> dict[str, Any]:
    """`{"status", "body"}`, and `truncated` when the body is longer than is shown.

    A body that is no text is told of by its type and size.

    Raises:
        SkillFailed: a success that should have been JSON and is none.

    """
    stated = answer.headers.get("content-type", "")
    media = _media_type(stated)
    words = _text(answer.body, media, stated)
    if words is None:
        kind = {"type": media or "application/octet-stream", "size": len(answer.body)}
        return {"status": answer.status, "body": kind}
    mask = secret.masked if secret else str
    if answer.body and expected != "text" and (expected == "json" or _JSON.fullmatch(media or "")):
        try:
            value = storable(read_json(words), mask)
        except ValueError:
            if expected == "json" and answer.error_code is None:
                raise SkillFailed("not_json", "The answer is not the JSON it should be.") from None
        else:
            return _shown(answer.status, value, compact(value))
    words = mask(clean(words))
    return _shown(answer.status, words, words)


def _shown(status: int, body: Any, words: str) -> dict[str, Any]:
    packed = words.encode()
    if len(packed) <= MOST_SHOWN:
        return {"status": status, "body": body}
    return {"status": status, "body": packed[:MOST_SHOWN].decode(errors="ignore"), "truncated": True}


def _media_type(stated: str) -> str | None:
    found = _MEDIA.match(stated)
    return found[1].lower() if found else None


def _text(body: bytes, media: str | None, stated: str) -> str | None:
    """The body's words; None when it is none for reading. Nobody's word for it: look for yourself."""
    if media is None:
        try:
            words = body.decode("utf-8-sig")
        except UnicodeDecodeError:
            return None
        return None if _UNREADABLE.search(words) else words
    if not _READABLE.fullmatch(media):
        return None
    found = _CHARSET.search(stated)
    charset = found[1] if found and _CHARSETS.fullmatch(found[1]) else "utf-8"
    try:
        return body.decode("utf-8-sig" if charset.lower() in {"utf-8", "utf8"} else charset, "replace")
    except LookupError:
        return body.decode("utf-8-sig", "replace")
