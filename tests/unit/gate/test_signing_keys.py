"""Issuer and keys, as an API server returns them, and what a key has signed."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daypass._core.errors import DaypassError
from daypass.config import Config, parse
from daypass.config.key_set import KeySetError, key_ids, key_set
from daypass.gate.signing_keys import (
    AGAIN_SECONDS,
    WAIT_SECONDS,
    TokenVerifier,
    UnreadKeyError,
    find_issuer,
    is_signed,
    issuer_for,
    keys_for,
    signing_keys_for,
)
from daypass.kube.cluster import Cluster
from daypass.kube.connection import ConnectionConfig
from daypass.rules.decision import RefusedError
from support.authority import ANY_AUTHORITY
from support.messages import raises
from support.timing import FakeClock
from support.tokens import Signer

OLD, NEW, STRANGER = Signer("old"), Signer("new"), Signer("stranger")
BOTH = json.dumps({"keys": [json.loads(each.jwks)["keys"][0] for each in (OLD, NEW)]})


def cluster(document: dict[str, Any], code: int = 200) -> Cluster:
    """An API server that returns this to everything."""
    return Cluster(
        ConnectionConfig(
            server="https://cluster.example", namespace="default", origin="tests",
            authority=ANY_AUTHORITY,
        ),
        transport=httpx2.MockTransport(lambda _: httpx2.Response(code, json=document)),
    )  # fmt: skip


def config(more: str = "", folder: Path = Path()) -> Config:
    text = (
        f"version: 1\ncluster: {{{more}}}\ndomains: {{x: {{host: x.example.com, front: envoy}}}}\n"
    )
    return parse(text.encode(), name="daypass.yaml", folder=folder)


def test_the_issuer_is_that_of_the_config_or_else_the_one_that_the_api_server_names() -> None:
    named = cluster({"issuer": "https://kubernetes.default.svc"})
    assert find_issuer(named) == issuer_for(config(), named) == "https://kubernetes.default.svc"
    assert issuer_for(config("issuer: 'https://own'"), named) == "https://own"


@pytest.mark.parametrize("code", [403, 404])
def test_an_api_server_that_does_not_publish_its_keys_leads_to_a_file_of_them(code: int) -> None:
    status = {
        "kind": "Status",
        "code": code,
        "message": 'User "u" cannot get path "/openid/v1/jwks"',
    }
    with raises(KeySetError) as error:
        keys_for(config(), cluster(status, code))
    assert "cluster.keys" in error.value.hint


def test_keys_of_a_file_replace_those_of_the_api_server(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text(NEW.jwks)
    named = config("keys: keys.json, issuer: x", tmp_path)
    found = signing_keys_for(named, cluster({"keys": json.loads(OLD.jwks)["keys"]}))
    assert (key_ids(found.key_set), found.issuer) == (["new"], "x")
    (tmp_path / "keys.json").write_text(BOTH)
    assert key_ids(keys_for(named, cluster({}))) == ["new", "old"], "it is read again"


@pytest.mark.parametrize("alg", ["RS384", "RS512", "ES256", "HS256", "none", ""])
def test_a_key_verifies_by_its_own_algorithm_alone(alg: str) -> None:
    assert is_signed(OLD.sign({}), OLD.jwks)
    assert not is_signed(OLD.sign({}, {"alg": alg}), OLD.jwks)


def test_a_token_that_names_no_key_is_tried_with_each() -> None:
    assert is_signed(NEW.sign({}, {"kid": ""}), BOTH)
    assert not is_signed(NEW.sign({}, {"kid": "old"}), BOTH)
    assert not is_signed(STRANGER.sign({}, {"kid": ""}), BOTH)


texts = st.sampled_from(["RSA", "EC", "P-256", "P-521", "secp256k1", "AQAB", "old"]) | st.text()
keys = st.fixed_dictionaries(
    {"kty": st.sampled_from(["RSA", "EC"])},
    optional={name: texts for name in ("kid", "alg", "n", "e", "crv", "x", "y")},
)


@given(several=st.lists(keys, min_size=1, max_size=3))
def test_arbitrary_keys_verify_nothing_and_break_nothing(several: list[dict[str, str]]) -> None:
    own = json.loads(OLD.jwks)["keys"]
    assert is_signed(OLD.sign({}), json.dumps({"keys": [*several, *own]}))
    with suppress(KeySetError):
        assert not is_signed(OLD.sign({}), json.dumps({"keys": several}))


class Verifying:
    """A verifier, and the API server that its keys are read from."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.served = OLD.jwks
        self.error = ""
        self.reads = 0
        self.is_started = False
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.verifier = TokenVerifier(self._read, self.clock)

    def _read(self) -> str:
        self.reads += 1
        self.may_go_on.wait(20)
        if self.error:
            raise DaypassError(self.error)
        return key_set(self.served)

    async def says(self, signer: Signer) -> bool | str:
        """What is said about a token by this signer, in the end."""
        token = signer.sign({})
        if not self.is_started:
            self.is_started = True
            self.verifier.start()
        try:
            return self.verifier.is_signed(token)
        except UnreadKeyError as unknown:
            await unknown.reading
            return await self.says(signer)
        except RefusedError as refused:
            return refused.reason


def with_a_verifier(test: Callable[[Verifying], Awaitable[None]]) -> Callable[[], None]:
    """Run a test in an event loop."""

    async def run() -> None:
        it = Verifying()
        try:
            await test(it)
        finally:
            it.verifier.stop()

    return lambda: asyncio.run(run())


@with_a_verifier
async def test_forged_key_names_cause_one_reading_a_second(it: Verifying) -> None:
    for _ in range(3):
        for number in range(100):
            assert await it.says(STRANGER.named(f"forged-{number}")) is False
        it.clock.advance(AGAIN_SECONDS)
    assert it.reads == 3


@with_a_verifier
async def test_a_forged_token_with_a_known_key_name_causes_no_reading(it: Verifying) -> None:
    assert await it.says(OLD) is True
    it.clock.advance(3600)
    assert await it.says(STRANGER.named("old")) is False
    assert it.reads == 1


@with_a_verifier
async def test_known_keys_go_on_while_they_cannot_be_read_and_others_are_unknown(
    it: Verifying,
) -> None:
    it.error = "it is down"
    assert await it.says(OLD) == "unknown"
    assert not it.verifier.are_known
    it.error = ""
    it.clock.advance(AGAIN_SECONDS)
    assert await it.says(OLD) is True
    it.error = "it is down"
    it.clock.advance(AGAIN_SECONDS)
    assert await it.says(NEW) == "unknown"
    assert await it.says(OLD) is True
    assert "it is down" in it.verifier.last_error


@with_a_verifier
async def test_no_token_waits_long_for_keys_that_do_not_come(it: Verifying) -> None:
    assert await it.says(OLD) is True
    it.clock.advance(AGAIN_SECONDS)
    it.may_go_on.clear()
    with pytest.raises(UnreadKeyError):
        it.verifier.is_signed(NEW.sign({}))
    for seconds in (WAIT_SECONDS, 3600):
        it.clock.advance(seconds)
        assert await it.says(NEW) == "unknown"
        assert await it.says(OLD) is True
    it.may_go_on.set()
