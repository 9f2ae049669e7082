"""The operator's own model: finds names and places, which no rule finds. Optional, and never fetched."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from core.privacy.spans import Span
from core.settings import Settings

# A model that could not be loaded is not tried again with every message.
REST = 30.0

_loading = threading.Lock()
_loaded: dict[tuple[str, Path], Namer] = {}
_away: dict[tuple[str, Path], tuple[float, str]] = {}


class ModelAway(Exception):
    """The model cannot be used now; `code` says why, and nothing of a text.

    `folder_missing`, `library_missing`, `model_unreadable`: no text can be looked at; `model_broke`: not this
    one; `policy_changed`: the model was not asked and now is to be.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code

    @property
    def of_the_text(self) -> bool:
        """It may be this one text's fault, so that its attempts are counted."""
        return self.code == "model_broke"


class Namer(Protocol):
    """A model in memory. `version` names its weights: another one finds other things."""

    @property
    def version(self) -> str: ...

    def spans(self, text: str) -> Sequence[Span]:
        """What it finds, in code points of exactly this text; source `model`.

        Raises:
            ModelAway: it broke on this text.

        """


def namer_of(settings: Settings) -> Namer | None:
    """The model this installation is configured with, one per process; None: none.

    Raises:
        ModelAway: its folder or its library is missing, or it cannot be read. Nothing is ever downloaded.

    """
    if settings.pii_ner is None:
        return None
    if settings.pii_ner_path is None:
        raise ModelAway("folder_missing")
    key = (settings.pii_ner, settings.pii_ner_path)
    with _loading:
        namer = _loaded.get(key)
        if namer is None:
            namer = _loaded[key] = _load(*key)
    return namer


def _load(kind: str, path: Path) -> Namer:
    from core.privacy.presidio import load

    until, code = _away.get((kind, path), (0.0, ""))
    if time.monotonic() < until:
        raise ModelAway(code)
    try:
        return load(kind, path)
    except ModelAway as error:
        _away[kind, path] = (time.monotonic() + REST, error.code)
        raise
