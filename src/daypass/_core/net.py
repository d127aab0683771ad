"""Hosts: which are IP addresses, and which are this machine."""

from __future__ import annotations


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
    """Return whether a host is `localhost` (RFC 6761), in 127.0.0.0/8, or ::1."""
    if host == "localhost" or not is_address(host):
        return host == "localhost"
    from ipaddress import ip_address

    return ip_address(host).is_loopback
