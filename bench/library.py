"""A token that is at hand, put on a request: ours beside google-auth's and azure-identity's.

No network: each library has a token that is fresh, and what is measured is what a program (or the
library's own adapter) does before each request from then on. That is, with the header in place,
`Credentials.before_request` of google-auth, and `BearerTokenCredentialPolicy.on_request` of
azure-core, which remembers the last token of an azure-identity credential. Who calls azure-identity
itself request `ClientSecretCredential.get_token`, answered from its cache, without a header.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

from azure.core.pipeline import PipelineContext, PipelineRequest
from azure.core.pipeline.policies import BearerTokenCredentialPolicy
from azure.core.pipeline.transport import HttpTransport
from azure.core.rest import HttpRequest
from azure.identity import ClientSecretCredential
from google.oauth2.credentials import Credentials as GoogleCredentials

from bench.rounds import compare
from daypass._core.clock import SYSTEM_CLOCK, utc
from daypass.client.credentials import Credentials
from support.exchanges import FakeSend, credentials_config
from support.fake_door import token_answer

SCOPE = "https://gate.example.com/.default"
URL = "https://gate.example.com/x"


def run(*, quick: bool) -> None:
    """All of it; `quick` takes fewer rounds."""
    rounds, calls = (7, 20_000) if quick else (31, 50_000)
    credentials = _ours()
    credentials.token()

    def token() -> None:
        credentials.token()

    def header() -> None:
        headers: dict[str, str] = {}
        headers["Authorization"] = f"Bearer {credentials.token().value.reveal()}"

    azure = _azure()
    azure.get_token(SCOPE)
    for name, ours, theirs, bar in (
        ("credentials.token() | an empty function", token, _nothing, "ours <= 2 µs"),
        ("header in place | google-auth", header, _google(), ""),
        ("header in place | azure-core's policy", header, _policy(azure), ""),
        ("credentials.token() | azure get_token", token, lambda: azure.get_token(SCOPE), "<= 1"),
    ):
        few = calls // 50 if "get_token" in name else calls
        compare(
            name, _microseconds(ours, calls), _microseconds(theirs, few),
            rounds=rounds, unit="µs", bar=bar,
        )  # fmt: skip


def _microseconds(call: Callable[[], object], calls: int) -> Callable[[], float]:
    def measure() -> float:
        started = time.perf_counter()
        for _ in range(calls):
            call()
        return (time.perf_counter() - started) / calls * 1e6

    return measure


def _nothing() -> None:
    pass


def _ours() -> Credentials:
    now = SYSTEM_CLOCK.unix()
    settings = credentials_config("http://127.0.0.1:1/kubernetes")
    return Credentials(settings, send=FakeSend(lambda _: token_answer(now=now, date=now)))


def _google() -> Callable[[], object]:
    # google-auth compares with naive UTC.
    expiry: datetime = utc(SYSTEM_CLOCK.unix()).replace(tzinfo=None) + timedelta(hours=1)
    google = GoogleCredentials(token="t" * 900, expiry=expiry)  # type: ignore[no-untyped-call]
    return lambda: google.before_request(None, "GET", URL, {})  # type: ignore[no-untyped-call]


def _azure() -> ClientSecretCredential:
    return ClientSecretCredential(
        "00000000-0000-0000-0000-000000000000", "client", "secret", transport=_Entra()
    )


def _policy(azure: ClientSecretCredential) -> Callable[[], object]:
    policy = BearerTokenCredentialPolicy(azure, SCOPE)
    request: Any = PipelineRequest(HttpRequest("GET", URL), PipelineContext(None))
    return lambda: policy.on_request(request)


class _Entra(HttpTransport[Any, Any]):
    """Microsoft's side of it, as far as a client secret needs it."""

    def open(self) -> None:
        pass

    def close(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass

    def send(self, request: Any, **_: Any) -> Any:
        base = "https://login.microsoftonline.com/00000000-0000-0000-0000-000000000000"
        document: dict[str, object] = {
            "token_endpoint": f"{base}/oauth2/v2.0/token",
            "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
            "issuer": f"{base}/v2.0",
            "tenant_discovery_endpoint": f"{base}/v2.0/.well-known/openid-configuration",
            "metadata": [],
        }
        if request.method == "POST":
            document = {"token_type": "Bearer", "expires_in": 86400, "access_token": "t" * 900}
        text = json.dumps(document)
        return SimpleNamespace(
            status_code=200, headers={"content-type": "application/json"}, request=request,
            content_type="application/json", body=lambda: text.encode(), text=lambda *_, **__: text,
            reason="OK",
        )  # fmt: skip
