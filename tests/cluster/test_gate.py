"""The gate on Envoy, with tokens and keys of a real API server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from daypass.rules.reasons import Reason
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.gate_differences import FORGERIES, assert_passed_as, reason_in
from support.identities import Identity
from support.raw import Answer, bearer, exchange, get
from support.up import HOST, Up
from support.up_gate import AUDIENCE, gate_up


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A running gate before the echo service, and an identity of its API server."""

    up: Up
    identity: Identity
    plane: ControlPlane
    check: str

    def send(self, *headers: str, path: str = "/pipeline") -> Answer:
        with self.up.connect("gate") as connection:
            return exchange(connection, get(*headers, host=HOST, path=path))

    def bearer(self, identity: Identity | None = None, **shape: Any) -> str:
        wish = {"audiences": [AUDIENCE], **shape}
        return bearer(self.plane.make_token(identity or self.identity, **wish))

    def newcomer(self) -> tuple[Identity, str]:
        """Another identity and a header line with its token, which the gate lets pass by now."""
        identity = self.plane.make_identity()
        line = self.bearer(identity)
        eventually("its credential is published", lambda: self.send(line).code == 200)
        return identity, line


@pytest.fixture(scope="module", params=["jwt", "review"])
def gate(
    request: pytest.FixtureRequest,
    control_plane: ControlPlane,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Gate]:
    check = str(request.param)
    folder = tmp_path_factory.mktemp("gate")
    with gate_up(folder, control_plane, check=check) as up:
        identity = control_plane.make_identity()
        made = Gate(up=up, identity=identity, plane=control_plane, check=check)
        line = made.bearer()
        eventually("it has the signing keys", lambda: made.send(line).code == 200)
        yield made


def refused(answer: Answer, code: int, reason: Reason | None = None) -> None:
    assert answer.code == code, answer
    assert answer.headers["content-type"] == "application/json"
    assert "location" not in answer.headers
    assert (answer.json["kind"], answer.json["code"]) == ("Status", code)
    assert reason is None or reason_in(answer) is reason
    assert AUDIENCE in answer.json["message"]


def test_a_token_for_the_gate_passes_and_the_service_learns_who_calls_and_not_the_token(
    gate: Gate,
) -> None:
    assert_passed_as(gate.send(gate.bearer()), gate.identity.user)


@pytest.mark.parametrize("forged", [*FORGERIES, ["Connection: close, authorization"]])
def test_identity_headers_of_a_client_never_survive(gate: Gate, forged: list[str]) -> None:
    answer = gate.send(gate.bearer(), *forged)
    if answer.code == 200:
        assert_passed_as(answer, gate.identity.user)
    else:
        refused(answer, 401)


def test_a_long_lived_token_is_refused_with_the_advice_to_exchange_it(gate: Gate) -> None:
    answer = gate.send(f"Authorization: Bearer {gate.identity.token.reveal()}")
    refused(answer, 401, Reason.LONG_LIVED)
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_the_logs_name_the_user_and_hold_no_token(gate: Gate) -> None:
    line = gate.bearer()
    assert gate.send(line).code == 200
    logs = [*gate.up.runtime.glob("*/envoy.log"), *gate.up.runtime.glob("*/gate-audit.log")]
    assert len(logs) == (1 if gate.check == "jwt" else 2)
    user, signature = gate.identity.user, line.rpartition(".")[2]
    eventually(
        "the request is logged", lambda: all(user in log.read_text() for log in logs), seconds=60
    )
    for text in (*(log.read_text() for log in logs), gate.up.words):
        assert signature not in text
    assert [log.stat().st_mode & 0o077 for log in logs[1:]] == [0] * len(logs[1:])


@pytest.mark.parametrize("gate", ["review"], indirect=True)
def test_a_cached_token_bound_to_a_deleted_secret_is_refused(gate: Gate) -> None:
    identity, line = gate.newcomer()
    assert_passed_as(gate.send(line), identity.user)
    gate.plane.admin.delete(identity.secret_path)
    eventually("it is refused", lambda: gate.send(line).code == 401)
    refused(gate.send(line), 401)
