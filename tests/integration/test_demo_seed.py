"""What the demo shows of privacy: each operator once, and nothing raw that is to be taken."""

from __future__ import annotations

from cli.demo import SAID, seed
from tests.factories import one, rows


def test_the_demo_shows_what_privacy_does(context, account):
    assert seed(context, account) == 3
    assert seed(context, account) == 0
    stored = rows(context, "SELECT text, pii FROM messages ORDER BY seq")
    assert len(stored) == len(SAID)
    words = "\n".join(row["text"] for row in stored)
    for raw in ("Maria", "maria.sousa@", "321 5000", "4111", "0002 0123"):
        assert raw not in words
    assert "https://hotel.example/lisbon" in words
    assert words.count("[email:") == 2
    operators = {entity["o"] for row in stored for entity in row["pii"]}
    assert operators == {"tokenise", "mask", "replace", "hash", "annotate"}
    assert one(context, "SELECT bool_and(privacy) FROM bots WHERE name IN ('Concierge', 'Night watch')")
