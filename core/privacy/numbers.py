"""Runs of digits: taken apart into groups, and read as cards, phones and numbers of identity.

A run ends at a letter or a line; within one, only a space parts two numbers. So a wall of digits
costs the same for each of its characters, however long it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from core.privacy import cards, phones
from core.privacy.context import Cue, after, topics
from core.privacy.fold import BLANK, TAKEN
from core.privacy.found import Found
from core.privacy.national import TEN, by_digits, nhs

_RUN = re.compile(
    # What it begins with stands first, before what may not stand before it: so it is searched for quickly.
    r"[0-9+(](?<![\w#$€£¥•\x00\x01].)(?<![0-9][.,:].)(?<!\w[-/].)"
    r"(?:(?<=[0-9])|(?<=\+) ?[(]?\+?[0-9]|(?<=\()\+?[0-9])"
    r"(?:(?!\.+ )[ .\-/()]{0,3}[0-9])*"
)
_DIGITS = re.compile(r"[0-9]+")
_EXTENSION = re.compile(r" ?(?:x|ext\.?|extension|durchwahl|poste) ?[0-9]{1,6}(?![\w•])", re.IGNORECASE)
_DATE = re.compile(
    r"(?<![0-9])(?:(?:19|20)[0-9]{2}([-./])[01]?[0-9]\1[0-3]?[0-9]|[0-3]?[0-9]([-./])[0-3]?[0-9]\2(?:19|20)[0-9]{2})"
    r"(?![0-9])"
)
_THOUSANDS = re.compile(r"[0-9]{1,3}[. ][0-9]{3}(?:[. ][0-9]{3})*")
# Six digits are a number where a colon says so: those of small countries.
_SHORT = re.compile(
    r": ?(?P<number>[0-9]{3}[ .-]?[0-9]{3}|[0-9]{2}[ .-]?[0-9]{4}|[0-9]{2}[ .-][0-9]{2}[ .-][0-9]{2})"
    r"(?![\w•]|[ .,:/-]?[0-9])"
)
_SHORT_OF = re.compile(
    r"(?<![^\W_])(?:phone|tel|telephone|fax|telefon|téléphone|teléfono|telefone)(?: number| no)?\.?\Z",
    re.IGNORECASE,
)
# A number sign makes an order of a number, unless it stands behind the name of another.
_HASHED = re.compile(
    r"(?<![^\W_])(?:nhs|ssn|itin|phone|tel|cell|mobile|fax|acct|account|card|aadhaar|bsn|cpf|pesel)"
    r"(?: ?(?:no\.?|number|num|id))? ?#(?P<run>[0-9](?:(?!\.+ )[ .\-/()]{0,3}[0-9])*)",
    re.IGNORECASE,
)
_US_SHAPE = re.compile(r"(?:\+?(?:001|1)[-. ]?)?(?:\([0-9]{3}\) ?|[0-9]{3}[-. ])[0-9]{3}[-. ][0-9]{4}")
_PAIRS = re.compile(r"[0-9]{1,2}(?:[ .\-/][0-9]{1,2})+")
_DOTTED = re.compile(r"[2-9][0-9]{2,3}\.[0-9]{4}")
_SLASHED = re.compile(r"0[1-9][0-9]{1,3}/ ?[0-9]{5,8}")  # Austria, Germany
_BETWEEN = re.compile(r"[^0-9]+")
_ZIP = re.compile(r"[0-9]{5}-[0-9]{4}")
_PAIRED = re.compile(r"[1-9][0-9] 9?[0-9]{4}-[0-9]{4}|[6-9][0-9]{4}[ -][0-9]{5}")  # Brazil, India
# Bounds of machine words, and counting.
_NO_PHONES = frozenset({"2147483647", "2147483648", "4294967295", "4294967296", "0123456789"})
_COVERED = re.compile(r"•[ .\-()/+]*[0-9]{0,3}[ .\-()/+]*\Z")
_FOURS = re.compile(r"[0-9]{4}(?:[ -][0-9]{4}){2,}")
_YEARS = re.compile(r"(?:19|20)[0-9]{2}(?:[ -]{1,3}(?:19|20)[0-9]{2})+")
_GLUED = re.compile(r"[\w•]|[-/_.:,][0-9A-Za-z_]|%")
_FOUND = frozenset((BLANK, TAKEN))
_PARTING = b"+ .-/()"
_DATED = frozenset("-./")
_NEAR = 30
_SHORTEST_DATE = 8
_ORDER = -2
_MOST_GROUPS = 7
_MOST_DIGITS = 19
_MOST_CARD_GROUPS = 6
_CARD_GROUP = 4


@dataclass(frozen=True, slots=True)
class Regions:
    """Whose national numbers are read: `own` are the account's, `all` hold the built-in ones too."""

    all: tuple[str, ...]
    own: tuple[str, ...]


def find(text: str, out: list[Found], regions: Regions) -> None:
    """Every card, phone and identity number written in digits."""
    covered = "•" in text
    reader = _Run(text, out, regions)
    for run in _RUN.finditer(text):
        begin, end = run.span()
        if end - begin < phones.SHORTEST or (covered and _masked(text, begin)):
            continue
        if end - begin < _SHORTEST_DATE or _DATED.isdisjoint(run[0]) or not _DATE.search(text, begin, end):
            reader.read(begin, end)
            continue
        for piece in _without_dates(text, begin, end):
            reader.read(*piece)
    if "#" in text:
        for hashed in _HASHED.finditer(text):
            reader.read(*hashed.span("run"))
    if ":" in text:
        for short in _SHORT.finditer(text):
            begin, end = short.span("number")
            said = _SHORT_OF.search(text, max(0, short.start() - _NEAR), short.start())
            if said and not _masked(text, begin):
                out.append((0.5, begin, end, "PHONE_NUMBER"))


def _masked(text: str, begin: int) -> bool:
    """Whether these are the last digits of a number that was masked."""
    before = text[max(0, begin - 12) : begin]
    return before.count("•") > 1 and _COVERED.search(before) is not None


def _without_dates(text: str, begin: int, end: int) -> list[tuple[int, int]]:
    pieces: list[tuple[int, int]] = []
    for date in _DATE.finditer(text, begin, end):
        if date.start() > begin:
            pieces.append((begin, date.start()))
        begin = date.end()
    if begin < end:
        pieces.append((begin, end))
    return pieces


class _Run:
    """One run after the other: reads windows of its groups; what it finds goes to `out`."""

    __slots__ = ("beside", "beside_of", "cut", "groups", "loose", "out", "regions", "text")

    def __init__(self, text: str, out: list[Found], regions: Regions) -> None:
        self.text = text
        self.out = out
        self.regions = regions
        self.groups: list[tuple[int, int]] = []
        self.beside: list[int] = []  # the cues before the window's begin
        self.beside_of = -1
        self.loose = False
        self.cut = False

    def read(self, begin: int, end: int) -> None:
        """The whole first, then what lies between two spaces, longest first."""
        text = self.text
        self.loose = self.cut = False
        groups = self.groups = [found.span() for found in _DIGITS.finditer(text, begin, end)]
        if _GLUED.match(text, end) and text[end - 1].isdigit() and not _EXTENSION.match(text, end):
            glued = groups.pop()
            # What goes on into the glued group is no number of its own.
            self.cut = bool(groups) and text[groups[-1][1] : glued[0]].strip("(+)") != " "
        count = [0]
        total = 0
        for first, last in groups:
            total += last - first
            count.append(total)
        if total < phones.SHORTEST:
            return
        whole = _sign(text, begin, groups[0][0])
        if total <= _MOST_DIGITS and not self.cut and self._window(whole, 0, len(groups)):
            return
        at = 0 if len(groups) > 1 else 1
        while at < len(groups):
            if at and text[groups[at - 1][1] : groups[at][0]].strip("(+") != " ":
                at += 1
                continue
            past = self._longest_from(count, at, begin)
            if past == 1 and at == 0 and "+" in text[whole : whole + 2] and count[-1] <= phones.LONGEST:
                # No country knows it, and yet it is written as a number.
                self.loose = True
                if self._window(whole, 0, len(groups)):
                    return
            at = past

    def _longest_from(self, count: list[int], first: int, least: int) -> int:
        """The group after the longest number from this one on, or simply the next."""
        text, groups = self.text, self.groups
        begin = _sign(text, groups[first - 1][1] if first else least, groups[first][0])
        self._look_beside(begin)
        shortest = phones.SHORTEST if self.beside or text[begin] == "+" else phones.WITHOUT_CUE
        for last in range(min(len(groups), first + _MOST_GROUPS), first, -1):
            digits = count[last] - count[first]
            if digits < shortest:
                break
            if digits > _MOST_DIGITS or (last == len(groups) and (first == 0 or self.cut)):
                continue
            if last < len(groups) and text[groups[last - 1][1] : groups[last][0]].strip("(+)") != " ":
                continue
            if self._window(begin, first, last):
                return last
        return first + 1

    def _look_beside(self, begin: int) -> None:
        if begin != self.beside_of:
            self.beside, self.beside_of = topics(self.text, begin), begin

    def _window(self, begin: int, first: int, last: int) -> bool:
        text = self.text
        end = self.groups[last - 1][1]
        digits = written = text[begin:end]
        if not written.isdigit():
            digits = written.encode().translate(None, _PARTING).decode()
            if written[0] == "(" and ")" not in written:
                begin += 1
                written = written[1:]
        if begin != self.beside_of:
            self.beside, self.beside_of = topics(text, begin), begin
        held = None
        behind = after(text, end)
        if "+" not in written[:2]:
            cues = self.beside
            held = by_digits(digits, written, cues, behind)
            if len(digits) == TEN:
                held = nhs(held, text, begin, end, cues)
            if (
                held is None
                and last - first <= _MOST_CARD_GROUPS
                and not _measure(written)
                and cards.valid(digits, cues, behind)
            ):
                held = ("CREDIT_CARD", 0.95)
        if held is None:
            score = self._phone(begin, behind, digits, written)
            if not score:
                # A plus may part it from what was found before it.
                glued = text[begin] == "+" and not _FOUND.isdisjoint(text[max(0, begin - 2) : begin])
                return glued and self._window(begin + 1, first, last)
            held = ("PHONE_NUMBER", score)
            extension = _EXTENSION.match(text, end)
            end = extension.end() if extension else end
        self.out.append((held[1], begin, end, held[0]))
        return True

    def _phone(  # noqa: PLR0911 (one a reason)
        self, begin: int, behind: int, digits: str, written: str
    ) -> float:
        """How sure these digits are a phone number: by their plus, by a word beside, by their form."""
        size = len(digits)
        if size > phones.LONGEST + 2:
            return 0.0
        told = _told(self.beside, behind)
        if "+" in written[:2]:
            sure = phones.international(digits)
            if sure <= phones.PLAUSIBLE and not self.loose:
                return 0.0
            return min(0.95, sure + 0.1) if sure and told > 0 else sure
        if told == _ORDER or (told < 0 and written.isdigit()):
            return 0.0
        if told > 0 and size <= phones.LONGEST and _speakable(written):
            if phones.national(digits, self.regions.all):
                return 0.8
            # Digits of no plan need the word close by.
            near = _told(topics(self.text, begin, _NEAR), behind)
            return 0.5 if near > 0 else 0.0
        if size < phones.WITHOUT_CUE and written[0] == "(" and phones.national(digits, self.regions.own):
            return 0.5
        if size < phones.WITHOUT_CUE or self.text[begin - 1 : begin] == "=":
            return 0.0
        return _untold(digits, written, self.regions)


def _sign(text: str, least: int, at: int) -> int:
    """Where the number of this first group begins, its plus and bracket with it."""
    while at > least and text[at - 1] in "+(":
        at -= 1
    if at - 1 > least and text[at - 1] == " " and text[at - 2] == "+":
        return at - 2
    if at - 1 == least and text[at - 1] == " " and text[least] == "+":
        return least
    return at


def _told(cues: list[int], behind: int) -> int:
    """1 where the nearest word says phone, -1 another number, -2 an order, 0 where none speaks."""
    if behind & Cue.LINKED:
        return 1 if behind & Cue.PHONE else -1 if behind & ~(Cue.LINKED | Cue.NUMBER | Cue.OTHER) else _ORDER
    for cue in cues:
        if cue & Cue.PHONE:
            return 1
        if cue & Cue.OTHER:
            return _ORDER
        if cue != Cue.NUMBER:
            return -1
    return 1 if behind & Cue.PHONE else 0


def _speakable(written: str) -> bool:
    """Whether what a word calls a phone number may be one."""
    if written.count("/") > 1 or " / " in written or _YEARS.fullmatch(written):
        return False
    return not _measure(written) and not _counted(written)


def _untold(digits: str, written: str, regions: Regions) -> float:  # noqa: PLR0911 (one line a form)
    """How sure the way of writing alone makes these digits."""
    if _US_SHAPE.fullmatch(written):
        return 0.6
    if _SLASHED.fullmatch(written):
        return 0.45
    if digits[:2] == "00":
        return 0.7 if phones.international(digits[2:]) > phones.PLAUSIBLE else 0.0
    if len(digits) > phones.LONGEST or _of_others(digits, written):
        return 0.0
    if regions.own and phones.national(digits, regions.own):
        return 0.6
    if _THOUSANDS.fullmatch(written) or (_PAIRS.fullmatch(written) and digits[0] != "0"):
        return 0.0
    if written.isdigit():
        if digits in _NO_PHONES:
            return 0.0
        if digits[0] == "0":
            return 0.5 if 10 <= len(digits) <= 12 and phones.national(digits, regions.all) else 0.0
        return 0.45 if len(digits) == 10 and phones.north_american(digits) else 0.0
    return 0.5 if len(digits) <= 12 and _dialled(written) and phones.national(digits, regions.all) else 0.0


def _of_others(digits: str, written: str) -> bool:
    """A place, a price, years, or groups of four as cards have them."""
    fours = digits[0] != "0" and _FOURS.fullmatch(written)
    return bool(fours) or _measure(written) or _YEARS.fullmatch(written) is not None


def _counted(written: str) -> bool:
    """`1 2 3 4 5 6 7`"""
    groups = _DIGITS.findall(written)
    return len(groups) > 6 or sum(len(group) == 1 for group in groups) > 3


def _measure(written: str) -> bool:
    """`52.520008` and `1.234.567`: a place, a price."""
    if _DOTTED.fullmatch(written) or "." not in written or any(mark in written for mark in " -/()"):
        return False
    return written.count(".") == 1 or _THOUSANDS.fullmatch(written) is not None


def _dialled(written: str) -> bool:
    """Whether groups and what parts them look like a number that is dialled."""
    if _ZIP.fullmatch(written):
        return False
    if written[0] == "(":
        return True
    groups = _DIGITS.findall(written)
    if written[0] == "0":
        return len(groups) <= 6 and len(groups[0]) > 1
    if _PAIRED.fullmatch(written):
        return True
    if all(len(group) == _CARD_GROUP for group in groups):
        return False
    alike = len(set(_BETWEEN.findall(written))) == 1
    return alike and 3 <= len(groups) <= 5 and all(2 <= len(group) <= 5 for group in groups)
