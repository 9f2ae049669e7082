"""What an operator's own model costs: to load, to keep, and per message; alone and with the rows around it.

`python -m benchmarks.names --kind spacy --folder /models/names`. Without a folder the tests' own small model
is trained first: it shows what everything but the model costs.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks import support
from core.annotating import annotate
from core.bots import create_bot
from core.context import Context
from core.conversations import create_conversation
from core.drafts import Draft
from core.messages import create_messages
from core.privacy.model import Namer
from core.privacy.presidio import load
from models import MessageType

MESSAGES = 2_000
LENGTHS = (8, 20, 200)
WORDS = (
    "the bill is paid", "please send the parcel again", "we have time today", "and it works now",
    "tea at nine", "could you tell me", "when my order will arrive", "many thanks", "yesterday",
)  # fmt: skip
NAMES = ("Grace Hopper", "Mary Smith", "Berlin", "Rome")


def messages(count: int, words: int) -> list[str]:
    """Talk of so many words, every sixteenth a name."""
    chance = random.Random(1)
    talk = [word for phrase in WORDS for word in phrase.split()]
    said = lambda: chance.choice(NAMES if chance.random() < 1 / 16 else talk)  # noqa: E731
    return [f"Well, {' '.join(said() for _ in range(words))}." for _ in range(count)]


def megabytes() -> int:
    return psutil.Process().memory_info().rss // 2**20


def alone(namer: Namer, words: int) -> tuple[int, float]:
    """The median length of a message, and messages a second of one core."""
    texts = messages(max(200, MESSAGES * 8 // words), words)
    namer.spans(texts[0])
    began = support.cpu_seconds()
    for text in texts:
        namer.spans(text)
    return int(support.median([len(text) for text in texts])), len(texts) / (support.cpu_seconds() - began)


def with_rows(context: Context, account: object) -> tuple[float, float]:
    """Messages a second from due annotations to none, and CPU milliseconds of this process for each."""
    with context.transaction(account) as session:  # type: ignore[arg-type]
        bot = create_bot(session, name="bench", privacy=True)
        conversation = create_conversation(session, bot_id=bot.id)
    for begin in range(0, MESSAGES, 100):
        drafts = [Draft(MessageType.USER, text) for text in messages(MESSAGES, 20)[begin : begin + 100]]
        with context.transaction(account) as session:  # type: ignore[arg-type]
            create_messages(session, conversation.id, drafts)
    due = support.execute(context, "SELECT message_id FROM annotations LIMIT 1")
    began, used = time.perf_counter(), support.cpu_seconds()
    while due:
        annotate(context, due)
        due = support.execute(context, "SELECT message_id FROM annotations LIMIT 1")
    return MESSAGES / (time.perf_counter() - began), (support.cpu_seconds() - used) * 1000 / MESSAGES


def trained(folder: Path) -> Path:
    """In a process of its own, so that this one has loaded nothing yet."""
    command = "import sys, pathlib, tests.names_model as m; m.train(pathlib.Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", command, str(folder)], check=True)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=("spacy", "transformers", "gliner"), default="spacy")
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="crontalk-bench-") as directory, support.servers() as both:
        without = rows(both)
        folder = given.folder or trained(Path(directory) / "names")
        before, began, used = megabytes(), time.perf_counter(), support.cpu_seconds()
        namer = load(given.kind, folder)
        loaded = (time.perf_counter() - began, support.cpu_seconds() - used)
        kept = megabytes() - before
        lengths = [(words, *alone(namer, words)) for words in LENGTHS]
        support.show(
            f"The model alone: {namer.version}",
            ("words", "characters", "messages/s of a core"),
            [(words, size, f"{rate:.0f}") for words, size, rate in lengths],
        )
        after = megabytes() - before
        print(
            f"Loaded in {loaded[0]:.1f} s ({loaded[1]:.1f} of CPU); {kept} MB more, {after} MB after these."
        )
        named = rows(both, pii_ner=given.kind, pii_ner_path=folder)
    support.show(
        "Annotating, with the rows: messages of 20 words, one thread",
        ("model", "messages/s", "CPU ms of the worker"),
        [(name, f"{rate:.0f}", f"{cpu:.1f}") for name, (rate, cpu) in (("none", without), ("yes", named))],
    )


def rows(both: support.Servers, **settings: object) -> tuple[float, float]:
    with support.fresh_context(both, key="5e" * 32, **settings) as context:
        return with_rows(context, support.an_account(context))


if __name__ == "__main__":
    main()
