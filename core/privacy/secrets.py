"""Secrets: keys by their providers' prefixes, private keys, tokens, and passwords called so."""

from __future__ import annotations

import re

from core.privacy import passwords
from core.privacy.found import Found
from core.privacy.words import words

_KEYS = re.compile(
    r"(?<![A-Za-z0-9_•])(?:"
    r"(?:AKIA|ASIA|AROA|AIDA|AGPA|ANPA)[A-Z0-9]{16}"  # AWS
    r"|gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{40,255}"
    r"|gl(?:pat|dt|rt|ptt|soat|cbt|agent|oas)-[A-Za-z0-9_-]{20,255}"
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,255}|xapp-[0-9]-[A-Za-z0-9-]{10,255}"  # Slack
    r"|(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{10,255}|whsec_[A-Za-z0-9+/=]{24,255}"  # Stripe
    r"|sk-ant-[A-Za-z0-9_-]{20,255}|sk-(?:proj-|svcacct-|admin-|or-v1-)?[A-Za-z0-9_-]{20,255}"
    r"|AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{20,255}|GOCSPX-[A-Za-z0-9_-]{28}"  # Google
    r"|npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_-]{50,255}|hf_[A-Za-z0-9]{30,255}|dop_v1_[a-f0-9]{64}"
    r"|SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16,64}"  # SendGrid
    r"|(?:SK|AC)[0-9a-f]{32}"  # Twilio
    r"|key-[0-9a-f]{32}|shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}|sq0(?:atp|csp)-[A-Za-z0-9_-]{22,43}"
    r"|EAAC[A-Za-z0-9]{30,255}|rdme_[a-z0-9]{70}|lin_api_[A-Za-z0-9]{40}|xai-[A-Za-z0-9]{60,100}"
    r"|gsk_[A-Za-z0-9]{40,60}|r8_[A-Za-z0-9]{37}|pplx-[A-Za-z0-9]{40,60}|nvapi-[A-Za-z0-9_-]{50,90}"
    r"|[0-9]{8,10}:AA[A-Za-z0-9_-]{33}"  # Telegram
    r"|eyJ[A-Za-z0-9_-]{8,2000}\.[A-Za-z0-9_-]{8,4000}(?:\.[A-Za-z0-9_-]{0,2000})?"  # JWT
    r")(?![A-Za-z0-9_•])"
)
_BLOCK = re.compile(r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_BLOCK_END = re.compile(r"-----END (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_LONGEST_BLOCK = 16_384
# What calls a secret one.
CALLED = (
    r"pass(?:word|wd|code|phrase|w)?|pwd|pw|passwort|kennwort|zugangscode|geheimwort"
    r"|mot de passe|mdp|contraseña|contrasena"
    r"|clave(?: secreta| de acceso)?|senha|palavra-passe"
    r"|secret(?:[_ -]?(?:key|access[_ -]?key))?|client[_ -]secret"
    r"|api[_ -]?key|api[_ -]?token|access[_ -]?(?:key|token)|auth[_ -]?token"
    r"|bearer[_ -]token|private[_ -]key"
    rf"|(?:{passwords.NETWORK})[ -]?(?:key|schlüssel)"
    r"|api-schlüssel|clé(?: d')?api|clave api|chave(?: de)? api|token"
)
# `senha do wifi`, `password for the portal`
_OF = (
    r"(?: (?:of|for|to|from|de|del|da|do|du|des|für|vom|zum)(?: the| la| le| el| meu| mon| mi| das| den)?"
    r" [\w-]{2,20})?"
)
_CALLED = re.compile(
    rf"(?:(?<![^\W_])|(?=passwort|kennwort))(?P<cue>{CALLED}){_OF}[\"']?"
    r"(?:(?P<sign> ?[:=]{1,2}>? ?| ?-> ?)|"
    r"(?P<verb> (?:is|ist|lautet|est|es|é|war|was|are)(?: now| jetzt)?:? ))"
    r"(?P<quote>[\"'`«„“]?)(?P<value>[^\s\"'`<>\[\]\x00•«»„“”]{4,200})",
    re.IGNORECASE,
)
_BEARER = re.compile(r"(?<!\w)(?:Bearer|Basic) (?P<value>[A-Za-z0-9+/_.=~-]{16,2000})", re.IGNORECASE)
_LOGIN = re.compile(r"://[^\s/:@<>\x00]{1,64}:(?P<value>[^\s/:@<>\x00•]{3,128})@")
# A sentence that goes on: `forgot my password: please help`.
_GOES_ON = re.compile(r" [^\W\d_]{2}")
# An expression of a program: `parser.get(`, `Name.Class`.
_CODE = re.compile(r"[A-Za-z_]+(?:\.[A-Za-z_]+)*\(|[A-Za-z_]+(?:\.[A-Za-z_]+)+:?\Z")
# Words of other things, too, and how long what they call a secret is at the least.
_LOOSE = {"token": 8, "pass": 6, "passw": 6}
_LEAST_SAID = 6
_MODEL = re.compile(r"[A-Z]{1,6}-?[0-9]{1,8}[A-Z]?")
_PLAIN = re.compile(r"[^\W\d_]+[.,;!?)]*")


def keys(text: str, out: list[Found]) -> None:
    """Keys by their makers' prefixes, and private keys."""
    for held in _KEYS.finditer(text):
        key = held.group()
        if key[:3] == "sk-" and not _mixed(key[3:]):
            continue
        out.append((0.98, held.start(), held.end(), "SECRET"))
    if "-----" in text:
        _blocks(text, out)


def called(text: str, out: list[Found]) -> None:
    """What is called a password or a key: without its cue word, with its quotes left standing."""
    for held in _CALLED.finditer(text):
        value = held.group("value").rstrip(".,;!?)")
        if len(value) < 4 or not any(map(str.isalnum, value)):
            continue
        if not _secret(value, held) or _reads_on(text, held):
            continue
        begin = held.start("value")
        out.append((0.75, begin, begin + len(value), "SECRET"))
    passwords.find(text, out)


def logins(text: str, out: list[Found]) -> None:
    """What a request or an address brings along to be let in."""
    out += [(0.85, *held.span("value"), "SECRET") for held in _BEARER.finditer(text) if _mixed(held["value"])]
    out += [(0.97, *held.span("value"), "SECRET") for held in _LOGIN.finditer(text)]


def _blocks(text: str, out: list[Found]) -> None:
    past = 0
    for head in _BLOCK.finditer(text):
        if head.start() < past:
            continue
        tail = _BLOCK_END.search(text, head.end(), head.end() + _LONGEST_BLOCK)
        # A block that was cut off is as secret as a whole one.
        past = tail.end() if tail else min(len(text), head.end() + _LONGEST_BLOCK)
        end = past
        while end > head.end() and text[end - 1].isspace():
            end -= 1
        out.append((0.99, head.start(), end, "SECRET"))


def _reads_on(text: str, held: re.Match[str]) -> bool:
    """Whether a mask follows: what stands before it is no more than its beginning."""
    return text.startswith("•", held.end("value"))


def _mixed(value: str) -> bool:
    return any(letter.isdigit() for letter in value) and any(letter.isalpha() for letter in value)


def _secret(value: str, held: re.Match[str]) -> bool:
    """After a sign anything may be a secret; after a verb only what is no ordinary word."""
    if "://" in value or _CODE.match(value):
        return False
    least = _LOOSE.get(held["cue"].lower(), 0)
    if least:
        return _mixed(value) and len(value) >= least and not _MODEL.fullmatch(value)
    if held["verb"]:
        return _unusual(value) and (held["cue"].lower() != "secret" or len(value) >= _LEAST_SAID)
    if _PLAIN.fullmatch(value) is None:
        return True
    ends = value != held["value"] or not value.islower()
    return value.lower() not in _EMPTY and (ends or not _GOES_ON.match(held.string, held.end()))


def _unusual(value: str) -> bool:
    plain = _PLAIN.fullmatch(value) is not None
    return not plain and (_mixed(value) or any(not letter.isalnum() for letter in value))


_EMPTY = words("""
    null none true false undefined required optional string text hidden invalid incorrect wrong missing
    expired reset forgot change changed empty redacted password passwort contraseña senha secret yes no
""")
