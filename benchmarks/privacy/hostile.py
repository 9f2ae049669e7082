"""Hostile messages: shapes that make a careless pattern look again and again at the same characters."""

from __future__ import annotations

from collections.abc import Mapping

_UNITS: Mapping[str, str] = {
    "dots": ".", "digits": "7", "digits and dots": "1.", "digits and spaces": "1 ", "digits and dashes": "12-",
    "four digits a group": "4111 ", "at signs": "@", "letters": "a", "letters and dots": "a.", "letters and at": "a@",
    "half addresses": "a.b-c+d@", "nearly addresses": "abc@def ", "schemes": "http://", "www": "www.", "slashes": "/a",
    "colons": "a:", "hextets": "ab:cd:", "pairs": "aa-", "pluses": "+", "plus and digits": "+49 1", "brackets": "(", "mixed brackets": "(1)[2]",
    "capitals": "AB", "iban starts": "DE12 ", "base 58": "1A2b3C", "hexadecimal": "0x1f", "keys": "sk-ab ", "jwt": "eyJa.",
    "pem": "-----BEGIN ", "passwords": "password: ", "cues": "phone passport iban ", "dates": "01.02.1990 ", "addresses": "12 rue ",
    "spaces": " ", "line ends": "\r\n", "no-break spaces": "1\u00a0", "combining": "e\u0301", "emoji": "👨‍👩‍👧", "placeholders": "[email:", "tags": "<A",
    "pw": "pw ", "pass": "pass ", "password is": "password is ", "pins": "pin ", "tokens": "token:", "joined pw": "pw-", "lines of pw": "pw\n",
    "pw and words": "pw is ab1 ", "pw and values": "pw ab12cd34 ", "tried": "tried ab12cd3 pw ", "tried words": "tried abcdefg ",
    "codes": "door code ", "codes for": "code for the door ", "codes and digits": "PIN 4 ", "logins": "login:a/", "users": "-u a:b ", "credentials": "://a:b",
    "bearers": "Bearer ", "birthdays": "born ", "births": "née à ab le ", "births and digits": "geb. 1.", "dates and births": "1.1.1990 dob ",
    "passports": "passport ", "passes": "Pass ", "passport digits": "passport 1234567 ", "licences": "license D", "licence links": "dl is is is ",
    "nhs": "nhs ", "nhs digits": "nhs 943 476 ", "nhs tens": "943 476 5919 nhs ", "patients": "patient 943 476 5918 ", "hashed": "phone#1 ", "hashes": "nhs #9434765919 ",
    "phones": "phone: 12 ", "calls": "call 5551234 ", "ssns": "ssn 536221234 ", "accounts": "account 12345678 ", "swifts": "swift ABCDEFGH ",
    "wallets": "0xab ", "shouted": "PASSWORD IS ", "accents": "contraseña ", "fillers": "password is the my ", "far": "password aaa aaa aaa aaa ",
    "underscores": "_a", "percent": "%41", "names": "Maria ", "street words": "Calle Rua 1 ",
}  # fmt: skip


def hostile_messages(length: int) -> dict[str, str]:
    """One message of about so many characters per shape."""
    return {name: (unit * (length // len(unit) + 1))[:length] for name, unit in _UNITS.items()}
