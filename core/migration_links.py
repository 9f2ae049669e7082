"""What is pulled besides the lists: whom conversations and tasks hang on, if it came after its list."""

from __future__ import annotations

from collections.abc import Callable

from core.import_keys import Keys
from core.import_links import Links, missing_links
from core.importers.records import Conversation
from core.migration_reading import Batch
from core.migration_source import Gone, Later, Server, Withheld
from core.slices import Hold

# A task may hang on what is missing itself; there is no further step.
ROUNDS = 2


def add_missing(
    hold: Hold,
    server: Server,
    batch: Batch,
    *,
    kinds: frozenset[str],
    last_try: bool,
    unheard: set[str],
    alive: Callable[[], None],
) -> None:
    """Adds to a batch what its conversations and tasks name and nothing was imported under.

    `unheard` are addresses under which there was nothing, or nothing that could be used at the last try.

    Raises:
        Final, Later.

    """
    for _ in range(ROUNDS):
        missing = _missing(hold, batch)
        wanted = [
            (kind, key, address)
            for name, keys in missing.items()
            for key in sorted(keys)
            if (kind := f"{name}s") in kinds and (address := f"/{name}/{key}/fetch") not in unheard
        ]
        if not wanted:
            return
        for kind, key, address in wanted:
            alive()
            try:
                item = server.one(address)
            except (Gone, Withheld, Later) as why:
                if isinstance(why, Later) and not (last_try and why.answered):
                    raise
                unheard.add(address)
                continue
            batch.take(kind, item, key, batch.begun.row + 1)


def _missing(hold: Hold, batch: Batch) -> dict[str, set[str]]:
    links: list[Links] = [task.links for task in batch.tasks]
    talks = (piece.record for piece in batch.pieces)
    links += [one.links for one in talks if isinstance(one, Conversation)]
    if not any(links):
        return {}
    here = {
        "bot": {bot.key for bot in batch.bots},
        "contact": {contact.key for _, contact in batch.contacts},
        "task": {task.key for task in batch.tasks},
    }
    told = {name for one in links for name in one}
    with hold.transaction() as session:
        found = missing_links(Keys(session, hold.account_id, lock=False), links)
    return {name: found[name] - here[name] for name in told}
