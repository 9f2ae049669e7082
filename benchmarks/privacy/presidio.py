"""Microsoft Presidio without a model, to compare with: its own recognizers, offline, with words for context.

It is given what helps it: a tokenizer, so that cue words raise scores, and the recognizers of other countries
for kinds of ours. Kinds we do not know are left out. Overlaps are resolved by score, then length.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from core.privacy.kinds import KINDS
from core.privacy.spans import Span

THRESHOLD = 0.4
MISSING = "Presidio is not installed: `python3 -m uv sync --group bench` brings it."
_ABROAD = (
    "UkNinoRecognizer", "DeTaxIdRecognizer", "EsNifRecognizer", "EsNieRecognizer", "ItFiscalCodeRecognizer",
    "PlPeselRecognizer", "InAadhaarRecognizer", "InPanRecognizer",
)  # fmt: skip


def installed() -> bool:
    return find_spec("presidio_analyzer") is not None


class Presidio:
    """`kinds` are those of ours it has a recognizer for."""

    def __init__(self) -> None:
        # Its e-mail recognizer would fetch the public suffix list; offline it has the one it came with.
        os.environ["TLDEXTRACT_PUBLIC_SUFFIX_LIST_URLS"] = ""
        logging.getLogger("presidio-analyzer").setLevel(logging.CRITICAL)
        from presidio_analyzer import AnalyzerEngine, RecognizerRegistry, predefined_recognizers

        registry = RecognizerRegistry(supported_languages=["en"])
        registry.load_predefined_recognizers(languages=["en"])
        present = {recognizer.name for recognizer in registry.recognizers}
        for name in _ABROAD:
            if name not in present:
                registry.add_recognizer(getattr(predefined_recognizers, name)(supported_language="en"))
        registry.recognizers = [
            one
            for one in registry.recognizers
            if "Spacy" not in one.name and set(one.supported_entities) & set(KINDS)
        ]
        self.kinds = frozenset(kind for one in registry.recognizers for kind in one.supported_entities) & set(
            KINDS
        )
        self._entities = sorted(self.kinds)
        engine = _words_engine()
        self._engine = AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=["en"])

    def detect(self, text: str) -> list[Span]:
        results = self._engine.analyze(
            text, language="en", entities=self._entities, score_threshold=THRESHOLD
        )
        spans = [Span(one.entity_type, one.start, one.end, one.score) for one in results]
        spans.sort(key=lambda span: (-span.score, span.begin - span.end, span.begin))
        kept: list[Span] = []
        for span in spans:
            if all(span.end <= other.begin or other.end <= span.begin for other in kept):
                kept.append(span)
        return sorted(kept, key=lambda span: span.begin)


def _words_engine() -> Any:
    """Its engine without a model, with tokens of a blank spaCy pipeline; lemmas are the lower-case words."""
    import spacy
    from presidio_analyzer.nlp_engine import NlpArtifacts
    from presidio_analyzer.nlp_engine.no_op_nlp_engine import NoOpNlpEngine

    cut: Callable[[str], Any] = spacy.blank("en").make_doc

    class Words(NoOpNlpEngine):
        def process_text(self, text: str, language: str) -> Any:
            tokens = cut(text)
            return NlpArtifacts(
                entities=[],
                tokens=tokens,
                tokens_indices=[token.idx for token in tokens],
                lemmas=[token.lower_ for token in tokens],
                nlp_engine=self,
                language=language,
                scores=[],
            )

    engine = Words(models=[{"lang_code": "en", "model_name": "no_op"}])
    engine.load()
    return engine
