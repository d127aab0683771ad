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
    return [_reserve() for _ in range(count)]


def _reserve() -> int:
    reserved = socket.socket()
    atexit.register(reserved.close)
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("127.0.0.1", 0))
    return int(reserved.getsockname()[1])
