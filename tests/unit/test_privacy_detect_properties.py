"""What holds for every text: places in range, in order and apart, and both engines answering alike."""

from __future__ import annotations

import subprocess
import sys
from base64 import b32encode
from hashlib import sha256

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.privacy import detect as module
from core.privacy import gate
from core.privacy.detect import DEFAULT, Scope, detect, warm
from core.privacy.fold import fold, odd
from core.privacy.kinds import KINDS
from core.privacy.known import Identity, known
from core.privacy.operators import redact
from core.privacy.policy import PRESETS, Operator, Policy, Preset
from tests.unit.privacy_cases import CASES, LOOK_ALIKES, marked

ALL = Scope(
    kinds=frozenset(KINDS),
    known=known([Identity(names=("Ann Example",), emails=("a@b.co",), phones=("+14155552671",))]),
)
SHARDS = [marked(case)[0] for _, case in CASES] + list(LOOK_ALIKES)
GLUE = st.sampled_from(
    ["", " ", "\n", ".", ", ", "-", ": ", "•", "@", "/", "ß", "😀", "\u00a0", "\x00", "0", "a", "("]
)
TEXTS = st.one_of(
    st.text(),
    st.text(alphabet="0123456789 +-().,:/@abAB•_=ſKİı\u00a0\uff11", max_size=200),
    st.lists(st.one_of(st.sampled_from(SHARDS), GLUE), max_size=12).map("".join),
)


def sound(text: str, spans: list) -> None:
    past = 0
    for span in spans:
        assert past <= span.begin < span.end <= len(text)
        assert span.type in KINDS
        assert 0.4 <= span.score <= 1
        past = span.end


@settings(max_examples=300, deadline=None)
@given(TEXTS)
@example("\ud800 joe@example.com \udfff")
@example("\x00" * 9)
def test_spans_are_in_range_in_order_and_apart(text):
    sound(text, detect(text, ALL))
    sound(text, detect(text))


@settings(max_examples=300, deadline=None)
@given(TEXTS)
@example("A:A:A")
@example("abcdefllallalllz " + "L" * 26)
def test_both_engines_of_the_gate_answer_alike(text):
    if gate.by_re2 is None:
        pytest.skip("google-re2 is not installed")
    folded = fold(text)
    assert gate.by_re2(folded) == gate.by_stdlib(folded)


@settings(max_examples=200, deadline=None)
@given(TEXTS)
def test_the_gate_keeps_nothing_back(text):
    everything = list(range(len(gate.SIGNS)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "hits", lambda some: [gate.Gate.ODD] if odd(some) else everything)
        ungated = detect(text)
    assert detect(text) == ungated


def test_folding_keeps_every_place():
    text = "İ ſ K ﬁ １ \u00a0 \u2011 ٣ 😀 ß"
    assert len(fold(text)) == len(text)


def redacted(text: str, spans: list, say) -> str:
    parts, past = [], 0
    for span in spans:
        parts += [text[past : span.begin], say(span, text[span.begin : span.end])]
        past = span.end
    return "".join([*parts, text[past:]])


def masked(span, value: str) -> str:
    """What a mask leaves: what separates, an address's domain, the last four of many digits."""
    if span.type == "EMAIL_ADDRESS":
        return f"{value[0]}••@{value.partition('@')[2]}"
    if span.type in {"URL", "SECRET", "CRYPTO"}:
        return "•" * 8
    digits = sum(letter.isdecimal() for letter in value)
    last = 4 if digits >= 8 and span.type not in {"DATE_OF_BIRTH", "IP_ADDRESS", "MAC_ADDRESS"} else 0
    parts = []
    for letter in value:
        digits -= letter.isdecimal()
        parts.append("•" if letter.isalpha() or (letter.isdecimal() and digits >= last) else letter)
    return "".join(parts)


FORMS = [
    lambda span, _: f"<{span.type}>",
    lambda span, _: f"<{span.type}_12>",
    lambda span, _: f"<{span.type}:abcdefgh234567ab>",
    lambda span, _: f"[{KINDS[span.type].label}:a7x2b]",
    lambda *_: "",
    masked,
]
# Further than a cue word reaches.
APART = "\n" + "so " * 30 + "\n"


@pytest.mark.parametrize("say", FORMS)
@settings(max_examples=150, deadline=None)
@given(shards=st.lists(st.sampled_from(SHARDS), max_size=4))
def test_what_was_redacted_is_not_found_again(say, shards):
    text = APART.join(shards)
    assert detect(redacted(text, detect(text), say)) == []


class Tools:
    """Tokens, digests and numbers made of the value alone."""

    def __init__(self, numbered: bool) -> None:
        self.numbered = numbered

    def token(self, kind: str, value: str) -> str:
        return f"[{KINDS[kind].label}:{self.digest(kind, value)[:5]}]"

    def digest(self, kind: str, value: str) -> str:
        made = sha256(f"{kind} {value}".encode("utf-8", "surrogatepass")).digest()
        return b32encode(made).decode().lower()[:16]

    def number(self, kind: str, value: str) -> int | None:
        return len(kind + value) if self.numbered else None


PIECES = SHARDS + [value for _, case in CASES for value in marked(case)[1]]
SEAMS = [
    "",
    " ",
    "\n",
    ".",
    ", ",
    "-",
    ": ",
    "@",
    "/",
    "|",
    ";",
    ")",
    "(",
    '"',
    "=",
    "+",
    "•",
    "a",
    "0",
    "\u00a0",
]
ALTERING = [one for one in Operator if one not in {Operator.KEEP, Operator.ANNOTATE}]
EVERY_KIND = Scope(kinds=frozenset(KINDS))


@pytest.mark.parametrize("operator", ALTERING)
@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    pieces=st.lists(st.tuples(st.sampled_from(PIECES), st.sampled_from(SEAMS)), min_size=1, max_size=4),
    numbered=st.booleans(),
)
def test_nothing_is_left_of_what_was_glued_together(operator, pieces, numbered):
    text = "".join(piece + seam for piece, seam in pieces)
    policy = Policy(operators=dict.fromkeys(PRESETS[Preset.STRICT], operator), default=operator)
    once = redact(text, detect(text), policy, Tools(numbered)).text
    assert detect(once) == []


@pytest.mark.parametrize(("kind", "case"), CASES)
def test_every_kind_is_gone_by_every_operator(kind, case):
    text, held = marked(case)
    for operator in ALTERING:
        policy = Policy(operators=dict.fromkeys(PRESETS[Preset.STRICT], operator), default=operator)
        once = redact(text, detect(text, EVERY_KIND), policy, Tools(numbered=True)).text
        assert detect(once, EVERY_KIND) == [], kind
        assert not any(value in once for value in held)


HOSTILE = [
    "1", "12 ", "1 ", "415 ", "4111 ", "4155552671 ", "0151 ", "612 345 678 ", "+49 ", "+", "(", "(1",
    ".", "a.", "a@",
    "a@b.", "1.", "1.1.1.1 ", "af09", ":", "a:", "1:", "::1 ", "eyJ", "eyJabcdefgh.", " ", "\"'", "a", "A",
    "password: ", "password: abc1 ", "http://", "www.", "-", "-----BEGIN PRIVATE KEY-----", "DE89 ", "DE89",
    "AB 12 34 56 ", "born ", "license ", "DL 1", "•", "•• 1 ", "<A", "[a", "[email:", "\n", "bc1q", "0x",
    "1A",
    "BIC DEUTDEFF ", "account 1234567 ", "ssn 536-22-1234 ", "x.com ", "x.com/", "-a.", "é", "😀",
    "a1b2-", "\x00",
    "ABCDEF", "sk-", "token is ", "a=", "e=a@b.co&", "2024-01-15 ", "1-", "1/", "12-34-", "://a:b",
    "née le ", "1 a ",
    "Ann ", "Ann Example ", "tel: 12", "4111111111111111 ",
]  # fmt: skip


@pytest.mark.parametrize("shape", HOSTILE)
@pytest.mark.parametrize("engine", ["re2", "stdlib"])
def test_a_hostile_text_is_read_to_its_end(shape, engine, monkeypatch):
    if engine == "re2" and gate.by_re2 is None:
        pytest.skip("google-re2 is not installed")
    monkeypatch.setattr(module, "hits", gate.by_re2 if engine == "re2" else gate.by_stdlib)
    text = (shape * (65_536 // len(shape) + 1))[:65_536]
    sound(text, detect(text, ALL))


def test_the_last_number_of_a_long_text_is_found():
    text = "1.1 a@ :: " * 6_000 + "joe@example.com"
    assert detect(text)[-1].end == len(text)


def test_the_detector_loads_no_model_and_opens_no_socket():
    program = (
        "import sys, socket\n"
        "def no(*a, **k): raise AssertionError('a socket')\n"
        "socket.socket.__init__ = socket.getaddrinfo = no\n"
        "from core.privacy.detect import detect, warm\n"
        "warm()\n"
        "assert len(detect('joe@example.com +49 30 12345678')) == 2\n"
        "bad = {'spacy', 'presidio_analyzer', 'tldextract', 'sqlalchemy'} & set(sys.modules)\n"
        "assert not bad, bad\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_without_re2_the_standard_library_serves():
    program = (
        "import sys\n"
        "sys.modules['re2'] = None\n"
        "from core.privacy import gate\n"
        "from core.privacy.detect import detect\n"
        "assert gate.by_re2 is None\n"
        "assert [s.type for s in detect('joe@example.com')] == ['EMAIL_ADDRESS']\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_warming_changes_nothing():
    before = detect("tel 030 1234567", DEFAULT)
    warm()
    assert detect("tel 030 1234567", DEFAULT) == before
