"""Names are resolved within the deadline."""

from __future__ import annotations

import socket
import threading

import pytest

from daypass._core.net import HostPort
from daypass.client.transport import resolve

NAME = HostPort("ekf.example.com", 443)
FOUND = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 443))]


def found(*_: object, **__: object) -> object:
    return FOUND


def unknown(*_: object, **__: object) -> object:
    raise socket.gaierror(socket.EAI_NONAME, "unknown")


def no_thread(_: threading.Thread) -> None:
    raise RuntimeError("can't create new thread at interpreter shutdown")


def test_a_hanging_resolver_does_not_block_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    may_end = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: may_end.wait())
    with pytest.raises(TimeoutError):
        resolve(NAME, 0.01)
    may_end.set()


def test_a_name_is_resolved_or_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", found)
    assert resolve(NAME, 20) == FOUND
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(socket.gaierror):
        resolve(NAME, 20)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_an_ip_address_is_resolved_without_a_thread(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading.Thread, "start", no_thread)
    [(_, _, _, _, address)] = resolve(HostPort(host, 443), 20)
    assert address[:2] == (host, 443)


def test_a_name_is_resolved_in_the_caller_if_no_thread_can_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(threading.Thread, "start", no_thread)
    monkeypatch.setattr(socket, "getaddrinfo", found)
    assert resolve(NAME, 20) == FOUND
