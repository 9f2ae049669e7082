"""The operator's own model: what is refused, where names stand, and what is never done."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.privacy import model as models
from core.privacy import presidio
from core.privacy.model import ModelAway, namer_of
from core.privacy.named import Found, pieces, spans
from core.privacy.presidio import load
from core.settings import Settings

ROOT = Path(__file__).resolve().parent.parent.parent
SAID = "Yesterday Grace Hopper called from Berlin."


@pytest.fixture(scope="session")
def folder(names_model):
    return names_model


@pytest.fixture(scope="session")
def namer(folder):
    return load("spacy", folder)


def found(namer, text):
    return [(one.type, text[one.begin : one.end]) for one in namer.spans(text)]


def test_names_and_places_are_found_by_presidios_kinds(namer):
    assert found(namer, SAID) == [("PERSON", "Grace Hopper"), ("LOCATION", "Berlin")]
    assert {(one.source, one.score) for one in namer.spans(SAID)} == {("model", 0.85)}


def test_places_count_code_points(namer):
    text = f"😀 👩‍👩‍👧 We have time. {SAID} 😀 {SAID}"
    assert found(namer, text) == found(namer, SAID) * 2
    assert next(one.begin for one in namer.spans(text)) == text.index("Grace")


def test_a_long_text_is_read_to_its_end(namer):
    text = ("We have time. 😀 " * 300 + f"{SAID} ") * 4
    assert len(text) > 15_000
    assert found(namer, text) == found(namer, SAID) * 4


@pytest.mark.parametrize("odd", ["\0", "\ud800", "\udfff\udfff", "", " \n\t", "(" * 2000, "漢" * 2000])
def test_what_no_text_should_hold_breaks_nothing(namer, odd):
    assert ("PERSON", "Grace Hopper") in found(namer, f"{SAID} {odd} {SAID}")
    namer.spans(odd)


def test_a_model_that_breaks_tells_nothing_of_the_text(folder, caplog, capfd):
    namer = load("spacy", folder)

    def broken(piece):
        raise ValueError(piece)

    object.__setattr__(namer, "_look", broken)
    with caplog.at_level(logging.DEBUG), pytest.raises(ModelAway) as refused:
        namer.spans(SAID)
    assert (refused.value.code, refused.value.of_the_text) == ("model_broke", True)
    assert "Hopper" not in str(refused.value) + caplog.text + "".join(capfd.readouterr())


def test_presidio_has_no_voice(namer, caplog, capfd):
    for name in ("presidio-analyzer", "decision_process", "spacy"):
        logging.getLogger(name).critical("Grace Hopper")
    assert caplog.text + "".join(capfd.readouterr()) == ""


@pytest.mark.parametrize("kind", ["spacy", "transformers", "gliner"])
def test_a_folder_that_is_not_there_is_refused(kind, tmp_path):
    with pytest.raises(ModelAway, match="^folder_missing$"):
        load(kind, tmp_path / "nowhere")


def test_a_folder_that_holds_no_model_is_refused(folder, tmp_path):
    with pytest.raises(ModelAway, match="^model_unreadable$"):
        load("spacy", tmp_path)
    damaged = shutil.copytree(folder, tmp_path / "damaged")
    (damaged / "ner" / "model").write_bytes(b"junk")
    with pytest.raises(ModelAway, match="^model_unreadable$"):
        load("spacy", damaged)


def test_a_model_that_names_nobody_is_refused(tmp_path):
    import spacy

    pipeline = spacy.blank("en")
    pipeline.add_pipe("sentencizer")
    pipeline.to_disk(tmp_path / "blank")
    with pytest.raises(ModelAway, match="^model_unreadable$"):
        load("spacy", tmp_path / "blank")


@pytest.mark.parametrize(
    ("kind", "absent"),
    [("spacy", "presidio_analyzer.nlp_engine"), ("spacy", "spacy"), ("transformers", "transformers")],
)
def test_a_library_that_is_not_there_is_refused(kind, absent, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, absent, None)
    with pytest.raises(ModelAway, match="^library_missing$"):
        load(kind, folder)


def test_a_version_names_the_files_and_not_their_place(folder, namer, tmp_path):
    moved = shutil.copytree(folder, tmp_path / "moved")
    (moved / ".cache").mkdir()
    (moved / ".cache" / "lock").touch()
    assert load("spacy", moved).version == namer.version
    (moved / "LICENSE").write_text("Theirs.")
    assert load("spacy", moved).version != namer.version


def test_weights_of_the_same_size_are_another_version(tmp_path):
    weights = tmp_path / "model.safetensors"
    seen = set()
    for last in (b"a", b"b"):
        weights.write_bytes(b"w" * 1_000_000 + last)
        seen.add(presidio._digest(tmp_path))
    weights.rename(tmp_path / "model.bin")
    seen.add(presidio._digest(tmp_path))
    assert len(seen) == 3


def test_a_process_loads_its_model_once(folder, monkeypatch):
    monkeypatch.setattr(models, "_loaded", {})
    settings = Settings(pii_ner="spacy", pii_ner_path=folder)
    assert namer_of(settings) is namer_of(settings)
    assert namer_of(Settings()) is None


def test_a_model_that_is_away_is_not_asked_for_with_every_message(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(models, "_loaded", {})
    monkeypatch.setattr(models, "_away", {})
    settings = Settings(pii_ner="spacy", pii_ner_path=tmp_path / "later")
    with pytest.raises(ModelAway, match="folder_missing"):
        namer_of(settings)
    shutil.copytree(folder, tmp_path / "later")
    with pytest.raises(ModelAway, match="folder_missing"):
        namer_of(settings)
    monkeypatch.setattr(models, "REST", 0.0)
    models._away.clear()
    assert namer_of(settings) is not None


def test_a_kind_without_a_folder_is_refused():
    with pytest.raises(ModelAway, match="folder_missing"):
        namer_of(Settings(pii_ner="spacy"))


def test_an_empty_setting_is_none():
    settings = Settings(pii_ner="", pii_ner_path="")
    assert (settings.pii_ner, settings.pii_ner_path) == (None, None)


# --- What is pure.

WORDS = st.text(alphabet="ab 😀\n。(", max_size=3000)


@given(WORDS, st.integers(400, 900), st.integers(0, 90))
def test_pieces_are_short_and_leave_nothing_out(text, size, overlap):
    done = 0
    for place, piece in pieces(text, size, overlap):
        assert len(piece) <= size
        assert text[place : place + len(piece)] == piece
        assert place <= done <= place + len(piece)
        done = place + len(piece)
    assert done == len(text)


def test_a_name_at_a_cut_is_seen_whole():
    text = "word " * 200
    for at in range(0, 900, 7):
        said = f"{text[:at]}Grace Hopper {text[at:]}"
        assert any("Grace Hopper" in piece for _, piece in pieces(said, 400, 80))


def test_what_has_no_words_is_cut_all_the_same():
    longest = max(len(piece) for _, piece in pieces("(" * 10_000, 4000, 100))
    assert longest == 300


@pytest.mark.parametrize(
    ("told", "made"),
    [
        ([(0, 5, "PER"), (6, 12, "PER")], [("PERSON", 0, 12)]),
        ([(0, 5, "PER"), (6, 12, "LOC")], [("PERSON", 0, 5), ("LOCATION", 6, 12)]),
        ([(0, 5, "person"), (3, 12, "B_PERSON")], [("PERSON", 0, 5), ("B_PERSON", 3, 12)]),
        ([(0, 3, "PERSON"), (3, 5, "PERSON")], [("PERSON", 0, 5)]),
        ([(0, 9, "NAME"), (6, 12, "Last name")], [("PERSON", 0, 12)]),
        ([(5, 12, "NORP")], [("NRP", 6, 12)]),
        ([(0, 5, "名")], [("UNKNOWN", 0, 5)]),
        ([(0, 99, "ORG"), (5, 6, "PER"), (7, 7, "PER")], [("ORGANIZATION", 0, 16)]),
    ],
)
def test_labels_become_kinds_and_what_belongs_together_is_one(told, made):
    text = "Grace Hopper, X."
    made_of = spans(text, [Found(begin, end, label, 0.5) for begin, end, label in told])
    assert [(one.type, one.begin, one.end) for one in made_of] == made


# --- What is never done, in a process of its own.


def outcome(program, *arguments, path=None, **environment):
    wanted = os.environ | {"PYTHONPATH": os.pathsep.join([*(path or []), str(ROOT)])} | environment
    command = [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)]
    done = subprocess.run(command, env=wanted, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Hopper" not in done.stderr
    return json.loads(done.stdout)


def test_no_socket_is_opened(folder, tmp_path):
    """Neither while it is loaded, nor for a text with addresses, nor where the folder is missing."""
    program = """
        import json, socket, sys
        from pathlib import Path

        seen = [[]]
        def refuse(event, details):
            if event.startswith("socket."):
                (seen[-1]).append(event)
                raise RuntimeError(event)
        sys.addaudithook(refuse)

        from core.privacy.model import ModelAway
        from core.privacy.presidio import load
        namer = load("spacy", Path(sys.argv[1]))
        seen.append([])
        said = "Grace Hopper wrote to ada@example.co.uk from https://example.com/a and 10.0.0.1."
        found = [said[one.begin:one.end] for one in namer.spans(said)]
        try:
            load("spacy", Path(sys.argv[2]))
        except ModelAway as error:
            found.append(error.code)
        print(json.dumps([found, *seen]))
    """
    found, imported, asked = outcome(program, folder, tmp_path / "nowhere", HOME=str(tmp_path))
    assert found[0] == "Grace Hopper"
    assert found[-1] == "folder_missing"
    # An HTTP library that is imported and not used looks whether this machine has IPv6; it gets no socket.
    assert set(imported) <= {"socket.__new__"}
    assert asked == []
    assert list(tmp_path.iterdir()) == []


TORCH = """
    class cuda:
        @staticmethod
        def is_available(): return False
"""
TRANSFORMERS = """
    import os, pathlib, socket
    assert os.environ["HF_HUB_OFFLINE"] == os.environ["TRANSFORMERS_OFFLINE"] == "1"

    class _Loaded:
        is_fast = True
        @classmethod
        def from_pretrained(cls, folder, *, local_files_only):
            assert local_files_only and pathlib.Path(folder, "config.json").is_file()
            return cls()

    class AutoModelForTokenClassification(_Loaded): pass
    class AutoTokenizer(_Loaded): pass

    def pipeline(task, *, model, tokenizer, aggregation_strategy, device):
        assert (task, device) == ("token-classification", -1)
        assert isinstance(model, AutoModelForTokenClassification) and isinstance(tokenizer, AutoTokenizer)
        def look(text):
            assert len(text) <= 400
            if "broken" in text:
                raise ValueError(text)
            at = text.find(" Grace Hopper")
            told = [(at, at + 6, 0.9), (at + 6, at + 13, 0.8), (0, 2, 0.1)] if at >= 0 else []
            return [{"entity_group": "PER", "start": b, "end": e, "score": s} for b, e, s in told]
        return look
"""
GLINER = """
    import os, pathlib
    assert os.environ["HF_HUB_OFFLINE"] == "1"

    class GLiNERConfig: pass

    class GLiNER:
        @classmethod
        def from_pretrained(cls, folder, *, map_location, load_onnx_model, onnx_model_file, local_files_only):
            assert local_files_only and load_onnx_model and map_location == "cpu"
            assert pathlib.Path(folder, onnx_model_file).is_file()
            return cls()

        def predict_entities(self, *, text, labels, flat_ner, threshold, multi_label):
            assert len(text) <= 400 and "person" in labels
            if "broken" in text:
                raise ValueError(text)
            at = text.find("Grace Hopper")
            return [{"label": "person", "start": at, "end": at + 12, "score": 0.9}] if at >= 0 else []
"""


@pytest.mark.parametrize(
    ("kind", "library", "files"),
    [("transformers", TRANSFORMERS, ["config.json"]), ("gliner", GLINER, ["onnx/model.onnx"])],
)
def test_other_models_are_read_from_their_folder_through_presidio(kind, library, files, tmp_path):
    """With a stand-in for the library itself, which is larger than everything else together."""
    for name, source in {"torch": TORCH, kind: library}.items():
        place = tmp_path / "lib" / name / "__init__.py"
        place.parent.mkdir(parents=True)
        place.write_text(textwrap.dedent(source))
    for name in files:
        (tmp_path / "model" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "model" / name).write_text("{}")
    program = """
        import json, sys
        from pathlib import Path
        from core.privacy.model import ModelAway
        from core.privacy.presidio import load

        namer = load(sys.argv[1], Path(sys.argv[2]))
        said = "We have time. 😀 " * 60 + "Here Grace Hopper wrote."
        told = [[one.type, said[one.begin:one.end], one.score] for one in namer.spans(said)]
        for text in ("Grace Hopper is broken.", said * 3 + "broken"):
            try:
                namer.spans(text)
            except ModelAway as error:
                told.append(error.code)
        print(json.dumps([*told, namer.version.partition("@")[0], len(namer.spans(said))]))
    """
    told = outcome(program, kind, tmp_path / "model", path=[str(tmp_path / "lib")])
    assert told == [["PERSON", "Grace Hopper", 0.9], "model_broke", "model_broke", kind, 1]


def test_the_program_starts_without_the_extra():
    program = """
        import json, sys
        import core.annotating, worker.app, api.app, cli.main
        print(json.dumps(sorted(sys.modules.keys() & {"spacy", "presidio_analyzer", "torch"})))
    """
    assert outcome(program) == []
