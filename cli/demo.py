"""What `up --demo` brings along: bots that know and act, short schedules, and what privacy makes of words."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from core.context import Context

BOTS = {
    "Concierge": "You are the concierge of a small hotel in Lisbon. Breakfast is served from 7 to 10 on the"
    " terrace. You are warm, brief and concrete.",
    "Night watch": "You watch over the servers of a small company. You report calmly,"
    " in one or two sentences, and you name what needs attention.",
}
# What the concierge looks up and what it does: retrieval and an action in every run of one task.
GUIDE = "Guide to the house"
KNOWN = (
    (
        "The airport shuttle leaves in front of the house at 6:00, 9:00 and 15:30. It takes 25 minutes.",
        "Shuttle",
    ),
    ("The pool on the roof is open from 8:00 to 20:00. Towels are at the bar.", "Pool"),
    ("Late check-out until 14:00 costs 20 euros and is arranged at the front desk.", "Rooms"),
)
DESK = "Front desk"
ABILITY: dict[str, Any] = {
    "name": "note_down",
    "description": "Writes a note into the book of the front desk.",
    "action": {"type": "memory.remember"},
}
TASKS = (
    {
        "name": "Shuttle note",
        "bot_id": "Concierge",
        "schedule": "@every 30s",
        "description": "When does the airport shuttle leave?"
        ' Please note_down text="Guests were told of the shuttle."',
    },
    {
        "name": "Morning greeting",
        "bot_id": "Concierge",
        "schedule": "@every 5s",
        "description": "Greet the guests and tell them where and when breakfast is served.",
    },
    {
        "name": "Server report",
        "bot_id": "Night watch",
        "schedule": "@every 20s",
        "description": "Write the short status report for the team.",
    },
    {
        "name": "Minute check",
        "bot_id": "Night watch",
        "schedule": "* * * * *",
        "timezone": "Europe/Lisbon",
        "description": "Say that the minute check ran and what you watch over.",
    },
)
PRIVACY = "What privacy makes of what is said"
# Each operator once: a token can be restored, a mask cannot, and what is annotated stays.
POLICY = {
    "preset": "tokenise",
    "operators": {"phone_number": "mask", "credit_card": "replace", "url": "annotate", "iban": "hash"},
    "identities": [{"name": "Maria Sousa"}],
}
SAID = (
    ("user", "Hello, this is Maria Sousa. Please write to maria.sousa@example.com or call +351 21 321 5000."),
    ("bot", "Thank you! The way to us is on https://hotel.example/lisbon. How would you like to pay?"),
    ("user", "By card, 4111 1111 1111 1111; a refund goes to PT50 0002 0123 1234 5678 9015 4."),
    ("user", "And again: maria.sousa@example.com is where the invoice goes."),
)


def seed(context: Context, account: uuid.UUID) -> int:
    """Makes the demo's bots and tasks unless they are there; answers how many tasks were made."""
    from core.bots import create_bot, list_bots
    from core.tasks import create_task, list_tasks

    with context.transaction(account) as session:
        known_bots = {bot.name for bot in list_bots(session, take=1000)}
        known_tasks = {task.name for task, _ in list_tasks(session, take=1000)}
        for name, backstory in BOTS.items():
            if name not in known_bots:
                create_bot(
                    session,
                    name=name,
                    backstory=backstory,
                    model="offline/latency=0.4",
                    privacy=True,
                    **(_means(session) if name == "Concierge" else {}),
                )
        made = [create_task(session, **task) for task in TASKS if task["name"] not in known_tasks]
        if "Concierge" not in known_bots:
            _show_privacy(session)
    return len(made)


def _means(session: Session) -> dict[str, uuid.UUID]:
    """What the concierge knows and can do."""
    from core.datasets import create_dataset, create_record
    from core.skillsets import create_ability, create_skillset

    dataset = create_dataset(session, name=GUIDE, config={"searchMaxRecords": 2})
    for said, source in KNOWN:
        create_record(session, dataset.id, text=said, source=source)
    skillset = create_skillset(session, name=DESK)
    create_ability(session, skillset.id, **ABILITY)
    return {"dataset_id": dataset.id, "skillset_id": skillset.id}


def _show_privacy(session: Session) -> None:
    """A conversation in which something of everything is found."""
    from core.conversations import create_conversation
    from core.drafts import draft_of
    from core.messages import create_messages
    from core.privacy_policies import set_policy

    conversation = create_conversation(session, bot_id="Concierge", name=PRIVACY, source="demo")
    set_policy(session, conversation, POLICY)
    create_messages(session, conversation.id, [draft_of({"type": who, "text": said}) for who, said in SAID])
