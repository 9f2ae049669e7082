"""What the operator lets out beyond public https: `CRONTALK_OUTBOUND_ALLOW`. Pure."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network

from core.outbound.addresses import Address

_HOST = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")
_BRACKETED = re.compile(r"\[([0-9a-f:.]+)\](?::(\d{1,5}))?")


@dataclass(frozen=True)
class Allowance:
    """Hosts and networks that may be private, on any or one port, and be spoken to without TLS."""

    hosts: frozenset[tuple[str, int | None]] = frozenset()
    networks: tuple[tuple[IPv4Network | IPv6Network, int | None], ...] = ()

    @staticmethod
    @lru_cache(maxsize=16)
    def parse(words: str) -> Allowance:
        """`hooks.lan, hooks.lan:8080, 10.1.0.0/16, 10.1.2.3:9000, [fd00::1]:9000`, or nothing.

        Raises:
            ValueError: something else; the sentence does not repeat it.

        """
        hosts: set[tuple[str, int | None]] = set()
        networks: list[tuple[IPv4Network | IPv6Network, int | None]] = []
        for item in filter(None, (part.strip().lower() for part in words.split(","))):
            name, port = _split(item)
            network = _network(name)
            if network is not None:
                networks.append((network, port))
            elif _HOST.fullmatch(name):
                hosts.add((name, port))
            else:
                raise ValueError(
                    "must be hosts, addresses or networks, each with a port or without, by commas"
                )
        return Allowance(frozenset(hosts), tuple(networks))

    def names(self, host: str, port: int) -> bool:
        """Whether the operator named this host; wherever it resolves to is then his affair."""
        return not self.hosts.isdisjoint({(host, None), (host, port)})

    def holds(self, address: Address, port: int) -> bool:
        """Whether the operator named a network with this address in it."""
        return any(
            address.version == network.version and address in network and its_port in {None, port}
            for network, its_port in self.networks
        )


def _split(item: str) -> tuple[str, int | None]:
    bracketed = _BRACKETED.fullmatch(item)
    if bracketed:
        name, port = bracketed[1], bracketed[2]
    elif item.count(":") == 1:
        name, _, port = item.partition(":")
    else:
        return item, None
    if port is None:
        return name, None
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError("has a port that is none")
    return name, int(port)


def _network(name: str) -> IPv4Network | IPv6Network | None:
    try:
        return ipaddress.ip_network(name, strict=False)
    except ValueError:
        return None
