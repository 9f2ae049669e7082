"""Which images a model gets to see: those it is known to see, the rest by name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from core.chat.provider import ChatMessage, Image

# What the servers in use take; others refuse the whole request for the sake of one image.
SEEN = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})


def for_model(messages: Iterable[ChatMessage], *, sees: bool) -> tuple[ChatMessage, ...]:
    """The messages as a model may be sent them. An image that it does not see becomes a line that names it,
    so that the model can say so rather than answer as if there were none.
    """
    return tuple(_shown(message, sees=sees) if message.images else message for message in messages)


def _shown(message: ChatMessage, *, sees: bool) -> ChatMessage:
    seen = tuple(image for image in message.images if sees and image.media_type in SEEN)
    unseen = [_name(image) for image in message.images if image not in seen]
    return replace(message, text="\n".join(part for part in (message.text, *unseen) if part), images=seen)


def _name(image: Image) -> str:
    kind = image.media_type if image.media_type.isascii() and image.media_type.isprintable() else "image"
    return f"[{kind[:100]}, {-(-len(image.content) // 1024)} KiB: this model is not shown it]"
