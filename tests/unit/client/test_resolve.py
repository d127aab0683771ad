"""Names are resolved within the deadline."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from daypass._core.net import HostPort
from daypass.client.transport import resolve

NAME = HostPort("ekf.example.com", 443)
FOUND = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 443))]


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    may_end = threading.Event()

    def hang(*_: object, **__: object) -> object:
        may_end.wait()
        return FOUND

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    yield may_end
    may_end.set()


def test_a_hanging_resolver_does_not_block_the_caller(hanging: threading.Event) -> None:
    with pytest.raises(TimeoutError):
        resolve(NAME, 0.01)
    assert not hanging.is_set()


def test_a_name_is_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: FOUND)
    assert resolve(NAME, 20) == FOUND


def test_an_unknown_name_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(socket.gaierror):
        resolve(NAME, 20)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_an_ip_address_is_resolved_without_a_thread(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_thread(self: threading.Thread) -> None:
        raise AssertionError

    monkeypatch.setattr(threading.Thread, "start", no_thread)
    [(_, _, _, _, address)] = resolve(HostPort(host, 443), 20)
    assert address[:2] == (host, 443)


def test_a_name_is_resolved_in_the_caller_if_no_thread_can_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_thread(self: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", no_thread)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: FOUND)
    assert resolve(NAME, 20) == FOUND
