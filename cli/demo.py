"""What `crontalk up --demo` brings along: two bots and three tasks with short schedules."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.context import Context

BOTS = {
    "Concierge": "You are the concierge of a small hotel in Lisbon. Breakfast is served from 7 to 10 on the"
    " terrace. You are warm, brief and concrete.",
    "Night watch": "You watch over the servers of a small company. You report calmly,"
    " in one or two sentences, and you name what needs attention.",
}
TASKS = (
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


def seed(context: Context, account: uuid.UUID) -> int:
    """Makes the demo's bots and tasks unless they are there; answers how many tasks were made."""
    from core.bots import create_bot, list_bots
    from core.tasks import create_task, list_tasks

    with context.transaction(account) as session:
        known_bots = {bot.name for bot in list_bots(session, take=1000)}
        known_tasks = {task.name for task, _ in list_tasks(session, take=1000)}
        for name, backstory in BOTS.items():
            if name not in known_bots:
                create_bot(session, name=name, backstory=backstory, model="offline/latency=0.4")
        made = [create_task(session, **task) for task in TASKS if task["name"] not in known_tasks]
    return len(made)
