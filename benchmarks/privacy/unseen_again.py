"""The fourth set, of two kinds only: what must stay secret, and NHS numbers.

Written down before the rules for these two were widened a second time, and by somebody who had not read the
rules for secrets. Like the third it is never tuned on, and its misses are not to be looked at.
"""

from __future__ import annotations

import string
from collections.abc import Mapping

from benchmarks.privacy.labelled import LANGUAGES, Dice, Gold, Labelled, Value
from benchmarks.privacy.number_values import nhs
from benchmarks.privacy.unseen import ENDINGS, OPENINGS

_SECRETS: Mapping[str, tuple[str, ...]] = {
    "en": (
        "the password you asked for yesterday is {}", "my new wifi password at home is now {}", "passcode for the front door: {}",
        "pw={}", "username anna, password {}", "login: anna / {} (that's the password)", "use {} as the password",
        "{} is my password, please don't share it", "password\n{}", "the api key they gave us was `{}`", 'secret = "{}"',
        "my passphrase has always been {}", "here is the access token for staging - {}", "temp password I got by mail last week: {}",
        "the pin of my card is {}", "I changed the password to {}", "export API_TOKEN={}",
    ),
    "de": (
        "das Passwort, das du gestern wolltest, ist {}", "mein neues WLAN-Passwort zuhause lautet jetzt {}", "Zugangscode für die Haustür: {}",
        "Benutzer anna, Passwort {}", "Login: anna / {} (das ist das Passwort)", "nimm {} als Passwort", "{} ist mein Kennwort, bitte nicht weitergeben",
        "Kennwort\n{}", "der API-Key, den sie uns gaben, war `{}`", "mein Passwort war schon immer {}", "hier der Zugriffstoken für Staging - {}",
        "vorläufiges Passwort aus der Mail von letzter Woche: {}", "die PIN meiner Karte ist {}", "ich habe das Passwort auf {} geändert",
    ),
    "fr": (
        "le mot de passe que tu voulais hier est {}", "mon nouveau mot de passe wifi à la maison, c'est maintenant {}", "code d'accès de la porte : {}",
        "utilisateur anna, mot de passe {}", "login : anna / {} (c'est le mot de passe)", "utilise {} comme mot de passe", "{} est mon mot de passe, ne le partagez pas",
        "mot de passe\n{}", "la clé API qu'ils nous ont donnée était `{}`", "mon mdp a toujours été {}", "voici le jeton d'accès pour le staging - {}",
        "mot de passe provisoire reçu par mail la semaine dernière : {}", "le code PIN de ma carte est {}", "j'ai changé le mot de passe en {}",
    ),
    "es": (
        "la contraseña que pediste ayer es {}", "mi nueva contraseña del wifi de casa ahora es {}", "código de acceso de la puerta: {}",
        "usuario anna, contraseña {}", "login: anna / {} (esa es la contraseña)", "usa {} como contraseña", "{} es mi contraseña, por favor no la compartas",
        "contraseña\n{}", "la clave API que nos dieron era `{}`", "mi clave siempre ha sido {}", "aquí el token de acceso para staging - {}",
        "contraseña provisional que me llegó por correo la semana pasada: {}", "el PIN de mi tarjeta es {}", "cambié la contraseña a {}",
    ),
    "pt": (
        "a senha que você pediu ontem é {}", "minha nova senha do wifi de casa agora é {}", "código de acesso da porta: {}",
        "usuário anna, senha {}", "login: anna / {} (essa é a senha)", "usa {} como senha", "{} é minha senha, por favor não compartilhe",
        "senha\n{}", "a chave de API que nos deram era `{}`", "minha palavra-passe sempre foi {}", "aqui o token de acesso para staging - {}",
        "senha provisória que recebi por email semana passada: {}", "o PIN do meu cartão é {}", "mudei a senha para {}",
    ),
}  # fmt: skip
_NHS: Mapping[str, tuple[str, ...]] = {
    "en": (
        "my NHS number, as printed on the letter from the hospital, is {}", "NHS no {}", "patient {} (NHS)", "{} is what it says under NHS number",
        "NHS number of my daughter, she is four: {}", "the surgery has me under NHS ID {}", "is {} a valid NHS number?", "NHS#{}",
    ),
    "de": (
        "meine NHS-Nummer, wie sie auf dem Brief der Klinik steht, ist {}", "NHS Nr. {}", "Patient {} (NHS)", "{} steht dort unter NHS-Nummer",
        "NHS-Nummer meiner Tochter, sie ist vier: {}", "die Praxis führt mich unter der NHS-ID {}",
    ),
    "fr": (
        "mon numéro NHS, tel qu'il figure sur la lettre de l'hôpital, est {}", "n° NHS {}", "patient {} (NHS)", "{} est écrit sous numéro NHS",
        "numéro NHS de ma fille, elle a quatre ans : {}", "le cabinet m'a enregistrée sous l'identifiant NHS {}",
    ),
    "es": (
        "mi número NHS, como aparece en la carta del hospital, es {}", "nº NHS {}", "paciente {} (NHS)", "{} es lo que pone bajo número NHS",
        "número del NHS de mi hija, tiene cuatro años: {}", "la clínica me tiene con el NHS {}",
    ),
    "pt": (
        "meu número NHS, como aparece na carta do hospital, é {}", "nº NHS {}", "paciente {} (NHS)", "{} é o que está escrito em número NHS",
        "número do NHS da minha filha, ela tem quatro anos: {}", "a clínica me registrou com o NHS {}",
    ),
}  # fmt: skip
_WORDS = (
    "Biscuit",
    "tiger",
    "Nordlicht",
    "playa",
    "Fromage",
    "saudade",
    "velvet",
    "Regen",
    "luna",
    "castelo",
)
_MIXED = string.ascii_letters + string.digits


def messages(count: int, seed: int) -> list[Labelled]:
    """The same messages for the same seed: one value each, two in three of them a secret."""
    dice = Dice(seed)
    return [_message(dice, LANGUAGES[number % len(LANGUAGES)]) for number in range(count)]


def _message(dice: Dice, language: str) -> Labelled:
    if dice.chance(2 / 3):
        frame = dice.pick(_SECRETS[language])
        value = Value("SECRET", _pin(dice) if "PIN" in frame.upper().split() else _password(dice))
    else:
        frame, value = dice.pick(_NHS[language]), nhs(dice, language)
    before, _, after = frame.partition("{}")
    if dice.chance(0.3):
        before = f"{dice.pick(OPENINGS[language])}\n{before}"
    if dice.chance(0.25):
        after = f"{after}\n{dice.pick(ENDINGS[language])}"
    gold = Gold(value.type, len(before), len(before) + len(value.text))
    return Labelled(text=before + value.text + after, gold=(gold,), language=language)


def _pin(dice: Dice) -> str:
    return dice.digits(dice.pick((4, 4, 6)))


def _password(dice: Dice) -> str:
    word, other = dice.pick(_WORDS), dice.pick(_WORDS)
    return dice.pick(
        (
            f"{word}{dice.digits(2)}{dice.pick('!?$#*')}x",
            f"{word}-{other}-{dice.digits(3)}",
            f"{word}_{dice.digits(4)}",
            word.lower() + dice.digits(3),
            word.replace("a", "@").replace("i", "1") + dice.digits(2),
            dice.some(_MIXED, dice.between(8, 11)) + dice.digits(1),
            dice.some(_MIXED + "!#$%&*+-=@^_", 12) + "k9",
            dice.some("0123456789abcdef", 32),
        )
    )
