"""The labelled corpus: messages of our own making, with everything people do around a value in a chat.

Values come from Faker, from the numbering plans' own examples and from check digits computed here; the words
are ours. Phrases come in two halves: who looks at the misses of one half can still be measured on the other.
Beside them stand a third set, `UNSEEN`, a fourth of two kinds only, `AGAIN`, and a fifth of the six that
stood lowest, `FIFTH`: their misses stay unseen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import ModuleType

from benchmarks.privacy import (
    contact_values,
    money_values,
    number_values,
    own_values,
    unseen,
    unseen_again,
    unseen_fifth,
    words,
)
from benchmarks.privacy.labelled import LANGUAGES, Dice, Gold, Labelled, T, Value, Who

Maker = Callable[[Dice, str], Value]
UNSEEN = 2
AGAIN = 3
FIFTH = 4
UNTUNED = frozenset({UNSEEN, AGAIN, FIFTH})
_AHEAD = ("{cue} {}", "{cue}: {}", "{cue} {}")

# What is made, and how often beside the others.
MAKERS: Mapping[str, tuple[Maker, int]] = {
    "EMAIL_ADDRESS": (contact_values.email, 12),
    "PHONE_NUMBER": (contact_values.phone, 20),
    "PERSON": (own_values.person, 10),
    "STREET_ADDRESS": (own_values.street_address, 3),
    "DATE_OF_BIRTH": (own_values.birthday, 4),
    "CREDIT_CARD": (money_values.credit_card, 10),
    "IBAN_CODE": (money_values.iban, 8),
    "BIC": (money_values.bic, 2),
    "US_BANK_NUMBER": (money_values.bank_account, 3),
    "CRYPTO": (money_values.wallet, 3),
    "US_SSN": (number_values.ssn, 5),
    "US_ITIN": (number_values.itin, 2),
    "US_PASSPORT": (number_values.passport, 3),
    "US_DRIVER_LICENSE": (number_values.driver_license, 3),
    "UK_NHS": (number_values.nhs, 2),
    "UK_NINO": (number_values.nino, 2),
    "DE_TAX_ID": (number_values.german_tax_id, 2),
    "FR_NIR": (number_values.french_nir, 2),
    "ES_NIF": (number_values.spanish_nif, 2),
    "ES_NIE": (number_values.spanish_nie, 2),
    "IT_FISCAL_CODE": (number_values.italian_code, 2),
    "NL_BSN": (number_values.dutch_bsn, 2),
    "PL_PESEL": (number_values.polish_pesel, 2),
    "BR_CPF": (number_values.brazilian_cpf, 3),
    "IN_AADHAAR": (number_values.aadhaar, 2),
    "IN_PAN": (number_values.pan, 2),
    "IP_ADDRESS": (contact_values.ip_address, 5),
    "MAC_ADDRESS": (contact_values.mac_address, 2),
    "URL": (contact_values.url, 8),
    "SECRET": (own_values.secret, 5),
}
# No rule finds these by itself: callers and models name them.
NOT_MADE = frozenset({"LOCATION", "NRP", "ORGANIZATION"})
# Looked for only where a policy names it.
OPT_IN = frozenset({"STREET_ADDRESS"})

_EMOJI = ("👍", "😅", "📞", "👨‍👩‍👧", "🙏🏽", "✅", "➡️")
_BEHIND = ("", "", "", "", "", ".", ",", "!", "?", ";", "...", " 👍", " :)", " 🙏🏽")


def labelled_messages(count: int, seed: int, half: int | None = None) -> list[Labelled]:
    """The same messages for the same seed. `half` keeps to one half of the phrases, or to a set apart."""
    if half == AGAIN:
        return unseen_again.messages(count, seed)
    if half == FIFTH:
        return unseen_fifth.messages(count, seed)
    dice = Dice(seed)
    kinds = list(MAKERS)
    weights = [weight for _, weight in MAKERS.values()]
    return [
        _message(dice, LANGUAGES[number % len(LANGUAGES)], dice.rolls.choices(kinds, weights, k=4), half)
        for number in range(count)
    ]


def _message(dice: Dice, language: str, kinds: Sequence[str], half: int | None) -> Labelled:
    how_many = dice.rolls.choices((0, 1, 2, 3), (4, 70, 20, 6))[0]
    values = [MAKERS[kind][0](dice, language) for kind in kinds[:how_many]]
    break_ = dice.pick(("\n", "\n", "\r\n", "\n\n"))
    joint = dice.pick((". ", ", ", break_, break_, " "))
    sentences = [_sentence(dice, language, value, half) for value in values]
    if dice.chance(0.4) or not values:
        sentences.insert(0, (dice.pick(_said(half).OPENINGS[language]), None))
    if dice.chance(0.35):
        sentences.append((dice.pick(_said(half).ENDINGS[language]), None))
    text, gold = "", []
    for number, (sentence, value) in enumerate(sentences):
        if number:
            # A value that ends in what the joint begins with would run into the next sentence's number.
            text += break_ if sentences[number - 1][1] and joint == " " else joint
        if value is None:
            text += sentence
            continue
        before, _, after = sentence.partition("{}")
        gold.append(Gold(value.type, len(text) + len(before), len(text) + len(before) + len(value.text)))
        text += before + value.text + after
    identities = [value.who for value in values if value.who]
    return Labelled(
        text=text,
        gold=tuple(gold),
        language=language,
        regions=tuple(sorted({region for value in values for region in value.regions})),
        asked=frozenset(value.type for value in values) & OPT_IN,
        identities=(*identities, *_bystanders(dice, language)) if identities else (),
    )


def _bystanders(dice: Dice, language: str) -> tuple[Who, ...]:
    """Others of the conversation, who are not named in the message."""
    faker = dice.faker(language)
    return (Who(names=(f"Zzyx{faker.last_name()} Qorvath",), emails=("agent@qorvath.example",)),)


def _sentence(dice: Dice, language: str, value: Value, half: int | None) -> tuple[str, Value]:
    """A sentence with `{}` where the value goes."""
    said = _said(half)
    names = _half(said.cues(value.type, language), half)
    if value.cue or dice.chance(0.45):
        name = dice.pick(names)
        frames = _AHEAD if name in said.ONLY_AHEAD else _half(said.FRAMES[language], half)
        sentence = dice.pick(frames).replace("{cue}", name)
    else:
        sentence = dice.pick(_half(said.BARE[language], half))
    if dice.chance(0.07):
        sentence = sentence.lower()
    if dice.chance(0.07):
        sentence = sentence[:1].upper() + sentence[1:]
    sentence = _wrapped(dice, sentence)
    if sentence.endswith("{}") and not (value.type == "SECRET" and value.cue):
        sentence += dice.pick(_BEHIND)
    return sentence, value


def _wrapped(dice: Dice, sentence: str) -> str:
    """What chats put around a value."""
    wrapped = dice.rolls.random()
    if wrapped < 0.05:
        sentence = sentence.replace("{}", "({})")
    elif wrapped < 0.08:
        sentence = sentence.replace("{}", '"{}"')
    elif wrapped < 0.1:
        sentence = sentence.replace("{}", "*{}*")
    elif wrapped < 0.14:
        sentence = sentence.replace("{}", dice.pick(_EMOJI) + " {}")
    elif wrapped < 0.18 and " {}" in sentence:
        sentence = sentence.replace(" {}", "\u00a0{}")
    elif wrapped < 0.2 and sentence.endswith("{}"):
        sentence = sentence.replace("{}", "\n{}")
    return sentence


def _said(half: int | None) -> ModuleType:
    return unseen if half == UNSEEN else words


def _half(phrases: Sequence[T], half: int | None) -> Sequence[T]:
    return phrases if half in {None, UNSEEN} or len(phrases) < 2 else phrases[half::2]
