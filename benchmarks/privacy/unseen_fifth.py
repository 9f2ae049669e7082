"""The fifth set, of the six kinds that stood lowest.

Written down before whoever then widened the rules for them had read any. Like the third and the fourth it is
never tuned on, and its misses are not to be looked at. A password here has a digit, a mark or mixed case: one
that is a plain word is in no set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from benchmarks.privacy import number_values
from benchmarks.privacy.labelled import LANGUAGES, Dice, Gold, Labelled, Value
from benchmarks.privacy.own_values import birthday
from benchmarks.privacy.unseen import ENDINGS, OPENINGS

_NHS: Mapping[str, tuple[str, ...]] = {
    "en": (
        "Hi, I need to rebook my blood test. NHS number {}, surname Carter", "the hospital letter has {} at the top, I think that's my NHS number?",
        "registering my son with the surgery, his nhs no. is {}", "{} (nhs number)", "appointment for Mrs Patel / NHS No: {} / Thursday if possible",
        "GP asked me to quote {} - nhs number that is", "can you look me up by NHS number? {}", "My details: Jo Carter, NHS number: {}, allergic to penicillin",
        "it's asking for my NHS number which is {} but says not recognised", "mum's nhs num {}",
    ),
    "de": (
        "Hallo, ich bin Patientin in London und habe die NHS-Nummer {}", "auf dem Arztbrief steht oben {}, das ist wohl die NHS-Nummer",
        "für die Anmeldung beim GP: NHS Number {}", "{} (NHS)", "die Klinik will meine NHS-Nummer wissen, also {}",
        "mein Sohn ist beim NHS unter {} gemeldet", "könnt ihr mich mit der NHS-Nr. {} finden?", "NHS: {} - geht der Termin am Donnerstag?",
    ),
    "fr": (
        "bonjour, je suis suivie à Londres, mon numéro NHS : {}", "sur le courrier de l'hôpital c'est marqué {}, je crois que c'est le numéro NHS",
        "pour l'inscription chez le médecin : NHS number {}", "{} (numéro du NHS)", "ils me demandent mon numéro NHS, donc {}",
        "mon fils est enregistré au NHS avec le {}", "pouvez-vous me retrouver avec le n° NHS {} ?", "NHS : {}, c'est possible jeudi ?",
    ),
    "es": (
        "hola, soy paciente en Londres y mi número del NHS es el {}", "en la carta del hospital pone {}, creo que es el número NHS",
        "para el registro con el médico: NHS number {}", "{} (número del NHS)", "me piden el número del NHS, o sea {}",
        "mi hijo está registrado en el NHS con el {}", "¿me pueden buscar con el nº NHS {}?", "NHS: {}, ¿puede ser el jueves?",
    ),
    "pt": (
        "oi, sou paciente em Londres e meu número do NHS é o {}", "na carta do hospital aparece {}, acho que é o número do NHS",
        "para o cadastro no médico: NHS number {}", "{} (número do NHS)", "estão pedindo meu número do NHS, então {}",
        "meu filho está registrado no NHS com o {}", "conseguem me achar pelo nº NHS {}?", "NHS: {}, pode ser na quinta?",
    ),
}  # fmt: skip
_SECRETS: Mapping[str, tuple[str, ...]] = {
    "en": (
        "you can log in as demo with password {}", "pass: {}", "the guest wifi is CoffeeCorner and the password is {}", "user: root\npass: {}",
        "I reset it for you, temporary password {} - change it please", "my pwd was {} but it stopped working", "DB_PASSWORD={}",
        "postgres://admin:{}@db.internal:5432/prod", "Authorization: Bearer {}", "it keeps saying wrong password, I type {} every time",
        "set the client secret to {} in the dashboard", "old pass {} new pass same with a 1 at the end", "my PIN? it's {}", '"api_key": "{}",',
        "zip is protected, pw {}", "the code for the alarm is {}",
    ),
    "de": (
        "du kannst dich als demo mit dem Passwort {} einloggen", "PW: {}", "das Gäste-WLAN heißt CoffeeCorner, Passwort ist {}", "Benutzer: root\nPasswort: {}",
        "hab es zurückgesetzt, neues Passwort {} - bitte gleich ändern", "mein PW war {} aber geht nicht mehr", "DB_PASSWORD={}",
        "es kommt immer falsches Passwort, ich tippe {} ein", "trag als Client-Secret {} ein", "die PIN lautet {}", "Zip ist geschützt, PW {}",
        "der Code für die Alarmanlage ist {}",
    ),
    "fr": (
        "tu peux te connecter en demo avec le mot de passe {}", "mdp : {}", "le wifi invité c'est CoffeeCorner, mot de passe {}", "utilisateur : root\nmot de passe : {}",
        "je l'ai réinitialisé, nouveau mot de passe {} à changer svp", "mon mdp était {} mais ça ne marche plus", "DB_PASSWORD={}",
        "ça me dit mot de passe incorrect alors que je tape {}", "mets {} comme client secret", "le code PIN, c'est {}", "le zip est protégé, mdp {}",
        "le code de l'alarme est {}",
    ),
    "es": (
        "puedes entrar como demo con la contraseña {}", "contraseña : {}", "el wifi de invitados es CoffeeCorner y la clave es {}", "usuario: root\ncontraseña: {}",
        "te la restablecí, contraseña nueva {} - cámbiala por favor", "mi contraseña era {} pero ya no funciona", "DB_PASSWORD={}",
        "me dice contraseña incorrecta y escribo {} siempre", "pon {} como client secret", "el PIN es {}", "el zip va protegido, clave {}",
        "el código de la alarma es {}",
    ),
    "pt": (
        "você pode entrar como demo com a senha {}", "senha : {}", "o wifi de visitas é CoffeeCorner e a senha é {}", "usuário: root\nsenha: {}",
        "resetei para você, senha nova {} - troque por favor", "minha senha era {} mas parou de funcionar", "DB_PASSWORD={}",
        "aparece senha incorreta e eu digito {} toda vez", "coloca {} como client secret", "o PIN é {}", "o zip é protegido, senha {}",
        "o código do alarme é {}",
    ),
}  # fmt: skip
_BORN: Mapping[str, tuple[str, ...]] = {
    "en": (
        "I was born on {} in Leeds", "DOB {}", "d.o.b: {}", "my birthday is {}", "Jo Carter, born {}", "date of birth is {} as on the licence",
        "her date of birth? {}", "passenger 2: Mia Carter, dob {}", "you have the wrong birth date, it should be {}", "my twins were born {}",
    ),
    "de": (
        "ich bin am {} geboren", "Geb.: {}", "geb. {}", "mein Geburtstag ist der {}", "Jo Carter, geboren am {}", "Geburtsdatum laut Ausweis {}",
        "ihr Geburtsdatum? {}", "Reisende 2: Mia Carter, geb. am {}", "das Geburtsdatum stimmt nicht, richtig ist {}", "Geb.datum {}",
    ),
    "fr": (
        "je suis née le {} à Lyon", "date de naissance {}", "né(e) le {}", "mon anniversaire est le {}", "Jo Carter, née le {}", "date de naissance selon la carte : {}",
        "sa date de naissance ? {}", "passagère 2 : Mia Carter, née le {}", "la date de naissance est fausse, c'est le {}", "DDN : {}",
    ),
    "es": (
        "nací el {} en Sevilla", "fecha de nac. {}", "F. nac.: {}", "mi cumpleaños es el {}", "Jo Carter, nacida el {}", "fecha de nacimiento según el DNI: {}",
        "¿su fecha de nacimiento? {}", "pasajera 2: Mia Carter, nacida el {}", "la fecha de nacimiento está mal, es el {}", "nacimiento {}",
    ),
    "pt": (
        "nasci em {} no Porto", "data de nasc. {}", "Nasc.: {}", "meu aniversário é {}", "Jo Carter, nascida em {}", "data de nascimento conforme o RG: {}",
        "a data de nascimento dela? {}", "passageira 2: Mia Carter, nascida em {}", "a data de nascimento está errada, é {}", "DN: {}",
    ),
}  # fmt: skip
_PASSPORTS: Mapping[str, tuple[str, ...]] = {
    "en": (
        "travelling on a US passport, {}", "passport number {} expires next May", "Passport: {}", "passport no {} (United States)", "I renewed it, the new passport is {}",
        "here's the number from my passport: {}", "for check-in: Jo Carter, passport {}", "does {} look right for a passport number?",
    ),
    "de": (
        "ich reise mit US-Pass, Nummer {}", "Passnr. {} läuft im Mai ab", "Reisepass: {}", "Pass-Nr {} (USA)", "wurde erneuert, der neue Pass hat die Nummer {}",
        "die Nummer aus meinem Reisepass: {}", "für den Check-in: Jo Carter, Pass {}", "sieht {} nach einer Passnummer aus?",
    ),
    "fr": (
        "je voyage avec un passeport américain, {}", "passeport n° {} expire en mai", "Passeport : {}", "n° passeport {} (USA)", "renouvelé, le nouveau passeport est le {}",
        "voici le numéro de mon passeport : {}", "pour l'enregistrement : Jo Carter, passeport {}", "{} ça ressemble à un numéro de passeport ?",
    ),
    "es": (
        "viajo con pasaporte americano, {}", "pasaporte nº {} vence en mayo", "Pasaporte: {}", "nº pasaporte {} (EE. UU.)", "lo renové, el nuevo pasaporte es {}",
        "este es el número de mi pasaporte: {}", "para el check-in: Jo Carter, pasaporte {}", "¿{} parece un número de pasaporte?",
    ),
    "pt": (
        "viajo com passaporte americano, {}", "passaporte nº {} vence em maio", "Passaporte: {}", "nº passaporte {} (EUA)", "renovei, o passaporte novo é {}",
        "este é o número do meu passaporte: {}", "para o check-in: Jo Carter, passaporte {}", "{} parece um número de passaporte?",
    ),
}  # fmt: skip
_LICENSES: Mapping[str, tuple[str, ...]] = {
    "en": (
        "renting a car on Friday, driver's license {}", "driver license number: {}", "DL# {}", "drivers licence {} (Florida)", "license no. on the front is {}, right?",
        "my driving licence number? {}", "DL: {}, state NY", "the DMV gave me a new driver's license, {}",
    ),
    "de": (
        "miete Freitag ein Auto, Führerschein {}", "Führerscheinnummer: {}", "Führerschein-Nr. {}", "US-Führerschein {} (Florida)", "vorne auf dem Führerschein steht {}, oder?",
        "meine Führerscheinnummer? {}", "FS-Nr.: {}", "hab einen neuen Führerschein bekommen, {}",
    ),
    "fr": (
        "je loue une voiture vendredi, permis de conduire {}", "numéro de permis de conduire : {}", "permis n° {}", "permis américain {} (Floride)", "sur le permis c'est marqué {}, non ?",
        "mon numéro de permis ? {}", "permis : {}", "j'ai reçu un nouveau permis de conduire, {}",
    ),
    "es": (
        "alquilo un coche el viernes, carnet de conducir {}", "número de licencia de conducir: {}", "licencia nº {}", "licencia americana {} (Florida)", "en la licencia de conducir pone {}, ¿no?",
        "¿mi número de licencia? {}", "licencia de manejo: {}", "me dieron un nuevo carnet de conducir, {}",
    ),
    "pt": (
        "alugo um carro na sexta, carteira de motorista {}", "número da carteira de motorista: {}", "CNH nº {}", "carteira americana {} (Flórida)", "na carteira de motorista está {}, não?",
        "o número da minha habilitação? {}", "carta de condução: {}", "recebi uma carteira de motorista nova, {}",
    ),
}  # fmt: skip
_NIRS: Mapping[str, tuple[str, ...]] = {
    "en": (
        "my French social security number is {}", "NIR {}", "French sécu: {}", "the carte vitale says {}", "numéro de sécu {} (I live in Lyon)",
        "they want the INSEE number, {}", "for the payslip in France: {}", "is {} complete as a French NIR?",
    ),
    "de": (
        "meine französische Sozialversicherungsnummer ist {}", "NIR {}", "französische Sécu-Nummer: {}", "auf der Carte Vitale steht {}", "numéro de sécu {} (wohne in Lyon)",
        "die wollen die INSEE-Nummer, {}", "für die Lohnabrechnung in Frankreich: {}", "ist {} als NIR vollständig?",
    ),
    "fr": (
        "mon numéro de sécu c'est {}", "n° SS {}", "sécurité sociale : {}", "sur ma carte vitale c'est {}", "numéro de sécurité sociale {}",
        "il me faut le remboursement, n° {}", "assurée {}, j'attends ma carte vitale", "{} est-il complet comme numéro de sécu ?",
    ),
    "es": (
        "mi número de la seguridad social francesa es {}", "NIR {}", "número francés: {}", "la carte vitale dice {}", "numéro de sécu {} (vivo en Lyon)",
        "piden el número INSEE, {}", "para la nómina en Francia: {}", "¿{} está completo como NIR?",
    ),
    "pt": (
        "meu número de segurança social francês é {}", "NIR {}", "número francês: {}", "a carte vitale diz {}", "numéro de sécu {} (moro em Lyon)",
        "pedem o número INSEE, {}", "para o holerite na França: {}", "{} está completo como NIR?",
    ),
}  # fmt: skip

_STEMS = (
    "Schnucki",
    "Summer",
    "london",
    "Benfica",
    "chaton",
    "Rocky",
    "qwerty",
    "Familie",
    "azul",
    "Marseille",
)


def _secret(dice: Dice, frame: str) -> Value:
    if any(sign in frame for sign in ("PIN", "alarm", "Alarm", "zip is", "Zip ist")) and dice.chance(0.8):
        return Value("SECRET", dice.digits(dice.pick((4, 6))))
    stem = dice.pick(_STEMS)
    mixed = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
    key = any(sign in frame for sign in ("Bearer", "api_key", "ecret"))
    text = dice.pick(
        (
            f"{stem}{dice.between(1960, 2025)}",
            f"{stem}{dice.between(1960, 2025)}{dice.pick('!#$*')}7",
            f"{dice.between(10, 99)}{stem}{dice.between(10, 99)}",
            f"{stem.lower()}.{dice.pick(_STEMS).lower()}{dice.digits(2)}",
            "P@ssw0rd" + dice.digits(1),
            "1q2w3e" + dice.digits(2) + "r",
            dice.some(mixed, 5) + dice.pick("$%&!") + dice.some(mixed, 4) + "4",
            dice.some(mixed, 9) + "8",
        )
    )
    return Value("SECRET", dice.some(mixed, dice.pick((24, 32, 40))) + "3" if key else text)


_Made = Callable[[Dice, str], Value]
_KINDS: Mapping[str, tuple[Mapping[str, tuple[str, ...]], _Made | None]] = {
    "UK_NHS": (_NHS, number_values.nhs),
    "SECRET": (_SECRETS, None),
    "DATE_OF_BIRTH": (_BORN, birthday),
    "US_PASSPORT": (_PASSPORTS, number_values.passport),
    "US_DRIVER_LICENSE": (_LICENSES, number_values.driver_license),
    "FR_NIR": (_NIRS, number_values.french_nir),
}


def messages(count: int, seed: int) -> list[Labelled]:
    """The same messages for the same seed: one value each, every kind as often."""
    dice = Dice(seed)
    return [_message(dice, LANGUAGES[number % len(LANGUAGES)]) for number in range(count)]


def _message(dice: Dice, language: str) -> Labelled:
    frames, make = _KINDS[dice.pick(tuple(_KINDS))]
    frame = dice.pick(frames[language])
    value = make(dice, language) if make else _secret(dice, frame)
    before, _, after = frame.partition("{}")
    if dice.chance(0.25):
        before = f"{dice.pick(OPENINGS[language])}{dice.pick((', ', '. ', chr(10)))}{before}"
    if dice.chance(0.25):
        after = f"{after}\n{dice.pick(ENDINGS[language])}"
    if dice.chance(0.1):
        before, after = before.lower(), after.lower()
    gold = Gold(value.type, len(before), len(before) + len(value.text))
    return Labelled(text=before + value.text + after, gold=(gold,), language=language)
