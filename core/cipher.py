"""AES-256-GCM with a key, a place and a version byte: pure, so that it can be tested without a database.

A sealed value is one byte of version, 12 of nonce, the ciphertext and its tag. The place is authenticated
with it: what was sealed for one place opens in no other.
"""

from __future__ import annotations

import base64
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

VERSION = b"\x01"
KEY_BYTES = 32
NONCE_BYTES = 12


class Unopened(Exception):
    """Another key, another place, or a value that was changed."""


def parse_key(written: str) -> bytes:
    """A key as people write it: 64 hexadecimal digits, or base64 of 32 bytes.

    Raises:
        ValueError: neither; the sentence does not repeat it.

    """
    words = written.strip()
    try:
        raw = bytes.fromhex(words) if len(words) == 2 * KEY_BYTES else _from_base64(words)
    except ValueError:
        raw = b""
    if len(raw) != KEY_BYTES:
        raise ValueError("must be 32 random bytes, as 64 hexadecimal digits or in base64")
    return raw


def encrypt(key: bytes, plaintext: bytes, place: str) -> bytes:
    nonce = os.urandom(NONCE_BYTES)
    return VERSION + nonce + AESGCM(key).encrypt(nonce, plaintext, place.encode())


def decrypt(key: bytes, sealed: bytes, place: str) -> bytes:
    """What was encrypted with this key for this place.

    Raises:
        Unopened: it was not.

    """
    nonce, body = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
    try:
        if sealed[:1] != VERSION:
            raise Unopened
        return AESGCM(key).decrypt(nonce, body, place.encode())
    except (InvalidTag, ValueError):
        raise Unopened from None


def _from_base64(words: str) -> bytes:
    padded = words.replace("-", "+").replace("_", "/") + "=" * (-len(words) % 4)
    return base64.b64decode(padded, validate=True)
