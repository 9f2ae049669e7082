"""Where a request goes: a URL taken apart strictly, and the verdict on the addresses it resolved to. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from core.outbound.addresses import is_public, parse_address
from core.outbound.allowance import Allowance
from core.outbound.errors import OutboundRefused

LONGEST = 2048
PORTS = frozenset({443, 8443})
DEFAULT_PORTS = {"https": 443, "http": 80}
# What RFC 3986 allows, and nothing that some parsers read otherwise: no backslash, no space, no control.
_URL = re.compile(
    r"(?P<scheme>[A-Za-z]+)://(?P<authority>[^/?#]*)(?P<target>(?:/[!$%&'()*+,./:;=@A-Za-z0-9_~-]*)?"
    r"(?:\?[!$%&'()*+,./:;=?@A-Za-z0-9_~-]*)?)"
)
_AUTHORITY = re.compile(r"(?P<host>\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::(?P<port>[0-9]{1,5}))?")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


@dataclass(frozen=True)
class Place:
    """Where to connect and what to ask for. `host` is a lower-case name, or an address without brackets."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def host_header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def parse_place(url: str) -> Place:
    """The parts of a URL that nobody can read in two ways.

    Raises:
        OutboundRefused: with a sentence that does not repeat it; code `url` or `credentials`.

    """
    found = _URL.fullmatch(url) if len(url) <= LONGEST else None
    if found is None:
        raise OutboundRefused("url", "The URL must be https://host/path, in ASCII and without a fragment.")
    if "@" in found["authority"]:
        raise OutboundRefused("credentials", "The URL must not hold a user name or a password.")
    scheme, authority = found["scheme"].lower(), _AUTHORITY.fullmatch(found["authority"].lower())
    if scheme not in DEFAULT_PORTS or authority is None:
        raise OutboundRefused("url", "The URL must be https://host/path, with a plain host name.")
    port = int(authority["port"]) if authority["port"] else DEFAULT_PORTS[scheme]
    if not 0 < port < 65536:
        raise OutboundRefused("url", "The URL's port is none.")
    target = found["target"]
    return Place(scheme, _host(authority["host"]), port, target if target.startswith("/") else f"/{target}")


def refuse_unsendable(place: Place, allowance: Allowance) -> None:
    """What can be said about a place before its name is resolved: at the door, where nobody is asked.

    Raises:
        OutboundRefused: it will never be sent to, however its name resolves.

    """
    address = parse_address(place.host)
    if address is not None:
        permitted(place, [place.host], allowance)
    elif not allowance.names(place.host, place.port) and not allowance.networks:
        _refuse_unguarded(place)


def permitted(place: Place, addresses: Sequence[str], allowance: Allowance) -> list[str]:
    """The addresses to connect to, in their order: all of them, or none.

    One private address among public ones refuses the name: whoever mixes them means us to try.

    Raises:
        OutboundRefused: scheme, port or an address is not allowed.

    """
    parsed = [parse_address(address) for address in addresses]
    if allowance.names(place.host, place.port):
        return list(addresses)
    held = [address is not None and allowance.holds(address, place.port) for address in parsed]
    if not (held and all(held)):
        _refuse_unguarded(place)
    for address, is_held in zip(parsed, held, strict=True):
        if address is None or not (is_held or is_public(address)):
            raise OutboundRefused("address", "The host is not a public one; an operator may allow it.")
    return list(addresses)


def _refuse_unguarded(place: Place) -> None:
    if place.scheme != "https":
        raise OutboundRefused("scheme", "The URL must be https; an operator may allow others.")
    if place.port not in PORTS:
        ports = " or ".join(str(port) for port in sorted(PORTS))
        raise OutboundRefused("port", f"The URL's port must be {ports}; an operator may allow others.")


def _host(words: str) -> str:
    """A name of DNS or an address in its usual form: `127.1`, `0x7f000001` and `2130706433` are neither."""
    bare = words.removeprefix("[").removesuffix("]")
    address = parse_address(bare)
    if address is not None and (address.version == 6) == words.startswith("["):
        return str(address)
    labels = words.removesuffix(".").split(".")
    if (
        words.startswith("[")
        or len(words) > 253
        or _NUMBER.fullmatch(labels[-1])
        or not all(_LABEL.fullmatch(label) for label in labels)
    ):
        raise OutboundRefused("url", "The URL's host must be a name or an address in its usual form.")
    return ".".join(labels)
