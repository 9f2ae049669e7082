"""Street addresses in six languages' forms: a guess, made only where a policy asks for it."""

from __future__ import annotations

import re

from core.privacy.found import Found

_WORD = r"[^\W\d_][\w'.-]{0,24}"
_ENGLISH = re.compile(
    rf"(?<![\w.,-])[0-9]{{1,6}}[A-Za-z]? (?:(?:[NSEW]|North|South|East|West)\.? )?(?:{_WORD} ){{1,4}}?"
    r"(?:Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Drive|Dr|Lane|Ln|Court|Ct|Way|Place|Pl|Square|Sq|Terrace|Ter"
    r"|Parkway|Pkwy|Highway|Hwy|Circle|Cir|Trail|Close|Crescent)\b\.?"
    r"(?:,? (?:Apt|Apartment|Suite|Ste|Unit|Floor|Fl|#)\.? ?[0-9A-Z-]{1,6})?",
    re.IGNORECASE,
)
_GERMAN = re.compile(
    r"(?<![\w•])[A-ZÄÖÜ][\wäöüß.-]{1,30}(?:[ -][A-ZÄÖÜ][\wäöüß.-]{1,20}){0,2}?"
    r"(?:straße|strasse|str\.|weg|platz"
    r"|allee|gasse|ring|ufer|damm) [0-9]{1,4} ?[a-z]?(?![\w•])"
    r"|(?<![\w•])(?:Straße|Platz|Allee|Weg) (?:der|des|am|zur|zum) "
    r"(?:[A-ZÄÖÜ][\wäöüß.-]{1,20} ?){1,3}[0-9]{1,4}(?![\w•])"
)
_LINKS = r"(?:(?i:de|du|des|d'|del|della|di|da|do|dos|das|la|le|les|las|los|el|l'|y|et|e) ?)"
# The first word may be written small; what follows it belongs to the name only as a name is written.
_ROMANCE = re.compile(
    r"(?<![\w•])(?:[0-9]{1,4}(?: ?(?:bis|ter))?,? )?(?:(?i:rue|avenue|boulevard|place|allée|chemin|impasse"
    r"|quai|calle|avenida|avda\.?|av\.|plaza|paseo|carrer|rua|travessa|praça|via|viale|piazza|corso) "
    r"|C/ ?|R\. )"
    rf"{_LINKS}{{0,3}}{_WORD}(?: {_LINKS}{{0,3}}(?-i:[A-ZÀ-Þ])[\w'.-]{{0,24}}){{0,3}}"
    r"(?:,? ?(?:n[º°] ?)?[0-9]{1,5}(?![\w•]))?"
)


def find(text: str, out: list[Found]) -> None:
    """What looks like a street with a house number."""
    for pattern in (_ENGLISH, _GERMAN, _ROMANCE):
        for held in pattern.finditer(text):
            words = held.group().rstrip(" ,.")
            if any(letter.isdigit() for letter in words):
                out.append((0.45, held.start(), held.start() + len(words), "STREET_ADDRESS"))
