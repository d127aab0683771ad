"""OpenAI's SDK for Python, to a model behind the gate."""

from __future__ import annotations

from collections.abc import Callable

import openai
import pytest

import daypass
from daypass.client.token import Token
from daypass.local.stack import MadeIdentity
from support.arrivals import Arrival


@pytest.fixture(autouse=True)
def _trusts_the_gate(authority: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", authority)


def answer_of(client: openai.OpenAI, question: str) -> str | None:
    done = client.chat.completions.create(
        model="echo", messages=[{"role": "user", "content": question}]
    )
    return done.choices[0].message.content


def test_a_function_as_the_api_key_gives_each_request_a_token_that_the_gate_takes(
    credentials: daypass.Credentials, gate: str, daypass_identity: MadeIdentity,
    arrived: list[Arrival], expire: Callable[[], Token],
) -> None:  # fmt: skip
    client = openai.OpenAI(api_key=credentials.bearer, base_url=f"{gate}/v1")
    assert answer_of(client, "hello there") == "hello there "
    expire()
    assert answer_of(client, "hello again") == "hello again "
    assert [(each.path, each.user) for each in arrived] == [
        ("/v1/chat/completions", daypass_identity.user)
    ]
    assert "authorization" not in arrived[0].headers
