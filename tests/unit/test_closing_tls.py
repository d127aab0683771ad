"""A connection that is reset before TLS begins is closed, and not left to the garbage collector."""

from __future__ import annotations

import gc
import socket
import ssl
import warnings
from collections.abc import Callable

import pytest

from daypass._core.tls import client_context


def as_client(connection: socket.socket) -> None:
    client_context(None).wrap_socket(connection, server_hostname="localhost")


def as_server(connection: socket.socket) -> None:
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).wrap_socket(connection, server_side=True)


@pytest.mark.parametrize("wrap", [as_client, as_server])
def test_a_connection_that_is_reset_before_tls_begins_is_closed(
    wrap: Callable[[socket.socket], None],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connection = socket.create_connection(listener.getsockname(), timeout=20)
    # The listener has ended and has not accepted it, which resets it.
    port = connection.getsockname()[1]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(ConnectionResetError):
            wrap(connection)
        gc.collect()
    assert [each for each in caught if str(port) in str(each.message)] == []
