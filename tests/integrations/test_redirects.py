"""A token is never sent to another origin when a server redirects its client."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

import daypass
import daypass.integrations.httpx
from daypass._core.tls import client_context
from integrations.callers import Caller
from integrations.service import Said, Seen, Service
from integrations.trust import Trust


def sends_on(location: str, code: int = 307) -> Callable[[Seen], Said]:
    def answer(seen: Seen) -> Said:
        return Said(code=code, location=location) if seen.path == "/first" else Said()

    return answer


def test_a_redirect_within_the_origin_keeps_the_token(caller: Caller, service: Service) -> None:
    service.answer = sends_on("/second")
    assert caller.send(f"{service.origin}/first").code == 200
    first, second = service.tokens
    assert first == second
    assert first is not None


@pytest.mark.parametrize("tls", [True, False], ids=["other-port", "plain-http"])
@pytest.mark.parametrize("code", [303, 307])
def test_a_redirect_to_another_origin_carries_no_token(
    caller: Caller, service: Service, serve: Callable[..., Service], code: int, tls: bool
) -> None:
    elsewhere = serve(tls=tls)
    service.answer = sends_on(f"{elsewhere.origin}/second", code)
    assert caller.send(f"{service.origin}/first").code == 200
    assert service.tokens != [None]
    (seen,) = elsewhere.seen
    assert "authorization" not in seen.headers
    assert caller.credentials.token().value.reveal() not in repr(seen)


def test_a_401_from_another_origin_does_not_renew_the_token(
    caller: Caller, service: Service, serve: Callable[..., Service]
) -> None:
    elsewhere = serve()
    elsewhere.answer = lambda _: Said(code=401)
    service.answer = sends_on(f"{elsewhere.origin}/second")
    before = caller.credentials.token()
    assert caller.send(f"{service.origin}/first").code == 401
    assert (len(service.seen), len(elsewhere.seen)) == (1, 1)
    assert caller.credentials.token() is before


def test_a_redirect_followed_by_hand_carries_no_token(
    credentials: daypass.Credentials, service: Service, serve: Callable[..., Service], trust: Trust
) -> None:
    elsewhere = serve()
    service.answer = sends_on(f"{elsewhere.origin}/second")
    context = client_context(trust.file.read_text())
    auth = daypass.integrations.httpx.Auth(credentials)
    with httpx.Client(auth=auth, verify=context) as client:
        answer = client.get(f"{service.origin}/first")
        assert answer.next_request is not None
        assert client.send(answer.next_request).status_code == 200
    assert elsewhere.tokens == [None]
