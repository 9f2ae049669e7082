"""Known identities: the names, addresses and numbers of those who take part in a conversation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256

from core.privacy.found import Found
from core.privacy.words import words

_SCORE = 0.9
_PART = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_LETTERS = re.compile(r"[^\W\d_]+")
_BETWEEN = re.compile(r"[ .,\-]{1,2}\Z")
_SHORTEST_PHONE = 7
_FEW = 16
_NUMBER = re.compile(r"(?<![\w•])[+(]{0,2}[0-9](?:[ .\-/()]{0,3}[0-9]){6,16}(?![0-9•])")
# First names that are words as well: a name only as a name is written.
COMMON_WORDS = words("""
    will may mark rose bill bob jack grace hope faith joy june april august dawn summer autumn ivy lily
    daisy violet amber ruby pearl crystal iris jade olive ginger pat art gene drew chase grant frank
    rich rob sue ray guy miles dean earl duke king young long short brown black white green gray grey
    price love best bright day field hill wood stone rivers lake west east north south page cook baker
    smith taylor mason hunter carter cash cliff clay dale glen lance max nick norm pierce rusty skip
    stew tad trip wade ward woody angel bliss candy carol charity cherry destiny eve harmony heather
    holly honor jewel joyce juan melody mercy misty paige patience penny poppy robin sage sandy skye
    star stella sunny terry tiffany unique van war ken don john trump ernst klein gross lang kurz jung
    weiss schwarz braun koch richter sommer winter herbst blanc petit grand jolie belle rosa luz sol
    mar paz pilar consuelo dolores esperanza santos cruz reis costa alma maria the and for not you her
    his has had was are but
""")


@dataclass(frozen=True, slots=True)
class Identity:
    """What the platform holds about one participant."""

    names: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    phones: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Known:
    """Identities compiled for matching; equal where they hold the same words."""

    version: str
    names: re.Pattern[str] | None = field(compare=False, repr=False)
    exact: re.Pattern[str] | None = field(compare=False, repr=False)
    emails: frozenset[str] = field(compare=False, repr=False)
    phones: tuple[str, ...] = field(compare=False, repr=False)
    # Without one of these, case aside, no name and nothing exact is in a text.
    signs: tuple[str, ...] = field(compare=False, repr=False)
    first_words: frozenset[str] = field(compare=False, repr=False)

    def find(self, text: str, out: list[Found], *, digits: bool = True) -> None:
        """Every mention of them in a folded text; without `digits` it holds no number of a phone's length."""
        if self._mentioned(text):
            self._words(text, out)
        if self.phones and digits:
            self._numbers(text, out)

    def _mentioned(self, text: str) -> bool:
        folded = text.casefold()
        for sign in self.signs:
            if sign in folded:
                return True
        return bool(self.first_words) and not self.first_words.isdisjoint(_LETTERS.findall(folded))

    def _words(self, text: str, out: list[Found]) -> None:
        if self.names is not None:
            _names(self.names, text, out)
        if self.exact is not None:
            for held in self.exact.finditer(text):
                kind = "EMAIL_ADDRESS" if held.group().lower() in self.emails else "PERSON"
                out.append((_SCORE, held.start(), held.end(), kind))

    def _numbers(self, text: str, out: list[Found]) -> None:
        for held in _NUMBER.finditer(text):
            digits = "".join([letter for letter in held.group() if letter.isdigit()])
            if any(digits == phone or digits.lstrip("0") == phone for phone in self.phones):
                begin = held.start() + (held.group()[0] == "(" and ")" not in held.group())
                out.append((_SCORE, begin, held.end(), "PHONE_NUMBER"))


def known(identities: Sequence[Identity]) -> Known | None:
    """The identities ready for matching, kept for the next message; None where they hold nothing."""
    return _compiled(tuple(identities))


@lru_cache(maxsize=1024)
def _compiled(identities: tuple[Identity, ...]) -> Known | None:
    parts: set[str] = set()
    whole: set[str] = set()
    exact: set[str] = set()
    emails: set[str] = set()
    phones: set[str] = set()
    for identity in identities:
        for name in identity.names:
            held = _PART.findall(name)
            parts.update(part for part in held if len(part) > 2)
            if len(held) > 1:
                whole.add(" ".join(name.split()))
        emails.update(email.strip().lower() for email in identity.emails if "@" in email)
        exact.update(other.strip() for other in identity.others if len(other.strip()) > 2)
        for phone in identity.phones:
            phones.update(_written(phone))
    if not (parts or exact or emails or phones):
        return None
    few = {spelling.casefold() for word in parts | whole | exact | emails for spelling in _spellings(word)}
    first_words: frozenset[str] = frozenset()
    if len(few) > _FEW:
        # Many names are asked for word by word of the text, so that their number does not count.
        first_words = frozenset(word for spelling in few if (word := _first_word(spelling)))
        few = {spelling for spelling in few if not _first_word(spelling)}
    # Who has a longer one has the shorter one, too.
    least = {sign for sign in few if not any(other != sign and other in sign for other in few)}
    words = "\n".join(["\t".join(sorted(held)) for held in (parts, whole, exact, emails, phones)])
    return Known(
        version=sha256(words.encode("utf-8", "surrogatepass")).hexdigest()[:16],
        names=_names_pattern(parts, whole),
        exact=_alternatives(exact | emails),
        emails=frozenset(emails),
        phones=tuple(sorted(phones)),
        signs=tuple(sorted(least)),
        first_words=first_words,
    )


def _first_word(spelling: str) -> str:
    held = _LETTERS.search(spelling)
    return held.group() if held else ""


def _spellings(word: str) -> set[str]:
    """`Strauß` is also written `STRAUSS`."""
    return {word, word.replace("ß", "ss"), word.replace("’", "'"), word.casefold()}


def _names_pattern(parts: set[str], whole: set[str]) -> re.Pattern[str] | None:
    """A whole name is one however it is written; a part that is a word as well only with a capital."""
    free = {spelling for name in whole for spelling in _spellings(name)}
    cased: set[str] = set()
    for part in parts:
        if part.casefold() in COMMON_WORDS:
            cased.add(part[:1].upper() + part[1:].lower())
        else:
            free |= _spellings(part)
    arms = []
    if free:
        arms.append("(?i:" + _any(free) + ")")
    if cased:
        arms.append(_any(cased))
    return re.compile(rf"(?<![\w•])(?:{'|'.join(arms)})(?!\w|•)") if arms else None


def _any(words: set[str]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=lambda word: (-len(word), word)))


def _alternatives(words: set[str]) -> re.Pattern[str] | None:
    if not words:
        return None
    spelled = {spelling for word in words for spelling in _spellings(word)}
    return re.compile(rf"(?<![\w•])(?<!\w[.+@-])(?:{_any(spelled)})(?![\w•@])", re.IGNORECASE)


def _names(pattern: re.Pattern[str], text: str, out: list[Found]) -> None:
    """Parts that stand side by side are one name."""
    begin = end = -1
    for held in pattern.finditer(text):
        if end >= 0 and _BETWEEN.fullmatch(text[end : held.start()]):
            end = held.end()
            continue
        if end >= 0:
            out.append((_SCORE, begin, end, "PERSON"))
        begin, end = held.span()
    if end >= 0:
        out.append((_SCORE, begin, end, "PERSON"))


def _written(phone: str) -> set[str]:
    """The digits a number may be written with: with its country's code and without."""
    digits = "".join([letter for letter in phone if letter.isdecimal()])
    if len(digits) < _SHORTEST_PHONE:
        return set()
    ways = {digits.lstrip("0")}
    if phone.strip().startswith("+"):
        import phonenumbers

        try:
            national = phonenumbers.national_significant_number(phonenumbers.parse(phone))
        except phonenumbers.NumberParseException:
            return ways
        if len(national) >= _SHORTEST_PHONE:
            ways.add(national)
    return ways
