"""Candidates become one list: ordered by position, none over another."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from core.privacy.found import Found

# What is personal by itself stays seen inside the address of a page; a bare number there is an id.
_STRONG_IN_URL = frozenset({"EMAIL_ADDRESS", "CREDIT_CARD", "IBAN_CODE", "SECRET", "US_SSN"})
_SURE_PHONE = 0.8
_LEAST_PIECE = 4


def resolve(found: Iterable[Found]) -> list[Found]:
    """The best first: higher score, then longer, then earlier; a URL is cut around what stands in it."""
    in_order = sorted(found, key=_place)
    past = 0
    for one in in_order:
        if one[1] < past:
            break
        past = one[2]
    else:
        return in_order
    begins: list[int] = []
    ends: list[int] = []
    kept: list[Found] = []
    for one in sorted(in_order, key=_rank):
        at = bisect_right(begins, one[1])
        if (at and ends[at - 1] > one[1]) or (at < len(begins) and begins[at] < one[2]):
            continue
        begins.insert(at, one[1])
        ends.insert(at, one[2])
        kept.insert(at, one)
    return kept


def _place(one: Found) -> tuple[int, int]:
    return (one[1], one[2])


def _rank(one: Found) -> tuple[float, int, int, str]:
    return (-one[0], one[1] - one[2], one[1], one[3])


def around_urls(found: list[Found]) -> list[Found]:
    """Candidates where every URL is cut around the strong kinds it holds, and holds no weak ones."""
    urls = sorted(one for one in found if one[3] == "URL")
    if not urls or len(urls) == len(found):
        return found
    urls = sorted(resolve(urls), key=lambda one: one[1])
    begins = [url[1] for url in urls]
    held: dict[int, list[Found]] = {}
    kept: list[Found] = []
    for one in found:
        if one[3] == "URL":
            continue
        at = bisect_right(begins, one[1]) - 1
        if at >= 0 and one[2] <= urls[at][2]:
            if not _strong(one):
                continue
            held.setdefault(at, []).append(one)
        kept.append(one)
    for at, url in enumerate(urls):
        inside = held.get(at)
        if inside:
            kept.extend(_pieces(url, resolve(inside)))
        else:
            kept.append(url)
    return kept


def _strong(one: Found) -> bool:
    return one[3] in _STRONG_IN_URL or (one[3] == "PHONE_NUMBER" and one[0] >= _SURE_PHONE)


def _pieces(url: Found, inside: list[Found]) -> Iterable[Found]:
    begin = url[1]
    for one in inside:
        if one[1] - begin >= _LEAST_PIECE:
            yield (url[0], begin, one[1], "URL")
        begin = one[2]
    if url[2] - begin >= _LEAST_PIECE:
        yield (url[0], begin, url[2], "URL")
