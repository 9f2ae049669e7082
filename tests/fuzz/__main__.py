"""Bytes that a coverage-guided fuzzer makes, given to what reads what others send: `make fuzz T=60`.

A target fails on anything but the errors the program raises on purpose, and where a guarantee is broken. The
input that does is written to `crash-…` in the folder this is started from; what was found becomes a test.

    python -m tests.fuzz importers -max_total_time=60
"""

from __future__ import annotations

import io
import sys
import zipfile
from base64 import b32encode
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["core", "api"]):
    from api.chatbotkit.lists import _meta
    from api.generalbots.frames import read_frame, written
    from core.entities import Units, read_entities
    from core.errors import CrontalkError, InvalidInput
    from core.importers import FORMATS, Limits, Source, Unknowns, read
    from core.privacy.detect import detect
    from core.privacy.operators import read_stored, redact, stored
    from core.privacy.policy import PRESETS, Policy, Preset
    from core.rows import has_meta
    from core.schedule import in_words, next_after, parse, preview

from models import Conversation
from tests.unit.import_samples import EXAMPLES
from tests.unit.privacy_cases import CASES, marked

NOW = datetime(2030, 3, 31, 0, 30, tzinfo=UTC)
LIMITS = Limits()


class Tools:
    """Operators without a vault."""

    def token(self, kind: str, value: str) -> str:
        return f"[{kind.lower()[:20]}:{self.digest(kind, value)[:8]}]"

    def digest(self, _kind: str, value: str) -> str:
        return b32encode(sha256(value.encode(errors="replace")).digest())[:16].decode().lower()

    def number(self, _kind: str, _value: str) -> int | None:
        return None


def importers(data: bytes) -> None:
    """Any file in any format ends in records, rejects or a sentence."""
    provider = atheris.FuzzedDataProvider(data)
    name = provider.PickValueInList([None, *FORMATS])
    content = provider.ConsumeBytes(len(data))
    if provider.ConsumeBool() and content:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("conversations.json", content)
        content = packed.getvalue()
    try:
        for _ in read(Source(io.BytesIO(content), None), name, unknowns=Unknowns(), limits=LIMITS):
            pass
    except InvalidInput:
        pass


def schedules(data: bytes) -> None:
    """A text is refused with a sentence, or is due after now and says so in words."""
    provider = atheris.FuzzedDataProvider(data)
    zone = provider.PickValueInList(
        [None, "Europe/Berlin", "Australia/Lord_Howe", "America/Caracas", "\x00", "../x"]
    )
    text = provider.ConsumeUnicode(200)
    try:
        schedule = parse(text, zone)
    except InvalidInput:
        return
    assert parse(schedule.text, schedule.zone) == schedule
    following = next_after(schedule, NOW)
    assert following is None or following > NOW
    times = preview(schedule, NOW, 3)
    assert list(times) == sorted(set(times))
    in_words(schedule)


def meta_filters(data: bytes) -> None:
    """Every filter is refused, or becomes conditions whose words are parameters alone."""
    provider = atheris.FuzzedDataProvider(data)
    pairs = [
        (
            provider.PickValueInList(["meta.", "meta[", ""]) + provider.ConsumeUnicode(60),
            provider.ConsumeUnicode(30),
        )
        for _ in range(provider.ConsumeIntInRange(0, 24))
    ]
    try:
        conditions = has_meta(Conversation.meta, list(_meta(pairs)))
    except InvalidInput:
        return
    for condition in conditions:
        said = str(condition.compile())
        assert said.startswith("jsonb_extract_path"), said
        assert "'" not in said


def redaction(data: bytes) -> None:
    """Places are in the text, in order and apart in both units, and a redacted text stays as it is."""
    provider = atheris.FuzzedDataProvider(data)
    preset = provider.PickValueInList([preset for preset in Preset if preset in PRESETS])
    text = provider.ConsumeUnicode(400)
    spans, past = detect(text), 0
    units = Units(text)
    for span in spans:
        assert past <= span.begin < span.end <= len(text)
        past = span.end
    given = [{"begin": units.of(s.begin), "end": units.of(s.end), "type": s.type} for s in spans]
    assert [(e.begin, e.end) for e in read_entities(given, text)] == [(s.begin, s.end) for s in spans]
    try:
        made = redact(text, spans, Policy(PRESETS[preset]), Tools())
    except CrontalkError:
        return
    kept = read_stored(stored(made.taken))
    again = redact(made.text, detect(made.text), Policy(PRESETS[preset]), Tools(), settled=kept)
    assert again.text == made.text, "Redacting twice changes more."


def entities(data: bytes) -> None:
    """Spans of a caller's are refused or lie within the text, apart."""
    provider = atheris.FuzzedDataProvider(data)
    text = provider.ConsumeUnicode(40)
    given = [
        {"begin": provider.ConsumeInt(2), "end": provider.ConsumeInt(2), "type": provider.ConsumeUnicode(5)}
        for _ in range(provider.ConsumeIntInRange(0, 6))
    ]
    try:
        found = read_entities(given, text)
    except InvalidInput:
        return
    for one in found:
        assert 0 <= one.begin < one.end <= len(text)


def frames(data: bytes) -> None:
    """A frame is refused with a sentence, or its text can be written out again."""
    provider = atheris.FuzzedDataProvider(data)
    raw: str | bytes = provider.ConsumeUnicode(400) if provider.ConsumeBool() else data
    if isinstance(raw, bytes) and provider.ConsumeBool():
        raw = raw.decode("utf-8", "surrogateescape")
    try:
        frame = read_frame(raw)
    except InvalidInput:
        return
    written({"content": getattr(frame, "content", "")})


TARGETS = {
    target.__name__: target for target in (importers, schedules, meta_filters, redaction, entities, frames)
}
SEEDS = {
    "importers": [b"\x00" + content for content in EXAMPLES.values()],
    "schedules": [
        b"*/5 9-17 * * MON-FRI", b"@every 90s", b"09:30", b"2030-03-31T02:30", b"twicedaily", b"@daily",
        b"0 2 31 2 *", b"Tue, 01 Jan 2030 00:00:00 GMT",
    ],
    "redaction": [marked(case)[0].encode() for _, case in CASES],
    "frames": [
        b'\x01{"type":"message","content":"x","session_id":"y","attachments":[{}]}',
        b'\x01{"type":"auth","token":"x","after":["a:1"],"deltas":true}',
    ],
}  # fmt: skip


def main() -> None:
    name, *rest = sys.argv[1:]
    folder = next((part for part in rest if not part.startswith("-")), None)
    if folder:
        for number, seed in enumerate(SEEDS.get(name, [])):
            (Path(folder) / f"seed-{number}").write_bytes(seed)
    atheris.Setup([sys.argv[0], *rest], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
