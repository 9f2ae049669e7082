"""Runs the benchmarks named, or all but `peers`: `python -m benchmarks lateness stored`, `make bench`."""

from __future__ import annotations

import sys

from benchmarks import (
    api,
    dashboard,
    deletes,
    exports,
    firing,
    importing,
    imports,
    knowledge,
    lateness,
    overhead,
    sockets,
    stored,
    waits,
)
from benchmarks.peers import run as peers
from benchmarks.privacy import run as privacy

ALL = {
    "firing": firing,
    "lateness": lateness,
    "stored": stored,
    "overhead": overhead,
    "waits": waits,
    "api": api,
    "privacy": privacy,
    "deletes": deletes,
    "imports": imports,
    "exports": exports,
    "importing": importing,
    "knowledge": knowledge,
    "sockets": sockets,
    "dashboard": dashboard,
}

# Only where it is named: it installs others' programs, and takes half an hour.
NAMED = {**ALL, "peers": peers}

named = [name for name in sys.argv[1:] if name in NAMED]
for name in named or ALL:
    NAMED[name].main()
