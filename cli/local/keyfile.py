"""The installation's key in the home of an `up`, for those who set no CRONTALK_KEY."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from core.errors import InvalidInput

NAME = "key"


def stored_key(home: Path) -> str | None:
    """The key that an `up` on this home has made; None when there is none."""
    try:
        return (home.expanduser() / NAME).read_text(encoding="ascii").strip() or None
    except (OSError, UnicodeError):
        return None


def keep_key(home: Path) -> str:
    """The home's key, made when there is none: mode 0600 from the first byte on. Hold the home's lock.

    Raises:
        InvalidInput: there is a key file, but it cannot be read.

    """
    found = stored_key(home)
    if found is not None:
        return found
    place, draft = home / NAME, home / f"{NAME}.new"
    if place.exists():
        raise InvalidInput(f"{place} cannot be read, and what was sealed with its key needs it.")
    made = secrets.token_hex(32)
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(made + "\n")
        file.flush()
        os.fsync(file.fileno())
    draft.rename(place)
    return made
