"""Reading of chat histories: messages and megabytes a second by format, and the memory a large file takes.

    python -m benchmarks imports [--large 1000]

Every figure is the median of three readings, each in a process of its own, of a generated file in the page
cache, by the seconds of CPU they took: messages a second and core. `peak` is what the process held at most,
with Python and everything imported. The large file is an archive of ChatGPT's with as many megabytes of
conversations.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.support import median, options, show, write
from core.exporters.jsonl import written
from core.importers import Conversation, read

WORDS = "The quick brown fox jumps over the lazy dog, and nobody minds it much. "
CONVERSATIONS, TURNS = 2000, 20
READING = """
import re, sys, time
from core.importers import read
start = time.process_time()
count = rejects = 0
for each in read(sys.argv[1]):
    if hasattr(each, "messages"):
        count += len(each.messages)
    else:
        rejects += 1
took = time.process_time() - start
peak = re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]
print(count, rejects, took, peak)
"""


def turns() -> list[tuple[str, str, str]]:
    return [(f"m{at:012}", ("user", "assistant")[at % 2], WORDS * (1 + at % 12)) for at in range(TURNS)]


def chatgpt(number: int) -> dict[str, Any]:
    mapping: dict[str, Any] = {"root": {"id": "root", "parent": None, "children": [], "message": None}}
    parent = "root"
    for key, role, text in turns():
        mapping[key] = {
            "id": key,
            "parent": parent,
            "children": [],
            "message": {
                "id": key,
                "author": {"role": role, "name": None, "metadata": {}},
                "create_time": 1.76e9,
                "update_time": None,
                "content": {"content_type": "text", "parts": [text]},
                "status": "finished_successfully",
                "end_turn": True,
                "weight": 1.0,
                "metadata": {"model_slug": "gpt-9", "request_id": "r" * 32, "citations": []},
                "recipient": "all",
                "channel": None,
            },
        }
        parent = key
    key = f"{number:032x}"
    return {
        "title": "A fox",
        "create_time": 1.76e9,
        "mapping": mapping,
        "current_node": parent,
        "conversation_id": key,
    }


def claude(number: int) -> dict[str, Any]:
    time = "2026-01-02T03:04:05.678901Z"
    messages = [
        {
            "uuid": key,
            "sender": {"user": "human"}.get(role, role),
            "text": text,
            "content": [{"type": "text", "text": text, "citations": []}],
            "created_at": time,
            "updated_at": time,
            "attachments": [],
            "files": [],
        }
        for key, role, text in turns()
    ]
    return {"uuid": f"{number:032x}", "name": "A fox", "created_at": time, "chat_messages": messages}


def openwebui(number: int) -> dict[str, Any]:
    nodes: dict[str, Any] = {}
    parent = None
    for key, role, text in turns():
        nodes[key] = {
            "id": key,
            "parentId": parent,
            "role": role,
            "content": text,
            "timestamp": 1_760_000_000,
        }
        parent = key
    return {
        "id": f"{number:032x}",
        "title": "A fox",
        "chat": {"history": {"currentId": parent, "messages": nodes}},
    }


def chatbotkit(number: int) -> dict[str, Any]:
    messages = [
        {"id": key, "type": "user" if role == "user" else "bot", "text": text, "createdAt": 1_760_000_000_000}
        for key, role, text in turns()
    ]
    return {"id": f"k{number}", "name": "A fox", "createdAt": 1_760_000_000_000, "messages": messages}


def sharegpt(number: int) -> dict[str, Any]:
    return {"id": str(number), "conversations": [{"from": role, "value": text} for _, role, text in turns()]}


def openai(number: int) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": f"{number} {text}"} for _, role, text in turns()]}


MAKERS: dict[str, tuple[Callable[[int], dict[str, Any]], str]] = {
    "chatgpt": (chatgpt, "json"),
    "claude": (claude, "json"),
    "openwebui": (openwebui, "json"),
    "chatbotkit": (chatbotkit, "jsonl"),
    "sharegpt": (sharegpt, "jsonl"),
    "openai": (openai, "jsonl"),
}


def make(directory: Path) -> dict[str, Path]:
    files = {}
    for name, (maker, suffix) in MAKERS.items():
        files[name] = directory / f"{name}.{suffix}"
        rows = (json.dumps(maker(at), ensure_ascii=False) for at in range(CONVERSATIONS))
        joined = "[" + ",".join(rows) + "]" if suffix == "json" else "\n".join(rows)
        files[name].write_text(joined)
    files["crontalk"] = directory / "crontalk.jsonl"
    known = [each for each in read(files["chatgpt"]) if isinstance(each, Conversation)]
    files["crontalk"].write_bytes(b"".join(written(known)))
    files["csv"] = directory / "table.csv"
    lines = [
        f'{at},{role},"{text}",2026-01-01T10:00:00Z,{key}'
        for at in range(CONVERSATIONS)
        for key, role, text in turns()
    ]
    files["csv"].write_text("conversation_id,role,text,created_at,message_id\n" + "\n".join(lines))
    return files


def reading(path: Path) -> dict[str, float]:
    done = subprocess.run([sys.executable, "-c", READING, path], capture_output=True, check=True, text=True)
    count, rejects, took, peak = map(float, done.stdout.split())
    assert rejects == 0
    return {"messages": count, "seconds": took, "peak": peak / 1024}


def measure(path: Path, rounds: int = 3) -> dict[str, float]:
    taken = [reading(path) for _ in range(rounds)]
    seconds, size = median([each["seconds"] for each in taken]), path.stat().st_size
    return {
        "messages": taken[0]["messages"] / seconds,
        "megabytes": size / seconds / 1e6,
        "peak": max(each["peak"] for each in taken),
        "size": size / 1e6,
    }


def large(directory: Path, megabytes: int) -> Path:
    path = directory / "large.zip"
    row = json.dumps(chatgpt(1)).encode()
    key = f"{1:032x}".encode()
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as made,
        made.open("conversations.json", "w", force_zip64=True) as file,
    ):
        file.write(b"[" + row)
        for number in range(2, megabytes * 1_000_000 // len(row)):
            file.write(b"," + row.replace(key, f"{number:032x}".encode()))
        file.write(b"]")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--large", type=int, default=1000, help="megabytes of the large file; 0 leaves it out"
    )
    given = options(parser)
    with tempfile.TemporaryDirectory(prefix="crontalk-bench-") as made:
        directory = Path(made)
        figures = {name: measure(path) for name, path in make(directory).items()}
        if given.large:
            figures["chatgpt, large zip"] = measure(large(directory, given.large), rounds=1)
    rows = [
        [
            name,
            f"{each['size']:.0f}",
            f"{each['messages']:,.0f}",
            f"{each['megabytes']:.0f}",
            f"{each['peak']:.0f}",
        ]
        for name, each in figures.items()
    ]
    show("Reading of chat histories", ["format", "MB", "messages/s", "MB/s", "peak MiB"], rows)
    write("imports", given, figures)


if __name__ == "__main__":
    main()
