"""Start a program with a loopback of its own, so that its ports are free whatever else runs.

    python network_of_its_own.py CHANNEL PORTS HOSTS PROGRAM...

`CHANNEL`: the number of a Unix socket, over which listeners for `PORTS` (`ADDRESS:PORT`, with
commas between) go to the process that started this. A listener stays in the network in which it was
made, so what connects to it there is connected to the network outside. `HOSTS` are names and their
addresses (`NAME=ADDRESS`, with commas between), which are this machine's own there.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _SIOCSIFADDR, _IFF_UP = 0x8913, 0x8914, 0x8916, 1
_HOSTS = Path("/etc/hosts")
_NOTHING: Mapping[str, int] = {}


def start(
    program: Sequence[str], *, ports: Sequence[int], hosts: Mapping[str, str],
    environment: Mapping[str, str], folder: Path, https: Mapping[str, int] = _NOTHING,
) -> subprocess.Popen[str]:  # fmt: skip
    """Start a program in a network of its own; it reaches `ports` of this machine's loopback.

    There, the names in `hosts` lead to their addresses, at which the program may listen. `https`:
    what port 443 of some of these addresses is on this machine's loopback. The program reads from a
    pipe, and writes both of its outputs to another one.
    """
    targets = {f"127.0.0.1:{port}": port for port in ports}
    targets |= {f"{address}:443": port for address, port in https.items()}
    ours, theirs = socket.socketpair()
    # Another user than root needs a user namespace, in which it is root.
    unshare = ["unshare", "--net", "--mount", *(["--map-root-user"] if os.geteuid() else [])]
    joined = ",".join(targets)
    named = ",".join(f"{name}={address}" for name, address in hosts.items())
    with ours, theirs:
        process = subprocess.Popen(
            [*unshare, sys.executable, __file__, str(theirs.fileno()), joined, named, *program],
            pass_fds=[theirs.fileno()], cwd=folder, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        theirs.close()
        _, listeners, _, _ = socket.recv_fds(ours, 1, len(targets) + 1)
    for port, listener in zip(targets.values(), listeners, strict=True):
        threading.Thread(
            target=_connect, args=(socket.socket(fileno=listener), port), daemon=True
        ).start()
    return process


def _connect(listener: socket.socket, port: int) -> None:
    """Connect each client of a listener to a port of this network, until the listener is closed."""
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            threading.Thread(target=_relay, args=(client, port), daemon=True).start()


def _relay(client: socket.socket, port: int) -> None:
    """Connect a client to a port of this network until both have ended."""
    with client, suppress(OSError), socket.create_connection(("127.0.0.1", port)) as server:
        back = threading.Thread(target=_copy, args=(server, client), daemon=True)
        back.start()
        _copy(client, server)
        back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _name(hosts: Mapping[str, str]) -> None:
    """Put a file with these names in the place of the machine's own, for this program alone."""
    lines = "".join(f"{address} {name}\n" for name, address in hosts.items())
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(_HOSTS.read_text() + lines)
        file.flush()
        Path(file.name).chmod(0o644)
        subprocess.run(["mount", "--bind", file.name, str(_HOSTS)], check=True)


def _enter() -> None:
    channel = socket.socket(fileno=int(sys.argv[1]))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh14x", b"lo", 0)
        _, flags = struct.unpack("16sh14x", fcntl.ioctl(control, _SIOCGIFFLAGS, request))
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))
        hosts = dict(pair.split("=") for pair in sys.argv[3].split(",") if pair)
        for number, address in enumerate({*hosts.values()} - {"127.0.0.1"}, 1):
            alias = f"lo:{number}".encode()
            own = struct.pack("16sHH4s8x", alias, socket.AF_INET, 0, socket.inet_aton(address))
            fcntl.ioctl(control, _SIOCSIFADDR, own)
    if hosts:
        _name(hosts)
    places = [place.partition(":") for place in sys.argv[2].split(",") if place]
    listeners = [socket.create_server((address, int(port))) for address, _, port in places]
    socket.send_fds(channel, [b"x"], [listener.fileno() for listener in listeners])
    os.execvp(sys.argv[4], sys.argv[4:])  # noqa: S606 - a list of arguments, as everywhere


if __name__ == "__main__":
    _enter()
