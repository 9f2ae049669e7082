"""Sealed values open with their key, in their place, unchanged, and nowhere else."""

from __future__ import annotations

import base64
import os

import pytest

from core.cipher import Unopened, decrypt, encrypt, parse_key
from core.errors import InvalidInput
from core.settings import read_settings

KEY = bytes(range(32))


def test_what_was_sealed_opens_in_its_own_place():
    assert decrypt(KEY, encrypt(KEY, b"hush", "here"), "here") == b"hush"
    assert decrypt(KEY, encrypt(KEY, b"", "here"), "here") == b""


def test_the_same_words_never_look_the_same():
    assert encrypt(KEY, b"hush", "here") != encrypt(KEY, b"hush", "here")


def test_it_opens_in_no_other_place_and_with_no_other_key():
    sealed = encrypt(KEY, b"hush", "here")
    with pytest.raises(Unopened):
        decrypt(KEY, sealed, "there")
    with pytest.raises(Unopened):
        decrypt(os.urandom(32), sealed, "here")


def test_a_changed_bit_anywhere_is_noticed():
    sealed = encrypt(KEY, b"hush", "here")
    for place in range(len(sealed)):
        with pytest.raises(Unopened):
            decrypt(KEY, sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :], "here")


@pytest.mark.parametrize("length", range(30))
def test_what_is_too_short_to_be_sealed_is_noticed(length):
    with pytest.raises(Unopened):
        decrypt(KEY, b"\x01" * length, "here")


@pytest.mark.parametrize(
    "written",
    [
        KEY.hex(),
        KEY.hex().upper(),
        f" {KEY.hex()}\n",
        base64.b64encode(KEY).decode(),
        base64.urlsafe_b64encode(KEY).decode().rstrip("="),
    ],
)
def test_a_key_may_be_written_in_hexadecimal_or_base64(written):
    assert parse_key(written) == KEY


@pytest.mark.parametrize("written", ["", "password", "ab" * 31, "zz" * 32, "é" * 64, KEY.hex() + "00"])
def test_what_is_no_key_is_refused_without_being_repeated(written, monkeypatch):
    with pytest.raises(ValueError, match="32 random bytes") as refused:
        parse_key(written)
    assert not written or written not in str(refused.value)
    if written:
        monkeypatch.setenv("CRONTALK_KEY", written)
        with pytest.raises(InvalidInput, match="CRONTALK_KEY") as told:
            read_settings()
        assert written not in str(told.value)


def test_an_empty_key_is_none(monkeypatch):
    monkeypatch.setenv("CRONTALK_KEY", "")
    assert read_settings().key is None
