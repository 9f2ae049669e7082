"""What is somebody's own: names of known people, birthdays, street addresses, and what must stay secret."""

from __future__ import annotations

import base64
import json
import string
from datetime import date, timedelta

from benchmarks.privacy.labelled import Dice, Value, Who

_WORD = string.ascii_letters + string.digits


def person(dice: Dice, language: str) -> Value:
    faker = dice.faker(language)
    first, last = faker.first_name(), faker.last_name()
    full = f"{first} {last}"
    text = dice.pick((full, full, first, first, last, full.lower(), full.upper(), f"{last}, {first}"))
    return Value("PERSON", text, who=Who(names=(full,)))


_MONTHS = {
    "en": "January February March April May June July August September October November December",
    "de": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "es": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    "pt": "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
}


def birthday(dice: Dice, language: str) -> Value:
    born = date(1930, 1, 1) + timedelta(days=dice.between(0, 29000))
    month = _MONTHS[language].split()[born.month - 1]
    day, year = born.day, born.year
    numeric = [born.isoformat(), f"{day:02}/{born.month:02}/{year}", f"{day:02}-{born.month:02}-{year}"]
    words = {
        "en": [f"{month} {day}, {year}", f"{day} {month} {year}", f"{month[:3]} {day} {year}", f"{born.month}/{day}/{year}"],
        "de": [f"{day}. {month} {year}", f"{day:02}.{born.month:02}.{year}", f"{day}.{born.month}.{year % 100:02}"],
        "fr": [f"{day} {month} {year}", f"{'1er' if day == 1 else day} {month} {year}", f"{day:02}.{born.month:02}.{year}"],
        "es": [f"{day} de {month} de {year}", f"{day} {month} {year}", f"{day}/{born.month}/{year % 100:02}"],
        "pt": [f"{day} de {month} de {year}", f"{day}/{born.month}/{year}"],
    }[language]  # fmt: skip
    return Value("DATE_OF_BIRTH", dice.pick(numeric + words + words), cue=True)


_STREETS = {
    "en": ("{n} {w} Street", "{n} {w} Road", "{n} {w} Ave", "{n} {w} Lane", "{n} {w} Blvd, Apt {m}", "{n} N {w} St", "{n} {w} Drive"),
    "de": ("{w}straße {n}", "{w}str. {n}", "{w}weg {n}a", "Am {w}platz {n}", "{w}allee {n}", "{w}gasse {n}"),
    "fr": ("{n} rue {w}", "{n} avenue {w}", "{n} bis, rue {w}", "{n}, boulevard {w}", "{n} place {w}", "{n} chemin {w}"),
    "es": ("Calle {w} {n}", "C/ {w}, {n}", "Avenida {w} {n}", "Plaza {w} {n}", "Av. {w}, {n}", "Paseo {w} {n}"),
    "pt": ("Rua {w}, {n}", "Avenida {w}, {n}", "Av. {w} {n}", "Travessa {w}, {n}", "R. {w}, {n}", "Praça {w}, {n}"),
}  # fmt: skip
_STREET_WORDS = {
    "en": "Maple Willow Foxglove Harbor Orchard Mill Chestnut Kingsley".split(),
    "de": "Linden Garten Mühlen Rosen Birken Schul Bahnhof Wiesen".split(),
    "fr": ("des Lilas", "du Moulin", "de la Gare", "Voltaire", "des Écoles", "du Château"),
    "es": ("Mayor", "de la Luna", "del Prado", "San Martín", "Los Olivos", "Cervantes"),
    "pt": ("das Flores", "do Comércio", "Sete de Abril", "dos Pinheiros", "Augusta", "da Liberdade"),
}


def street_address(dice: Dice, language: str) -> Value:
    shape = dice.pick(_STREETS[language])
    text = shape.format(n=dice.between(1, 399), m=dice.between(1, 40), w=dice.pick(_STREET_WORDS[language]))
    return Value("STREET_ADDRESS", text)


def secret(dice: Dice, _language: str) -> Value:
    """Keys in the shape of their makers with random bodies, and passwords, which only their cue tells."""
    if dice.chance(0.35):
        password = dice.pick(
            (
                dice.some(_WORD, 8) + dice.pick("!#%&?*"),
                dice.pick(("Sommer", "Verano", "Dragon", "Lisboa")) + dice.digits(4) + dice.pick("!#$"),
                dice.some(string.ascii_lowercase, 5)
                + "-"
                + dice.some(string.ascii_lowercase, 6)
                + dice.digits(2),
                dice.some(_WORD + "!#$%&*+-=?@^_", 14),
            )
        )
        return Value("SECRET", password.strip("!?=-+") + "7" if password[-1] in "!?=" else password, cue=True)
    return Value("SECRET", dice.pick(_KEYS)(dice))


def _jwt(dice: Dice) -> str:
    def part(document: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")

    head = part({"alg": "HS256", "typ": "JWT"})
    return f"{head}.{part({'sub': dice.digits(8), 'exp': 1900000000})}.{dice.some(_WORD + '-_', 43)}"


def _private_key(dice: Dice) -> str:
    name = dice.pick(("RSA PRIVATE KEY", "PRIVATE KEY", "OPENSSH PRIVATE KEY", "EC PRIVATE KEY"))
    lines = "\n".join(dice.some(_WORD + "+/", 64) for _ in range(dice.between(2, 6)))
    return f"-----BEGIN {name}-----\n{lines}\n-----END {name}-----"


_KEYS = (
    lambda dice: "sk-" + dice.some(_WORD, 48),
    lambda dice: "sk-proj-" + dice.some(_WORD + "-_", 64),
    lambda dice: "sk-ant-api03-" + dice.some(_WORD + "-_", 80),
    lambda dice: dice.pick(("ghp_", "gho_", "ghs_")) + dice.some(_WORD, 36),
    lambda dice: "github_pat_" + dice.some(_WORD, 22) + "_" + dice.some(_WORD, 59),
    lambda dice: "glpat-" + dice.some(_WORD + "-_", 20),
    lambda dice: "xoxb-" + dice.digits(12) + "-" + dice.digits(12) + "-" + dice.some(_WORD, 24),
    lambda dice: dice.pick(("AKIA", "ASIA")) + dice.some(string.ascii_uppercase + "234567", 16),
    lambda dice: "AIza" + dice.some(_WORD + "-_", 35),
    lambda dice: dice.pick(("sk_live_", "rk_live_", "sk_test_")) + dice.some(_WORD, 24),
    lambda dice: "hf_" + dice.some(string.ascii_letters, 34),
    lambda dice: "npm_" + dice.some(_WORD, 36),
    lambda dice: "SG." + dice.some(_WORD + "-_", 22) + "." + dice.some(_WORD + "-_", 43),
    _jwt,
    _jwt,
    _private_key,
)
