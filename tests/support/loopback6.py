"""IPv6 on this machine's loopback."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from support.http_services import Handler, serving

LOOPBACK6 = "::1"


def need_loopback6() -> None:
    """Raises RuntimeError where this machine has no ::1: nothing of it could be shown there."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind((LOOPBACK6, 0))
    except OSError as error:
        raise RuntimeError(
            f"this machine has no {LOOPBACK6} ({error.strerror}), which this test needs: "
            "sysctl -w net.ipv6.conf.lo.disable_ipv6=0"
        ) from None


class _Handler(Handler):
    def do_GET(self) -> None:
        self.answer(200, self.headers.get("kubeflow-userid", ""))


@contextmanager
def who_calls() -> Iterator[str]:
    """A service on ::1 that answers with who calls; its URL."""
    with serving(_Handler, host=LOOPBACK6) as port:
        yield f"http://[{LOOPBACK6}]:{port}"
