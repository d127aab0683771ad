"""Sync and async calls, and a certificate authority for the fake doors."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

import pytest

from daypass.client.config import CredentialsConfig
from daypass.client.credentials import Credentials
from daypass.client.token import Token
from support.exchanges import Wired
from support.fake_door import Signer, credentials_document
from support.timing import FakeTiming

Ask = Callable[..., Token]


@pytest.fixture(scope="session")
def signer() -> Signer:
    """An authority that the credentials of these tests trust."""
    return Signer()


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
def credentials_for(signer: Signer, timing: FakeTiming) -> Callable[..., Credentials]:
    """Credentials for a door's URL that trust the signer; keys of the file can be changed."""

    def make(url: str, *, time: FakeTiming = timing, **changes: object) -> Credentials:
        changes.setdefault("certificateAuthority", signer.pem)
        document = credentials_document(url, **changes)
        settings = CredentialsConfig(
            document, origin="credentials.json", now_unix=time.clock.unix()
        )
        return Credentials(settings, timing=time)

    return make


@pytest.fixture
def wired(timing: FakeTiming) -> Wired:
    """Credentials for a door that is a function."""
    return Wired(timing)


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the proxies, credentials and authorities of the user who runs the tests."""
    for name in list(os.environ):
        if name.startswith(("DAYPASS_", "SSL_CERT_")) or name.lower() in (
            "https_proxy",
            "no_proxy",
        ):
            monkeypatch.delenv(name)
