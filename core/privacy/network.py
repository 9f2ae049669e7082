"""Addresses of machines and pages: URL, IPv4, IPv6 and MAC."""

from __future__ import annotations

import re
from ipaddress import IPv6Address

from core.privacy.context import Cue, topics
from core.privacy.found import Found
from core.privacy.tops import BARE_TOPS, PATH_TOPS

_SCHEME = re.compile(
    r"(?<![\w•])(?:https?|ftps?|sftp|ssh|wss?|git|ldaps?|rtmp|rtsp|postgres(?:ql)?|mysql|redis|mongodb(?:\+srv)?|amqps?)"
    r"://[^\s<>\"`{}|\\^\x00•]{2,2048}",
    re.IGNORECASE,
)
_WWW = re.compile(
    r"(?<![\w@•./-])www\.[^\W_][\w-]{0,62}(?:\.[^\W_][\w-]{0,62}){1,6}(?::[0-9]{1,5})?"
    r"(?:[/?#][^\s<>\"`{}|\\^\x00•]{0,2000})?",
    re.IGNORECASE,
)
_BARE = re.compile(
    r"(?<![\w@•./:+%-])(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.){1,5}"
    rf"(?:{BARE_TOPS})(?![\w@•(-]|\.[a-z0-9])(?::[0-9]{{1,5}}(?![0-9]))?"
    r"(?:[/?#][^\s<>\"`{}|\\^\x00•]{0,2000})?",
    re.IGNORECASE,
)
_PATHED = re.compile(
    r"(?<![\w@•./:+%-])(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.){1,5}[a-z]{2,10}(?::[0-9]{1,5})?"
    r"/[\w\-.~%/?#=&+@,;:!$'()*\[\]]{1,2000}",
    re.IGNORECASE,
)
_NO_HOSTS = frozenset({"asp.net", "vb.net", "ado.net", "socket.io", "node.co", "e.co"})
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = re.compile(
    rf"(?<![\w•\-/])(?<![\w•]\.)(?<!\.)(?<![<>=~!]=){_OCTET}(?:\.{_OCTET}){{3}}(?![\w•]|\.[\w•]|-[0-9])"
)
_IPV6 = re.compile(
    r"(?<![\w:.•])(?=[0-9a-f]{0,4}:)[0-9a-f:]{3,39}(?:\.[0-9]{1,3}){0,3}(?![\w:•]|\.[0-9])", re.IGNORECASE
)
_MAC = re.compile(
    r"(?<![\w:•-])(?:[0-9a-f]{2}(?:([:-])[0-9a-f]{2})(?:\1[0-9a-f]{2}){4}|[0-9a-f]{4}\.[0-9a-f]{4}\.[0-9a-f]{4})"
    r"(?![\w:•]|[-.][0-9a-f])",
    re.IGNORECASE,
)
_NEAR = 20
_BRACKETS = {")": "(", "]": "["}
_ENDINGS = frozenset(".,;:!?'*_~”“’»…")


def urls(text: str, out: list[Found]) -> None:
    """Pages by scheme, `www`, a path behind a domain, or a domain of the common kinds alone."""
    if "://" in text:
        for held in _SCHEME.finditer(text):
            _url(text, held, 0.85, out)
    if "www." in text.lower():
        for held in _WWW.finditer(text):
            _url(text, held, 0.8, out)
    for held in _BARE.finditer(text):
        host = re.split("[:/?#]", held.group(), maxsplit=1)[0]
        top = host.rpartition(".")[2]
        if host.lower() in _NO_HOSTS or not (top.islower() or host.isupper()) or host.isdigit():
            continue
        _url(text, held, 0.6 if len(held.group()) > len(host) else 0.5, out)
    if "/" in text:
        for held in _PATHED.finditer(text):
            host = re.split("[:/]", held.group(), maxsplit=1)[0]
            if host.rpartition(".")[2] in PATH_TOPS:
                _url(text, held, 0.6, out)


def _url(text: str, held: re.Match[str], score: float, out: list[Found]) -> None:
    begin, end = held.span()
    if text.startswith("•", end):
        return
    # The sentence goes on behind it, and brackets around it are not its own.
    while end > begin:
        last = text[end - 1]
        opening = _BRACKETS.get(last)
        if opening:
            if text.count(opening, begin, end) >= text.count(last, begin, end):
                break
        elif last not in _ENDINGS:
            break
        end -= 1
    out.append((score, begin, end, "URL"))


def ips(text: str, out: list[Found]) -> None:
    """IPv4 and IPv6, compressed or not."""
    for held in _IPV4.finditer(text):
        begin, end = held.span()
        near = topics(text, begin, _NEAR)
        if near and near[0] & Cue.OTHER:
            continue
        out.append((0.7, begin, end, "IP_ADDRESS"))
    if text.count(":") > 1:
        for held in _IPV6.finditer(text):
            address = held.group()
            if address.count(":") > 1 and _ipv6(address):
                out.append((0.8, held.start(), held.end(), "IP_ADDRESS"))


def _ipv6(address: str) -> bool:
    groups = [group for group in address.split(":") if group]
    if len(groups) < 2 and address != "::1":
        return False
    if len(groups) == 2 and max(map(len, groups)) < 3:
        return False
    try:
        IPv6Address(address)
    except ValueError:
        return False
    return True


def macs(text: str, out: list[Found]) -> None:
    """Addresses of network devices, in colons, hyphens or dots."""
    for held in _MAC.finditer(text):
        if held.group(1) is None and held.group().replace(".", "").isdigit():
            continue
        out.append((0.85, held.start(), held.end(), "MAC_ADDRESS"))
