"""requirements.lock: what the image installs is what pyproject.toml asks for."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent.parent
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
WANTED = [
    Requirement(line)
    for line in tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "dependencies"
    ]
]


def pins() -> dict[str, list[Requirement]]:
    """Every pin by name; a name has several when its version depends on the machine."""
    found: dict[str, list[Requirement]] = {}
    for line in re.findall(r"^([a-z0-9][^\\\n]*?) *\\?$", LOCK, flags=re.MULTILINE):
        pin = Requirement(line)
        found.setdefault(canonicalize_name(pin.name), []).append(pin)
    return found


def versions(name: str) -> list[Version]:
    return [
        Version(next(iter(pin.specifier)).version.removesuffix(".*"))
        for pin in pins().get(canonicalize_name(name), [])
    ]


@pytest.mark.parametrize("requirement", WANTED, ids=lambda r: r.name)
def test_the_lock_satisfies_pyproject(requirement):
    locked = versions(requirement.name)
    assert locked, f"{requirement.name} is not locked; run `make lock`"
    assert all(requirement.specifier.contains(each) for each in locked)


def test_every_pin_is_exact_and_hashed():
    for name, each in pins().items():
        assert all([s.operator for s in pin.specifier] == ["=="] for pin in each), name
    blocks = re.split(r"^(?=[a-z0-9])", LOCK, flags=re.MULTILINE)[1:]
    assert all("--hash=sha256:" in block for block in blocks)


def test_the_lock_is_closed():
    """What an installed package needs here is locked too, so that `--no-deps` leaves nothing out."""
    for name in pins():
        for requirement in _needs(name):
            locked = versions(requirement.name)
            assert locked, f"{name} needs {requirement.name}"
            assert any(requirement.specifier.contains(each, prereleases=True) for each in locked), name


def test_the_lock_names_no_machine_and_no_index():
    assert not re.search(
        r"https?://|file:|--index|--find-links|--extra-index|/(home|root|work|opt|Users)/", LOCK
    )


def test_the_lock_holds_no_test_tools():
    assert not pins().keys() & {"pytest", "ruff", "mypy", "hypothesis", "import-linter", "check-jsonschema"}


def _needs(name: str) -> list[Requirement]:
    """What the installed version asks for on this machine; nothing when another version is installed."""
    try:
        if Version(version(name)) not in versions(name):
            return []
    except PackageNotFoundError:
        return []
    needs = [Requirement(line) for line in requires(name) or []]
    return [need for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]
