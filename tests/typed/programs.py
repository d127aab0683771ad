"""A user's program, for the type checkers: what is right passes, what is wrong is refused.

Nothing here is run. Both checkers report an `ignore` that nothing needs, so each of them is a claim
that this line is refused.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import assert_type

import aiohttp
import grpc
import httpx
import kubernetes.client
import requests
import urllib3

import daypass
import daypass.integrations.aiohttp
import daypass.integrations.grpc
import daypass.integrations.httpx
import daypass.integrations.kubernetes
import daypass.integrations.requests
import daypass.integrations.urllib3


def tokens(credentials: daypass.Credentials) -> dict[str, str]:
    token = credentials.token(audience="gate", lifetime_seconds=600)
    assert_type(token, daypass.Token)
    assert_type(token.value, daypass.Secret)
    assert_type(token.audiences, tuple[str, ...])
    assert_type(credentials.renew(token, "gate"), daypass.Token)
    assert_type(daypass.Credentials.load(), daypass.Credentials)
    assert_type(daypass.Credentials.from_file("bot.json"), daypass.Credentials)
    wrong: dict[str, str] = {"Authorization": token.value}  # type: ignore[dict-item]  # pyright: ignore[reportAssignmentType]
    credentials.token(lifetime_seconds="1h")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    credentials.token_file  # type: ignore[attr-defined]  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    "Bearer " + token.value  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue, reportUnusedExpression]
    daypass.Credentials.load("bot.json")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(credentials.headers("gate", lifetime_seconds=600), dict[str, str])
    api_key: Callable[[], str] = credentials.bearer
    assert_type(credentials.bearer("gate", lifetime_seconds=600), str)
    return {**wrong, **credentials.headers(), "x-api-key": api_key()}


async def tokens_async(credentials: daypass.Credentials) -> str:
    token = await credentials.token_async()
    assert_type(token, daypass.Token)
    assert_type(await credentials.renew_async(token), daypass.Token)
    assert_type(await credentials.headers_async(audience="gate"), dict[str, str])
    api_key: Callable[[], Awaitable[str]] = credentials.bearer_async
    return await api_key()


def with_httpx(credentials: daypass.Credentials) -> None:
    auth = daypass.integrations.httpx.Auth(credentials, audience="gate", lifetime_seconds=600)
    httpx.Client(auth=auth)
    httpx.AsyncClient(auth=auth)
    httpx.get("https://gate", auth=auth)
    daypass.integrations.httpx.Auth("eyJ")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    daypass.integrations.httpx.Auth()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def with_requests(credentials: daypass.Credentials) -> None:
    auth = daypass.integrations.requests.Auth(credentials)
    requests.get("https://gate", auth=auth, timeout=30)
    session = requests.Session()
    session.auth = auth
    daypass.integrations.requests.Auth(credentials, 600)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def with_aiohttp(credentials: daypass.Credentials) -> None:
    auth = daypass.integrations.aiohttp.Auth(credentials, "https://gate", "gate")
    aiohttp.ClientSession(middlewares=(auth,))
    daypass.integrations.aiohttp.Auth(credentials)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def with_urllib3(credentials: daypass.Credentials) -> None:
    pools: urllib3.PoolManager = daypass.integrations.urllib3.PoolManager(credentials, num_pools=2)
    assert_type(pools.request("GET", "https://gate"), urllib3.BaseHTTPResponse)
    daypass.integrations.urllib3.ProxyManager(credentials, "http://proxy:3128")
    daypass.integrations.urllib3.PoolManager()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def with_grpc(credentials: daypass.Credentials) -> None:
    secure = daypass.integrations.grpc.channel_credentials(credentials, root_certificates=b"")
    grpc.secure_channel("gate:443", secure)
    assert_type(daypass.integrations.grpc.call_credentials(credentials), grpc.CallCredentials)
    grpc.secure_channel("gate:443", credentials)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def with_kubernetes(credentials: daypass.Credentials) -> None:
    configuration = kubernetes.client.Configuration()
    daypass.integrations.kubernetes.authorize(configuration, credentials, audience="api")
    daypass.integrations.kubernetes.authorize(credentials, configuration)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def errors(credentials: daypass.Credentials) -> str:
    try:
        credentials.token()
    except daypass.DoorBusyError as error:
        assert_type(error.retry_after_seconds, float | None)
    except daypass.DaypassError as error:
        return error.fact + error.hint
    return ""
