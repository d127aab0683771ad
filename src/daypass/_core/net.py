"""Hosts and ports: IP addresses, this machine, and the proxy that the environment names for a host.

Client and commands read the proxy's variables alike: as curl and Go
(golang.org/x/net/http/httpproxy, which kubectl uses) agree, address ranges in NO_PROXY included.
Where the two differ:

- A variable in lower case takes precedence (curl). An empty one counts as unset (both).
- Loopback is always reached directly (Go).
- In NO_PROXY, `example.com` and `.example.com` are the same: the domain and everything below it
  (curl). `*` may be one of several entries (Go). An entry has no port.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_HOST = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-.")


def is_address(host: str) -> bool:
    """Return whether a host is an IP address, without brackets."""
    if not host[:1].isdigit() and ":" not in host:
        return False  # a name: no import, whose cost the start of a command would notice
    from ipaddress import ip_address

    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Return whether a host is `localhost` (RFC 6761), in 127.0.0.0/8 (in IPv6, too), or ::1."""
    if host == "localhost" or not is_address(host):
        return host == "localhost"
    from ipaddress import ip_address

    address = ip_address(host)
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback  # as Python 3.13 has it


def source_of(address: str) -> str:
    """Return an IPv4 address, or the /64 network of an IPv6 address; empty for anything else."""
    from ipaddress import ip_address, ip_network

    try:
        parsed = ip_address(address)
    except ValueError:
        return ""
    parsed = getattr(parsed, "ipv4_mapped", None) or parsed
    return str(parsed if parsed.version == 4 else ip_network((parsed, 64), strict=False))


def bracketed(host: str) -> str:
    """Return a host as it is written before a port and in a Host header (RFC 3986, 3.2.2)."""
    return f"[{host}]" if ":" in host else host


def parse_listen(text: str) -> tuple[str, int] | None:
    """Return host (no brackets, perhaps empty) and port of `HOST:PORT`; None for anything else.

    Port 0 is any free port.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not _is_port(port):
        return None
    return host.removeprefix("[").removesuffix("]"), int(port)


class HostPort:
    """A host (lower case; an IPv6 address without its brackets) and a port."""

    __slots__ = ("host", "port")

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port

    def __str__(self) -> str:
        return f"{bracketed(self.host)}:{self.port}"

    @classmethod
    def parse(cls, text: str, *, default_port: int) -> HostPort | None:
        """`host`, `host:port`, `[::1]:port`; None for anything else."""
        if text.startswith("["):
            host, bracket, rest = text[1:].partition("]")
            if not bracket or not _is_ipv6(host) or (rest and rest[0] != ":"):
                return None
            colon, port = rest[:1], rest[1:]
        else:
            host, colon, port = text.partition(":")
            if not _is_host(host.lower()):
                return None
        if not colon:
            return cls(host.lower(), default_port)
        if not _is_port(port) or int(port) == 0:
            return None
        return cls(host.lower(), int(port))


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and int(text) < 65536


def _is_host(host: str) -> bool:
    if not 0 < len(host) <= 253 or not _HOST.issuperset(host):
        return False
    return all(
        0 < len(label) <= 63 and label[0] != "-" and label[-1] != "-" for label in host.split(".")
    )


def _is_ipv6(text: str) -> bool:
    return ":" in text and "%" not in text and is_address(text)


# -- the proxy


def proxy_for(target: HostPort, environ: Mapping[str, str]) -> str | None:
    """Return the URL of the proxy for HTTPS to a host, or None for a direct connection."""
    url, no_proxy = (proxy_variable(environ, each) for each in ("https_proxy", "no_proxy"))
    if not url or is_loopback(target.host) or is_excluded(target, no_proxy):
        return None
    return url if "://" in url else f"http://{url}"


def is_excluded(target: HostPort, no_proxy: str) -> bool:
    """Return whether NO_PROXY lists a host.

    Entries are separated by commas or spaces: `*`, a domain, an address, or an address range such
    as 10.0.0.0/8.
    """
    host = target.host.rstrip(".")
    return any(_matches(entry, host) for entry in no_proxy.lower().replace(",", " ").split())


def proxy_variable(environ: Mapping[str, str], name: str) -> str:
    """Return the value of a variable, named in lower case, or of its twin in upper case."""
    return (environ.get(name) or environ.get(name.upper()) or "").strip()


def _matches(entry: str, host: str) -> bool:
    if entry == "*":
        return True
    if is_address(host):
        return _is_in(host, entry)
    domain = entry.strip(".")
    return bool(domain) and f".{host}".endswith(f".{domain}")


def _is_in(host: str, entry: str) -> bool:
    from ipaddress import ip_address, ip_network  # only for addresses: a name needs no import

    address = ip_address(host)
    try:
        return (getattr(address, "ipv4_mapped", None) or address) in ip_network(entry, strict=False)
    except ValueError:
        return False
