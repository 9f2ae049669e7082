"""Texts that PostgreSQL can hold: checked before anything is done with them."""

from __future__ import annotations

from typing import Any

from core.errors import InvalidInput


def checked_text(value: Any, name: str, *, longest: int, empty: bool = False) -> str | None:
    """A text PostgreSQL can store, or None.

    Raises:
        InvalidInput: not text, too long (bytes of UTF-8), a NUL or a lone surrogate inside, or empty.

    """
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidInput(f"{name} must be text.")
    if "\x00" in value:
        raise InvalidInput(f"{name} must not hold a NUL character.")
    try:
        size = len(value.encode())
    except UnicodeEncodeError as error:
        raise InvalidInput(f"{name} holds half of a surrogate pair, which is not text.") from error
    if size > longest:
        raise InvalidInput(f"{name} is longer than {longest} bytes.")
    if not empty and not value.strip():
        raise InvalidInput(f"{name} must not be empty.")
    return value
