"""A throw-away virtual environment with the peers in it: nothing of them is a dependency of ours."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

SCHEDULERS = (
    "celery>=5.7,<5.8",
    "celery-redbeat>=2.4,<2.5",
    "sqlalchemy-celery-beat>=0.9,<0.10",
    "apscheduler>=3.11,<4",
    "procrastinate>=3.10,<4",
    "packaging>=24",
    "psycopg[binary,pool]>=3.3,<4",
    "redis>=8.1,<9",
    "sqlalchemy>=2.1,<2.2",
)
DETECTORS = ("datafog>=4.9,<5", "scrubadub>=2.0,<3")
SCRIPTS = Path(__file__).parent / "scripts"


@contextmanager
def environment(packages: Sequence[str]) -> Iterator[str]:
    """The Python of a new environment with these packages, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="crontalk-peers-") as directory:
        python = f"{directory}/bin/python"
        _uv("venv", "--quiet", "--python", sys.executable, directory)
        _uv("pip", "install", "--quiet", "--python", python, *packages)
        yield python


def versions(python: str, packages: Sequence[str]) -> dict[str, str]:
    """What was installed of what was asked for."""
    asked = {package.split(">")[0].split("[")[0] for package in packages}
    listed = _uv("pip", "list", "--quiet", "--format", "json", "--python", python)
    return {one["name"]: one["version"] for one in json.loads(listed) if one["name"] in asked}


def _uv(*words: str) -> bytes:
    # `uv run` says where it is; its module may be that of another Python.
    uv = os.environ.get("UV") or shutil.which("uv") or "uv"
    return subprocess.run([uv, *words], check=True, stdout=subprocess.PIPE).stdout
