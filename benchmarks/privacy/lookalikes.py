"""Hard negatives: what looks like personal data and is none. Written here, with numbers that fail the check digits."""

from __future__ import annotations

from collections.abc import Callable

from stdnum import luhn, verhoeff

from benchmarks.privacy.labelled import Dice

FIXED = (
    "e.g.this is fine", "Three days.Is that ok?", "Thanks.I will check", "ok.So what now", "yes.No.Maybe", "i.e.the blue one",
    "open main.py and look", "README.md is outdated", "see setup.cfg and app.tsx", "node.js or deno.land?", "it is in index.html",
    "rename a.b.c to a.b.d", "self.name = other.name", "user.email is None", "print(x.y.z)", "foo@bar is no address",
    "@here please read", "@maria can you look?", "ping @dev-team at 5", "3@4 is not math", "git@github", "a@b",
    "version 10.2.3.4.5 is out", "we run 1.2.3.4.5.6", "Firmware 12.0.1.300 fixes it", "v2.10.4-rc.1", "release 2024.10.1",
    "chapter 3.2.1.7.9", "section 999.999.999.999", "build 256.300.1.2", "the ratio is 1:2:3:4", "score 3:2, then 4:1",
    "10:30-11:45 works", "from 9:00 to 17:00", "00:12:44 into the video", "at 12:34:56 it failed", "24/7 support",
    "on 2024-05-17 at 12:00", "delivered 17.05.2024", "due 05/17/2024", "2024-05-17T08:15:00Z", "Q3 2024 to Q1 2025",
    "the years 2010-2015 and 2016-2020", "ages 18-65", "pages 100-200", "rooms 555 - 600", "1990 2000 2010 2020",
    "1,000,000 views", "1 000 000 vues", "1.000.000 Aufrufe", "12,345.67 USD", "EUR 1.234,56", "R$ 2.345.678,90",
    "3.14159265358979", "2.718281828459045", "0.1234567890123", "1e-12 is small", "6.02214076e23", "50 % of 1234",
    "100 000 000 000 stars", "42 42 42 42", "1 2 3 4 5 6 7 8 9", "10 9 8 7 6 5 4 3 2 1", "0000 0000 0000 0000",
    "1111-1111-1111-1112", "1234 5678 9012 3456", "123456", "12345678", "0123456789", "password reset does not work",
    "I forgot my password", "the password is wrong", "my password is not working", "Passwort vergessen", "mot de passe oublié",
    "olvidé mi contraseña", "esqueci a senha", "the password field is empty", "is a passport needed?", "my passport expired",
    "bring your driver's license", "no credit card needed", "call me tomorrow", "phone: none", "email: none", "tel. n/a",
    "IBAN please?", "what is a BIC?", "swift is a nice language", "SSN is not required", "my IP changed yesterday",
    "the MAC is broken", "PAN pizza 2 for 1", "born in the eighties", "date of birth is missing", "the birthday party is on Friday",
    "ISBN 978-3-16-148410-1", "ISBN 0-306-40615-3", "EAN 4006381333932", "ISSN 2049-3631", "DOI 10.1000/182",
    "48.8566, 2.3522", "40.7128 N 74.0060 W", "lat 52.520008 lon 13.404954", "-23.55052,-46.633309", "N 48° 51.396' E 2° 21.132'",
    "1920x1080 at 60 Hz", "3840 x 2160", "M8x40 screws", "ISO 9001:2015", "RFC 2119", "RAL 7016", "B07XJ8C8F5 in stock",
    "SKU AB-12345-XL", "part 61-22334-09", "model XPS-13-9310", "Boeing 737-800", "A4 2.0 TDI 150 PS", "size 38-40 / M",
    "#ff8800 and #00aa11", "0x1F4A9", "0b101101", "rgb(255, 128, 0)", "sha1 da39a3ee5e6b4b0d3255bfef95601890afd80709",
    "md5 d41d8cd98f00b204e9800998ecf8427e", "commit 9fceb02d0ae598e95dc970b74767f19372d61af8", 'etag "33a64df5"',
    "npm i left-pad@1.3.0", "pip install foo==2.1.0", "docker run app:1.2.3", "localhost:8000", "C:\\temp\\log.txt", "/var/log/syslog",
    "~/.bashrc", "src/app/index.ts:120", "for i in range(1000000):", "x = a[10:20]", "SELECT 1 FROM t WHERE id = 12345678",
    "if (n > 1000000000) { return }", "std::vector<int>", "a::b::c", "Foo::Bar", "12::34 what?", "key: value", "token expired",
    "api key missing", "secret santa is on the 12th", "Bearer market", "the bearer of this letter", "sk-learn or sklearn?",
    "W3C", "B2B SaaS", "COVID-19", "G20 in 2024", "MP3 at 320 kbps", "H2O2 3 %", "5G, 4G", "F1 2024", "R2-D2 and C-3PO",
    "1st, 2nd, 3rd", "1/2 cup, 3/4 tsp", "7 x 8 = 56", "2+2=5", "(3-1)*4", "100-99-98", "1-2-3", "4-4-2 formation",
    "row 17 seat 22A", "gate B12, 14:35", "flight LH1234 at 10:15", "train ICE 597", "platform 9 3/4", "Highway 101",
    "We meet at 5 Guys", "I have 12 Street Fighter games", "the 3 Road trips", "Calle 13 is a band", "2 rue or not 2 rue",
    "12345-6789", "zip 90210", "75008 Paris", "10115 Berlin", "01310-100 São Paulo", "SW1A 1AA", "PO box 1234",
    "May will be fine", "will you mark it?", "a rose is a rose", "I hope so", "the bill please", "grace period of 14 days",
)  # fmt: skip


def _order(dice: Dice) -> str:
    return dice.pick(("order {}", "Bestellung {}", "commande n° {}", "pedido {}", "order no. {}")).format(
        _plain(dice, dice.pick((6, 7, 8, 9, 10, 11)))
    )


def _tracking(dice: Dice) -> str:
    return dice.pick(("tracking {}", "Sendungsnummer {}", "colis {}", "guía {}")).format(
        dice.pick(("1Z" + dice.some("ABCDEFW0123456789", 8) + dice.digits(8), _plain(dice, 20), _plain(dice, 22), f"LX{dice.digits(9)}CN"))
    )  # fmt: skip


def _no_card(dice: Dice) -> str:
    number = _plain(dice, 16)
    return dice.pick(("ref {}", "article {}", "serial {}", "id {}")).format(
        dice.pick((number, " ".join(number[at : at + 4] for at in range(0, 16, 4))))
    )


def _plain(dice: Dice, count: int) -> str:
    """Digits that no card and no Aadhaar could be, so that nobody can be blamed for them."""
    while True:
        number = dice.pick("123456789") + dice.digits(count - 1)
        if not luhn.is_valid(number) and not verhoeff.is_valid(number):
            return number


def _hex(dice: Dice, *sizes: int) -> str:
    return "-".join(dice.some("0123456789abcdef", size) for size in sizes)


_MADE: tuple[Callable[[Dice], str], ...] = (
    _order, _order, _tracking, _no_card,
    lambda dice: "uuid " + _hex(dice, 8, 4, 4, 4, 12),
    lambda dice: "hash " + _hex(dice, dice.pick((7, 12, 32, 40, 64))),
    lambda dice: f"v{dice.between(0, 40)}.{dice.between(0, 40)}.{dice.between(0, 900)}.{dice.between(0, 9)}.{dice.between(0, 9)}",
    lambda dice: f"{dice.between(1, 999)}.{dice.digits(3)},{dice.digits(2)} €",
    lambda dice: f"${dice.between(1, 99)},{dice.digits(3)}.{dice.digits(2)}",
    lambda dice: f"{dice.between(-89, 89)}.{dice.digits(6)}, {dice.between(-179, 179)}.{dice.digits(6)}",
    lambda dice: f"IMG_{dice.between(2015, 2025)}{dice.between(1, 12):02}{dice.between(1, 28):02}_{dice.digits(6)}.jpg",
    lambda dice: f"report-{dice.between(2015, 2025)}-{dice.between(1, 12):02}.pdf",
    lambda dice: f"{dice.between(1, 28):02}.{dice.between(1, 12):02}.{dice.between(2015, 2026)} {dice.between(0, 23):02}:{dice.digits(1)}0",
    lambda dice: f"ticket INC{dice.digits(7)}",
    lambda dice: f"case {dice.some('ABCDEFGH', 2)}-{dice.digits(6)}",
    lambda dice: f"it says error 0x8{dice.some('0123456789ABCDEF', 7)}",
    lambda dice: f"{dice.between(100, 999)}-{dice.between(100, 999)} pieces",
    lambda dice: f"epoch 17{dice.digits(8)}",
    lambda dice: f"{dice.between(2, 90)} x {dice.between(2, 90)} = {dice.between(4, 8100)}",
    lambda dice: f"sum {dice.digits(3)} + {dice.digits(4)} + {dice.digits(3)} = {dice.digits(5)}",
    lambda dice: f"account {dice.some('abcdefgh', 6)}{dice.digits(3)}",
    lambda dice: f"line {dice.between(10, 9999)}: x[{dice.digits(2)}] = {dice.digits(7)}",
    lambda dice: f"{dice.some('abcdefgh', 6)}.{dice.pick(('py', 'ts', 'rs', 'sh', 'pl', 'md'))} fails",
    lambda dice: f"finished.{dice.pick(('It', 'Is', 'So', 'In', 'At', 'Me', 'No'))} works",
    lambda dice: f"invoice {dice.between(2019, 2026)}/{dice.digits(5)}",
    lambda dice: f"{dice.between(10, 99)} {dice.digits(3)} {dice.digits(3)} km",
)  # fmt: skip


def lookalikes(seed: int, made: int = 400) -> list[str]:
    """The fixed ones, then as many made ones."""
    dice = Dice(seed)
    return [*FIXED, *(_MADE[number % len(_MADE)](dice) for number in range(made))]
