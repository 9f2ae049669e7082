"""Which pages may connect: a browser names the origin of the page, and whoever is no browser names none."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

from core.settings import Settings

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


def may_connect(settings: Settings, headers: Mapping[str, str], scheme: str) -> bool:
    """No origin, our own, one of loopback, or one that the operator lists.

    No cookie opens a connection, so a foreign page could do nothing with its visitor's login; but it could
    use up an anonymous visitor's sessions, and try tokens from their browser.
    """
    origin = headers.get("origin")
    if origin is None:
        return True
    allowed = settings.origins.split(",")
    if "*" in allowed or origin.rstrip("/") in allowed:
        return True
    try:
        page = urlsplit(origin)
        here = urlsplit(f"{scheme}://{headers.get('host', '')}")
        own = (here.hostname, here.port or PORTS.get(here.scheme))
        asked = (page.hostname, page.port or PORTS.get(page.scheme))
    except ValueError:
        return False
    if page.scheme not in {"http", "https"} or page.hostname is None:
        return False
    public = settings.public_url and urlsplit(settings.public_url)
    if public and (page.scheme, page.netloc) == (public.scheme, public.netloc):
        return True
    return asked == own or page.hostname in LOOPBACK


def network_of(host: str) -> str:
    """What is counted as one address: of IPv6 the network of 64 bits, all of which one client has."""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if not isinstance(address, IPv6Address):
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(IPv6Network((int(address), 64), strict=False))


def ancestors(settings: Settings) -> str:
    """Who may show the chat page in a frame, as a content security policy says it."""
    listed = [one for one in settings.origins.split(",") if one]
    return " ".join(["'self'", *listed])
