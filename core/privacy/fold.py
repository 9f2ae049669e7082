"""One character for another: digits, spaces, dashes and letters of many scripts as their plain ones.

Folding keeps every position, so what is found in the folded text stands there in the text itself.
"""

from __future__ import annotations

import re
import unicodedata

from core.privacy.placeholders import PLACEHOLDERS

# What stands where a placeholder stood: no detector matches it or reads past it.
BLANK = "\x00"
# And where personal data was found already.
TAKEN = "\x01"
_SPACES = "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u00ad\ufe58\ufe63\uff0d"
# Case-insensitive engines disagree about these four.
_LETTERS = {"\u0130": "I", "\u0131": "i", "\u017f": "s", "\u212a": "K"}


def _table() -> dict[int, str]:
    table = {ord(space): " " for space in _SPACES}
    table |= {ord(dash): "-" for dash in _DASHES}
    table |= {ord(odd): plain for odd, plain in _LETTERS.items()}
    table |= {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}  # full width
    table[0xFF0D] = "-"
    for first in range(0x660, 0x11000, 2):
        for code in (first, first + 1):
            digit = unicodedata.decimal(chr(code), None)
            if digit is not None:
                table[code] = str(digit)
    table[0x2018] = table[0x2019] = "'"
    return table


_TABLE = _table()


def _ranges(codes: list[int]) -> str:
    ranges: list[list[int]] = []
    for code in codes:
        if ranges and code == ranges[-1][1] + 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "[" + "".join(f"{re.escape(chr(a))}-{re.escape(chr(b))}" for a, b in ranges) + "]"


# One that has to be folded, as a pattern.
ODD = _ranges(sorted(_TABLE))
_ODD = re.compile(ODD)


def odd(text: str) -> bool:
    """Whether a text has characters to fold."""
    return not text.isascii() and _ODD.search(text) is not None


def fold(text: str) -> str:
    """The text in plain characters, position for position."""
    return text if text.isascii() else _ODD.sub(_plain, text)


def _plain(held: re.Match[str]) -> str:
    return _TABLE[ord(held[0])]


# A mask, and the last digits it shows: they belong to it.
_TAIL = re.compile(r"(?<=•)(?:[ .\-()/]{0,3}[0-9]){4}(?![0-9])")


def blank(text: str) -> str:
    """The text with every placeholder blanked out and every mask whole, position for position."""
    if "•" in text:
        text = _TAIL.sub(lambda held: "•" * (held.end() - held.start()), text)
    if "<" not in text and "[" not in text:
        return text
    return PLACEHOLDERS.sub(lambda held: BLANK * (held.end() - held.start()), text)
