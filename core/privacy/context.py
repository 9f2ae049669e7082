"""Cue words: what stands beside a number says what it is, in five languages."""

from __future__ import annotations

import re
from collections.abc import Mapping

from core.privacy.words import words

_BEFORE = 60
_MOST_LISTED = 4
_AFTER = 45


# What may stand between a cue and its value, in five languages: `the number you asked for is`.
FILLING = words("""
    is was are be would should must will has have the my your our his her this that it you i asked for
    on file to
    as now and still again actually really new old current right following below following of from no number
    ist war sind sein wäre sollte müsste lautet lautete die der das den dem am auf mein meine unsere
    deine ihre
    dies es hier jetzt noch nochmal eigentlich neu neue alte aktuell folgende von vom nummer nr
    est était serait devrait doit être c'est le la les l' mon ma mes votre notre ce cet ceci voici
    maintenant encore
    actuellement nouveau nouvelle ancien demandé demandée que de du en fait numéro
    es era sería debería ser fue el los mi su tu este esta ese esa esto ahora otra vez actualmente nuevo nueva
    anterior pediste a del en realidad número
    é seria deveria foi o os meu minha seu sua esse essa isso agora ainda na verdade atualmente novo
    nova antigo
    você pediu em para do da no pour pela dia
""")
FILLERS = (
    rf"(?:[^\w\x00\x01•]{{0,4}}(?:{'|'.join(sorted(map(re.escape, FILLING), key=len, reverse=True))})\b)"
    r"{0,6}[^\w\x00\x01•]{1,12}"
)


class Cue:
    """What a word beside a number speaks for: bits, as plain numbers, for flags cost a microsecond each."""

    PHONE = 1
    CARD = 2
    BANK = 4
    SSN = 8
    ITIN = 16
    PASSPORT = 32
    LICENSE = 64
    NHS = 128
    DE_TAX = 256
    BSN = 512
    PESEL = 1024
    CPF = 2048
    AADHAAR = 4096
    BIC = 8192
    OTHER = 16384  # an order, a version, a price: no personal number
    NIR = 32768
    NIF = 65536
    PAN = 131072
    NINO = 262144
    NUMBER = 524288  # of what, another word says
    LINKED = 1048576  # behind: `… is my phone`, which leaves no doubt


_WORDS: Mapping[int, str] = {
    Cue.PHONE: """
        phone phones telephone telephones tel tele fon cell cellphone cellular mobile mobiles mob fax
        call
        calls
        called calling dial ring text txt sms whatsapp whats whatsap signal telegram viber reach contact
        contacts
        hotline landline phonenumber phoneno callback ph
        telefon telefonnummer telefonnr telefonisch handy handynummer handynr mobilnummer mobil
        mobiltelefon
        mobilfunk mobilfunknummer kontaktnummer festnetzanschluss festnetz festnetznummer rufnummer
        anrufen ruf rufen rufe anruf erreichen erreichbar durchwahl
        rückruf
        zurückrufen telefonieren faxnummer
        téléphone telephone téléphonique portable appelez appeler appelle appel joindre joignable
        mobile gsm
        numérodetéléphone fixe rappeler rappelez
        teléfono telefono teléfonos móvil movil celular llámame llamame llamar llame llamada llama fijo
        contactar localizar
        telefone telefones telemóvel telemovel celulares ligar ligue liga zap contato contacto fone
        telefoon telefoonnummer mobiel bel numero telefonico cellulare chiamami chiama telefonu komórka""",
    Cue.NUMBER: "number numbers número numero numer nummer numéro digits",
    Cue.CARD: """
        card cards creditcard debitcard cardnumber visa mastercard maestro amex american discover diners
        jcb unionpay
        credit debit cc charge charged kreditkarte kreditkartennummer karte kartennummer kredit debitkarte
        carte
        bancaire
        bleue cb
        crédit tarjeta tarjetas crédito credito débito debito cartão cartao carta""",
    Cue.BANK: """
        account accounts acct bank banking checking chequing savings routing aba deposit iban konto
        kontonummer
        bankkonto bankverbindung girokonto sparkonto kto
        compte bancaire banque cuenta banco bancaria conta bancária poupança""",
    Cue.SSN: """
        ssn ssns social socialsecurity sozialversicherung sozialversicherungsnummer securite""",
    Cue.ITIN: "itin taxpayer tin",
    Cue.PASSPORT: """
        passport passports reisepass reisepassnummer reisepasses passnummer us-pass pass-nr passeport
        pasaporte passaporte""",
    Cue.LICENSE: """
        license licence licenses licences dl driver drivers dln driving führerschein führerscheins
        führerscheinnummer carné fahrerlaubnis permiso carteira
        fuehrerschein permis licencia conducir habilitação cnh carnet motorista condução""",
    Cue.NHS: "nhs national-health-service healthservice nhsnumber nhsno",
    Cue.DE_TAX: """
        steuer-id steuerid steueridentifikationsnummer steuernummer steuer idnr tin
        identifikationsnummer
        steuer-identifikationsnummer steuerliche steuer-idnr steuer-nr tax-id taxid tax""",
    Cue.BSN: "bsn burgerservicenummer sofinummer sofi burgerservice citizen-service",
    Cue.PESEL: "pesel",
    Cue.CPF: "cpf cadastro contribuinte cic",
    Cue.AADHAAR: "aadhaar aadhar adhaar adhar uid uidai aadhaarnumber",
    Cue.BIC: "bic swift bic-code swiftcode bic/swift swift/bic swift-code biccode",
    Cue.NIR: "nir insee sécu secu sécurité sociale vitale",
    Cue.NIF: "nif nie dni cif documento identidad",
    Cue.PAN: "pan permanent",
    Cue.NINO: "nino ni national insurance",
    Cue.OTHER: """
        order orders ordernumber invoice invoices ticket tickets case tracking track shipment parcel
        package ref
        reference referenz version release build rev revision serial sku isbn issn ean upc gtin barcode
        product item
        article model part id ids uuid guid hash commit sha md5 session request req transaction txn txid
        job batch
        price total amount cost usd eur gbp timestamp unix epoch time date port error code status
        issue pr
        pull bug
        flight booking reservation confirmation coordinates latitude longitude lat lon lng long gps
        pin zip
        postcode postal population id's seed checksum imei doi patent chapter section paragraph
        kapitel abschnitt policy claim quote po purchase row
        line-number plate plates kennzeichen plaque placa
        bestellung bestellnummer bestell rechnung rechnungsnummer auftrag auftragsnummer sendung
        sendungsnummer
        artikel artikelnummer kundennummer vorgang vorgangsnummer seriennummer betrag preis uhr plz
        commande facture suivi colis référence prix montant réservation dossier
        pedido factura seguimiento envío envio referencia precio importe reserva
        encomenda fatura rastreio rastreamento referência preço valor""",
}


def _index() -> dict[str, int]:
    index: dict[str, int] = {}
    for cue, prose in _WORDS.items():
        for word in prose.split():
            index[word] = index.get(word, 0) | cue
    return index


_INDEX = _index()
_LETTER = re.compile(r"[^\W\d_]")
_WORD = re.compile(r"[^\W\d_]+(?:[-'][^\W\d_]+)*")
_HALF = re.compile(r"\A(?:[-']?[^\W\d_]+)+")
_LINKS = FILLING | words("""
    sind sont são als comme como that's it's c'est right correct richtige bon certo
    eine ein einer un une uma um una valid gültige real echte
""")
_STOP = re.compile(r"[,;:.\n=\d•\x00\x01]")
# A number, or what stands where personal data stood.
_NUMBER = re.compile(r"[0-9](?:[ .\-/]?[0-9]){4,}|[\x00\x01•]+")
_NUMERAL = re.compile(r"[0-9\x00\x01•]")
_GOES_ON = re.compile(r"\W*(?:(?:and|or|und|oder|et|ou|y|o|e)\b\W*)?\Z")
_ENDS = re.compile(r"(?<!nr)(?<!no)(?<!tel)(?<!tél)(?<!geb)\.[ \n]|[!?;][ \n]|\n")


def topics(text: str, begin: int, reach: int = _BEFORE) -> list[int]:
    """What the cue words before a place speak for, the nearest first.

    The words before another number are that number's own, unless the two are listed: `48213 and 48214`. Those
    before personal data that was found or redacted are spent, so that it makes no difference which it is.
    """
    for _ in range(_MOST_LISTED):
        least = begin - reach
        if least > 0:
            window = _window(text, least, begin)
        else:
            least = 0
            window = text[:begin].lower()
        if _NUMERAL.search(window) is None:
            return _cues(window)
        if _LETTER.search(text, max(0, begin - _MOST_LISTED * reach), begin) is None:
            return []  # a wall of digits
        numbers = list(_NUMBER.finditer(window))
        if not numbers:
            return _cues(window)
        last = numbers[-1]
        between = window[last.end() :]
        end = _ENDS.search(between)
        if not _GOES_ON.fullmatch(between):
            # The sentence behind the number, where it says anything.
            return _cues(between[end.end() :] if end and _WORD.search(between, end.end()) else between)
        if end or not last.group()[0].isdigit():
            return []
        begin = least + last.start()
    return []


def _window(text: str, least: int, begin: int) -> str:
    window = text[least:begin].lower()
    if least and (text[least - 1].isalpha() or text[least - 1] in "-'"):
        # Half a word is another word: the `port` of a passport.
        half = len(window) - len(_HALF.sub("", window, count=1))
        return "." * half + window[half:]
    return window


def _cues(window: str) -> list[int]:
    said = _WORD.findall(window)
    said.reverse()
    if "-" not in window and "'" not in window and "nr" not in window and "nummer" not in window:
        return list(filter(None, map(_INDEX.get, said)))  # no word made of several
    return [
        cue
        for word in said
        if (cue := _INDEX.get(word) or ((word[-1] == "r" or "-" in word or "'" in word) and _part(word)))
    ]


def _cue(word: str) -> int:
    return _INDEX.get(word) or _part(word)


def _part(word: str) -> int:
    """Of a word made of several: the first that speaks."""
    if "-" in word or "'" in word:
        return next((cue for part in re.split("[-']", word) if (cue := _INDEX.get(part) or _stem(part))), 0)
    return _stem(word)


def _stem(word: str) -> int:
    """Of a German number, the thing that is numbered: the `Karten` of a `Kartennr`."""
    if not word.endswith(("nr", "nummer")):
        return 0
    thing = word.removesuffix("nr").removesuffix("nummer")
    return _INDEX.get(thing) or _INDEX.get(thing.removesuffix("s").removesuffix("n")) or 0


def after(text: str, end: int) -> int:
    """What the cue words behind a place speak for: `123-45-6789 is my SSN`."""
    if end >= len(text) or text[end + 1 : end + 2].isdigit():
        return 0
    window = text[end : end + _AFTER]
    stop = _STOP.search(window)
    if stop:
        if stop.group() not in ".,;\n":
            return 0
        window = window[: stop.start()]
    first = _WORD.search(window)
    if first is None:
        return 0
    word = first.group().lower()
    if word not in _LINKS:
        return _cue(word)
    found = 0
    for word in _WORD.findall(window.lower()):
        found |= _cue(word)
    return found | Cue.LINKED if found else 0


def says(text: str, begin: int, end: int, cue: int) -> bool:
    """Whether a word beside the span speaks for this."""
    return any(topic & cue for topic in topics(text, begin)) or bool(after(text, end) & cue)
