"""What people write around personal data, in five languages: cues that name it, and frames that hold it."""

from __future__ import annotations

from collections.abc import Mapping

# A frame holds a cue and a value. Every second one belongs to the held-out half (see `corpus`).
FRAMES: Mapping[str, tuple[str, ...]] = {
    "en": (
        "my {cue} is {}", "{cue}: {}", "{cue} {}", "here is my {cue}: {}", "the {cue} you asked for is {}",
        "please note the {cue} {}", "hi, {cue} = {}", "could you change the {cue} to {} please?",
        "{cue} - {}", "I think the {cue} on file is {}, right?", "{} is my {cue}",
    ),
    "de": (
        "meine {cue} ist {}", "{cue}: {}", "{cue} {}", "hier die {cue}: {}", "die gewünschte {cue} lautet {}",
        "bitte {cue} {} eintragen", "hallo, {cue} = {}", "könnt ihr {cue} auf {} ändern?",
        "{cue} - {}", "bei euch steht {cue} {}, stimmt das?", "{} ist meine {cue}",
    ),
    "fr": (
        "mon {cue} est {}", "{cue} : {}", "{cue} {}", "voici mon {cue} : {}", "le {cue} demandé est le {}",
        "merci de noter {cue} {}", "bonjour, {cue} = {}", "pouvez-vous changer {cue} pour {} svp ?",
        "{cue} - {}", "vous avez {cue} {}, c'est bien ça ?", "{} est mon {cue}",
    ),
    "es": (
        "mi {cue} es {}", "{cue}: {}", "{cue} {}", "aquí está mi {cue}: {}", "el {cue} que pediste es {}",
        "por favor anota {cue} {}", "hola, {cue} = {}", "¿pueden cambiar {cue} a {} por favor?",
        "{cue} - {}", "creo que tienen {cue} {}, ¿verdad?", "{} es mi {cue}",
    ),
    "pt": (
        "meu {cue} é {}", "{cue}: {}", "{cue} {}", "segue meu {cue}: {}", "o {cue} que você pediu é {}",
        "por favor anote {cue} {}", "oi, {cue} = {}", "podem mudar {cue} para {} por favor?",
        "{cue} - {}", "acho que está {cue} {}, certo?", "{} é meu {cue}",
    ),
}  # fmt: skip

# "born on" is no noun: it stands right ahead of the date.
ONLY_AHEAD = frozenset(
    (
        "geb. am",
        "geboren am",
        "né le",
        "née le",
        "nacido el",
        "nacida el",
        "nací el",
        "nascido em",
        "nascida em",
    )
)

# Frames for what needs no word beside it.
BARE: Mapping[str, tuple[str, ...]] = {
    "en": (
        "{}", "here you go {}", "it's {} thanks", "use {} instead", "I already sent it: {}", "sure, {}",
        "as I said {} and nothing else", "{} is the one", "try {} when you get a chance",
    ),
    "de": (
        "{}", "bitte sehr {}", "das ist {} danke", "nehmt lieber {}", "hatte ich schon geschickt: {}", "klar, {}",
        "wie gesagt {} und sonst nichts", "{} ist richtig", "versuch es mal mit {} wenn du Zeit hast",
    ),
    "fr": (
        "{}", "voilà {}", "c'est {} merci", "utilisez plutôt {}", "je l'ai déjà envoyé : {}", "bien sûr, {}",
        "comme je disais {} et rien d'autre", "{} est le bon", "essayez {} quand vous pouvez",
    ),
    "es": (
        "{}", "aquí tienes {}", "es {} gracias", "mejor usa {}", "ya lo mandé: {}", "claro, {}",
        "como dije {} y nada más", "{} es el correcto", "prueba con {} cuando puedas",
    ),
    "pt": (
        "{}", "aqui está {}", "é {} obrigado", "use {} então", "já mandei: {}", "claro, {}",
        "como eu disse {} e nada mais", "{} é o certo", "tenta {} quando puder",
    ),
}  # fmt: skip

# Sentences around: openings and endings without personal data.
OPENINGS: Mapping[str, tuple[str, ...]] = {
    "en": ("hi there", "hello, I need help with order 48213", "ok thanks for waiting 10 minutes", "quick question", "Hey! two things"),
    "de": ("Hallo zusammen", "moin, es geht um Bestellung 48213", "ok danke fürs Warten, 10 Minuten sind ok", "kurze Frage", "Hey! zwei Sachen"),
    "fr": ("bonjour", "salut, c'est pour la commande 48213", "ok merci d'avoir attendu 10 minutes", "petite question", "Coucou ! deux choses"),
    "es": ("hola", "buenas, es por el pedido 48213", "ok gracias por esperar 10 minutos", "una pregunta", "¡Hola! dos cosas"),
    "pt": ("oi", "boa tarde, é sobre o pedido 48213", "ok obrigado por esperar 10 minutos", "uma pergunta", "Olá! duas coisas"),
}  # fmt: skip
ENDINGS: Mapping[str, tuple[str, ...]] = {
    "en": ("thanks!", "let me know by 5pm", "no rush", "the price was 19.99, correct?", "talk soon"),
    "de": ("danke!", "Antwort bitte bis 17 Uhr", "eilt nicht", "der Preis war 19,99 €, oder?", "bis bald"),
    "fr": ("merci !", "répondez avant 17h svp", "pas pressé", "le prix était 19,99 €, non ?", "à bientôt"),
    "es": ("¡gracias!", "avísame antes de las 17:00", "sin prisa", "el precio era 19,99 €, ¿no?", "hasta luego"),
    "pt": ("obrigada!", "me avisa até as 17h", "sem pressa", "o preço era R$ 19,99, né?", "até mais"),
}  # fmt: skip

_SAME: Mapping[str, tuple[str, ...]] = {
    "IBAN_CODE": ("IBAN", "iban"),
    "BIC": ("BIC", "SWIFT", "BIC/SWIFT", "SWIFT code", "swift"),
    "IP_ADDRESS": ("IP", "ip"),
    "MAC_ADDRESS": ("MAC", "mac"),
    "URL": ("link", "Link", "website"),
    "CRYPTO": ("wallet", "BTC wallet"),
    "US_SSN": ("SSN", "ssn"),
    "US_ITIN": ("ITIN", "itin"),
    "UK_NHS": ("NHS number", "NHS no.", "NHS"),
    "UK_NINO": ("NINO", "National Insurance number", "NI number"),
    "DE_TAX_ID": ("Steuer-ID", "IdNr."),
    "FR_NIR": ("NIR",),
    "ES_NIF": ("DNI", "NIF"),
    "ES_NIE": ("NIE",),
    "IT_FISCAL_CODE": ("codice fiscale", "CF"),
    "NL_BSN": ("BSN", "burgerservicenummer"),
    "PL_PESEL": ("PESEL", "numer PESEL"),
    "BR_CPF": ("CPF", "cpf"),
    "IN_AADHAAR": ("Aadhaar", "Aadhaar number", "aadhaar card no", "UIDAI"),
    "IN_PAN": ("PAN card", "PAN number", "PAN"),
}
_OF: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "en": {
        "EMAIL_ADDRESS": ("email", "e-mail address", "mail", "work email"),
        "PHONE_NUMBER": ("phone number", "phone", "cell", "mobile", "tel.", "whatsapp number", "telephone"),
        "PERSON": ("name", "contact", "account holder", "colleague"),
        "STREET_ADDRESS": ("address", "home address", "delivery address", "street"),
        "DATE_OF_BIRTH": ("date of birth", "DOB", "birthday", "birth date", "d.o.b."),
        "CREDIT_CARD": ("credit card", "card number", "visa card", "debit card", "mastercard"),
        "US_BANK_NUMBER": ("bank account number", "checking account", "bank account", "savings account number"),
        "US_SSN": ("social security number", "social"),
        "US_ITIN": ("taxpayer id", "individual taxpayer number"),
        "US_PASSPORT": ("passport number", "passport", "US passport no.", "passport no"),
        "US_DRIVER_LICENSE": ("driver's license", "driver license number", "driving licence", "drivers license"),
        "DE_TAX_ID": ("German tax id", "Steueridentifikationsnummer"),
        "ES_NIF": ("Spanish DNI",), "PL_PESEL": ("Polish PESEL",),
        "IP_ADDRESS": ("IP address", "server ip"), "MAC_ADDRESS": ("MAC address", "hardware address"),
        "SECRET": ("password", "Password", "pwd", "passphrase"),
    },
    "de": {
        "EMAIL_ADDRESS": ("E-Mail", "Mailadresse", "e-mail-adresse", "Email"),
        "PHONE_NUMBER": ("Telefonnummer", "Handynummer", "Tel.", "Handy", "Mobil", "Rufnummer", "Telefon"),
        "PERSON": ("Name", "Ansprechpartner", "Kontoinhaber", "Kollegin"),
        "STREET_ADDRESS": ("Adresse", "Anschrift", "Lieferadresse", "Straße"),
        "DATE_OF_BIRTH": ("Geburtsdatum", "Geburtstag", "geb. am", "geboren am"),
        "CREDIT_CARD": ("Kreditkarte", "Kartennummer", "Kreditkartennummer", "Visa-Karte"),
        "US_BANK_NUMBER": ("Kontonummer", "Kto.-Nr.", "Bankkonto"),
        "US_SSN": ("US-Sozialversicherungsnummer", "Social Security Number"),
        "US_PASSPORT": ("Passnummer", "Reisepass", "Reisepassnummer", "Pass-Nr."),
        "US_DRIVER_LICENSE": ("Führerschein", "Führerscheinnummer", "Führerschein-Nr."),
        "DE_TAX_ID": ("Steueridentifikationsnummer", "steuerliche Identifikationsnummer", "Steuer-Identifikationsnummer"),
        "IP_ADDRESS": ("IP-Adresse",), "MAC_ADDRESS": ("MAC-Adresse",),
        "SECRET": ("Passwort", "Kennwort", "passwort", "PW"),
    },
    "fr": {
        "EMAIL_ADDRESS": ("adresse mail", "e-mail", "courriel", "mail"),
        "PHONE_NUMBER": ("numéro de téléphone", "téléphone", "portable", "tél.", "mobile", "tel"),
        "PERSON": ("nom", "contact", "titulaire", "collègue"),
        "STREET_ADDRESS": ("adresse", "domicile", "adresse de livraison"),
        "DATE_OF_BIRTH": ("date de naissance", "né le", "née le", "anniversaire"),
        "CREDIT_CARD": ("carte bancaire", "numéro de carte", "carte de crédit", "carte bleue"),
        "US_BANK_NUMBER": ("numéro de compte", "compte bancaire", "n° de compte"),
        "US_SSN": ("numéro de sécurité sociale américain",),
        "US_PASSPORT": ("numéro de passeport", "passeport", "passeport n°"),
        "US_DRIVER_LICENSE": ("permis de conduire", "numéro de permis", "permis de conduire n°"),
        "FR_NIR": ("numéro de sécurité sociale", "numéro de sécu", "n° de sécurité sociale"),
        "IP_ADDRESS": ("adresse IP",), "MAC_ADDRESS": ("adresse MAC",),
        "SECRET": ("mot de passe", "Mot de passe", "mdp"),
    },
    "es": {
        "EMAIL_ADDRESS": ("correo", "correo electrónico", "email", "mail"),
        "PHONE_NUMBER": ("número de teléfono", "teléfono", "móvil", "celular", "tel.", "whatsapp"),
        "PERSON": ("nombre", "contacto", "titular", "colega"),
        "STREET_ADDRESS": ("dirección", "domicilio", "dirección de envío"),
        "DATE_OF_BIRTH": ("fecha de nacimiento", "nacido el", "nacida el", "cumpleaños", "nací el"),
        "CREDIT_CARD": ("tarjeta de crédito", "número de tarjeta", "tarjeta", "tarjeta visa"),
        "US_BANK_NUMBER": ("número de cuenta", "cuenta bancaria", "cuenta corriente"),
        "US_SSN": ("número de seguro social", "seguro social"),
        "US_PASSPORT": ("número de pasaporte", "pasaporte", "pasaporte n.º"),
        "US_DRIVER_LICENSE": ("licencia de conducir", "carnet de conducir", "número de licencia de conducir"),
        "ES_NIF": ("documento de identidad", "dni"),
        "IP_ADDRESS": ("dirección IP",), "MAC_ADDRESS": ("dirección MAC",),
        "SECRET": ("contraseña", "Contraseña", "clave"),
    },
    "pt": {
        "EMAIL_ADDRESS": ("e-mail", "endereço de e-mail", "email", "correio eletrônico"),
        "PHONE_NUMBER": ("número de telefone", "telefone", "celular", "telemóvel", "tel.", "whatsapp", "fone"),
        "PERSON": ("nome", "contato", "titular", "colega"),
        "STREET_ADDRESS": ("endereço", "morada", "endereço de entrega"),
        "DATE_OF_BIRTH": ("data de nascimento", "nascido em", "nascida em", "aniversário"),
        "CREDIT_CARD": ("cartão de crédito", "número do cartão", "cartão", "cartão visa"),
        "US_BANK_NUMBER": ("número da conta", "conta bancária", "conta corrente"),
        "US_SSN": ("número de seguro social americano",),
        "US_PASSPORT": ("número do passaporte", "passaporte", "passaporte nº"),
        "US_DRIVER_LICENSE": ("carteira de motorista", "carta de condução", "CNH"),
        "IP_ADDRESS": ("endereço IP",), "MAC_ADDRESS": ("endereço MAC",),
        "SECRET": ("senha", "Senha", "palavra-passe"),
    },
}  # fmt: skip


def cues(kind: str, language: str) -> tuple[str, ...]:
    """What a kind is called in a language: its international names and its own."""
    return _OF[language].get(kind, ()) + _SAME.get(kind, ())
