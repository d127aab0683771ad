"""Mistakes that users of the adapters make, and what stops them."""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import Callable
from typing import Any

import grpc
import httpx
import httpx2
import pytest
import requests

import daypass
import daypass.integrations.aiohttp
import daypass.integrations.grpc
import daypass.integrations.httpx
import daypass.integrations.httpx2
import daypass.integrations.kubernetes
import daypass.integrations.requests
import daypass.integrations.urllib3
from daypass.local.stack import LocalStack
from integrations.callers import Caller
from integrations.service import Service
from support.messages import raises

MAKE: dict[str, Callable[[Any], object]] = {
    "httpx": daypass.integrations.httpx.Auth,
    "httpx2": daypass.integrations.httpx2.Auth,
    "requests": daypass.integrations.requests.Auth,
    "urllib3": daypass.integrations.urllib3.PoolManager,
}


@pytest.mark.parametrize("library", [httpx, httpx2, requests], ids=lambda each: each.__name__)
def test_a_function_for_api_keys_in_place_of_an_adapter_is_refused_with_the_adapter(
    library: Any, credentials: daypass.Credentials
) -> None:
    with raises(daypass.CredentialsError) as raised:
        library.get("https://localhost:1", auth=credentials.bearer)
    assert "adapter of daypass.integrations" in raised.value.hint


@pytest.mark.parametrize("given", [["gate"], {"gate"}, b"gate"], ids=["list", "set", "bytes"])
def test_an_audience_of_another_type_is_refused_wherever_it_is_given(
    credentials: daypass.Credentials, given: Any
) -> None:
    auth = daypass.integrations.requests.Auth(credentials, given)
    functions: list[Callable[[], object]] = [
        lambda: credentials.bearer(given), lambda: asyncio.run(credentials.bearer_async(given)),
        lambda: requests.get("https://localhost:1", auth=auth, timeout=30),
    ]  # fmt: skip
    for function in functions:
        with raises(daypass.CredentialsError) as raised:
            function()
        assert "a string" in raised.value.hint


CLEAR = "http://gate.example.com/"
SEND: dict[str, Callable[[Any], object]] = {
    "httpx": lambda auth: httpx.get(CLEAR, auth=auth),
    "httpx2": lambda auth: httpx2.get(CLEAR, auth=auth),
    "requests": lambda auth: requests.get(CLEAR, auth=auth, timeout=30),
    "urllib3": lambda pools: pools.request("GET", CLEAR),
}


@pytest.mark.parametrize("library", [*SEND, "aiohttp"])
def test_no_token_is_sent_in_the_clear(library: str, credentials: daypass.Credentials) -> None:
    with raises(daypass.CredentialsError, match="http://gate.example.com") as raised:
        if library == "aiohttp":
            daypass.integrations.aiohttp.Auth(credentials, CLEAR)
        else:
            SEND[library](MAKE[library](credentials))
    assert "https://gate.example.com" in raised.value.hint


def test_a_secret_formatted_with_percent_is_not_sent(caller: Caller, service: Service) -> None:
    token = caller.credentials.token()
    for value in (token, token.value):
        refused = (ValueError, httpx.LocalProtocolError, httpx2.LocalProtocolError)
        with pytest.raises(refused):
            caller.send(service.origin, headers={"Authorization": "Bearer %s" % value})  # noqa: UP031
    assert service.tokens == []


def test_the_standard_library_and_grpc_do_not_send_it_either(
    credentials: daypass.Credentials, daypass_stack: LocalStack
) -> None:
    text = f"Bearer {credentials.token().value!s}"
    connection = http.client.HTTPConnection("127.0.0.1", 1)
    connection.putrequest("GET", "/")
    with pytest.raises(ValueError, match=r"credentials\.bearer"):
        connection.putheader("Authorization", text)
    with grpc.insecure_channel("127.0.0.1:1") as channel:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/a/b")
        with pytest.raises(grpc.RpcError) as raised:
            call(b"", metadata=(("authorization", text),), timeout=30)
    assert raised.value.details() == "Invalid metadata"
