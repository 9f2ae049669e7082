"""Passwords and keys with other words between them and what calls them so, before it or behind it.

What is between decides: a value stands behind `is`, `to`, a colon, a quote, or beside words that say nothing,
or somebody says that it is typed. And it must be no ordinary word, no time, no version, no product.
"""

from __future__ import annotations

import re

from core.privacy.context import FILLING
from core.privacy.found import Found
from core.privacy.words import words

NETWORK = r"wi-?fi|wlan|wpa[23]?|wep|network|netzwerk|router"
# The gate knows them by these, wherever they stand.
CALLED_FAR = (
    r"passwor[dt]|kennwort|pass ?code|pass ?phrase|passwd|pswd|pwd|zugangscode|geheimzahl|mot de passe"
    r"|contrase[ñn]a|senha|palavra[- ]passe|code d'acc[èe]s"
    r"|c[óo]digo de ac(?:esso|ceso)|api[_ -]?(?:key|token|schlüssel)"
    r"|access[_ -]?(?:key|token)|cl[ée](?: d')? ?api|clave(?: de)? api|chave(?: de)? api|jeton"
    rf"|(?:{NETWORK})[ -]?(?:key|code|pass|schlüssel)|cl[ée] (?:du |de la )?(?:{NETWORK}|réseau)"
    rf"|chave (?:do |da )?(?:{NETWORK}|rede)"
)
SHORT = r"pw|mdp|passw?|clave|token|secret|pin"
_CUE = re.compile(rf"(?:{CALLED_FAR}|(?:(?<![^\W_])|(?<=zugriffs)|(?<=zugangs))(?:{SHORT}))(?![^\W_])")
# These have other meanings, and need a sign or a verb, or to begin what is said.
_LOOSE = frozenset(("pass", "passw", "pin"))
_BEGINS = re.compile(
    r"(?:\A|[\n,;/|]|(?<![^\W_])(?:old|new|temp|temporary|login|root|admin|altes|neues))[ ]?\Z"
)
_MOST_BEHIND = 100
_MOST_BEFORE = 90
_MOST_WORDS = 14
_MOST_PASSED = 2
_LEAST = 6
_LONGEST = 200
_LEAST_BESIDE = 8
# A little more than the longest value, so that a wall of them costs what it is long.
_TOKEN = re.compile(r"[^\s\"'`<>\[\]()\x00\x01•«»„“”]{1,201}")
_END = re.compile(r"[.!?;][ \n]|\n")
_OPENS = re.compile(r"(?:[:=`\"„“«>]|[ ][-–—]|^[^\w\n]*\n)[ \n(*\"'`]*\Z")
_SOLE = re.compile(r"[\w'][\w'-]*")
# What a value follows: `is`, `to`.
_LEADS = words("""
    is was are be now to as still been always again actually current new s
    ist war sind sein lautet lautete jetzt auf schon immer noch aktuell neu
    est était c'est serait être maintenant en toujours été c
    es era sería ser ahora sido siempre actualmente
    é foi era seria ser agora sempre para atualmente
    a à con com avec with mit
""")
# What somebody does with a password, before it or behind it.
_TYPED = words("""
    type typed typing enter entered entering tried try trying put putting use used using write wrote
    tippe getippt tippte eingebe eingegeben gebe gib probiert probiere versuche versucht nehme benutze
    tape tapé tapais mets écris saisis saisi entre essaie essayé
    escribo escribí pongo puse tecleo meto introduzco probé uso
    digito digitei coloco coloquei boto escrevo tentei insiro
""")
_TRIED = re.compile(rf"(?<!\w)(?:{'|'.join(sorted(_TYPED))}) (?P<value>\S{{6,200}})")
_IT_IS = words("it s is it's that's its c est es é das ist the la el a o die")
_SAID_SO = words("""
    is was as that's thats ist war als das est était c'est comme es era como ese esa é esse essa
    right correct richtige richtiges bon bonne correcta correcto certa certo
    heißt should sollte müsste devrait debería deveria
""")
# From one password to the next.
_CHANGED = re.compile(r" (?:to|auf|zu|à|a|para|en|por) (?=[^\s*])", re.IGNORECASE)
_APART = words("and und et y e or oder ou o")
# Behind one of these stands what the password is for, or who asks.
_FOR = words("for für fürs pour para por of from von vom de del do da at bei chez in im")
# And these speak of the password, not of what it is.
_TURNED = words("""
    field id name hint length policy page link reset manager version username user folder email
    feld name hinweis länge seite datei champ page lien nom campo página enlace nombre nome
""")
_BEFORE_CUE = (
    FILLING
    | _SAID_SO
    | words("""
    neues altes neuer wifi wi-fi wlan login temporary that's richtiges certa correcta bonne minha meu
    sa son ton ta tu notre il esa essa à wlan- client root admin database server user db
""")
)
_SAYS_NOTHING = FILLING | words("""
    s c case sensitive netflix spotify google gmail facebook instagram amazon paypal apple icloud outlook
    email e-mail mail wifi wlan wi-fi internet bank account konto compte cuenta conta login zip pdf
""")
# Personal data that was found or redacted takes the cue, so that it makes no difference which it is.
_SPENT = re.compile("[\x00\x01•]")
_TRIM = ".,;:!?"
_MARKS = frozenset("!#$%&*+=?@^_~")
# A time, a date, a version, a count with its unit, an ordinal, a size.
_ORDINARY = re.compile(
    r"v?\d+(?:[.,:/-]\d+)*[^\W\d]{0,8}|\d+[-x][^\W\d]+|\d+h\d*|\d{1,2}[a-z]{3,9}\d{4}", re.IGNORECASE
)
_MODEL = re.compile(r"[A-Z]{1,6}-?\d{1,6}(?:\.\d+)?[A-Z]?")
# Of a passport, in German.
_NUMBERED = re.compile(r"[A-Za-z]{0,2}[0-9]{7,9}")
_PRODUCT = re.compile(
    r"(?:windows|win|office|outlook|iphone|ipad|ios|ipados|android|macos|galaxy|pixel|chrome|firefox|safari|gmail"
    r"|hotmail|post|word|excel|python|java|php|http|ipv|usb|sha|md|utf|base|oauth|web|fortnite|playstation|xbox"
    r"|wpa|email|mail|user|notes?|file|field|step|level|phase|version|v|room|zimmer|nist)[-_ ]?\d+\w{0,6}",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"://|@[\w-]+\.\w|\A[\w-]+(?:\.[a-z]{2,5})+(?:/|\Z)")
_CODE = re.compile(r"[A-Za-z_]+(?:\.[A-Za-z_]+)*\(")

# All in digits, which only a password's own name makes one.
_IN_DIGITS = re.compile(
    r"(?<![^\W_])(?:passwor[dt]|kennwort|pwd?|mot de passe|mdp|contraseña|senha|palavra-passe)"
    r"(?: (?:of|for|de|del|da|do|du|des|für)(?: the| la| le| el| l')? ?[^\W\d]{2,20})?"
    r"(?: (?:is|ist|lautet|was|war|est|es|é)(?: now| jetzt)?:? (?P<value>[0-9]{4,20})"
    r"| (?P<beside>[0-9]{6,20}))"
    r"(?![\w•]|[.,:/-][0-9]| (?:char|zeich|digit|stell|caract|letter|day|tage|jour|d[ií]a|minut))"
)


def find(text: str, out: list[Found]) -> None:
    """What is called a password from afar; each cue looks a bounded way, and not past the next one."""
    low = text.lower()
    cues = list(_CUE.finditer(low))
    done = 0
    for number, cue in enumerate(cues, 1):
        past = cues[number].start() if number < len(cues) else len(text)
        called = cue.group()
        loose = called in _LOOSE and (
            called == "pin" or not _BEGINS.search(low, max(0, cue.start() - 12), cue.start())
        )
        ahead = None if loose else _before(text, done, cue.start()) or _tried(text, low, done, cue.start())
        if ahead:
            out.append((0.65, *ahead, "SECRET"))
        place = _behind(text, cue.end(), past, loose=loose)
        if place and not (called == "pass" and _NUMBERED.fullmatch(text, *place)):
            out.append((0.65, *place, "SECRET"))
            changed = _CHANGED.match(text, place[1])
            value = _value(text, changed.end()) if changed else ""
            if changed and value:
                out.append((0.65, changed.end(), changed.end() + len(value), "SECRET"))
        done = cue.end()
    if cues:
        out += [(0.65, *held.span(held.lastgroup or "value"), "SECRET") for held in _IN_DIGITS.finditer(low)]


def _behind(text: str, begin: int, past: int, *, loose: bool) -> tuple[int, int] | None:
    said: list[str] = []
    crossed = -1  # so many words stood before the sentence ended
    asked = False
    passed = 0
    done = begin
    for token in _TOKEN.finditer(text, begin, min(len(text), begin + _MOST_BEHIND)):
        first = token.start()
        # With the mark that the last word took along.
        between = text[max(begin, done - 1) : first]
        opens = _OPENS.search(between) is not None
        if len(said) > _MOST_WORDS or _SPENT.search(between):
            return None
        goes_on = bool(said) and said[-1] in _LEADS and between[:1].isalnum()
        if not opens and not goes_on and _END.search(between):
            if crossed >= 0:
                return None
            crossed = len(said)
            asked = "?" in between
        value = _value(text, first)
        if asked and len(said) == crossed:
            opens = True
        if value and _stands(text, said, value, first, crossed, opens=opens, loose=loose):
            first += text.startswith("*", first)
            return first, first + len(value)
        passed += bool(value)
        if token.end() > past or passed > _MOST_PASSED:
            return None
        more = _SOLE.findall(token.group().lower())
        if more:
            said += more
            done = token.end()
    return None


def _value(text: str, first: int) -> str:
    """What may be a password here, or nothing."""
    whole = _TOKEN.match(text, first)
    if whole is None or text.startswith("•", whole.end()):
        return ""
    bare = whole.group().rstrip(_TRIM)
    if bare[:1] == "*":
        bare = bare.strip("*")
    return bare if _strong(bare) else ""


def _stands(
    text: str, said: list[str], value: str, first: int, crossed: int, *, opens: bool, loose: bool
) -> bool:
    """Whether what stands before a value, and the word behind it, make it one."""
    last = said[-1] if said else ""
    led = opens or last in _LEADS
    if crossed >= 0:
        since = said[crossed:]
        answered = opens if not since else all(word in _IT_IS for word in since)
        return (answered or last in _TYPED or _typed(text, first + len(value))) and _no_product(value)
    if not _TURNED.isdisjoint(said):
        return False
    if all(word in _SAYS_NOTHING for word in said):
        if led and (not loose or _no_product(value)):
            return True
        if not loose and _alone(value, last) and _no_product(value):
            return True
    if not (led or last in _TYPED or _typed(text, first + len(value))):
        return False
    return _no_product(value) and not (loose and said and not opens and last not in _LEADS)


def _alone(value: str, last: str) -> bool:
    """Whether a value needs nothing but its cue beside it."""
    return len(value) >= _LEAST_BESIDE or (last not in _FOR and sum(map(str.isdigit, value)) > 1)


def _no_product(value: str) -> bool:
    return not _MODEL.fullmatch(value) and not _PRODUCT.fullmatch(value)


def _typed(text: str, end: int) -> bool:
    behind = _SOLE.search(text, end, end + 20)
    return behind is not None and behind.group().lower() in _TYPED


def _before(text: str, least: int, end: int) -> tuple[int, int] | None:
    least = max(least, end - _MOST_BEFORE)
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
        whole = not (first == least and least and not text[least - 1].isspace())
        return _ahead(value, first) if spoken and whole else None
    return None


def _ahead(value: str, first: int) -> tuple[int, int] | None:
    """Where this word is a password, as far as the word itself tells."""
    bare = value.rstrip(_TRIM)
    if (value != bare and value[-1] not in ",*:") or not _strong(bare) or _MODEL.fullmatch(bare):
        return None
    return first, first + len(bare)


def _tried(text: str, low: str, least: int, end: int) -> tuple[int, int] | None:
    """`I tried … but it says the password is wrong`: within the sentence."""
    for held in _TRIED.finditer(low, max(least, end - _MOST_BEFORE), end):
        first = held.start("value")
        value = _value(text, first)
        between = text[first + len(value) : end]
        if value and not _END.search(between) and not _SPENT.search(between) and _no_product(value):
            return first, first + len(value)
    return None


def _strong(value: str) -> bool:
    """Letters with digits, or both cases with a mark; neither a time nor a version nor an address."""
    if not _LEAST <= len(value) <= _LONGEST or _ORDINARY.fullmatch(value) or _ADDRESS.search(value):
        return False
    if _CODE.match(value) or not any(map(str.isalpha, value)):
        return False
    if any(map(str.isdigit, value)):
        return True
    cased = any(map(str.islower, value)) and any(map(str.isupper, value))
    return cased and len(value) >= _LEAST_BESIDE and not _MARKS.isdisjoint(value)
