"""`python -m tests.acceptance.storm`: a storm of any size, and a report."""

from __future__ import annotations

import argparse
import json
import sys
import time

from tests.acceptance.storm.column import lines
from tests.acceptance.storm.storm import Plan, Report, a_seed, rage
from tests.acceptance.storm.whole import PARTS


def main() -> int:
    arguments = _arguments()
    seconds = arguments.seconds or max(45.0, arguments.occurrences * 0.075)
    plan = Plan(
        arguments.occurrences,
        arguments.seed if arguments.seed is not None else a_seed(),
        seconds,
        gap=arguments.gap,
        sabotage=arguments.sabotage,
        parts=tuple(PARTS) if arguments.parts == "all" else tuple(filter(None, arguments.parts.split(","))),
        keep=arguments.keep,
    )
    print(
        f"A storm over {plan.occurrences} occurrences in {seconds:.0f} s."
        f" Repeat it with --occurrences {plan.occurrences} --seed {plan.seed} --seconds {seconds:.0f}"
        f" --gap {plan.gap}" + (f" --with {arguments.parts}" if arguments.parts else ""),
        flush=True,
    )
    began = time.monotonic()
    report = rage(plan)
    tell(report, time.monotonic() - began)
    return 1 if report.wrong else 0


def tell(report: Report, took: float) -> None:
    print(json.dumps(report.figures | {"seconds": round(took)}, indent=1))
    print("\n".join(["", *lines(report), ""]))
    for sentence in report.wrong[:50]:
        print(f"WRONG {sentence}")
    if len(report.wrong) > 50:
        print(f"WRONG … and {len(report.wrong) - 50} more")
    if report.kept:
        print(f"Logs and ledger are in {report.kept}")
    kinds = sum(sentence.startswith("lost") for sentence in report.wrong), len(report.wrong)
    print(f"{kinds[0]} lost, {kinds[1]} wrong in all." if report.wrong else "Nothing lost, doubled or stuck.")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="storm", description=__doc__)
    parser.add_argument("--occurrences", type=int, default=300)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--seconds", type=float, help="how long it rages")
    parser.add_argument("--gap", type=float, default=1.5, help="mean seconds between faults")
    parser.add_argument("--with", dest="parts", default="", help=f"also: {', '.join(PARTS)}; or all")
    parser.add_argument("--sabotage", help="break the program on purpose; see broken.py")
    parser.add_argument("--keep", action="store_true", help="keep logs and ledger")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
