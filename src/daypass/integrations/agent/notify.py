"""Telling systemd how we are (sd_notify(3)): a datagram to the socket that it names."""

import os
import socket
from collections.abc import Mapping

from daypass._core.clock import Clock


class ServiceManager:
    """Who started us, if it wants to be told; else nobody."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self.watchdog_seconds: float | None = None
        """Within which it wants a sign of life, or None."""
        interval, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
        if interval.isdigit() and int(interval) and pid in ("", str(os.getpid())):
            self.watchdog_seconds = int(interval) / 1_000_000

    def tell(self, *lines: str) -> None:
        """Send assignments such as READY=1. A service manager that is gone is no error."""
        if self._address[:1] not in ("/", "@"):
            return
        address = self._address.replace("@", "\0", 1) if self._address[0] == "@" else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.sendto("\n".join(lines).encode(), address)
        except OSError:
            return

    def tell_reloading(self, clock: Clock) -> None:
        """What Type=notify-reload waits for; READY=1 ends it."""
        self.tell("RELOADING=1", f"MONOTONIC_USEC={int(clock.monotonic() * 1_000_000)}")
