"""The files of the bundled PostgreSQL: who owns them, whom the server runs as, and how they are made."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from cli.local.binaries import PostgresPrograms, open_copy
from cli.local.home import Home
from cli.local.leftovers import end_servers_of
from cli.local.processes import launched
from core.errors import Unavailable

ADMIN = "postgres"


def identity_for(cluster: Path) -> str:
    """Whom the server runs as: root may not be it, and its files may already be somebody's. See `launch`."""
    if os.geteuid() != 0:
        return "self"
    if cluster.exists() and (owner := cluster.stat()).st_uid != 0:
        return f"{owner.st_uid}:{owner.st_gid}"
    if _works([shutil.which("true") or "/bin/true"], "namespace"):
        return "namespace"
    nobody = pwd.getpwnam("nobody")
    return f"{nobody.pw_uid}:{nobody.pw_gid}"


def programs_for(programs: PostgresPrograms, identity: str) -> PostgresPrograms:
    """The programs, or a copy of them that this identity may run."""
    if ":" in identity and not _works([programs.initdb, "--version"], identity):
        return open_copy(programs)
    return programs


def _works(argv: list[str], identity: str) -> bool:
    command = launched(argv, death_signal=signal.SIGKILL, identity=identity)
    return subprocess.run(command, capture_output=True, check=False).returncode == 0  # noqa: S603 - our own words


def place_of(cluster: Path, identity: str) -> str:
    """What the server, started in the cluster's directory, calls it."""
    # Another user may not be able to walk to the directory; it is already there when it starts.
    return "/proc/self/cwd" if ":" in identity and sys.platform == "linux" else str(cluster)


def give(tree: Path, identity: str) -> None:
    """Make the tree belong to whom the server runs as; does nothing when it does, or when we are not root."""
    if os.geteuid() != 0:
        return
    uid, gid = (int(part) for part in identity.split(":")) if ":" in identity else (0, 0)
    if tree.stat().st_uid == uid:
        return
    for place, directories, files in os.walk(tree):
        for name in (*directories, *files):
            os.chown(Path(place, name), uid, gid, follow_symlinks=False)
    os.chown(tree, uid, gid)  # last: a walk that was killed is begun again


def make_cluster(home: Home, programs: PostgresPrograms, identity: str, *, fsync: bool) -> None:
    """Make it aside and rename it, so that a kill on the way leaves nothing half made.

    Raises Unavailable when `initdb` refuses; the home's `logs/initdb.log` says why.
    """
    draft = home.data / "pg.init"
    if draft.exists():
        end_servers_of(draft, home.mark)
        shutil.rmtree(draft)
    draft.mkdir(mode=0o700)
    give(draft, identity)
    argv = [programs.initdb, "-D", place_of(draft, identity), f"--username={ADMIN}", "--encoding=UTF8"]
    argv += ["--auth-local=trust", "--auth-host=reject", "--no-instructions", *_locale(programs)]
    argv += [] if fsync else ["--no-sync"]
    made = subprocess.run(  # noqa: S603 - our own command line
        launched(argv, death_signal=signal.SIGKILL, identity=identity),
        env=environment(),
        cwd=draft,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        process_group=0,
    )
    if made.returncode != 0:
        (home.logs / "initdb.log").write_text(made.stdout + made.stderr, encoding="utf-8")
        raise Unavailable(f"PostgreSQL's cluster could not be made; see {home.logs / 'initdb.log'}.")
    draft.rename(home.data / "pg")
    if fsync:
        _sync(home.data)


def _sync(directory: Path) -> None:
    # Rows may soon be durable; the name they are found under must be so before.
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _locale(programs: PostgresPrograms) -> list[str]:
    # The wheel is built without ICU; PostgreSQL 17 brings a C.UTF-8 of its own that sorts alike everywhere.
    system = "C" if sys.platform == "darwin" else "C.UTF-8"
    if programs.major < 17:
        return [f"--locale={system}"]
    return ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", f"--locale={system}"]


def environment() -> Mapping[str, str]:
    """The server's whole environment: none of the caller's PG variables."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    # Without a locale, PostgreSQL on macOS becomes multithreaded while it starts, and refuses to.
    return {"LC_ALL": "C", "TZ": "UTC", **kept}
