"""tritonclient over HTTP, with asyncio too, to a model server behind the gate."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy
import pytest
import tritonclient.http
import tritonclient.http.aio
from tritonclient.utils import InferenceServerException

import daypass
from clients.arrivals import Arrival
from clients.tritonclient.conftest import register
from daypass.client.token import Token
from daypass.local.stack import MadeIdentity
from integrations.service import Said, running_service
from support.authority import Authority

DENIED = "denied"
"""A word of the gate's message."""

Ask = Callable[..., Any]


@pytest.fixture(params=["http", "http.aio"])
def ask_at(request: pytest.FixtureRequest, credentials: daypass.Credentials) -> Ask:
    """`ask_at(host, authority, "infer", ...)`: what this method of either client returns."""

    def with_http(host: str, authority: str, method: str, *arguments: Any, **options: Any) -> Any:
        with tritonclient.http.InferenceServerClient(
            host, ssl=True, ssl_options={"ca_certs": authority}
        ) as client:
            register(client, credentials)
            return getattr(client, method)(*arguments, **options)

    async def with_aio(
        host: str, authority: str, method: str, *arguments: Any, **options: Any
    ) -> Any:
        tls = ssl.create_default_context(cafile=authority)  # noqa: TID251 - as a user does
        async with tritonclient.http.aio.InferenceServerClient(
            host, ssl=True, ssl_context=tls
        ) as client:
            register(client, credentials)
            return await getattr(client, method)(*arguments, **options)

    if request.param == "http":
        return with_http
    return lambda *arguments, **options: asyncio.run(with_aio(*arguments, **options))


@pytest.fixture
def ask(ask_at: Ask, host: str, authority: str) -> Ask:
    """`ask("infer", ...)`: the same behind the gate."""
    return partial(ask_at, host, authority)


def tensor(count: int) -> list[tritonclient.http.InferInput]:
    given = tritonclient.http.InferInput("given", [count], "FP64")
    given.set_data_from_numpy(numpy.arange(count, dtype=numpy.float64))
    return [given]


def last(result: tritonclient.http.InferResult) -> float:
    return float(result.as_numpy("doubled")[-1])


def test_it_infers_with_a_fresh_token_across_the_end_of_one(
    ask: Ask, arrived: list[Arrival], daypass_identity: MadeIdentity, expire: Callable[[], Token]
) -> None:
    assert last(ask("infer", "double", tensor(4))) == 6
    expire()
    assert last(ask("infer", "double", tensor(5))) == 8
    assert [(each.path, each.user) for each in arrived] == [
        ("/v2/models/double/infer", daypass_identity.user)
    ]


def test_a_refusal_is_raised_with_the_gates_message(
    ask: Ask, arrived: list[Arrival], deny: Callable[..., Token]
) -> None:
    deny(every=True)
    with pytest.raises(InferenceServerException, match=DENIED) as refused:
        ask("infer", "double", tensor(4))
    assert refused.value.status() == "401"
    assert arrived == []


def test_after_a_denial_the_next_token_passes(
    ask: Ask, credentials: daypass.Credentials, deny: Callable[..., Token]
) -> None:
    """A plugin does not see responses, so the caller renews the token."""
    refused = deny()
    with pytest.raises(InferenceServerException, match=DENIED):
        ask("infer", "double", tensor(4))
    credentials.renew(refused)
    assert last(ask("infer", "double", tensor(4))) == 6


def test_without_a_token_nothing_is_sent_and_the_reason_is_raised(
    ask: Ask, arrived: list[Arrival], revoke: Callable[[], None]
) -> None:
    revoke()
    with pytest.raises(daypass.ExchangeRefusedError):
        ask("infer", "double", tensor(4))
    assert arrived == []


def test_a_verbose_client_prints_no_token(
    credentials: daypass.Credentials, host: str, authority: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with tritonclient.http.InferenceServerClient(
        host, ssl=True, ssl_options={"ca_certs": authority}, verbose=True
    ) as client:
        register(client, credentials)
        assert client.is_server_live()
    printed = capsys.readouterr().out
    assert "'authorization': 'Bearer ***" in printed
    assert credentials.bearer() not in printed


def test_a_server_with_another_name_gets_no_token(ask_at: Ask, tmp_path: Path) -> None:
    authority = Authority("services")
    (tmp_path / "authority.crt").write_text(authority.pem)
    with running_service(authority.server("gate.example.com")) as service:
        host = service.origin.removeprefix("https://")
        with pytest.raises(Exception, match="certificate is not valid for 'localhost'"):
            ask_at(host, str(tmp_path / "authority.crt"), "is_server_live")
    assert service.seen == []


@pytest.mark.parametrize("tls", [True, False], ids=["other-port", "plain-http"])
def test_a_redirect_to_another_origin_carries_no_token(
    ask_at: Ask, tmp_path: Path, tls: bool
) -> None:
    authority = Authority("services")
    certificate = authority.server("localhost")
    (tmp_path / "authority.crt").write_text(authority.pem)
    with (
        running_service(certificate) as service,
        running_service(certificate if tls else None) as elsewhere,
    ):
        service.answer = lambda _: Said(code=307, location=f"{elsewhere.origin}/elsewhere")
        host = service.origin.removeprefix("https://")
        with suppress(InferenceServerException, ValueError):  # the answer is not JSON
            ask_at(host, str(tmp_path / "authority.crt"), "infer", "double", tensor(4))
    assert [token is None for token in service.tokens] == [False]
    assert not any("authorization" in seen.headers for seen in elsewhere.seen)
