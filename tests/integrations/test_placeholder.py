"""An SDK that sets an Authorization header of its own, on a client of httpx or httpx2."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

import httpx
import httpx2
import pytest

import daypass
import daypass.integrations.httpx
import daypass.integrations.httpx2
from daypass._core.tls import client_context
from integrations.service import Said, Service
from integrations.trust import Trust

LIBRARIES: dict[str, tuple[Any, Any]] = {
    "httpx": (httpx, daypass.integrations.httpx.Auth),
    "httpx2": (httpx2, daypass.integrations.httpx2.Auth),
}


@pytest.fixture
def tls(trust: Trust) -> ssl.SSLContext:
    return client_context(trust.file.read_text())


Ask = Callable[..., Any]


@pytest.fixture(params=[f"{name}{end}" for name in LIBRARIES for end in ("", "-async")])
def ask(
    request: pytest.FixtureRequest, credentials: daypass.Credentials, tls: ssl.SSLContext
) -> Ask:
    """Sends one request with these values as its Authorization headers, and returns the answer."""
    name, _, is_async = request.param.partition("-")
    library, auth = LIBRARIES[name]

    def send(url: str, *values: str, placeholder: str | None = "unused") -> Any:
        headers = [("authorization", value) for value in values]
        authorization = auth(credentials, placeholder=placeholder)
        options = {"auth": authorization, "verify": tls, "follow_redirects": True}

        async def sent() -> Any:
            async with library.AsyncClient(**options) as client:
                return await client.post(url, headers=headers, content=b"0123456789")

        if is_async:
            return asyncio.run(sent())
        with library.Client(**options) as client:
            return client.post(url, headers=headers, content=b"0123456789")

    return send


def test_exactly_the_placeholder_is_replaced(
    ask: Ask, service: Service, credentials: daypass.Credentials
) -> None:
    assert ask(service.origin, "Bearer unused").status_code == 200
    assert service.tokens == [credentials.token().value.reveal()]


@pytest.mark.parametrize(
    "values",
    [
        ("Bearer sk-1234",),
        ("Bearer unused, Bearer sk-1234",),
        ("Bearer unused", "Bearer sk-1234"),
    ],
)
def test_every_other_header_stays(ask: Ask, service: Service, values: tuple[str, ...]) -> None:
    assert ask(service.origin, *values).status_code == 200
    (seen,) = service.seen
    assert seen.authorizations == list(values)


def test_without_a_placeholder_no_header_is_replaced(ask: Ask, service: Service) -> None:
    for value in ("Bearer unused", "Bearer None", "None"):
        ask(service.origin, value, placeholder=None)
    assert [seen.headers["authorization"] for seen in service.seen] == [
        "Bearer unused", "Bearer None", "None"
    ]  # fmt: skip


def test_a_redirect_elsewhere_gets_neither_the_token_nor_the_placeholder(
    ask: Ask, service: Service, serve: Callable[..., Service]
) -> None:
    elsewhere = serve()
    service.answer = lambda _: Said(code=307, location=f"{elsewhere.origin}/second")
    assert ask(service.origin, "Bearer unused").status_code == 200
    assert service.tokens not in ([None], ["unused"])
    (seen,) = elsewhere.seen
    assert "authorization" not in seen.headers
