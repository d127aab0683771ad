"""Hosts and ports: which are IP addresses, and which are this machine."""

from __future__ import annotations

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
