"""Text as PostgreSQL can hold it."""

from __future__ import annotations

import math
from typing import Any


def storable(value: Any) -> Any:
    """The same JSON without what PostgreSQL cannot hold: NUL and halves of surrogate pairs."""
    if isinstance(value, str):
        return value.replace("\0", "").encode("utf-8", "ignore").decode()
    if isinstance(value, list):
        return [storable(item) for item in value]
    if isinstance(value, dict):
        return {storable(key): storable(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
