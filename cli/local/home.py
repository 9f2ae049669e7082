"""The home of a local installation: where its data, logs, lock and sockets are, and what runs on it."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path

from cli.local.processes import alive, wait_until
from core.errors import Conflict, InvalidInput

# The kernel's sun_path, less its closing NUL.
SOCKET_PATH_LIMIT = 103 if sys.platform == "darwin" else 107
SHORT_ROOT = Path("/tmp")  # noqa: S108 (short paths for sockets; owner and mode are checked)  # nosec B108


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """How to reach what a running `up` started; the names are camelCase in the file."""

    pid: int
    database_url: str
    redis_url: str
    api_url: str | None = None
    flower_url: str | None = None
    processes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Home:
    """A directory that holds one local installation; `path` is absolute and free of symlinks."""

    path: Path

    @classmethod
    def at(cls, path: Path | str) -> Home:
        """Open the home, creating it for its owner alone. Raises InvalidInput when that is impossible."""
        try:
            home = cls(Path(path).expanduser().resolve())
            home.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            home.data.mkdir(mode=0o700, exist_ok=True)
            home.logs.mkdir(mode=0o700, exist_ok=True)
        except (OSError, RuntimeError) as error:
            raise InvalidInput(f"{path} cannot be used as a home: {error}.") from error
        return home

    @classmethod
    def seen(cls, path: Path | str) -> Home:
        """The home as it is, for a look at what runs there; nothing is created."""
        try:
            return cls(Path(path).expanduser().resolve())
        except (OSError, RuntimeError) as error:
            raise InvalidInput(f"{path} cannot be used as a home: {error}.") from error

    @property
    def data(self) -> Path:
        return self.path / "data"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def token_file(self) -> Path:
        return self.path / "token"

    @property
    def state_file(self) -> Path:
        return self.path / "servers.json"

    @property
    def lock_file(self) -> Path:
        return self.path / "lock"

    @property
    def mark(self) -> str:
        """A short name, the same for the same user and home; servers carry it in their command lines."""
        digest = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:12]
        return f"crontalk-{os.geteuid()}-{digest}"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the home alone; on leaving, its sockets and state file are gone.

        Raises Conflict, with the other's pid, when another process holds it.
        """
        descriptor = os.open(self.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # A command that asks whether the lock is free holds it for an instant.
            if not wait_until(lambda: _try_lock(descriptor, fcntl.LOCK_EX), timedelta(milliseconds=300)):
                raise Conflict(
                    f"Another `crontalk up` runs on {self.path} (pid {self.holder()}); "
                    "stop it or choose another home."
                )
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            try:
                yield
            finally:
                self.state_file.unlink(missing_ok=True)
                self.remove_sockets()
        finally:
            os.close(descriptor)

    def sockets(self) -> Path:
        """The home's short directory for sockets, ours alone. Raises Conflict when somebody else made it."""
        directory = SHORT_ROOT / self.mark
        try:
            directory.mkdir(mode=0o700)
        except FileExistsError:
            found = directory.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
                raise Conflict(
                    f"{directory} was made by somebody else; it is not safe to put sockets there."
                ) from None
            if found.st_mode & 0o066:  # passing through may be allowed to the database server's user
                directory.chmod(0o700)
        return directory

    def socket_path(self, *names: str) -> Path:
        """The place of a socket, guaranteed to fit into the kernel's address."""
        place = self.sockets().joinpath(*names)
        if len(os.fsencode(place)) > SOCKET_PATH_LIMIT:
            raise InvalidInput(
                f"{place} is longer than the {SOCKET_PATH_LIMIT} bytes a socket's path may have."
            )
        return place

    def remove_sockets(self) -> None:
        """Remove the directory of sockets, unless it is not ours."""
        directory = SHORT_ROOT / self.mark
        if directory.is_symlink() or not directory.is_dir() or directory.stat().st_uid != os.geteuid():
            return
        shutil.rmtree(directory, ignore_errors=True)

    def write_running(self, running: Running) -> None:
        """Tell the commands beside us how to reach things. Call it with the lock held; mode 0600."""
        words = {_camel(name): value for name, value in asdict(running).items()}
        draft = self.state_file.with_suffix(".new")
        draft.unlink(missing_ok=True)
        draft.touch(mode=0o600, exist_ok=False)
        draft.write_text(json.dumps(words, indent=1), encoding="utf-8")
        draft.replace(self.state_file)

    def read_running(self) -> Running | None:
        """What runs on this home now; None when nothing does, whatever a killed `up` left behind."""
        try:
            words = json.loads(self.state_file.read_text(encoding="utf-8"))
            running = Running(**{name: words[_camel(name)] for name in Running.__dataclass_fields__})
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return running if alive(running.pid) and self.holder() == running.pid else None

    def holder(self) -> int | None:
        """The pid of the `up` that holds the home, whether it is starting, up or stopping."""
        try:
            descriptor = os.open(self.lock_file, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            if _try_lock(descriptor, fcntl.LOCK_SH):
                return None
            return int(os.pread(descriptor, 32, 0))
        except ValueError:
            return None  # it has only just taken it
        finally:
            os.close(descriptor)


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(word.capitalize() for word in tail)
