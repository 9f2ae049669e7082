"""What must always be true of what bots have done by their abilities; asked by core/invariants.py."""

from __future__ import annotations

from core.invariant import REPORT_IT, Invariant

SKILLS: tuple[Invariant, ...] = (
    Invariant(
        "turns_ask_on_three_times",
        "Conversations that ask each other stop after three turns that nobody else has asked for.",
        "SELECT id FROM runs WHERE id >= :since AND CAST(params ->> 'hops' AS int) > 3",
        REPORT_IT,
    ),
    Invariant(
        "memories_are_of_what_was_said",
        "What was remembered of a conversation is of a place in it: it goes with what was said there.",
        "SELECT m.id FROM memories m JOIN conversations c ON c.id = m.conversation_id"
        " WHERE m.seq >= c.next_seq OR m.seq < 0",
        REPORT_IT,
    ),
)
