"""fsspec and pandas, which read files behind the gate by HTTP."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.error import HTTPError

import fsspec
import pandas
import pytest
from aiohttp import ClientResponseError

import daypass
import daypass.integrations.aiohttp
from clients.arrivals import Arrival
from daypass._core.tls import client_context
from daypass.client.token import Token
from daypass.local.stack import MadeIdentity
from integrations.service import running_service

ROWS = [{"name": "a", "size": 1}, {"name": "b", "size": 2}]


@pytest.fixture(autouse=True)
def _trusts_the_gate(authority: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", authority)
    # aiohttp reads the variable when it is imported: of a program, when it starts.
    trusting = client_context(Path(authority).read_text())
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", trusting)


@pytest.fixture
def files(url: str, credentials: daypass.Credentials) -> fsspec.AbstractFileSystem:
    auth = daypass.integrations.aiohttp.Auth(credentials, url)
    return fsspec.filesystem("https", client_kwargs={"middlewares": (auth,)})


def test_fsspec_reads_over_a_tokens_end_and_a_deny(
    files: fsspec.AbstractFileSystem, url: str, arrived: list[Arrival],
    expire: Callable[[], Token], deny: Callable[..., Token], daypass_identity: MadeIdentity,
) -> None:  # fmt: skip
    assert files.cat(f"{url}/table.csv").startswith(b"name,size")
    deny()
    assert files.cat(f"{url}/table.csv").startswith(b"name,size")
    expire()
    with files.open(f"{url}/table.csv", block_size=4) as opened:
        assert opened.read(9) == b"name,size"
    assert {each.user for each in arrived} == {daypass_identity.user}


def test_pandas_reads_what_fsspec_opens(
    files: fsspec.AbstractFileSystem, url: str, expire: Callable[[], Token]
) -> None:
    expire()
    with files.open(f"{url}/table.csv") as opened:
        assert pandas.read_csv(opened).to_dict("records") == ROWS


def test_fsspec_hides_a_refusal_in_the_cause_and_the_log_has_it(
    files: fsspec.AbstractFileSystem, url: str, deny: Callable[..., Token], arrived: list[Arrival],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    token = deny(every=True)
    with pytest.raises(FileNotFoundError) as refused:
        files.open(f"{url}/table.csv")
    assert isinstance(refused.value.__cause__, ClientResponseError)
    assert refused.value.__cause__.status == 401
    assert refused.value.__cause__.headers["daypass-reason"] == "denied"
    assert "has denied this token" in caplog.text
    assert token.value.reveal() not in repr(refused.value.__cause__)
    assert arrived == []


def test_pandas_shows_the_status_of_a_refusal_and_has_the_reason(
    url: str, credentials: daypass.Credentials, deny: Callable[..., Token]
) -> None:
    deny(every=True)
    with pytest.raises(HTTPError, match="401") as refused:
        pandas.read_csv(f"{url}/table.csv", storage_options=credentials.headers())
    with refused.value as error:
        assert b"has denied this token" in error.read()


def test_a_redirect_gets_no_token_of_fsspec(files: fsspec.AbstractFileSystem, url: str) -> None:
    with running_service(None) as elsewhere:
        assert files.cat(f"{url}/away?to={elsewhere.origin}/table.csv") == b"ok"
    assert set(elsewhere.tokens) == {None}


def test_a_redirect_gets_the_token_that_pandas_was_given(
    url: str, credentials: daypass.Credentials
) -> None:
    """So the documentation warns of it. If this fails, urllib has mended it."""
    headers = credentials.headers()
    with running_service(None) as elsewhere:
        pandas.read_csv(f"{url}/away?to={elsewhere.origin}/table.csv", storage_options=headers)
    assert elsewhere.tokens == [headers["Authorization"].removeprefix("Bearer ")]
