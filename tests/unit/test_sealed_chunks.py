import hashlib
import os

import pytest

from core.cipher import Unopened
from core.sealed_chunks import CHUNK, Chunker, chunks_of, open_chunk

KEY = bytes(range(32))


def sealed(content, key=KEY, piece=300_000):
    chunker = Chunker(key)
    chunks = [c for at in range(0, len(content), piece) for c in chunker.add(content[at : at + piece])]
    chunks.append(chunker.finish())
    assert (chunker.size, chunker.sha256) == (len(content), hashlib.sha256(content).digest())
    return chunks


def opened(chunks, key=KEY):
    last = len(chunks) - 1
    return b"".join(open_chunk(key, n, chunk, last=n == last) for n, chunk in enumerate(chunks))


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 17])
@pytest.mark.parametrize("piece", [65_536, CHUNK, 5 * CHUNK])
def test_what_goes_in_comes_out_whatever_its_size(size, piece):
    content = os.urandom(size)
    chunks = sealed(content, piece=piece)
    assert len(chunks) == chunks_of(size)
    assert opened(chunks) == content
    assert all(len(chunk) <= CHUNK + 29 for chunk in chunks)


def test_a_stream_without_its_end_does_not_open():
    chunks = sealed(os.urandom(2 * CHUNK + 5))
    for shorter in (chunks[:1], chunks[:2]):
        with pytest.raises(Unopened):
            opened(shorter)


def test_chunks_in_another_order_or_twice_do_not_open():
    a, b, c = sealed(os.urandom(2 * CHUNK + 5))
    for wrong in ([b, a, c], [a, a, c], [a, c], [a, b, b, c], [a, b, c, c]):
        with pytest.raises(Unopened):
            opened(wrong)


def test_a_chunk_of_another_blob_or_a_changed_one_does_not_open():
    a, b = sealed(os.urandom(CHUNK + 5))
    _, other = sealed(os.urandom(CHUNK + 5), key=bytes(32))
    changed = b[:-1] + bytes([b[-1] ^ 1])
    for wrong in (other, changed, b[:-1], b"", b"\x01"):
        with pytest.raises(Unopened):
            opened([a, wrong])
