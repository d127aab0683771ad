"""Sync and async calls, and a certificate authority for the fake doors."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from daypass.client.credentials import Credentials
from daypass.client.token import Token
from support.authority import Authority
from support.exchanges import CredentialsAtDoor, credentials_config
from support.fake_door import Behaviour, FakeDoor
from support.timing import FakeTiming

Ask = Callable[..., Token]
CredentialsFor = Callable[..., Credentials]
Serve = Callable[..., tuple[FakeDoor, Credentials]]


@pytest.fixture(scope="session")
def authority() -> Authority:
    """An authority that the credentials of these tests trust."""
    return Authority("fake door authority")


@pytest.fixture
def timing() -> FakeTiming:
    """Time that stands still unless a test or a wait moves it."""
    return FakeTiming()


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """`Credentials.token`, called in one of the two ways."""

    def ask_sync(credentials: Credentials, *args: Any) -> Token:
        return credentials.token(*args)

    def ask_async(credentials: Credentials, *args: Any) -> Token:
        return asyncio.run(credentials.token_async(*args))

    return ask_sync if request.param == "sync" else ask_async


@pytest.fixture
def credentials_for(authority: Authority, timing: FakeTiming) -> CredentialsFor:
    """Credentials for a door's URL that trust the authority; keys of the file can be changed."""

    def make(url: str, *, time: FakeTiming = timing, **changes: object) -> Credentials:
        changes.setdefault("certificateAuthority", authority.pem)
        settings = credentials_config(url, **changes)
        return Credentials(settings, timing=time)

    return make


@pytest.fixture(scope="session")
def context(authority: Authority) -> ssl.SSLContext:
    """The TLS context of a door at 127.0.0.1 that the credentials trust."""
    return authority.context("127.0.0.1")


@pytest.fixture
def serve(context: ssl.SSLContext, credentials_for: CredentialsFor) -> Iterator[Serve]:
    """Start a door that answers with a script, until the test ends; return credentials for it.

    `tls`: another context, or None for plain HTTP; `url`: another address of the same port.
    """
    with ExitStack() as stack:

        def start(
            *script: bytes | Behaviour,
            tls: ssl.SSLContext | None = context,
            url: str | None = None,
            reads: bool = True,
            **changes: object,
        ) -> tuple[FakeDoor, Credentials]:
            door = stack.enter_context(FakeDoor(*script, context=tls, reads=reads))
            address = door.url if url is None else url.format(port=door.port)
            return door, credentials_for(address, **changes)

        yield start


@pytest.fixture
def wired(timing: FakeTiming) -> CredentialsAtDoor:
    """Credentials for a door that is a function."""
    return CredentialsAtDoor(timing)


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the proxies, credentials and authorities of the user who runs the tests."""
    for name in list(os.environ):
        if name.startswith(("DAYPASS_", "SSL_CERT_")) or name.lower() in (
            "https_proxy",
            "no_proxy",
        ):
            monkeypatch.delenv(name)
