"""Which addresses are public: pure, and from lists of its own.

`ipaddress.is_global` has changed its mind between patch releases of Python (CVE-2024-4032), and a guard must
not. The lists follow the IANA special-purpose registries; what is not known to be public is not.
"""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address

NOT_PUBLIC_V4 = [
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network; Linux connects 0.0.0.0 to itself
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT; Alibaba's metadata
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's wire server, in public space
        "169.254.0.0/16",  # link-local; most clouds' metadata
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments; Oracle's metadata
        "192.0.2.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",  # reserved, and the broadcast address
    )
]
GLOBAL_V6 = IPv6Network("2000::/3")
NOT_PUBLIC_V6 = [
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments: Teredo, benchmarks, ORCHID
        "2001:db8::/32",
        "2002::/16",  # 6to4 carries an IPv4 address, and its relays are gone
        "3fff::/20",
    )
]
NAT64 = IPv6Network("64:ff9b::/96")
ISATAP = {0x00005EFE, 0x02005EFE}


def is_public(address: Address) -> bool:
    """Whether anybody on the internet means the same machine by it."""
    if isinstance(address, IPv6Address):
        inner = _carried(address)
        return _is_public_v6(address) if inner is None else is_public(inner)
    return not any(address in network for network in NOT_PUBLIC_V4)


def parse_address(words: str) -> Address | None:
    """An address as `getaddrinfo` writes it; None when it is none, or lives on one link (`%eth0`)."""
    if "%" in words:
        return None
    try:
        return ipaddress.ip_address(words)
    except ValueError:
        return None


def _carried(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that a connection to a mapped or NAT64 address ends at."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return IPv4Address(int(address) & 0xFFFFFFFF) if address in NAT64 else None


def _is_public_v6(address: IPv6Address) -> bool:
    if address not in GLOBAL_V6 or any(address in network for network in NOT_PUBLIC_V6):
        return False
    return (int(address) >> 32) & 0xFFFFFFFF not in ISATAP
