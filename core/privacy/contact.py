"""E-mail addresses, international names and domains without a public suffix among them."""

from __future__ import annotations

import re

from core.privacy.found import Found
from core.privacy.tops import EMAIL_TOPS, FILE_TOPS

_LOCAL = re.compile(r"[\w.+%'&=~-]{1,64}")
_DOMAIN = re.compile(r"[^\W_][\w-]{0,62}(?:\.[^\W_][\w-]{0,62}){1,8}")
_TOP = re.compile(r"[^\W\d_]{2,24}|xn--[a-z0-9-]{2,59}", re.IGNORECASE)


def emails(text: str, out: list[Found]) -> None:
    """Every address around an `@`."""
    at = text.find("@")
    while at != -1:
        domain = _DOMAIN.match(text, at + 1)
        if domain is not None:
            local = _LOCAL.match(text[max(0, at - 64) : at][::-1])
            if local is not None:
                _address(text, at - local.end(), at, domain, out)
        at = text.find("@", at + 1)


def _address(text: str, begin: int, at: int, domain: re.Match[str], out: list[Found]) -> None:
    size = len(text)
    while begin < at and text[begin] in ".'-%&=~+":
        begin += 1
    equals = max(text.rfind("=", begin, at), text.rfind("&", begin, at))
    begin = max(begin, equals + 1)
    if begin >= at or text[at - 1] == "." or (begin and text[begin - 1] in "•@"):
        return
    host = domain.group()
    end = domain.end()
    labels = host.split(".")
    while len(labels) > 1:
        top = labels[-1].rstrip("-_")
        if _TOP.fullmatch(top):
            # A sentence may go on without a space, `joe@example.com.Thanks`, and so may the name of a file.
            goes_on = (top[:1].isupper() and not top.isupper()) or top.lower() in FILE_TOPS
            if not (goes_on and labels[-2].lower() in EMAIL_TOPS and len(labels) > 2):
                break
        end -= len(labels.pop()) + 1
    else:
        return
    end -= len(labels[-1]) - len(top)
    if top.lower() in FILE_TOPS or (end < size and text[end] in "@•"):
        return
    if text[begin:at] == "git" and end < size and text[end] == ":":
        return
    known = len(top) == 2 or top.lower() in EMAIL_TOPS or top.lower().startswith("xn--")
    out.append((0.95 if known and top.isascii() else 0.6, begin, end, "EMAIL_ADDRESS"))
