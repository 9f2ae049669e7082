"""Becomes the child it starts: `launch.py <parent pid> <death signal> <identity> <argv…>`, run as a script.

What must happen between fork and exec happens here, in an interpreter of its own, instead of in a
`preexec_fn`: the supervisor may have threads, and Python code between fork and exec can deadlock then.
Identities: `self`, `namespace` (root becomes uid 65534 of a user namespace, so that PostgreSQL, which refuses
uid 0, runs while the files stay root's), or `<uid>:<gid>`.
"""

from __future__ import annotations

import ctypes
import os
import sys

CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG = 1
NOBODY = 65534


def enter_namespace() -> None:
    """Enter a user namespace where we are called nobody; raises OSError where that is refused."""
    uid, gid = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    for name, line in (
        ("setgroups", "deny"),
        ("uid_map", f"{NOBODY} {uid} 1"),
        ("gid_map", f"{NOBODY} {gid} 1"),
    ):
        descriptor = os.open(f"/proc/self/{name}", os.O_WRONLY)
        os.write(descriptor, line.encode())
        os.close(descriptor)


def take_identity(identity: str) -> None:
    if identity == "namespace":
        enter_namespace()
    elif identity != "self":
        uid, gid = (int(part) for part in identity.split(":"))
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)


def die_with(parent: int, death_signal: int) -> None:
    # After the change of identity: the kernel forgets the death signal when credentials change.
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    if os.getppid() != parent:  # it died before the kernel was told
        sys.exit(1)


def main(parent: str, death_signal: str, identity: str, *argv: str) -> None:
    os.umask(0o077)
    try:
        take_identity(identity)
        die_with(int(parent), int(death_signal))
        os.execv(argv[0], argv)  # noqa: S606 - no shell is the point
    except OSError as error:
        sys.exit(f"{argv[0]} cannot be started: {error.strerror}")


if __name__ == "__main__":
    main(*sys.argv[1:])
