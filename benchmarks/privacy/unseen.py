"""The third set of words: written down before the detector was measured on them, and never tuned on.

Its misses are not to be looked at. Who does so must write another set for the next figures.
"""

from __future__ import annotations

from collections.abc import Mapping

FRAMES: Mapping[str, tuple[str, ...]] = {
    "en": (
        "you can find my {cue} below:\n{}", "let me give you the {cue} again, it's {}", "{cue} should be {} according to my papers",
        "so the {cue} would be {}", "for verification: {cue} {}", "old {cue} was {}, nothing changed",
        "I entered {} as {cue} and it got rejected", "can you check whether {} is the right {cue}?", "{cue} (as requested): {}",
        "sorry, typo, my {cue} is actually {}", "just so you have it, {} - that's the {cue}", "{cue} => {}",
        "please update my {cue}, new one is {}", "the {cue} of my wife is {}",
    ),
    "de": (
        "unten findest du meine {cue}:\n{}", "ich geb euch nochmal die {cue} durch: {}", "{cue} müsste {} sein",
        "also die {cue} wäre {}", "zur Verifizierung: {cue} {}", "die alte {cue} war {}, hat sich nichts geändert",
        "habe {} als {cue} eingegeben und es ging nicht", "könnt ihr prüfen ob {} die richtige {cue} ist?", "{cue} (wie gewünscht): {}",
        "sorry, vertippt, {cue} ist eigentlich {}", "damit ihr sie habt, {} - das ist die {cue}", "{cue} => {}",
        "bitte {cue} aktualisieren, neu ist {}", "die {cue} meiner Frau ist {}",
    ),
    "fr": (
        "vous trouverez mon {cue} ci-dessous :\n{}", "je vous redonne le {cue}, c'est {}", "{cue} devrait être {}",
        "donc le {cue} serait {}", "pour vérification : {cue} {}", "l'ancien {cue} était {}, rien n'a changé",
        "j'ai mis {} comme {cue} et ça a été refusé", "pouvez-vous vérifier si {} est le bon {cue} ?", "{cue} (comme demandé) : {}",
        "désolé, faute de frappe, mon {cue} est en fait {}", "pour info, {} - c'est le {cue}", "{cue} => {}",
        "merci de mettre à jour mon {cue}, le nouveau est {}", "le {cue} de ma femme est {}",
    ),
    "es": (
        "abajo está mi {cue}:\n{}", "te doy otra vez el {cue}, es {}", "{cue} debería ser {} según mis papeles",
        "entonces el {cue} sería {}", "para verificar: {cue} {}", "el {cue} anterior era {}, no cambió nada",
        "puse {} como {cue} y lo rechazó", "¿puedes revisar si {} es el {cue} correcto?", "{cue} (como pediste): {}",
        "perdón, me equivoqué, mi {cue} en realidad es {}", "para que lo tengas, {} - ese es el {cue}", "{cue} => {}",
        "por favor actualicen mi {cue}, el nuevo es {}", "el {cue} de mi esposa es {}",
    ),
    "pt": (
        "abaixo está meu {cue}:\n{}", "vou passar de novo o {cue}, é {}", "{cue} deveria ser {} segundo meus papéis",
        "então o {cue} seria {}", "para verificação: {cue} {}", "o {cue} antigo era {}, não mudou nada",
        "coloquei {} como {cue} e foi recusado", "pode ver se {} é o {cue} certo?", "{cue} (como pedido): {}",
        "desculpa, digitei errado, meu {cue} na verdade é {}", "para você ter, {} - esse é o {cue}", "{cue} => {}",
        "por favor atualizem meu {cue}, o novo é {}", "o {cue} da minha esposa é {}",
    ),
}  # fmt: skip

ONLY_AHEAD = frozenset(
    ("born on", "born", "geboren", "wurde geboren am", "est né le", "est née le", "nacido", "nascido no dia")
)

BARE: Mapping[str, tuple[str, ...]] = {
    "en": (
        "just take {}", "there: {}", "I told your colleague {} already", "hmm no, {} it was", "{} please", "can you use {} from now on?",
        "ok so {} then", "last time you had {} there", "what about {}?", "got it, {} works for me",
    ),
    "de": (
        "nimm einfach {}", "da: {}", "ich hab deiner Kollegin schon {} gesagt", "hm nein, {} war es", "{} bitte", "könnt ihr ab jetzt {} nehmen?",
        "ok also {} dann", "beim letzten Mal stand da {}", "was ist mit {}?", "alles klar, {} passt für mich",
    ),
    "fr": (
        "prenez juste {}", "là : {}", "j'ai déjà dit {} à votre collègue", "hmm non, c'était {}", "{} svp", "vous pouvez utiliser {} à partir de maintenant ?",
        "ok alors {}", "la dernière fois il y avait {}", "et {} ?", "compris, {} me va",
    ),
    "es": (
        "toma {}", "ahí va: {}", "ya le dije {} a tu compañera", "hmm no, era {}", "{} por favor", "¿pueden usar {} de ahora en adelante?",
        "ok, entonces {}", "la última vez estaba {}", "¿y {}?", "entendido, {} me sirve",
    ),
    "pt": (
        "pega {}", "ali: {}", "já falei {} para sua colega", "hmm não, era {}", "{} por favor", "podem usar {} daqui em diante?",
        "ok, então {}", "da última vez estava {}", "e {}?", "entendi, {} serve para mim",
    ),
}  # fmt: skip

OPENINGS: Mapping[str, tuple[str, ...]] = {
    "en": ("good morning", "hey, me again about invoice 2024-1187", "still waiting since 14:20", "one more thing", "sorry for the late reply"),
    "de": ("guten Morgen", "hi, nochmal wegen Rechnung 2024-1187", "warte seit 14:20 Uhr", "noch was", "sorry für die späte Antwort"),
    "fr": ("bonsoir", "c'est encore moi pour la facture 2024-1187", "j'attends depuis 14h20", "encore une chose", "désolée pour le retard"),
    "es": ("buenas noches", "soy yo otra vez por la factura 2024-1187", "espero desde las 14:20", "otra cosa", "perdón por la demora"),
    "pt": ("boa noite", "sou eu de novo sobre a fatura 2024-1187", "espero desde as 14h20", "mais uma coisa", "desculpa a demora"),
}  # fmt: skip
ENDINGS: Mapping[str, tuple[str, ...]] = {
    "en": ("cheers", "is that all you need?", "it was 3 items for 45 dollars", "see you on the 12th", "waiting for your reply"),
    "de": ("lg", "braucht ihr noch was?", "es waren 3 Artikel für 45 Euro", "bis zum 12.", "ich warte auf Antwort"),
    "fr": ("cordialement", "il vous faut autre chose ?", "c'était 3 articles pour 45 euros", "à plus le 12", "j'attends votre réponse"),
    "es": ("saludos", "¿necesitas algo más?", "eran 3 artículos por 45 euros", "nos vemos el 12", "espero tu respuesta"),
    "pt": ("abraços", "precisa de mais alguma coisa?", "eram 3 itens por 45 reais", "até dia 12", "aguardo sua resposta"),
}  # fmt: skip

_SAME: Mapping[str, tuple[str, ...]] = {
    "IBAN_CODE": ("IBAN", "Iban"),
    "BIC": ("SWIFT/BIC", "Swift", "BIC code"),
    "IP_ADDRESS": ("IPv4", "IP"),
    "MAC_ADDRESS": ("MAC addr", "MAC"),
    "URL": ("URL", "url"),
    "CRYPTO": ("bitcoin wallet", "wallet", "crypto wallet"),
    "US_SSN": ("SSN number", "US SSN"),
    "US_ITIN": ("US ITIN", "ITIN no."),
    "UK_NHS": ("NHS", "nhs number", "NHS-Nr."),
    "UK_NINO": ("National Insurance no.", "UK NINO"),
    "DE_TAX_ID": ("steuer-id", "IdNr", "Steuer-IdNr."),
    "FR_NIR": ("numéro NIR", "INSEE"),
    "ES_NIF": ("NIF", "DNI/NIF"),
    "ES_NIE": ("NIE", "nie"),
    "IT_FISCAL_CODE": ("codice fiscale",),
    "NL_BSN": ("BSN-nummer", "bsn", "burgerservicenummer (BSN)"),
    "PL_PESEL": ("Pesel", "nr PESEL"),
    "BR_CPF": ("CPF", "nº CPF"),
    "IN_AADHAAR": ("Aadhar card", "Aadhaar no.", "Aadhaar ID"),
    "IN_PAN": ("PAN no", "PAN"),
}
_OF: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "en": {
        "EMAIL_ADDRESS": ("mail address", "personal email", "e-mail"),
        "PHONE_NUMBER": ("contact number", "landline", "cell phone", "mobile number", "daytime phone", "phone no."),
        "PERSON": ("full name", "cardholder", "manager"),
        "STREET_ADDRESS": ("postal address", "billing address", "residence"),
        "DATE_OF_BIRTH": ("birthdate", "date of birth (DOB)", "D.O.B.", "born on", "born"),
        "CREDIT_CARD": ("credit card number", "card no.", "debit card number", "payment card"),
        "US_BANK_NUMBER": ("account number", "acct no.", "bank account no.", "checking account number"),
        "US_SSN": ("social security no.", "social security #"),
        "US_ITIN": ("taxpayer identification number",),
        "US_PASSPORT": ("passport #", "passport no.", "passport ID"),
        "US_DRIVER_LICENSE": ("driving license", "driver's license no.", "DL number", "license number"),
        "UK_NHS": ("National Health Service number",),
        "DE_TAX_ID": ("German tax ID number", "tax identification number"),
        "SECRET": ("wifi password", "login password", "passwd"),
    },
    "de": {
        "EMAIL_ADDRESS": ("Mail", "E-Mail Adresse", "Firmenmail"),
        "PHONE_NUMBER": ("Mobilnummer", "Festnetz", "Telefonnr.", "Handynr.", "Nummer (Handy)", "Tel"),
        "PERSON": ("Vor- und Nachname", "Karteninhaber", "Chefin"),
        "STREET_ADDRESS": ("Postanschrift", "Rechnungsadresse", "Wohnort"),
        "DATE_OF_BIRTH": ("Geburtsdatum (Tag/Monat/Jahr)", "Geb.-Datum", "Geburtstag", "geboren", "wurde geboren am"),
        "CREDIT_CARD": ("Kreditkartennr.", "Kartennr.", "EC-Karte", "Mastercard-Nummer"),
        "US_BANK_NUMBER": ("Kontonr.", "Konto-Nr.", "Konto", "Kontonummer"),
        "US_SSN": ("amerikanische Sozialversicherungsnummer", "US-SSN"),
        "US_PASSPORT": ("Reisepass-Nr.", "Reisepassnr.", "Passnummer"),
        "US_DRIVER_LICENSE": ("Führerschein Nr.", "Fahrerlaubnis", "Führerscheinnr."),
        "DE_TAX_ID": ("Steuer-ID-Nummer", "Steuernummer"),
        "SECRET": ("WLAN-Passwort", "Login-Passwort", "Zugangspasswort"),
    },
    "fr": {
        "EMAIL_ADDRESS": ("adresse e-mail", "mél", "email pro"),
        "PHONE_NUMBER": ("numéro de portable", "fixe", "n° de téléphone", "numéro de mobile", "tél", "téléphone fixe"),
        "PERSON": ("nom complet", "titulaire de la carte", "responsable"),
        "STREET_ADDRESS": ("adresse postale", "adresse de facturation", "lieu d'habitation"),
        "DATE_OF_BIRTH": ("date de naissance (jj/mm/aaaa)", "naissance", "est né le", "est née le"),
        "CREDIT_CARD": ("numéro de carte bleue", "CB", "n° de carte", "carte de paiement"),
        "US_BANK_NUMBER": ("n° de compte bancaire", "compte courant", "numéro du compte"),
        "US_SSN": ("n° de sécurité sociale US", "social security number"),
        "US_PASSPORT": ("n° de passeport", "numéro du passeport", "passeport numéro"),
        "US_DRIVER_LICENSE": ("n° de permis de conduire", "numéro du permis", "permis"),
        "FR_NIR": ("n° de sécu", "numéro de sécurité sociale (NIR)"),
        "SECRET": ("mot de passe wifi", "code d'accès", "MDP"),
    },
    "es": {
        "EMAIL_ADDRESS": ("dirección de correo", "e-mail", "correo personal"),
        "PHONE_NUMBER": ("número de móvil", "teléfono fijo", "número de celular", "tel", "teléfono de contacto", "nro. de teléfono"),
        "PERSON": ("nombre completo", "titular de la tarjeta", "jefe"),
        "STREET_ADDRESS": ("dirección postal", "dirección de facturación", "casa"),
        "DATE_OF_BIRTH": ("fecha de nacimiento (dd/mm/aaaa)", "F. de nacimiento", "nacimiento", "nacido"),
        "CREDIT_CARD": ("nº de tarjeta", "tarjeta de débito", "número de la tarjeta", "tarjeta de pago"),
        "US_BANK_NUMBER": ("nº de cuenta", "número de la cuenta", "cuenta de ahorros"),
        "US_SSN": ("nº de seguro social", "número de la seguridad social americana"),
        "US_PASSPORT": ("nº de pasaporte", "número del pasaporte"),
        "US_DRIVER_LICENSE": ("permiso de conducir", "nº de licencia de conducir", "número del carnet de conducir"),
        "ES_NIF": ("número de DNI", "documento nacional de identidad"),
        "SECRET": ("contraseña del wifi", "clave de acceso", "password"),
    },
    "pt": {
        "EMAIL_ADDRESS": ("endereço de email", "mail", "e-mail pessoal"),
        "PHONE_NUMBER": ("número de celular", "telefone fixo", "número de telemóvel", "tel", "telefone de contato", "zap"),
        "PERSON": ("nome completo", "titular do cartão", "chefe"),
        "STREET_ADDRESS": ("endereço postal", "endereço de cobrança", "casa"),
        "DATE_OF_BIRTH": ("data de nascimento (dd/mm/aaaa)", "data de nasc.", "nascimento", "nascido no dia"),
        "CREDIT_CARD": ("nº do cartão", "cartão de débito", "número do cartão de crédito"),
        "US_BANK_NUMBER": ("nº da conta", "conta poupança", "número da conta bancária"),
        "US_SSN": ("nº de seguro social", "número do seguro social americano"),
        "US_PASSPORT": ("nº do passaporte", "número de passaporte"),
        "US_DRIVER_LICENSE": ("carteira de habilitação", "nº da CNH", "número da carta de condução"),
        "SECRET": ("senha do wifi", "senha de acesso", "palavra-passe"),
    },
}  # fmt: skip


def cues(kind: str, language: str) -> tuple[str, ...]:
    """What a kind is called in a language: its international names and its own."""
    return _OF[language].get(kind, ()) + _SAME.get(kind, ())
