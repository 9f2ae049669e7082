"""The zones, years and expressions over which schedules are compared with the oracle."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from core.schedule import parse
from core.schedule.occurrences import _occurrences_after
from tests.unit.cron_oracle import instant_of, minute_of, offsets

# A zone and the first of its ten years.
ZONES = {
    "UTC": 2020,
    "Africa/Cairo": 2016,
    "Africa/Casablanca": 2020,  # Ramadan: back and forth within weeks
    "Africa/El_Aaiun": 2026,
    "Africa/Juba": 2015,
    "Africa/Sao_Tome": 2012,
    "Africa/Windhoek": 2010,
    "America/Adak": 2020,
    "America/Asuncion": 2016,  # midnight gap
    "America/Caracas": 2007,  # half an hour, both ways
    "America/Havana": 2020,  # midnight gap
    "America/Metlakatla": 2010,
    "America/New_York": 2020,
    "America/Nuuk": 2018,
    "America/Santiago": 2016,
    "America/Sao_Paulo": 2010,  # midnight gap
    "America/Scoresbysund": 2020,
    "America/St_Johns": 2003,  # at 00:01
    "Antarctica/Casey": 2009,
    "Antarctica/Troll": 2020,  # two hours
    "Asia/Amman": 2015,
    "Asia/Beirut": 2020,  # midnight gap
    "Asia/Gaza": 2020,
    "Asia/Kathmandu": 1982,  # a quarter of an hour
    "Asia/Kolkata": 2020,
    "Asia/Pyongyang": 2012,
    "Asia/Tehran": 2014,
    "Atlantic/Azores": 2020,
    "Australia/Adelaide": 2020,
    "Australia/Lord_Howe": 2020,  # half an hour
    "Australia/Sydney": 2020,
    "Europe/Berlin": 2020,
    "Europe/Dublin": 2020,  # negative DST
    "Europe/Istanbul": 2010,
    "Europe/Lisbon": 1990,
    "Europe/London": 2020,
    "Europe/Moscow": 2008,
    "Europe/Volgograd": 2014,
    "Pacific/Apia": 2006,  # no 30 December 2011
    "Pacific/Auckland": 2020,
    "Pacific/Chatham": 2020,
    "Pacific/Fakaofo": 2006,  # no 30 December 2011
    "Pacific/Fiji": 2012,
    "Pacific/Kanton": 1990,  # no 31 December 1994
    "Pacific/Kwajalein": 1988,  # no 21 August 1993
    "Pacific/Norfolk": 2014,
}

WRITTEN = """
* * * * *|*/2 * * * *|*/5 * * * *|*/15 * * * *|*/30 * * * *|*/7 * * * *|*/45 * * * *|0 * * * *|30 * * * *
15,45 * * * *|0-10 * * * *|59 * * * *|0 */2 * * *|0 */3 * * *|30 */6 * * *|0 */12 * * *|*/15 2 * * *
*/10 1-3 * * *|*/30 0 * * *|*/20 23 * * *|* 2 * * *|* 0 * * *|*/30 1,2 * * 0|0-59 2 * * *
0-59/20 0-3 * * *|0 0 * * *|30 0 * * *|0 1 * * *|30 1 * * *|45 1 * * *|0 2 * * *|30 2 * * *|15 2 * * *
0 3 * * *|30 3 * * *|59 23 * * *|30 23 * * *|0 23 * * *|0 9 * * *|0 12 * * *|0 2,3 * * *|30 2,3 * * *
0,30 1,2,3 * * *|0,30 0,1 * * *|5,10,15 2 * * *|0 22-2 * * *|0 9-17 * * *|0 9-17/2 * * MON-FRI
0 9 * * MON-FRI|30 14 * * 1,3,5|0 9 * * 6,0|0 9 * * 7|30 2 * * SUN|0 0 * * 0|0 0 * * 5|0 0 1 * *
30 2 1 * *|0 0 L * *|30 1 L * *|0 12 15,L * *|0 0 * * 5#2|30 2 * * 0#2|30 1 * * SUN#1|30 2 * * L0
0 0 * * L5|0 0 * * 1#1,3#3|0 0 1 1 *|0 0 29 2 *|30 2 * 3 *|0 0 * JAN,JUL 1|0 0 13 * 5|0 0 1,15 * MON
30 2 31 * *|0 9 30 12 *|0 9 * 12 FRI|0 9 30 DEC *|*/30 * 30 12 *|0 0 ? * MON|0 0 1 * ?|0 0 */2 * *
0 6 1-7 * *|30 1 25-31 3,10 *|0 4 28-3 * *|15 10 * NOV-FEB FRI-MON|0 0 */2 * 1|0 12 * */3 *|7/20 5 * * *
0 0 1 4 *|0 1 * * FRI|0 0 21 8 *|0 9 31 12 *|0 0 L 2 *|10 0 L * 3|1 0 * * *
@yearly|@annually|@monthly|@weekly|@daily|@midnight|@hourly|@Daily
00:00|0:30|01:30|2:00|02:30|03:00|9:05|12:00|23:59
5/25 6 * * *|0 5/6 * * *|59/1 1 * * *|0 0/12 * * *|10-50/10 2 * * *|0-59/30 8-18/5 * * *|0 1-23/11 * * *
0,1,2 0 * * *|58,59 23 * * *|0 2,2 * * *|00 09 * * *|0 22-3 * * *|55-5 1 * * *|50-10 2,3 * * *|30 23-1 * * *
*/29 * 1 * *|* 1 1 * *|*/20 * * 3 SUN|* 3 L 3 *|0 * 29 2 *|*/10 * 31 10 *|15 * 28-31 3,9,10 *|0 */5 * * SUN
15 0 29 2 *|59 23 29 2 *|30 2 29 FEB *|0 0 28,29 2 *|0 0 29-31 1-3 *|0 0 L FEB *|0 6 29 2 MON|0 0 30 1,3-12 *
0 0 31 1,3,5,7,8,10,12 *|0 0 30,31 * *|0 12 28-31 * *|0 0 31 * *|0 0 1-31/10 * *|0 8 5/7 * *|0 0 25-5 * *
0 0 * 2 *|0 0 1 2-12/2 *|0 0 15 */5 *|0 0 10 OCT-APR *|0 0 1 NOV-JAN *|0 0 1 1,4,7,10 *|0 7 * MAR-APR/1,OCT *
0 0 * * 0-6|0 0 * * 0-7|0 0 * * 1-7|0 0 * * 5-7|0 0 * * SAT-MON|0 0 * * */2|0 0 * * MON,WED,FRI|0 0 * * 1-5/2
0 0 * * 2/2|0 0 * * sun|0 0 * jan-mar mon-wed|0 0 * * 0,7|0 0 * * 1#1|0 0 * * 1#5|0 0 * * 0#1,0#3|30 2 * 3 0#2
30 1 * 11 0#1|0 0 * * FRI#4|0 0 * * 3#5|0 0 * * L0|0 0 * * L1,L3|30 1 * 10 L0|30 2 * 3 L7|0 0 * * L6
0 0 1 * 1|0 0 13 * FRI|30 2 8-14 3 SUN|30 1 1-7 11 SUN|0 0 1-7 * 1|0 0 */10 * MON|0 0 1 * */3|0 0 L * FRI
0 0 29 2 4|0 0 1,L * *|0 0 15-20,L * 2|0 9 ? * 1-5|0 9 1 * ?|0 9 ? 6 ?|0 0 31 12 5|0 0 1-31 * 1|0 0 * * 1,2,3
0 3 8 3 *|30 1 1 11 *|30 2 31 3 *|30 2 27 10 *|15 2 4 10 *|0 0 29 3 *|0 0 4 11 *|0 0 30 12 *|30 0 31 3 *
"""


def _random_expressions(count: int) -> list[str]:
    dice = random.Random(20111230)

    def several(low: int, high: int) -> str:
        return ",".join(str(value) for value in sorted(dice.sample(range(low, high + 1), dice.randint(1, 3))))

    def span(low: int, high: int) -> str:
        start, end = sorted(dice.sample(range(low, high + 1), 2))
        return f"{start}-{end}" + dice.choice(["", "", f"/{dice.randint(1, 5)}"])

    def one(low: int, high: int, star: float) -> str:
        if dice.random() < star:
            return "*"
        return dice.choice([several, several, span])(low, high)

    return [
        " ".join([several(0, 59), one(0, 23, 0.15), one(1, 31, 0.7), one(1, 12, 0.8), one(0, 6, 0.6)])
        for _ in range(count)
    ]


EXPRESSIONS = [
    *(text for line in WRITTEN.split("\n") if line for text in line.split("|")),
    *_random_expressions(20),
]

# Elapsed time: no zone has a say in it. Seconds.
INTERVALS = {
    "quarterhourly": 900,
    "halfhourly": 1800,
    "hourly": 3600,
    "twicedaily": 43_200,
    "daily": 86_400,
    "twiceweekly": 302_400,
    "weekly": 604_800,
    "twicemonthly": 1_296_000,
    "monthly": 2_592_000,
    "@every 7m": 420,
    "@every 1h 30m": 5400,
    "@every 90m": 5400,
    "@every 2d": 172_800,
    "@every 1d1h1m1s": 90_061,
    "@every 366d": 31_622_400,
}

# Thirty: the zones in which `python -m tests.unit.exhaustive` compares every occurrence of ten years.
LEFT_OUT = {
    "Africa/El_Aaiun",
    "Africa/Juba",
    "Africa/Sao_Tome",
    "Africa/Windhoek",
    "America/Metlakatla",
    "Asia/Amman",
    "Atlantic/Azores",
    "Europe/Lisbon",
    "Europe/Moscow",
    "Europe/Volgograd",
    "Pacific/Auckland",
    "Pacific/Fakaofo",
    "Pacific/Fiji",
    "Pacific/Kanton",
    "Pacific/Kwajalein",
    "Pacific/Norfolk",
}
THIRTY = [zone for zone in ZONES if zone not in LEFT_OUT]


def occurrences(text: str, zone: str, start: int, end: int) -> list[int]:
    """What the module says is due in [start, end), in minutes."""
    found = []
    for due in _occurrences_after(parse(text, zone), instant_of(start) - timedelta(microseconds=1)):
        if due >= instant_of(end):
            break
        assert not due.second
        assert not due.microsecond
        found.append(minute_of(due))
    return found


def ten_years(zone: str) -> tuple[int, int]:
    year = ZONES[zone]
    return tuple(minute_of(datetime(edge, 1, 1, tzinfo=UTC)) for edge in (year, year + 10))


def changes(zone: str) -> list[int]:
    start, end = ten_years(zone)
    return [begin for begin, _, _, before in offsets(zone) if before is not None and start <= begin < end]
