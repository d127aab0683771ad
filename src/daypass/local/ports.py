"""Whether an address can be listened on, asked before Envoy is."""

import socket

from daypass._core.errors import DaypassError
from daypass.render.envoy.settings import Address


class PortTakenError(DaypassError):
    """Somebody listens there already, or we may not."""


def verify_free(address: Address) -> None:
    """Raise PortTakenError unless this address can be bound.

    Envoy itself binds with SO_REUSEPORT, and would share a port with another Envoy of the same
    user without a word.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address.host, address.port))
    except OSError as error:
        raise PortTakenError(
            f"cannot listen on {address}: {error.strerror}",
            "stop what listens there, or choose another address in daypass.yaml under `local`; "
            "port 0 takes any free one",
        ) from None
