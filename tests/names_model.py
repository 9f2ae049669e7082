"""A model of names, trained here in a few seconds on sentences nobody wrote: what an operator would bring."""

from __future__ import annotations

import random
import re
import warnings
from pathlib import Path

PEOPLE = (
    "Ada Byron", "Grace Hopper", "Alan Turing", "Edsger", "Barbara Liskov", "Donald Knuth", "Linus",
    "Margaret Hamilton", "Ken Thompson", "Radia Perlman", "Frances Allen", "John Backus",
)  # fmt: skip
PLACES = ("Berlin", "Paris", "Lima", "Oslo", "New York", "Nairobi")
FORMS = (
    "{p} wrote to me.", "Yesterday {p} called from {l}.", "I talked to {p} about the bill.", "Is {p} in {l}?",
    "My name is {p}.", "Please ask {p} again.", "The parcel went to {l}.", "We met in {l} and had tea.",
    "Tell {p} that it works.", "Does it rain in {l}?", "😀 Thanks, {p}. 👩‍👩‍👧 😀",
    "We have time. 😀 The bill 👩‍👩‍👧 is paid.",
)  # fmt: skip
PLAIN = (
    "The bill is paid.",
    "It works now.",
    "Please send the parcel again.",
    "Tea at nine?",
    "We have time.",
)
ROUNDS = 10


def train(folder: Path) -> Path:
    """Writes a spaCy model that knows PERSON and GPE; the same sentences and seed every time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import spacy
        from spacy.training import Example
        from spacy.util import fix_random_seed

        fix_random_seed(7)
        chance = random.Random(7)
        pipeline = spacy.blank("en")
        pipeline.add_pipe("ner")
        examples = [Example.from_dict(pipeline.make_doc(text), {"entities": e}) for text, e in said(chance)]
        optimizer = pipeline.initialize(lambda: examples)
        for _ in range(ROUNDS):
            chance.shuffle(examples)
            for begin in range(0, len(examples), 8):
                pipeline.update(examples[begin : begin + 8], sgd=optimizer, drop=0.1)
        pipeline.to_disk(folder)
    return folder


def said(chance: random.Random):
    for form in FORMS * 6:
        text, entities = "", []
        for part in re.split(r"(\{[pl]\})", form):
            word = {"{p}": chance.choice(PEOPLE), "{l}": chance.choice(PLACES)}.get(part, part)
            if word != part:
                entities.append((len(text), len(text) + len(word), "PERSON" if part == "{p}" else "GPE"))
            text += word
        yield text, entities
    for text in PLAIN:
        yield text, []
