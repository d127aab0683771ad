"""LiteLLM, and OpenAI's SDK 2, whose HTTP library is httpx."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI

import daypass
import daypass.integrations.httpx
from clients.arrivals import Arrival
from daypass.client.token import Token
from daypass.local.stack import MadeIdentity

TESTS = Path(__file__).parents[2]
ANSWER = "hello there "

Ask = Callable[[], str]


@pytest.fixture(scope="session")
def server(run_server: Callable[..., str]) -> str:
    program = str(TESTS / "clients" / "openai" / "server.py")
    return run_server(sys.executable, program, "PORT", environment={"PYTHONPATH": str(TESTS)})


@pytest.fixture(autouse=True)
def _environment(authority: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", authority)
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # or its import fetches one


def by_litellm(credentials: daypass.Credentials, url: str) -> Ask:
    import litellm

    model = "openai/m"

    def ask() -> str:
        return joined(
            litellm.completion(
                model, messages(), base_url=url, api_key=credentials.bearer(), stream=True
            )
        )

    return ask


def by_openai(credentials: daypass.Credentials, url: str) -> Ask:
    client = OpenAI(base_url=url, api_key=credentials.bearer)
    return lambda: joined(
        client.chat.completions.create(model="m", messages=messages(), stream=True)
    )


def by_openai_and_httpx(credentials: daypass.Credentials, url: str) -> Ask:
    auth = daypass.integrations.httpx.Auth(credentials, placeholder="unused")
    client = OpenAI(base_url=url, api_key="unused", http_client=httpx.Client(auth=auth))
    return lambda: joined(
        client.chat.completions.create(model="m", messages=messages(), stream=True)
    )


def messages() -> list[Any]:
    return [{"role": "user", "content": "hello there"}]


def joined(stream: Any) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in stream)


@pytest.fixture(params=[by_litellm, by_openai, by_openai_and_httpx])
def ask(request: pytest.FixtureRequest, credentials: daypass.Credentials, gate: str) -> Ask:
    way: Callable[..., Ask] = request.param
    return way(credentials, f"{gate}/v1")


def test_requests_pass_before_and_after_the_end_of_a_token(
    ask: Ask, daypass_identity: MadeIdentity, arrived: list[Arrival], expire: Callable[[], Token]
) -> None:
    assert ask() == ANSWER
    expire()
    assert ask() == ANSWER
    assert [each.user for each in arrived] == [daypass_identity.user]


def test_a_refusal_shows_its_reason(
    ask: Ask, arrived: list[Arrival], deny: Callable[..., Token]
) -> None:
    deny(every=True)
    with pytest.raises(openai.AuthenticationError, match="an administrator has denied this token"):
        ask()
    assert arrived == []
