"""Crontalk beside its peers, in one run on one machine, one after the other.

    python -m benchmarks peers
    python -m benchmarks.peers.run --quick
    python -m benchmarks.peers.run --only kills --systems Crontalk procrastinate --minutes 10

The peers come from the package registry into an environment that is thrown away. Tables are Markdown, as they
stand in docs/benchmarks.md; `--json FILE` writes them for programs as well.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from typing import Any

from benchmarks import support
from benchmarks.peers import privacy, schedulers
from benchmarks.peers.environment import DETECTORS, SCHEDULERS, environment, versions
from benchmarks.peers.measures import Counts, Lateness, markdown
from benchmarks.peers.systems import CELERY, OURS, PEERS
from cli.local.servers import Servers

PARTS = ("firing", "burst", "kills", "privacy")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [system.name for system in (OURS, *PEERS)]
    parser.add_argument("--quick", action="store_true", help="small and short: to see that it runs")
    parser.add_argument("--tasks", type=int, nargs="*", help="tasks a minute, each a measurement of its own")
    parser.add_argument("--burst", type=int, help="tasks due in one second")
    parser.add_argument("--kill-tasks", type=int, help="tasks a minute under kill -9")
    parser.add_argument("--minutes", type=int, help="minutes under kill -9")
    parser.add_argument("--messages", type=int, help="labelled messages")
    parser.add_argument("--only", choices=PARTS, nargs="*", default=PARTS)
    parser.add_argument("--systems", choices=names, nargs="*", default=names)
    given = support.options(parser)
    usual = ([100], 200, 200, 1, 1_000) if given.quick else ([10_000], 1_000, 1_000, 1, 6_000)
    for name, value in zip(("tasks", "burst", "kill_tasks", "minutes", "messages"), usual, strict=True):
        if getattr(given, name) is None:
            setattr(given, name, value)
    began = time.monotonic()
    figures: dict[str, Any] = {}
    if {"firing", "burst", "kills"} & set(given.only):
        with environment(SCHEDULERS) as python, support.servers(commit_times=True) as both:
            figures["versions"] = versions(python, SCHEDULERS)
            show_settings(figures["versions"])
            run_schedulers(given, both, python, figures)
    if "privacy" in given.only:
        with environment(DETECTORS) as python:
            figures["privacy"] = privacy.measure(python, given.messages, quick=given.quick)
    print(
        f"\n{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {time.monotonic() - began:,.0f} s in all"
    )
    support.write("peers", given, figures)


def run_schedulers(given: argparse.Namespace, both: Servers, python: str, figures: dict[str, Any]) -> None:
    systems = [system for system in (OURS, *PEERS) if system.name in given.systems]
    firings = [(tasks, False) for tasks in given.tasks if "firing" in given.only]
    firings += [(given.burst, True)] * ("burst" in given.only)
    for tasks, burst in firings:
        found = {
            system.name: schedulers.fired(system, both, python, tasks=tasks, burst=burst)
            for system in systems
        }
        print_firing(f"{tasks:,} due in one second" if burst else f"{tasks:,} a minute", found, burst=burst)
        figures[f"{'burst' if burst else 'minute'} {tasks}"] = found
    if "kills" in given.only:
        found = {
            system.name: schedulers.killed(
                system, both, python, tasks=given.kill_tasks, minutes=given.minutes
            )
            for system in systems
        }
        print_kills(given, found)
        figures["kills"] = found


def show_settings(found: dict[str, str]) -> None:
    rows: list[Sequence[str]] = [(OURS.name, "", OURS.settings)]
    for system in PEERS:
        which = ", ".join(f"{name} {found[name]}" for name in system.packages)
        how = (
            f"{system.settings}; {CELERY.format(recovery=10)}"
            if "celery" in system.packages
            else system.settings
        )
        rows.append((system.name, which, how))
    print(markdown(("system", "versions", "settings"), rows), flush=True)


def print_firing(title: str, found: dict[str, dict[str, Lateness]], *, burst: bool) -> None:
    rows = [
        (name, what, f"{one.done:,} of {one.due:,}", one.shown(one.p50), one.shown(one.p99))
        + ((f"{one.rate:,.0f}",) if burst else ())
        for name, parts in found.items()
        for what, one in parts.items()
        if what != "model asked"
    ]
    columns = (title, "committed is", "in time", "p50", "p99", *(("/s",) if burst else ()))
    print(f"\n(load {os.getloadavg()[0]:.1f})\n\n{markdown(columns, rows)}", flush=True)


def print_kills(given: argparse.Namespace, found: dict[str, tuple[dict[str, Counts], int]]) -> None:
    rows = [
        (
            name,
            what,
            kills,
            f"{one.due:,}",
            f"{one.lost:,}",
            f"{one.twice:,}",
            f"{one.once:,}",
            f"{one.latest:.0f} s",
        )
        for name, (parts, kills) in found.items()
        for what, one in parts.items()
    ]
    title = f"kill -9, {given.kill_tasks:,} tasks a minute"
    columns = (title, "counted is", "kills", "due", "lost", "more than once", "exactly once", "latest after")
    print(f"\n(load {os.getloadavg()[0]:.1f})\n\n{markdown(columns, rows)}", flush=True)


if __name__ == "__main__":
    main()
