"""Which proxy a request to an API server goes through, by the environment, as kubectl decides it.

httpx2 reads the environment as urllib does, which knows no address ranges in NO_PROXY and sends
even loopback through a proxy; so what Go does (golang.org/x/net/http/httpproxy) is done here.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit


def proxy_of(server: str, environ: Mapping[str, str]) -> str | None:
    """The proxy's URL for an API server's URL; None for the direct way."""
    address = urlsplit(server)
    host, port = (address.hostname or "").rstrip("."), address.port or 443
    url = _either(environ, f"{address.scheme}_proxy")
    if not url or is_loopback(host) or _excluded(host, port, _either(environ, "no_proxy")):
        return None
    return url if "://" in url else f"http://{url}"


def is_loopback(host: str) -> bool:
    """Whether a host's name or address means this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _either(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name.upper()) or environ.get(name) or ""


def _excluded(host: str, port: int, no_proxy: str) -> bool:
    return any(
        _matches(entry.strip().lower(), host, port)
        for entry in no_proxy.split(",")
        if entry.strip()
    )


def _matches(entry: str, host: str, port: int) -> bool:
    """One entry: `*`, an address, a range of them, `.domain`, `domain`; a port may follow."""
    if entry == "*":
        return True
    try:
        return ip_address(host) in ip_network(entry, strict=False)
    except ValueError:
        pass  # not both are addresses
    name, colon, wanted = entry.rpartition(":")
    if colon and wanted.isdigit():
        return int(wanted) == port and _matches(name.strip("[]"), host, port)
    if entry.startswith("."):
        return host.endswith(entry)
    entry = entry.removeprefix("*.")
    return host == entry or host.endswith(f".{entry}")
