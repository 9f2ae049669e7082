"""The process that reads one PDF, Word or HTML file: `python -m core.extraction pdf < file`.

It limits itself before it reads a byte: memory, CPU, no files, no processes, no sockets. A line of JSON for
every part of the text, and a last one that says how it ended.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress

MEMORY = 512 * 2**20  # bytes of address space, beyond the file itself
SECONDS = 40  # of the processor
MOST_TEXT = 10 * 2**20
REFUSED = (
    "socket.",
    "subprocess.",
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "os.system",
    "shutil.",
    "ctypes.",
)

Reader = Callable[[bytes], Iterator[dict[str, object]]]


def main() -> int:
    """Reads what is on stdin; the exit code is 75 where it took too much."""
    # Before the limits: libraries open files of their own as they are imported.
    from core.extraction_formats import READERS, Refused

    _limit()
    content = sys.stdin.buffer.read()
    _limit(len(content))
    try:
        end = _write(READERS[sys.argv[1]], content)
    except Refused as refusal:
        end = str(refusal)
    except MemoryError:
        return os.EX_TEMPFAIL
    except Exception:  # noqa: BLE001 (a library's word for a file that it cannot read)
        end = "file_damaged"
    print(json.dumps({"end": end}), flush=True)  # noqa: T201 (the parent reads it)
    return 0


def _write(reader: Reader, content: bytes) -> str:
    left = MOST_TEXT
    try:
        for part in reader(content):
            text = str(part["text"]).replace("\x00", "").encode(errors="ignore").decode()
            left -= len(text.encode())
            if left < 0:
                return "too_much_text"
            if text.strip():
                sys.stdout.write(json.dumps({**part, "text": text}) + "\n")
    except RecursionError:
        return "too_costly"
    return "no_text" if left == MOST_TEXT else "read"


def _limit(more: int = 0) -> None:
    """Ours until the end. Where a system knows a limit not at all, the others hold."""
    import resource

    wanted = {
        resource.RLIMIT_AS: MEMORY + 6 * more,
        resource.RLIMIT_CPU: SECONDS,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
    }
    for limit, value in wanted.items():
        with suppress(ValueError, OSError):
            hard = resource.getrlimit(limit)[1]
            soft = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(limit, (soft, hard))
    if more == 0:
        sys.addaudithook(_refuse)


def _refuse(event: str, _: object) -> None:
    if event.startswith(REFUSED):
        raise PermissionError(event)


if __name__ == "__main__":
    raise SystemExit(main())
