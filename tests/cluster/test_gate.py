"""The gate on Envoy, with tokens and keys of a real API server."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from daypass._core.jwt import decode_unverified
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


def test_a_name_in_a_header_or_a_token_outside_of_authorization_is_no_token(gate: Gate) -> None:
    token = gate.bearer().removeprefix("Authorization: Bearer ")
    for line in (
        "kubeflow-userid: admin", "kubeflow_userid: admin", f"Cookie: access_token={token}",
    ):  # fmt: skip
        refused(gate.send(line), 401, Reason.NO_TOKEN)
    refused(gate.send(path=f"/pipeline?access_token={token}"), 401, Reason.NO_TOKEN)


def test_a_long_lived_token_is_refused_with_the_advice_to_exchange_it(gate: Gate) -> None:
    answer = gate.send(f"Authorization: Bearer {gate.identity.token.reveal()}")
    refused(answer, 401, Reason.LONG_LIVED)
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_an_unbound_token_is_refused(gate: Gate) -> None:
    refused(gate.send(gate.bearer(bound=False)), 403, Reason.UNBOUND)


def test_a_token_for_another_audience_or_for_several_is_refused(gate: Gate) -> None:
    for audiences in (["other"], [], [AUDIENCE + "x"], ["GATE.EXAMPLE.COM"]):
        refused(gate.send(gate.bearer(audiences=audiences)), 403, Reason.AUDIENCE)
    for other in ("other", "https://kubernetes.default.svc", AUDIENCE + "x"):
        for audiences in ([AUDIENCE, other], [other, AUDIENCE]):
            answer = gate.send(gate.bearer(audiences=audiences))
            refused(answer, 403, Reason.SEVERAL_AUDIENCES)


def test_a_token_that_lives_longer_than_the_policy_allows_is_refused(gate: Gate) -> None:
    assert gate.send(gate.bearer(lifetime_seconds=7200)).code == 200
    refused(gate.send(gate.bearer(lifetime_seconds=7260)), 401)


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def resigned(token: str, header: Any, key: bytes) -> str:
    """The same claims under another header, signed by HMAC with `key`."""
    body = f"{part(header)}.{token.split('.')[1]}"
    signature = hmac.digest(key, body.encode(), "sha256")
    return f"{body}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def test_a_token_of_another_algorithm_is_refused(gate: Gate) -> None:
    token = gate.bearer().removeprefix("Authorization: Bearer ")
    header = decode_unverified(token)[0]
    keys = gate.plane.admin.get("/openid/v1/jwks")["keys"]
    public = json.dumps(keys[0]).encode()
    hostile = [
        f"{part({**header, 'alg': 'none'})}.{token.split('.')[1]}.",
        f"{part({**header, 'alg': 'none'})}.{token.split('.')[1]}.AAAA",
        resigned(token, {**header, "alg": "HS256"}, public),
        resigned(token, {**header, "alg": "HS256"}, base64.urlsafe_b64decode(keys[0]["n"] + "==")),
        f"{part({**header, 'kid': '../../etc/passwd'})}.{token.split('.', 1)[1]}",
        f"{part({**header, 'kid': 'unknown'})}.{token.split('.', 1)[1]}",
        f"{part({**header, 'jku': 'https://127.0.0.1/keys'})}.{token.split('.', 1)[1]}",
    ]
    for bent in hostile:
        answer = gate.send(f"Authorization: Bearer {bent}")
        assert answer.code == 401, (answer, decode_unverified(bent)[0])


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
