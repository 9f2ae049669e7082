"""The tutorial and the API guide, as a reader meets them: each block is run as it stands, in order."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest

from cli.local.processes import wait_until
from tests.acceptance.conftest import Service, an_installation, free_port
from tests.api import a_secret
from tests.factories import A_KEY, an_account

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]

DOCS = Path(__file__).parents[2] / "docs"
PATIENCE = 300
BLOCK = re.compile(r"^```(sh|python|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
END = "=== end of a block ==="
# What differs from one run to the next: ids and digests, links and ports, times of today, spans and names.
PASSING = [
    (r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b", "ID"),
    (r"\b[0-9a-f]{64}\b", "DIGEST"),
    (r"http://127\.0\.0\.1:\d+(?:/login/\S+)?", "LINK"),
    (r"\b202\d-\d\d-\d\d[ T][\d:.]+(?:Z| UTC)?", "TIME"),
    (r"\b\d+\.\d\d s\b", "SPAN"),
    (r"\b17\d{11}\b|\b18\d{11}\b", "MOMENT"),
    (r"\bchat-\S+", "WORKER"),
    (r"\[email:\w+\]", "ENTITY"),
    (r"\s+", " "),
]


def blocks(page: str) -> list[tuple[str, str]]:
    return BLOCK.findall((DOCS / page).read_text(encoding="utf-8"))


def the_same(text: str) -> str:
    for pattern, word in PASSING:
        text = re.sub(pattern, word, text)
    return text.strip()


def assert_shown(promised: str, printed: str) -> None:
    """Each promised line was printed, in this order; `…` leaves lines or the rest of one out.

    Where a paragraph is broken is the terminal's affair: it is all one line here.
    """
    rest = the_same(printed)
    shown = [the_same(line).removesuffix("…").rstrip() for line in promised.splitlines()]
    for wanted in filter(None, shown):
        before, found, rest = rest.partition(wanted)
        assert found, f"Not printed, or not in this place: {wanted!r} in:\n{before}"


def promises(language: str, page: str) -> list[tuple[str, str]]:
    """The blocks of a language, each with the output that is shown behind it."""
    every = blocks(page)
    following = [*every[1:], ("", "")]
    return [
        (code, after if kind == "text" else "")
        for (spoken, code), (kind, after) in zip(every, following, strict=True)
        if spoken == language
    ]


def run(command: list[str], told: list[tuple[str, str]], where: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        command,
        cwd=where,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    printed = done.stdout.split(END)
    assert done.returncode == 0, f"block {len(printed)}:\n{printed[-1]}\n{done.stderr}"
    for (_, promised), output in zip(told, printed, strict=False):
        assert_shown(promised, output)


def run_shell(page: str, where: Path, environment: dict[str, str]) -> None:
    told = promises("sh", page)
    script = where / "blocks.sh"
    script.write_text("".join(f"{code}echo '{END}'\n" for code, _ in told), encoding="utf-8")
    run(["bash", "-euo", "pipefail", str(script)], told, where, environment)


def run_python(page: str, where: Path, environment: dict[str, str]) -> None:
    told = promises("python", page)
    script = where / "blocks.py"
    script.write_text("".join(f"{code}\nprint({END!r})\n" for code, _ in told), encoding="utf-8")
    run([sys.executable, "-P", __file__, str(script)], told, where, environment)


@pytest.fixture(scope="module")
def house(servers, worker_id, tmp_path_factory) -> Iterator[Service]:
    """What `crontalk up` starts, without its own servers and Flower."""
    with an_installation(servers, worker_id, tmp_path_factory.mktemp("house"), A_KEY) as installation:
        account = an_account(installation.context)
        port = free_port()
        origin = f"http://127.0.0.1:{port}"
        installation.settings |= {
            "CRONTALK_KEY": A_KEY,
            "CRONTALK_PUBLIC_URL": origin,
            "CRONTALK_ANONYMOUS": "first",
            "CRONTALK_BLOBS": str(installation.logs / "blobs"),
        }
        installation.start("api", "--port", str(port))
        installation.start("worker", "--queues", "chat")
        installation.start("worker", "--queues", "annotate,bulk", "--concurrency", "1")
        installation.start("scheduler")
        assert wait_until(lambda: _answers(origin), timedelta(seconds=120)), installation.all_logs()
        yield Service(installation, account, origin, a_secret(installation.context, account))


def _answers(origin: str) -> bool:
    try:
        return httpx2.get(f"{origin}/health/ready", timeout=5).status_code == 200
    except httpx2.HTTPError:
        return False


@pytest.fixture
def environment(house, tmp_path) -> dict[str, str]:
    """A reader's: the command on the path, a wide terminal, and the two variables of the guide."""
    command = tmp_path / "bin" / "crontalk"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -P -m cli "$@"\n')
    command.chmod(0o755)
    settings = house.installation.environment(TOKEN=house.token, URL=house.origin, COLUMNS="400")
    settings.pop("PYTHONDONTWRITEBYTECODE", None)  # every command would compile all it imports once more
    compiled = str(house.installation.logs / "compiled")
    return settings | {"PATH": f"{command.parent}:{settings['PATH']}", "PYTHONPYCACHEPREFIX": compiled}


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_the_tutorial_does_what_it_says(environment, tmp_path):
    run_shell("tutorial.md", tmp_path, environment)


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
def test_the_guide_does_with_curl_what_it_says(environment, tmp_path):
    run_shell("guide.md", tmp_path, environment)


def test_the_guide_does_in_python_what_it_says(environment, tmp_path):
    run_python("guide.md", tmp_path, environment)


@pytest.mark.parametrize(
    ("promised", "printed"),
    [("b\na\n", "a\nb\n"), ("state  failed", "state  succeeded"), ("answer …", "Answer."), ("…\nc", "a b")],
)
def test_what_was_not_printed_is_noticed(promised, printed):
    with pytest.raises(AssertionError, match="Not printed"):
        assert_shown(promised, printed)


def _as_asyncio_repl(script: str) -> None:
    """Carries out a file in which `await` stands outside of functions, as `python -m asyncio` takes it."""
    code = compile(Path(script).read_text(encoding="utf-8"), script, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)

    async def carry_out() -> None:
        left = eval(code, {"__name__": "__main__"})
        if inspect.isawaitable(left):
            await left

    asyncio.run(carry_out())


if __name__ == "__main__":
    _as_asyncio_repl(sys.argv[1])
