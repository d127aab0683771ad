"""Names are resolved within the deadline."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from daypass.client.door_url import HostPort
from daypass.client.resolve import resolve, resolve_async

NAME = HostPort("ekf.example.com", 443)
FOUND = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 443))]
Resolve = Callable[[HostPort, float], object]


@pytest.fixture(params=["sync", "async"])
def look_up(request: pytest.FixtureRequest) -> Resolve:
    async def within(address: HostPort, seconds: float) -> object:
        async with asyncio.timeout(seconds):
            return await resolve_async(address)

    if request.param == "sync":
        return resolve
    return lambda address, seconds: asyncio.run(within(address, seconds))


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    may_end = threading.Event()

    def hang(*_: object, **__: object) -> object:
        may_end.wait()
        return FOUND

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    yield may_end
    may_end.set()


def test_a_hanging_resolver_blocks_neither_caller_nor_loop(
    look_up: Resolve, hanging: threading.Event
) -> None:
    with pytest.raises(TimeoutError):
        look_up(NAME, 0.01)
    assert not hanging.is_set()


def test_a_name_is_resolved(look_up: Resolve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: FOUND)
    assert look_up(NAME, 20) == FOUND


def test_an_unknown_name_is_an_error(look_up: Resolve, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(socket.gaierror):
        look_up(NAME, 20)


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
