"""Finds personal data with one library: messages in as JSON lines, spans and seconds out.

`python find.py scrubadub FILE ROUNDS`: what is printed has the spans of every message of `labelled` and the
processor time of each round over `timed`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

Spans = list[tuple[str, int, int]]


def scrubadub(*, timed: bool) -> Callable[[str], Spans]:
    """Every detector it has without a model, for the United States and for Britain, with dates of birth.

    What is timed is the scrubber it makes when nothing is said, once.
    """
    import scrubadub as library
    from scrubadub.detectors import DateOfBirthDetector

    locales = ("en_US",) if timed else ("en_US", "en_GB")
    scrubbers = [library.Scrubber(locale=locale) for locale in locales]
    if not timed:
        for scrubber, locale in zip(scrubbers, locales, strict=True):
            scrubber.add_detector(DateOfBirthDetector(locale=locale))

    def find(text: str) -> Spans:
        return sorted(
            {
                (part.type, part.beg, part.end)
                for scrubber in scrubbers
                for one in scrubber.iter_filth(text)
                for part in getattr(one, "filths", [one])
            }
        )

    return find


def datafog(*, timed: bool) -> Callable[[str], Spans]:
    """Its engine of expressions, with its German kinds where nothing is timed: they have to be asked for."""
    from datafog.engine import scan

    locales = None if timed else ["de"]

    def find(text: str) -> Spans:
        found = scan(text, engine="regex", locales=locales).entities
        return [(one.type, one.start, one.end) for one in found]

    return find


def main() -> None:
    os.environ["DATAFOG_NO_TELEMETRY"] = "1"
    name, path, rounds = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    given = json.loads(path.read_text())
    library = {"scrubadub": scrubadub, "datafog": datafog}[name]
    find = library(timed=False)
    spans = [find(text) for text in given["labelled"]]
    find = library(timed=True)
    seconds = []
    for _ in range(rounds):
        began = time.process_time()
        for text in given["timed"]:
            find(text)
        seconds.append(time.process_time() - began)
    json.dump({"version": version(name), "spans": spans, "seconds": seconds}, sys.stdout)


if __name__ == "__main__":
    main()
