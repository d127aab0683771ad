"""Whose address the gate of one machine reports: in its log, to the authorizer, and upstream."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from daypass.gate.signing_keys import is_signed
from support.deadline import eventually
from support.doors import access_log
from support.fake_reviews import fake_reviews
from support.gate_differences import seen
from support.gates import RunningGate, running_gate
from support.tokens import Signer, good_claims
from wire.authorizers import reviewed_gate

SIGNER = Signer("ours")
CLAIMED = {
    "nothing": [],
    "an address": ["X-Forwarded-For: 203.0.113.9"],
    "several": ["X-Forwarded-For: 203.0.113.9, 198.51.100.7, 192.0.2.1"],
    "on several lines": ["X-Forwarded-For: 203.0.113.9", "x-forwarded-for: 198.51.100.7"],
    "IPv6": ["X-Forwarded-For: 2001:db8::9, [2001:db8::7]:443"],
    "garbage": ["X-Forwarded-For: junk, , 127.0.0.1x, %00"],
    "empty": ["X-Forwarded-For: "],
    "a very long list": ["X-Forwarded-For: " + ", ".join(["203.0.113.9"] * 4000)],
    "underscores": ["x_forwarded_for: 203.0.113.9"],
    "a header of Envoy's": ["x-envoy-external-address: 203.0.113.9", "x-envoy-internal: true"],
}


@pytest.fixture(scope="module", params=["jwt", "review"])
def gate(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningGate]:
    folder: Path = tmp_path_factory.mktemp("gate")
    if request.param == "jwt":
        with running_gate(folder, SIGNER.jwks) as running:
            yield running
        return
    with (
        fake_reviews(lambda token: is_signed(token, SIGNER.jwks)) as reviews,
        reviewed_gate(folder, SIGNER, reviews) as reviewed,
    ):
        yield reviewed.gate


def test_it_is_the_peers_whatever_the_client_claims(gate: RunningGate) -> None:
    for claimed, lines in CLAIMED.items():
        token = SIGNER.sign({**good_claims(), "jti": claimed})
        identifier = f"X-Request-Id: {claimed.replace(' ', '-')}"
        answer = gate.send([f"Authorization: Bearer {token}", identifier, *lines])
        assert seen(answer)["x-forwarded-for"] == "127.0.0.1", claimed
        assert b"203.0.113.9" not in answer.body, claimed

    def logged() -> list[str] | None:
        clients = [entry["client"] for entry in access_log(gate.folder) if entry["code"] == 200]
        return clients if len(clients) >= len(CLAIMED) else None

    assert set(eventually("all are logged", logged, seconds=60)) == {"127.0.0.1"}


def test_no_client_takes_the_address_off_by_naming_it_in_connection(gate: RunningGate) -> None:
    lines = ["X-Forwarded-For: 203.0.113.9", "Connection: x-forwarded-for"]
    answer = gate.send([f"Authorization: Bearer {SIGNER.sign(good_claims())}", *lines])
    assert answer.code == 400
