"""Ports for programs that cannot choose their own."""

from __future__ import annotations

import atexit
import socket


def free_ports(count: int) -> list[int]:
    """Ports on 127.0.0.1 that no other program is given while this process runs.

    A socket that never listens is bound to each: the kernel then gives the port to nobody who asks
    for any port, and connections to it are refused until a program listens there. Only a program
    that sets SO_REUSEADDR can, as Envoy, Go and asyncio do.
    """
    held = [reserve(socket.SO_REUSEADDR) for _ in range(count)]
    for each in held:
        atexit.register(each.close)
    return [int(each.getsockname()[1]) for each in held]


def reserve(option: int) -> socket.socket:
    """Return an open socket on a port of 127.0.0.1, for a program that sets the same option."""
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, option, 1)
    reserved.bind(("127.0.0.1", 0))
    return reserved


def listens(port: int) -> bool:
    """Whether a program listens on a port of 127.0.0.1."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
