"""Clean chat: messages with numbers, times and prices, and nobody's data, from a small grammar in five languages."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.privacy.labelled import LANGUAGES, Dice

# A sentence is a pattern; a word in braces is a rule of the language or of `_NUMBERS`.
_GRAMMAR: Mapping[str, Mapping[str, str]] = {
    "en": {
        "say": "{hi} {want}|{want}, {please}|{when} {event}|{want}. {when} {event}|I {did} the {thing} {time}, {please}|"
        "the {thing} costs {price}, not {price}|{count} {thing}s for {price}? {ok}|{ok}, {event}|my order {order} {state}|"
        "{thing} {size} in {colour}, {please}|we are {count} people on {day}|{event} at {clock}, {ok}|"
        "is the {place} open until {clock}?|it took {count} minutes to the {place}|{percent} of the {thing}s {state}|"
        "{hi}\n{want}\n{please}|{want} :) {ok}!|from {date} to {date}, {count} nights|{ok}... {event}?",
        "talk": "{hi} {small}|{small}. {small}|{small}, {please}|{ok}, {small}|well, {small} and {small}|{small}... {ok}|{small}, {please}! {small}",
        "small": "the {thing} {state}|I would like to change the {thing} I ordered last {day}|is the {place} open on {day}|my {thing} is {colour} and I wanted a {colour} one|can somebody explain how the {thing} works|we went to the {place} and it rained all day|I still don't understand why the {thing} {state}|your colleague was very kind|I'd rather come by on {day}|nobody answers when I write to the {place}|I'll have a look and tell you tomorrow|it depends on the weather, honestly",
        "hi": "hi|hello|hey there|good morning|Hi again", "ok": "ok|sure|sounds good|got it|no problem|perfect",
        "want": "I need a {thing} for {day}|can I book a table for {count}|I'd like {count} {thing}s|where is my {thing}|"
        "could you send the {thing} to the {place}|I am looking for a {colour} {thing}|do you have the {thing} in {size}",
        "please": "please|thanks|thank you so much|as soon as possible|if that's possible",
        "when": "yesterday|last {day}|on {date}|this morning|around {clock}", "did": "returned|ordered|cancelled|paid for",
        "event": "the {thing} {state}|I waited {count} minutes|the {place} was closed|we paid {price}|the train left at {clock}",
        "state": "arrived late|is broken|did not work|came twice|are missing|was great", "time": "at {clock}|on {day}|{count} days ago",
        "thing": "ticket|jacket|blender|room|invoice|pizza|coffee|laptop|chair|bike|lamp|cake", "place": "station|hotel|store|airport|museum|office",
        "colour": "red|dark blue|green|black|white", "day": "Monday|Tuesday|Friday|Sunday|the weekend",
    },
    "de": {
        "say": "{hi} {want}|{want}, {please}|{when} {event}|{want}. {when} {event}|{thing} {time} {did}, {please}|"
        "{thing} kostet {price}, nicht {price}|{count} mal {thing} für {price}? {ok}|{ok}, {event}|meine Bestellung {order} {state}|"
        "{thing} {size} in {colour}, {please}|wir sind {count} Leute am {day}|{event} um {clock}, {ok}|"
        "hat {place} bis {clock} Uhr offen?|es waren {count} Minuten bis {place}|{percent} der Ware {state}|"
        "{hi}\n{want}\n{please}|{want} :) {ok}!|vom {date} bis {date}, {count} Nächte|{ok}... {event}?",
        "talk": "{hi} {small}|{small}. {small}|{small}, {please}|{ok}, {small}|na ja, {small} und {small}|{small}... {ok}|{small}, {please}! {small}",
        "small": "{thing} {state}|ich würde gern {thing} umtauschen|hat {place} am {day} offen|ich wollte {thing} eigentlich in {colour}|kann mir jemand erklären wie das mit {thing} geht|wir waren beim {place} und es hat den ganzen Tag geregnet|ich verstehe immer noch nicht warum das nicht klappt|eure Kollegin war sehr nett|ich komme lieber am {day} vorbei|leider meldet sich niemand bei mir|ich schaue mal und sage morgen Bescheid|das hängt ehrlich gesagt vom Wetter ab",
        "hi": "hallo|guten Morgen|hi|moin|Grüß Gott", "ok": "ok|klar|passt|super|kein Problem|alles klar",
        "want": "ich brauche {thing} für {day}|kann ich einen Tisch für {count} reservieren|wo ist {thing}|ich hätte gern {count} mal {thing}|"
        "bitte {thing} an {place} schicken|ich suche {thing} in {colour}|gibt es {thing} in {size}",
        "please": "bitte|danke|vielen Dank|so schnell es geht|wenn möglich",
        "when": "gestern|letzten {day}|am {date}|heute früh|gegen {clock}", "did": "zurückgeschickt|bestellt|storniert|bezahlt",
        "event": "{thing} {state}|ich habe {count} Minuten gewartet|{place} war zu|wir haben {price} gezahlt|der Zug fuhr um {clock}",
        "state": "kam zu spät|ist kaputt|ging nicht|kam doppelt|fehlt|war super", "time": "um {clock}|am {day}|vor {count} Tagen",
        "thing": "Ticket|Jacke|Mixer|Zimmer|Rechnung|Pizza|Kaffee|Laptop|Stuhl|Fahrrad|Lampe|Kuchen", "place": "Bahnhof|Hotel|Laden|Flughafen|Museum|Büro",
        "colour": "rot|dunkelblau|grün|schwarz|weiß", "day": "Montag|Dienstag|Freitag|Sonntag|Wochenende",
    },
    "fr": {
        "say": "{hi} {want}|{want}, {please}|{when} {event}|{want}. {when} {event}|{thing} {did} {time}, {please}|"
        "{thing} coûte {price}, pas {price}|{count} fois {thing} pour {price} ? {ok}|{ok}, {event}|ma commande {order} {state}|"
        "{thing} {size} en {colour}, {please}|nous sommes {count} {day}|{event} à {clock}, {ok}|"
        "c'est ouvert jusqu'à {clock} ?|il faut {count} minutes pour {place}|{percent} des articles {state}|"
        "{hi}\n{want}\n{please}|{want} :) {ok} !|du {date} au {date}, {count} nuits|{ok}... {event} ?",
        "talk": "{hi} {small}|{small}. {small}|{small}, {please}|{ok}, {small}|bon, {small} et {small}|{small}... {ok}|{small}, {please} ! {small}",
        "small": "{thing} {state}|je voudrais changer {thing} que j'ai pris {day}|est-ce que c'est ouvert {day}|je voulais {thing} en {colour} et pas en {colour}|quelqu'un peut m'expliquer comment ça marche|on est allés voir {place} et il a plu toute la journée|je ne comprends toujours pas pourquoi {thing} {state}|votre collègue était très gentille|je préfère passer {day}|personne ne répond quand j'écris|je regarde et je vous dis demain|ça dépend du temps, franchement",
        "hi": "bonjour|salut|bonsoir|coucou|re-bonjour", "ok": "ok|d'accord|parfait|bien reçu|pas de souci|super",
        "want": "il me faut {thing} pour {day}|je voudrais une table pour {count}|où est {thing}|je prends {count} fois {thing}|"
        "envoyez {thing} à {place}|je cherche {thing} en {colour}|avez-vous {thing} en {size}",
        "please": "svp|merci|merci beaucoup|dès que possible|si c'est possible",
        "when": "hier|{day} dernier|le {date}|ce matin|vers {clock}", "did": "rendu|commandé|annulé|payé",
        "event": "{thing} {state}|j'ai attendu {count} minutes|{place} était fermé|on a payé {price}|le train est parti à {clock}",
        "state": "arrivé en retard|cassé|ne marche pas|arrivé deux fois|manque|était top", "time": "à {clock}|{day}|il y a {count} jours",
        "thing": "le billet|la veste|le mixeur|la chambre|la facture|la pizza|le café|la chaise|le vélo|la lampe", "place": "la gare|l'hôtel|la boutique|l'aéroport|le musée",
        "colour": "rouge|bleu foncé|vert|noir|blanc", "day": "lundi|mardi|vendredi|dimanche|ce week-end",
    },
    "es": {
        "say": "{hi} {want}|{want}, {please}|{when} {event}|{want}. {when} {event}|{thing} {did} {time}, {please}|"
        "{thing} cuesta {price}, no {price}|¿{count} de {thing} por {price}? {ok}|{ok}, {event}|mi pedido {order} {state}|"
        "{thing} {size} en {colour}, {please}|somos {count} el {day}|{event} a las {clock}, {ok}|"
        "¿abren hasta las {clock}?|son {count} minutos hasta {place}|el {percent} {state}|"
        "{hi}\n{want}\n{please}|{want} :) ¡{ok}!|del {date} al {date}, {count} noches|{ok}... ¿{event}?",
        "talk": "{hi} {small}|{small}. {small}|{small}, {please}|{ok}, {small}|bueno, {small} y {small}|{small}... {ok}|{small}, {please}. {small}",
        "small": "{thing} {state}|me gustaría cambiar {thing} que pedí el {day}|abren el {day}|yo quería {thing} en {colour} y no en {colour}|alguien me puede explicar cómo funciona|fuimos a ver {place} y llovió todo el día|todavía no entiendo por qué {thing} {state}|su compañera fue muy amable|prefiero pasar el {day}|nadie contesta cuando escribo|lo miro y te digo mañana|depende del tiempo, la verdad",
        "hi": "hola|buenos días|buenas|qué tal|hola otra vez", "ok": "ok|vale|perfecto|entendido|sin problema|genial",
        "want": "necesito {thing} para el {day}|quiero una mesa para {count}|dónde está {thing}|quisiera {count} de {thing}|"
        "manden {thing} a {place}|busco {thing} en {colour}|tienen {thing} en {size}",
        "please": "por favor|gracias|muchas gracias|lo antes posible|si se puede",
        "when": "ayer|el {day} pasado|el {date}|esta mañana|sobre las {clock}", "did": "devuelto|pedido|cancelado|pagado",
        "event": "{thing} {state}|esperé {count} minutos|{place} estaba cerrado|pagamos {price}|el tren salió a las {clock}",
        "state": "llegó tarde|está roto|no funcionó|vino doble|falta|estuvo genial", "time": "a las {clock}|el {day}|hace {count} días",
        "thing": "el billete|la chaqueta|la licuadora|la habitación|la factura|la pizza|el café|la silla|la bici|la lámpara", "place": "la estación|el hotel|la tienda|el aeropuerto|el museo",
        "colour": "rojo|azul oscuro|verde|negro|blanco", "day": "lunes|martes|viernes|domingo|fin de semana",
    },
    "pt": {
        "say": "{hi} {want}|{want}, {please}|{when} {event}|{want}. {when} {event}|{thing} {did} {time}, {please}|"
        "{thing} custa {price}, não {price}|{count} de {thing} por {price}? {ok}|{ok}, {event}|meu pedido {order} {state}|"
        "{thing} {size} em {colour}, {please}|somos {count} na {day}|{event} às {clock}, {ok}|"
        "abre até às {clock}?|são {count} minutos até {place}|{percent} {state}|"
        "{hi}\n{want}\n{please}|{want} :) {ok}!|de {date} a {date}, {count} noites|{ok}... {event}?",
        "talk": "{hi} {small}|{small}. {small}|{small}, {please}|{ok}, {small}|bom, {small} e {small}|{small}... {ok}|{small}, {please}! {small}",
        "small": "{thing} {state}|queria trocar {thing} que pedi na {day}|vocês abrem na {day}|eu queria {thing} em {colour} e não em {colour}|alguém me explica como funciona|fomos ver {place} e choveu o dia todo|ainda não entendi por que {thing} {state}|sua colega foi muito gentil|prefiro passar na {day}|ninguém responde quando eu escrevo|vou olhar e te digo amanhã|depende do tempo, sinceramente",
        "hi": "oi|olá|bom dia|boa tarde|oi de novo", "ok": "ok|claro|perfeito|entendi|sem problema|ótimo",
        "want": "preciso de {thing} para {day}|quero uma mesa para {count}|cadê {thing}|queria {count} de {thing}|"
        "mandem {thing} para {place}|procuro {thing} em {colour}|tem {thing} em {size}",
        "please": "por favor|obrigado|muito obrigada|o quanto antes|se der",
        "when": "ontem|na {day} passada|em {date}|hoje cedo|lá pelas {clock}", "did": "devolvido|pedido|cancelado|pago",
        "event": "{thing} {state}|esperei {count} minutos|{place} estava fechado|pagamos {price}|o trem saiu às {clock}",
        "state": "chegou tarde|quebrou|não funcionou|veio duas vezes|falta|foi ótimo", "time": "às {clock}|na {day}|há {count} dias",
        "thing": "o bilhete|a jaqueta|o liquidificador|o quarto|a fatura|a pizza|o café|a cadeira|a bicicleta|a lâmpada", "place": "a estação|o hotel|a loja|o aeroporto|o museu",
        "colour": "vermelho|azul escuro|verde|preto|branco", "day": "segunda|terça|sexta|quinta|sábado",
    },
}  # fmt: skip
_RULES = {
    language: {name: tuple(choices.split("|")) for name, choices in rules.items()}
    for language, rules in _GRAMMAR.items()
}


def _clock(dice: Dice, language: str) -> str:
    hour, minute = dice.between(0, 23), dice.pick((0, 5, 15, 20, 30, 45))
    mark = {"fr": "h", "pt": "h"}.get(language, ":")
    return f"{hour}{mark}{minute:02}" if dice.chance(0.7) else f"{hour:02}:{minute:02}"


def _number(dice: Dice, name: str, language: str) -> str:
    if name == "clock":
        return _clock(dice, language)
    few = {
        "count": ("2", "3", "4", "5", "6", "8", "10", "12", "15", "20", "25", "30", "45", "90", "120", "250"),
        "size": ("M", "XL", "42", "38.5", "10 x 15 cm", "2.0", "1,5 l"),
    }
    if name in few:
        return dice.pick(few[name])
    if name == "order":
        return dice.pick(("#", "", "n. ", "AB-")) + dice.pick("123456789") + dice.digits(dice.pick((4, 5, 7)))
    if name == "percent":
        return f"{dice.between(1, 100)}{dice.pick(('%', ' %'))}"
    if name == "date":
        day, month, year = dice.between(1, 28), dice.between(1, 12), dice.between(2023, 2026)
        return dice.pick(
            (
                f"{day}.{month}.",
                f"{day}/{month}",
                f"{day:02}.{month:02}.{year}",
                f"{day}/{month}/{year}",
                f"{year}-{month:02}-{day:02}",
            )
        )
    amount = f"{dice.between(1, 999)}{dice.pick(('.', ','))}{dice.digits(2)}"
    return dice.pick(
        (
            f"{amount} €",
            f"${amount}",
            f"R$ {amount}",
            f"£{dice.between(2, 90)}",
            f"{dice.between(1, 9)}.{dice.digits(3)},00 €",
            f"{dice.between(2, 999)} EUR",
        )
    )


def _say(dice: Dice, language: str, name: str) -> str:
    choices = _RULES[language].get(name)
    if choices is None:
        return _number(dice, name, language)
    text = dice.pick(choices)
    while "{" in text:
        before, _, rest = text.partition("{")
        inner, _, after = rest.partition("}")
        text = before + _say(dice, language, inner) + after
    return text


def clean_messages(count: int, seed: int, talk: float = 0.0) -> list[str]:
    """Chat without personal data, the languages in turn; a share of it is talk without a single number."""
    dice = Dice(seed)
    texts = []
    for number in range(count):
        language = LANGUAGES[number % len(LANGUAGES)]
        rule = "talk" if talk and dice.chance(talk) else "say"
        text = _say(dice, language, rule)
        if dice.chance(0.3):
            text += dice.pick((". ", "\n", ", ", "! ")) + _say(dice, language, rule)
        texts.append(
            text if dice.chance(0.6) else text[:1].upper() + text[1:] + dice.pick(("", ".", "!", " 😊"))
        )
    return texts
