"""Every occurrence of every expression in thirty zones over ten years, against the oracle.

    python -m tests.unit.exhaustive --processes 2

It takes hours; the suite compares the part of it that can differ (test_schedule_oracle.py). It goes from the
rarest expression to the most frequent and says as it goes how far it has come.
"""

from __future__ import annotations

import argparse
import sys
import time
from multiprocessing import Pool

from tests.unit.cron_oracle import DAY, Oracle, instant_of
from tests.unit.schedule_cases import EXPRESSIONS, THIRTY, occurrences, ten_years

YEAR = 366 * DAY


def compare(pair: tuple[str, str]) -> tuple[str, str, int, str | None]:
    """(expression, zone, how many occurrences agree, the first difference)."""
    text, zone = pair
    oracle, count = Oracle.of(text), 0
    first, last = ten_years(zone)
    for start in range(first, last, YEAR):
        window = (start, min(start + YEAR, last))
        expected, found = oracle.fires(zone, *window), occurrences(text, zone, *window)
        if expected != found:
            return text, zone, count, _difference(expected, found)
        count += len(found)
    return text, zone, count, None


def _difference(expected: list[int], found: list[int]) -> str:
    missing, invented = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
    return f"missing {[str(instant_of(one)) for one in missing[:3]]}, not due {invented[:3]}"


def in_a_year(text: str) -> int:
    return len(Oracle.of(text).walls(52 * YEAR, 53 * YEAR))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--expressions", type=int, default=len(EXPRESSIONS), help="the rarest so many")
    options = parser.parse_args()
    texts = sorted(EXPRESSIONS, key=in_a_year)[: options.expressions]
    pairs = [(text, zone) for text in texts for zone in THIRTY]
    began, compared, differences = time.monotonic(), 0, 0
    with Pool(options.processes) as pool:
        for done, (text, zone, count, difference) in enumerate(pool.imap(compare, pairs), 1):
            compared += count
            if difference:
                differences += 1
                print(f"DIFFERS {text!r} in {zone}: {difference}", flush=True)
            if done % len(THIRTY) == 0:
                seconds = time.monotonic() - began
                print(f"{seconds:7.0f} s  {done // len(THIRTY)}: {text!r}, {compared:,} so far", flush=True)
    print(
        f"{len(texts)} expressions x {len(THIRTY)} zones x 10 years: {compared:,} occurrences compared,"
        f" {differences} of {len(pairs):,} pairs differ."
    )
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
