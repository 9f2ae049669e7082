"""Presidio with the operator's own model, from a folder: spaCy, transformers or GLiNER.

The only module that knows these libraries, and only once it loads a model; the extra `ner` brings the first
two of them. Nothing is ever downloaded, and no word of a text leaves it in a log or an error. Presidio's
engine for whole analyses is left aside with its recognizers, one of which asks the network.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import threading
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from core.privacy.detect import DEFAULT_THRESHOLD
from core.privacy.model import ModelAway, Namer
from core.privacy.named import Found, pieces, spans
from core.privacy.spans import Span

# Grows when the same model would give other spans.
_FORM = 1
# Read by the libraries when they are imported. The last is for a recognizer that we do not load.
_OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TLDEXTRACT_PUBLIC_SUFFIX_LIST_URLS": "",
}
# Loggers that quote texts, or might.
_LOGGERS = ("presidio-analyzer", "decision_process", "spacy", "transformers", "gliner", "huggingface_hub")
# Presidio wants a language; the model's own is what counts.
_LANGUAGE = "en"
# What spaCy refuses to keep and NUL, which no tokenizer expects: one character each, so that places stay.
_ODD = re.compile("[\0\ud800-\udfff]")
# Components of a spaCy pipeline that name nobody. What only they read is computed for nothing.
_NAMELESS = frozenset({
    "tok2vec", "transformer", "tagger", "morphologizer", "parser", "senter", "sentencizer", "lemmatizer",
    "attribute_ruler", "textcat", "textcat_multilabel",
})  # fmt: skip
_SHARED = frozenset({"tok2vec", "transformer"})
# What a GLiNER model is asked for, in words, and the kind each is.
_ASKED = {"person": "PERSON", "location": "LOCATION", "address": "LOCATION", "organization": "ORGANIZATION"}
_ONNX = ("model.onnx", "onnx/model.onnx")

_WEIGHT_ENDS = 64 * 1024

Look = Callable[[str], Iterable[Found]]


def load(kind: str, path: Path) -> Namer:
    """The model in this folder.

    Raises:
        ModelAway: `folder_missing`, `library_missing`, `model_unreadable`.

    """
    if not path.is_dir():
        raise ModelAway("folder_missing")
    loader, size, overlap = _KINDS[kind]
    os.environ.update(_OFFLINE)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            look = loader(path.resolve())
        named = f"{kind}@{_FORM}:{_digest(path)}+presidio{version('presidio-analyzer')}"
    except ModelAway:
        raise
    except ImportError:
        raise ModelAway("library_missing") from None
    except Exception:  # noqa: BLE001 (whatever is wrong with it, it cannot be used; no word of it is ours to tell)
        raise ModelAway("model_unreadable") from None
    finally:
        _hush()
    return _Model(named, look, size, overlap)


@dataclass(frozen=True)
class _Model:
    """One text at a time: pipelines are not made for threads, and computing has one core's worth anyway."""

    version: str
    _look: Look
    _size: int
    _overlap: int
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def spans(self, text: str) -> list[Span]:
        plain = _ODD.sub("\ufffd", text)
        try:
            with self._turn:
                found = [
                    Found(one.begin + place, one.end + place, one.label, one.score)
                    for place, piece in pieces(plain, self._size, self._overlap)
                    if piece and not piece.isspace()
                    for one in self._look(piece)
                ]
        except Exception:  # noqa: BLE001 (its words may quote the text)
            raise ModelAway("model_broke") from None
        return spans(plain, found)


def _spacy(folder: Path) -> Look:
    import spacy
    from presidio_analyzer.nlp_engine import NerModelConfiguration, SpacyNlpEngine
    from presidio_analyzer.predefined_recognizers import SpacyRecognizer

    # A path is never taken for the name of a package, and the engine's own `load` would download.
    pipeline = spacy.load(folder)
    naming = set(pipeline.pipe_names) - _NAMELESS
    if not naming:
        raise ModelAway("model_unreadable")
    if naming == {"ner"}:
        pipeline.select_pipes(enable=[name for name in pipeline.pipe_names if name in naming | _SHARED])
    configuration = NerModelConfiguration()
    models = [{"lang_code": _LANGUAGE, "model_name": str(folder)}]
    engine = SpacyNlpEngine(models=models, ner_model_configuration=configuration)
    engine.nlp = {_LANGUAGE: pipeline}

    def look(piece: str) -> list[Found]:
        # What a text adds to the vocabulary goes with it: a worker lives for long.
        with pipeline.memory_zone():
            artifacts = engine.process_text(piece, _LANGUAGE)
            labels = sorted({entity.label_ for entity in artifacts.entities})
            recognizer = SpacyRecognizer(supported_language=_LANGUAGE, supported_entities=labels)
            return _found(recognizer.analyze(piece, labels, artifacts)) if labels else []

    return look


def _transformers(folder: Path) -> Look:
    from presidio_analyzer.predefined_recognizers import HuggingFaceNerRecognizer
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    if not tokenizer.is_fast:
        raise ModelAway("model_unreadable")  # it would not say where in the text a name stands
    recognizer = HuggingFaceNerRecognizer(
        model_name=AutoModelForTokenClassification.from_pretrained(str(folder), local_files_only=True),
        tokenizer_name=tokenizer,
        threshold=DEFAULT_THRESHOLD,
        aggregation_strategy="first",  # whole words: half a name is not redacted
        chunk_size=_KINDS["transformers"][1],
    )
    recognizer.model_name = folder.name  # told with every span
    watched = recognizer.ner_pipeline = _Watched(recognizer.ner_pipeline)

    def look(piece: str) -> list[Found]:
        results = recognizer.analyze(piece, [])
        if watched.broke:
            watched.broke = False
            raise ModelAway("model_broke")
        return _found(results)

    return look


class _Watched:
    """A pipeline whose failures are seen: Presidio takes one for a text without names."""

    def __init__(self, pipeline: Callable[[str], Any]) -> None:
        self._pipeline = pipeline
        self.broke = False

    def __call__(self, piece: str) -> Any:
        try:
            return self._pipeline(piece)
        except Exception:  # noqa: BLE001 (told by the flag)
            self.broke = True
            return []


def _gliner(folder: Path) -> Look:
    from presidio_analyzer.predefined_recognizers import GLiNERRecognizer

    onnx = next((name for name in _ONNX if (folder / name).is_file()), None)
    recognizer = GLiNERRecognizer(
        model_name=str(folder),
        entity_mapping=_ASKED,
        threshold=DEFAULT_THRESHOLD,
        chunk_size=_KINDS["gliner"][1],
        map_location="cpu" if onnx else None,
        load_onnx_model=onnx is not None,
        onnx_model_file=onnx or _ONNX[0],
        local_files_only=True,
    )
    return lambda piece: _found(recognizer.analyze(piece, []))


# How each is loaded, the longest piece of a text it is given, and how much of it the next one repeats. Models
# of transformers see 512 tokens and drop the rest without a word.
_KINDS: Mapping[str, tuple[Callable[[Path], Look], int, int]] = {
    "spacy": (_spacy, 4000, 100),
    "transformers": (_transformers, 400, 80),
    "gliner": (_gliner, 400, 80),
}


def _found(results: Iterable[Any]) -> list[Found]:
    return [Found(one.start, one.end, str(one.entity_type), float(one.score)) for one in results]


def _digest(folder: Path) -> str:
    """Twelve digits of what the folder holds: every name and size, and the ends of every file.

    Weights of the same shape have the same size, so their ends are read; the middle of gigabytes is not.
    """
    digest = hashlib.sha256()
    for name in sorted(one.relative_to(folder) for one in folder.rglob("*") if one.is_file()):
        if any(part.startswith(".") for part in name.parts):
            continue
        size = (folder / name).stat().st_size
        digest.update(f"{name.as_posix()}\0{size}\0".encode())
        with (folder / name).open("rb") as file:
            digest.update(file.read(_WEIGHT_ENDS))
            file.seek(max(0, size - _WEIGHT_ENDS))
            digest.update(file.read(_WEIGHT_ENDS))
    return digest.hexdigest()[:12]


def _hush() -> None:
    """Takes these loggers' voices, at the end of loading: some libraries set theirs up when imported."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers = [logging.NullHandler()]
        logger.setLevel(logging.CRITICAL + 1)
        logger.propagate = False
