"""Ways to reach somebody, as people type them: e-mail addresses, phones, links, network addresses."""

from __future__ import annotations

import ipaddress
import string
from functools import cache

import phonenumbers
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from benchmarks.privacy.labelled import Dice, Value, Who

# Accounts of a language, and the regions their numbers come from.
ACCOUNT_REGIONS = {
    "en": ("US", "GB", "CA", "AU", "IN", "IE"),
    "de": ("DE", "AT", "CH"),
    "fr": ("FR", "BE", "CH"),
    "es": ("ES", "MX", "AR", "CO"),
    "pt": ("BR", "PT"),
}
ABROAD = tuple(
    "US GB DE FR ES BR PT MX IT NL BE CH AT PL SE NO DK FI IE CZ HU RO GR TR UA IL AE SA IN PK BD LK TH VN MY SG "
    "ID PH KR JP CN HK TW AU NZ ZA NG KE EG MA AR CL CO PE VE CR".split()
)
_TLDS = "com com com org net io de fr es com.br pt co.uk eu info dev app me at ch mx ca in".split()
_HOSTS = "mail shop blog api portal docs status support kunden clientes intranet".split()
_NAMES = (
    "bluewave northgate quietfox tamarind lumenpark oakridge solveria fernweh kestrelhub minerval castorix "
    "nuvola-labs greenkiosk papaya24 harborline"
).split()
_PATHS = (
    "invoice/8841 reset?step=2&lang=en u/4471/profile track/22914?lang=de account#billing p/AZ-19/item.html "
    "s/9xk2 menu.pdf wiki/Foo_(bar) search?q=red+shoes&page=2 cliente/factura.php?id=77"
).split()


def email(dice: Dice, language: str) -> Value:
    faker = dice.faker(language)
    first, last = _plain(faker.first_name()), _plain(faker.last_name())
    local = dice.pick(
        (
            f"{first}.{last}",
            f"{first[0]}{last}",
            f"{first}{dice.between(1, 99)}",
            f"{first}_{last}",
            f"{first}+{dice.pick(('shop', 'news', 'x1'))}",
            f"{first}-{last}.{dice.between(1960, 2009)}",
            f"{last}",
        )
    )
    host = dice.pick(
        (
            faker.free_email_domain(),
            f"{dice.pick(_NAMES)}.{dice.pick(_TLDS)}",
            f"{dice.pick(_HOSTS)}.{dice.pick(_NAMES)}.{dice.pick(_TLDS)}",
        )
    )
    if dice.chance(0.03):
        host = f"{dice.pick(_NAMES)}.{dice.pick(('internal', 'local', 'corp'))}"
    if dice.chance(0.02):
        host = dice.pick(("bücher-ecke.de", "señal.es", "café-nord.fr", "pão-quente.com.br"))
    text = f"{local}@{host}"
    shape = dice.rolls.random()
    if shape < 0.06:
        text = text.upper()
    elif shape < 0.16:
        text = f"{local.title()}@{host}"
    return Value("EMAIL_ADDRESS", text)


def _plain(name: str) -> str:
    import unicodedata

    letters = unicodedata.normalize("NFKD", name.lower())
    return "".join(letter for letter in letters if letter in string.ascii_lowercase) or "kim"


@cache
def _example(region: str, mobile: bool) -> str:
    kind = PhoneNumberType.MOBILE if mobile else PhoneNumberType.FIXED_LINE
    found = phonenumbers.example_number_for_type(region, kind) or phonenumbers.example_number(region)
    return phonenumbers.national_significant_number(found)


def phone_number(dice: Dice, region: str) -> phonenumbers.PhoneNumber:
    """The plan's own example with other last digits, as long as the plan has such a number."""
    code = phonenumbers.country_code_for_region(region)
    example = _example(region, dice.chance(0.6))
    for _ in range(40):
        kept = len(example) - dice.between(2, 6)
        national = example[:kept] + dice.digits(len(example) - kept)
        number = phonenumbers.parse(f"+{code}{national}", None)
        if phonenumbers.is_valid_number_for_region(number, region):
            return number
    return phonenumbers.parse(f"+{code}{example}", None)


def phone(dice: Dice, language: str) -> Value:
    roll = dice.rolls.random()
    if roll < 0.45:
        return Value("PHONE_NUMBER", _abroad(dice, phone_number(dice, dice.pick(ABROAD))))
    region = dice.pick(ACCOUNT_REGIONS[language])
    number = phone_number(dice, region)
    text = _at_home(dice, number, region)
    if roll < 0.76:
        return Value("PHONE_NUMBER", text, regions=(region,))
    if roll < 0.82:  # a national number without a word, of somebody the account knows
        recorded = phonenumbers.format_number(number, PhoneNumberFormat.E164)
        return Value("PHONE_NUMBER", text, who=Who(phones=(recorded,)))
    return Value("PHONE_NUMBER", text, cue=True)  # a national number, and the account's regions are others


def _abroad(dice: Dice, number: phonenumbers.PhoneNumber) -> str:
    international = phonenumbers.format_number(number, PhoneNumberFormat.INTERNATIONAL)
    e164 = phonenumbers.format_number(number, PhoneNumberFormat.E164)
    code, _, rest = international.partition(" ")
    return dice.pick(
        (
            e164,
            e164,
            international,
            international,
            international.replace(" ", "-"),
            international.replace(" ", "."),
            f"{code} {e164[len(code) :]}",
            f"{code} (0) {rest}" if number.country_code in {49, 44, 43, 41, 33, 31} else international,
            f"({code}) {rest}",
            "00" + e164[1:],
            "00" + international[1:],
        )
    )


def _at_home(dice: Dice, number: phonenumbers.PhoneNumber, region: str) -> str:
    national = phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL)
    bare = "".join(mark for mark in national if mark.isdigit())
    shapes = [national, national, national.replace(" ", "-"), bare]
    # One dot is a fraction, and dots between threes are how half of Europe writes millions.
    parts = national.split(" ")
    if "(" not in national and len(parts) > 2 and not all(len(part) == 3 for part in parts):
        shapes.append(national.replace(" ", "."))
    if region in {"DE", "AT", "CH"} and " " in national:
        head, _, tail = national.partition(" ")
        shapes += [f"{head}/{tail}", f"({head}) {tail}"]
    if region in {"US", "CA"}:
        shapes += [f"{bare[:3]}-{bare[3:6]}-{bare[6:]}", f"{bare[:3]}.{bare[3:6]}.{bare[6:]}"]
        shapes += [f"1-{bare[:3]}-{bare[3:6]}-{bare[6:]}", f"({bare[:3]}){bare[3:6]}-{bare[6:]}"]
    return dice.pick(shapes)


def url(dice: Dice, language: str) -> Value:
    faker = dice.faker(language)
    name = dice.pick((f"{dice.pick(_NAMES)}.{dice.pick(_TLDS)}", _plain(faker.last_name()) + ".com"))
    deep = f"{dice.pick(_HOSTS)}.{name}"
    path = dice.pick(_PATHS)
    text = dice.pick(
        (
            f"https://{name}",
            f"https://{deep}/{path}",
            f"http://{name}/{path}",
            f"https://www.{name}/{path}",
            f"www.{name}",
            f"www.{name}/{path}",
            f"{deep}/{path}",
            f"{name}/{dice.pick(('angebote', 'help', 'perfil', 'u/1881'))}",
            f"HTTPS://{name.upper()}/{path}",
            f"http://{faker.ipv4()}:{dice.between(1024, 9999)}/{path}",
            f"https://{deep}:8443/{path}",
            f"ftp://{deep}/{path}",
            f"{dice.pick(_NAMES)}.{dice.pick(('com', 'org', 'net', 'de', 'com.br'))}",
        )
    )
    return Value("URL", text)


def ip_address(dice: Dice, _language: str) -> Value:
    if dice.chance(0.6):
        return Value(
            "IP_ADDRESS", ".".join(str(dice.between(1 if part == 0 else 0, 254)) for part in range(4))
        )
    hextets = [f"{dice.between(0, 65535):x}" for _ in range(8)]
    full = ":".join(["2001", "db8", *hextets[2:]])
    long = ipaddress.IPv6Address(full).exploded
    short = f"2001:db8:{hextets[0]}::{hextets[1]}"
    return Value(
        "IP_ADDRESS", dice.pick((full, long, short, f"fe80::{hextets[2]}:{hextets[3]}", full.upper()))
    )


def mac_address(dice: Dice, _language: str) -> Value:
    pairs = [f"{dice.between(0, 255):02x}" for _ in range(6)]
    text = dice.pick((":".join(pairs), "-".join(pairs), ":".join(pairs).upper(), "-".join(pairs).upper()))
    if dice.chance(0.12):
        whole = "".join(pairs)
        text = f"{whole[:4]}.{whole[4:8]}.{whole[8:]}"
    return Value("MAC_ADDRESS", text)
