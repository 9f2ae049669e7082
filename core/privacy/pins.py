"""PINs, the codes of doors, and what stands behind the name of a login."""

from __future__ import annotations

import re

from core.privacy.found import Found

_DOORS = (
    r"(?:front |back )?door|gate|alarm|safe|(?:bike )?lock(?:er)?|garage|building|lobby|keypad|entrance"
    r"|unlock|haustür|tür|tor|alarmanlage|tresor|(?:fahrrad)?schloss|garagen|eingangs?|entsperr"
    r"|porte|portail|alarme|coffre(?:-fort)?|immeuble|cadenas|entrée"
    r"|puerta|portal|alarma|caja fuerte|garaje|candado|edificio|entrada"
    r"|porta|portão|cofre|garagem|cadeado|prédio"
)
# What the gate knows them by.
PINS = "pin|geheimzahl|passcode|zugangscode"
CODES = r"digicode|code|c[óo]digo|combination"
LOGINS = (
    r"(?:logins?|log-in|credentials|creds|zugangsdaten|anmeldedaten|identifiants?|credenciales|credenciais"
    r"|acceso|acesso|user/pass)"
)
_CODE_OF = (
    rf"(?:digicode|(?:{_DOORS})[ -]?code"
    r"|(?:code|combination|c[óo]digo) (?:for|to|of|für|zum|zur|vom|von|de|du|del|do|da|d'|para)"
    rf"(?: ?(?:the|my|our|die|das|der|den|la|le|el|l'|a|o|notre|mi))? ?(?:{_DOORS}))"
)
_PIN = re.compile(
    r"(?<![\w-])(?:pin|geheimzahl|pin-nummer|pin number|passcode|zugangscode|code d'accès"
    rf"|código de ac(?:esso|ceso)|{_CODE_OF})"
    r"(?! ?code| it\b| this\b| that\b| the\b)(?P<between>[^\d.!;\n\x00\x01•]{1,40})"
    r"(?P<value>[0-9]{4,8})(?![\w•]|[.,:/-][0-9])",
    re.IGNORECASE,
)
_LEADS = re.compile(
    r"(?:[:=?]|\b(?:is|was|now|to|s|ist|war|lautet|auf|est|était|c'est|es|era|é|foi|para|a))"
    r"(?: (?:the|die|der|le|la|el|o|a))?[ *`\"']*\Z",
    re.IGNORECASE,
)
# Right behind, where nothing else is meant: `PIN 4821`, `door code 4821`.
_BESIDE = re.compile(
    rf"(?<![\w-])(?:(?-i:PIN)|(?:card|alarm|sim|phone|bank|door) pin|geheimzahl|{_CODE_OF}) "
    r"(?P<value>[0-9]{4,6})(?:[#*]|(?![\w•]|[ .,:/-]?[0-9]))",
    re.IGNORECASE,
)
_LOGIN = re.compile(
    rf"(?<![^\W_]){LOGINS} ?[:=] ?[^\s/:|,\x00\x01•]{{2,40}} ?[/:|] ?(?P<value>[^\s\"'`<>\x00\x01•]{{6,64}})",
    re.IGNORECASE,
)
_OPTION = re.compile(r"(?<!\S)(?:-u|--user) [^\s:\x00\x01•]{1,64}:(?P<value>[^\s\x00\x01•]{4,64})")
_TRIM = ".,;:!?)*"


def find(text: str, out: list[Found]) -> None:
    """What opens a door or an account, by the words before it."""
    led = [pin.span("value") for pin in _PIN.finditer(text) if _LEADS.search(pin["between"])]
    out += [(0.6, begin, end, "SECRET") for begin, end in led]
    out += [(0.6, *pin.span("value"), "SECRET") for pin in _BESIDE.finditer(text)]
    for pattern in (_LOGIN, _OPTION):
        for held in pattern.finditer(text):
            value = held["value"].rstrip(_TRIM)
            if any(map(str.isdigit, value)) and any(map(str.isalpha, value)) and not _reads_on(text, held):
                out.append((0.65, held.start("value"), held.start("value") + len(value), "SECRET"))


def _reads_on(text: str, held: re.Match[str]) -> bool:
    return text.startswith("•", held.end("value"))
