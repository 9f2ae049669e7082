"""Passwords and PINs with other words between them and what calls them so, before it or behind it.

What is between decides: a value stands behind `is`, `to`, a colon, a quote, or after words that say nothing.
And it must be no ordinary word, no time, no version.
"""

from __future__ import annotations

import re

from core.privacy.context import FILLING
from core.privacy.found import Found
from core.privacy.words import words

# The gate knows them by these, wherever they stand.
CALLED_FAR = (
    r"passwor[dt]|kennwort|pass ?code|pass ?phrase|passwd|pswd|pwd|zugangscode|geheimzahl|mot de passe"
    r"|contrase[ñn]a|senha|palavra[- ]passe|code d'acc[èe]s"
    r"|c[óo]digo de ac(?:esso|ceso)|api[_ -]?(?:key|token|schlüssel)"
    r"|access[_ -]?(?:key|token)|cl[ée](?: d')? ?api|clave(?: de)? api|chave(?: de)? api|jeton"
)
SHORT = r"pw|mdp|clave|token|secret|pin"
_CUE = re.compile(
    rf"(?:{CALLED_FAR}|(?:(?<![^\W_])|(?<=zugriffs)|(?<=zugangs))(?:{SHORT}))(?![^\W_])", re.IGNORECASE
)
_MOST_BEHIND = 100
_MOST_BEFORE = 90
_MOST_WORDS = 14
_LEAST = 6
_LONGEST = 200
_LEAST_BESIDE = 8
_TOKEN = re.compile(r"[^\s\"'`<>\[\]()\x00\x01•«»„“”]+")
_ENDS = re.compile(r"[.!?;][ \n]|\n")
_OPENS = re.compile(r"(?:[:=`\"„“«>]|[ ][-–—]|^[^\w\n]*\n)[ \n(*]*\Z")
_SOLE = re.compile(r"[\w'-]+")
# What a value follows: `is`, `to`.
_LEADS = words("""
    is was are be now to as still been always again actually current new
    ist war sind sein lautet lautete jetzt auf schon immer noch aktuell neu
    est était c'est serait être maintenant en toujours été
    es era sería ser ahora sido siempre actualmente
    é foi era seria ser agora sempre para atualmente
    a
""")
_SAID_SO = words("""
    is was as that's thats ist war als das est était c'est comme es era como ese esa é esse essa
    right correct richtige richtiges bon bonne correcta correcto certa certo
    heißt should sollte müsste devrait debería deveria
""")
_APART = words("and und et y e or oder ou o")
_BEFORE_CUE = (
    FILLING
    | _SAID_SO
    | words("""
    neues altes neuer wifi wi-fi wlan login temporary that's richtiges certa correcta bonne minha meu
    sa son ton ta tu notre il esa essa à wlan-
""")
)
# Personal data that was found or redacted takes the cue, so that it makes no difference which it is.
_SPENT = re.compile("[\x00\x01•]")
_TRIM = ".,;:!?*"
# A time, a date, a version, a count with its unit, an ordinal, a size.
_ORDINARY = re.compile(r"v?\d+(?:[.,:/-]\d+)*[^\W\d]{0,8}|\d+[-x][^\W\d]+|\d+h\d*", re.IGNORECASE)
_MODEL = re.compile(r"[A-Z]{1,6}-?\d{1,6}(?:\.\d+)?[A-Z]?")
_ADDRESS = re.compile(r"://|@[\w-]+\.\w|\A[\w-]+(?:\.[a-z]{2,5})+(?:/|\Z)")
_CODE = re.compile(r"[A-Za-z_]+(?:\.[A-Za-z_]+)*\(")
_PIN = re.compile(
    r"(?<![\w-])(?:pin|geheimzahl|pin-nummer|pin number|passcode|zugangscode|code d'accès"
    r"|código de ac(?:esso|ceso))"
    r"(?! ?code| it\b| this\b| that\b| the\b)(?P<between>[^\d.!?;\n\x00\x01•]{1,40})"
    r"(?P<value>[0-9]{4,8})(?![\w•]|[.,:/-][0-9])",
    re.IGNORECASE,
)
_PIN_LEADS = re.compile(
    r"(?:[:=]|\b(?:is|was|now|to|ist|war|lautet|auf|est|était|es|era|é|foi|para|a))[ *`\"']*\Z", re.IGNORECASE
)


def find(text: str, out: list[Found]) -> None:
    """What is called a password from afar; each cue looks a bounded way before and behind it."""
    for cue in _CUE.finditer(text):
        place = _behind(text, cue.end()) or _before(text, cue.start())
        if place:
            out.append((0.65, *place, "SECRET"))
    pins = [pin.span("value") for pin in _PIN.finditer(text) if _PIN_LEADS.search(pin["between"])]
    out += [(0.6, begin, end, "SECRET") for begin, end in pins]


def _behind(text: str, begin: int) -> tuple[int, int] | None:  # noqa: PLR0911 (one a reason)
    said: list[str] = []
    for token in _TOKEN.finditer(text, begin, begin + _MOST_BEHIND):
        if len(said) > _MOST_WORDS:
            return None
        value, first = token.group(), token.start()
        between = text[begin:first]
        if _SPENT.search(between):
            return None
        ends = _ENDS.search(between)
        if ends and not (_OPENS.search(between) and ends.end() >= len(between.rstrip(' \n(*`"'))):
            return None
        whole = _TOKEN.match(text, first)
        value = whole.group() if whole else value
        bare = value.rstrip(_TRIM)
        if _strong(bare) and not text.startswith("•", first + len(value)):
            led = _OPENS.search(between) is not None or (bool(said) and said[-1] in _LEADS)
            silent = all(word in FILLING for word in said)
            if silent and (led or len(bare) >= _LEAST_BESIDE):
                return first, first + len(bare)
            if led and not _MODEL.fullmatch(bare):
                return first, first + len(bare)
            return None
        said += _SOLE.findall(value.lower())
    return None


def _before(text: str, end: int) -> tuple[int, int] | None:
    least = max(0, end - _MOST_BEFORE)
    spoken = False
    for token in reversed(list(_TOKEN.finditer(text, least, end))):
        value, first = token.group(), token.start()
        between = text[token.end() : end]
        if "\n" in between or _SPENT.search(between) or _SPENT.match(text, max(0, first - 1)):
            return None
        word = value.lower().strip("(),:;-–—*/")
        if not word or word in _BEFORE_CUE:
            if word in _APART or value[-1:] in {".", "!", "?", ";"}:
                return None
            spoken = spoken or word in _SAID_SO
            continue
        if not spoken or (first == least and least and not text[least - 1].isspace()):
            return None
        bare = value.rstrip(_TRIM)
        if value != bare and value[-1] not in ",*:":
            return None
        return (first, first + len(bare)) if _strong(bare) and not _MODEL.fullmatch(bare) else None
    return None


def _strong(value: str) -> bool:
    """Letters with digits, and neither a time nor a version nor an address."""
    if not _LEAST <= len(value) <= _LONGEST or _ORDINARY.fullmatch(value) or _ADDRESS.search(value):
        return False
    if _CODE.match(value):
        return False
    return any(map(str.isdigit, value)) and any(map(str.isalpha, value))
