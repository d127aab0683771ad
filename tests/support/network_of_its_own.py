"""Start a program with a loopback of its own, so that its ports are free whatever else runs.

    python network_of_its_own.py CHANNEL PORTS PROGRAM...

`CHANNEL`: the number of a Unix socket, over which listeners for `PORTS` (with commas between) go to
the process that started this. A listener stays in the network in which it was made, so what
connects to it there is connected to the network outside.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1


def start(
    program: Sequence[str], *, ports: Sequence[int], environment: Mapping[str, str], folder: Path
) -> subprocess.Popen[str]:
    """Start a program in a network of its own; it reaches `ports` of this machine's loopback.

    It reads from a pipe, and writes both of its outputs to another one.
    """
    ours, theirs = socket.socketpair()
    # Another user than root needs a user namespace, in which it is root.
    unshare = ["unshare", "--net", *(["--map-root-user"] if os.geteuid() else [])]
    joined = ",".join(map(str, ports))
    with ours, theirs:
        process = subprocess.Popen(
            [*unshare, sys.executable, __file__, str(theirs.fileno()), joined, *program],
            pass_fds=[theirs.fileno()], cwd=folder, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        theirs.close()
        _, listeners, _, _ = socket.recv_fds(ours, 1, len(ports) + 1)
    for port, listener in zip(ports, listeners, strict=True):
        threading.Thread(
            target=_connect, args=(socket.socket(fileno=listener), port), daemon=True
        ).start()
    return process


def _connect(listener: socket.socket, port: int) -> None:
    """Connect each client of a listener to a port of this network, until the listener is closed."""
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            server = socket.create_connection(("127.0.0.1", port))
            for pair in ((client, server), (server, client)):
                threading.Thread(target=_copy, args=pair, daemon=True).start()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _enter() -> None:
    channel = socket.socket(fileno=int(sys.argv[1]))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh14x", b"lo", 0)
        _, flags = struct.unpack("16sh14x", fcntl.ioctl(control, _SIOCGIFFLAGS, request))
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))
    ports = [int(port) for port in sys.argv[2].split(",") if port]
    listeners = [socket.create_server(("127.0.0.1", port)) for port in ports]
    socket.send_fds(channel, [b"x"], [listener.fileno() for listener in listeners])
    os.execvp(sys.argv[3], sys.argv[3:])  # noqa: S606 - a list of arguments, as everywhere


if __name__ == "__main__":
    _enter()
