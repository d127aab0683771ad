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
from daypass._core.reasons import Reason
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.gate_differences import told
from support.identities import Identity
from support.raw import Answer, connect, exchange
from support.up import HOST, Up, running_up, up_config

AUDIENCE = "gate.example.com"
ASKING = pytest.mark.parametrize("gate", ["review", "both"], indirect=True)
"""Those that have an authorizer; the gate with check: jwt is given no view of the cluster here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A running gate before the echo service, and an identity of its API server."""

    up: Up
    identity: Identity
    plane: ControlPlane
    check: str

    def send(self, *headers: str, path: str = "/pipeline") -> Answer:
        """A GET with these header lines."""
        port = int(self.up.ready["listen"]["gate"].rpartition(":")[2])
        pem = self.up.authority_file.read_text()
        lines = [f"GET {path} HTTP/1.1", f"Host: {HOST}", *headers, "", ""]
        with connect(port, authority_pem=pem, name=HOST) as connection:
            return exchange(connection, "\r\n".join(lines).encode())

    def bearer(self, **shape: Any) -> str:
        """An Authorization line with a short-lived token of this shape."""
        token = self.plane.make_token(self.identity, **{"audiences": [AUDIENCE], **shape})
        return f"Authorization: Bearer {token.reveal()}"


@pytest.fixture(scope="module", params=["jwt", "review", "both"])
def gate(
    request: pytest.FixtureRequest,
    control_plane: ControlPlane,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Gate]:
    """Door and gate of one config; the keys are read with the bot's own credentials."""
    check = str(request.param)
    folder = tmp_path_factory.mktemp("gate")
    identity = control_plane.make_identity()
    credentials = folder / "bot.json"
    document = {"type": "daypass", "version": 1, "door": "https://localhost/kubernetes",
                "token": identity.token.reveal(), "audience": AUDIENCE}  # fmt: skip
    credentials.touch(0o600)
    credentials.write_text(json.dumps(document))
    config = up_config(
        control_plane,
        local="{door: '127.0.0.1:0', gate: '127.0.0.1:0', apiServer: external}",
        gate=f"{{audience: {AUDIENCE}, engine: envoy, hosts: [localhost], check: {check}}}",
        policy=f"{{audiences: [{AUDIENCE}], longestLifetime: 2h}}",
    )
    arguments = ["--credentials", str(credentials)]
    if check != "jwt":
        arguments += ["--kubeconfig", str(control_plane.kubeconfig)]
    with running_up(folder, config, arguments=arguments) as up:
        made = Gate(up=up, identity=identity, plane=control_plane, check=check)
        line = made.bearer()
        eventually("it has the signing keys", lambda: made.send(line).code == 200)
        yield made


def headers_seen(answer: Answer) -> dict[str, str]:
    assert answer.code == 200, answer
    return dict(answer.json["headers"])


def refused(answer: Answer, code: int, reason: Reason | None = None) -> None:
    assert answer.code == code, answer
    assert answer.headers["content-type"] == "application/json"
    assert "location" not in answer.headers
    assert (answer.json["kind"], answer.json["code"]) == ("Status", code)
    assert reason is None or told(answer) is reason
    assert AUDIENCE in answer.json["message"]


def test_a_token_for_the_gate_passes_and_the_service_learns_who_calls(gate: Gate) -> None:
    seen = headers_seen(gate.send(gate.bearer()))
    namespace = gate.identity.namespace
    assert seen["kubeflow-userid"] == gate.identity.user
    assert seen["kubeflow-groups"] == (
        f"system:serviceaccounts,system:serviceaccounts:{namespace},system:authenticated"
    )


def test_the_service_does_not_see_the_token(gate: Gate) -> None:
    assert "authorization" not in headers_seen(gate.send(gate.bearer()))


@pytest.mark.parametrize(
    "forged",
    [
        ["kubeflow-userid: admin", "kubeflow-groups: system:masters"],
        ["Kubeflow-UserID: admin", "KUBEFLOW-GROUPS: system:masters"],
        ["kubeflow-userid: admin", "kubeflow-userid: admin2"],
        ["kubeflow_userid: admin", "kubeflow_groups: system:masters"],
        ["Connection: kubeflow-userid, kubeflow-groups"],
        ["Connection: close, authorization"],
    ],
)
def test_identity_headers_of_a_client_never_survive(gate: Gate, forged: list[str]) -> None:
    answer = gate.send(gate.bearer(), *forged)
    if answer.code == 200:
        seen = {name.replace("_", "-"): value for name, value in headers_seen(answer).items()}
        assert seen["kubeflow-userid"] == gate.identity.user
        assert "masters" not in seen["kubeflow-groups"]
    else:
        refused(answer, 401)


@pytest.mark.parametrize("forged", ["kubeflow-userid: admin", "kubeflow_userid: admin"])
def test_without_a_token_nobody_passes_by_a_header(gate: Gate, forged: str) -> None:
    refused(gate.send(forged), 401, Reason.NO_TOKEN)


def test_a_long_lived_token_is_refused_with_the_advice_to_exchange_it(gate: Gate) -> None:
    answer = gate.send(f"Authorization: Bearer {gate.identity.token.reveal()}")
    refused(answer, 401, Reason.LONG_LIVED)
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_an_unbound_token_is_refused(gate: Gate) -> None:
    refused(gate.send(gate.bearer(bound=False)), 403, Reason.UNBOUND)


@pytest.mark.parametrize("audiences", [["other"], [], [AUDIENCE + "x"], ["GATE.EXAMPLE.COM"]])
def test_a_token_for_another_audience_is_refused(gate: Gate, audiences: list[str]) -> None:
    refused(gate.send(gate.bearer(audiences=audiences)), 403, Reason.AUDIENCE)


@pytest.mark.parametrize("other", ["other", "https://kubernetes.default.svc", AUDIENCE + "x"])
def test_a_token_for_several_audiences_is_refused(gate: Gate, other: str) -> None:
    for audiences in ([AUDIENCE, other], [other, AUDIENCE]):
        answer = gate.send(gate.bearer(audiences=audiences))
        refused(answer, 403, Reason.SEVERAL_AUDIENCES)


def test_a_token_that_lives_longer_than_the_policy_allows_is_refused(gate: Gate) -> None:
    headers_seen(gate.send(gate.bearer(lifetime_seconds=7200)))
    refused(gate.send(gate.bearer(lifetime_seconds=7260)), 401)


@pytest.mark.parametrize(
    "bend",
    [
        lambda line: line.replace("Bearer", "bearer"),
        lambda line: line.replace("Bearer ", "Bearer  "),
        lambda line: line + " junk",
        lambda line: line + ",Bearer x.y.z",
        lambda line: line.replace("Bearer ", "Basic eDp5, Bearer "),
        lambda line: line[:-6] + "AAAAAA",
        lambda line: line + "\r\nAuthorization: Bearer x.y.z",
        lambda line: "Authorization: Bearer x.y.z\r\n" + line,
        lambda line: line.replace("Authorization: Bearer ", "Authorization: "),
        lambda line: line.replace("Authorization: Bearer ", "Cookie: access_token="),
    ],
)
def test_an_ambiguous_authorization_header_is_refused(gate: Gate, bend: Any) -> None:
    answer = gate.send(bend(gate.bearer()))
    assert answer.code in (400, 401), answer


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


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": [AUDIENCE], "exp": 4102444800, "sub": "system:serviceaccount:kube-system:admin"},
        {"aud": AUDIENCE, "exp": "4102444800", "sub": "admin"},
        {"aud": [AUDIENCE], "sub": "system:serviceaccount:a:b"},
    ],
)
def test_claims_without_a_signature_of_the_api_server_are_refused(
    gate: Gate, claims: dict[str, Any]
) -> None:
    whole = {"iss": "https://kubernetes.default.svc", "iat": 0, **claims}
    token = f"{part({'alg': 'RS256', 'kid': 'x'})}.{part(whole)}.c2lnbmF0dXJl"
    # What a review would not change is decided before it, and there is no signature to look at.
    codes = (401, 403) if gate.check == "review" else (401,)
    assert gate.send(f"Authorization: Bearer {token}").code in codes


@pytest.mark.parametrize("size", [20_000, 1_000_000])
def test_a_huge_token_is_refused(gate: Gate, size: int) -> None:
    assert gate.send(f"Authorization: Bearer {'a' * size}.b.c").code in (0, 401, 431)
    headers_seen(gate.send(gate.bearer()))


def test_a_token_in_the_query_is_no_token(gate: Gate) -> None:
    token = gate.bearer().removeprefix("Authorization: Bearer ")
    refused(gate.send(path=f"/pipeline?access_token={token}"), 401, Reason.NO_TOKEN)


def test_no_token_is_in_any_log(gate: Gate) -> None:
    line = gate.bearer()
    headers_seen(gate.send(line))
    (log,) = gate.up.runtime.glob("*/envoy.log")
    user = gate.identity.user
    eventually("the request is in the log", lambda: user in log.read_text(), seconds=60)
    assert line.rpartition(".")[2] not in log.read_text()
    assert line.rpartition(".")[2] not in gate.up.words


@ASKING
def test_a_cached_token_bound_to_a_deleted_secret_is_refused(gate: Gate) -> None:
    identity = gate.plane.make_identity()
    token = gate.plane.make_token(identity, audiences=[AUDIENCE])
    line = f"Authorization: Bearer {token.reveal()}"
    headers_seen(gate.send(line))
    gate.plane.admin.delete(identity.secret_path)
    eventually("it is refused", lambda: gate.send(line).code == 401)
    refused(gate.send(line), 401)


@ASKING
def test_the_authorizer_logs_the_user_and_never_a_token(gate: Gate) -> None:
    line = gate.bearer()
    headers_seen(gate.send(line))
    (events,) = gate.up.runtime.glob("*/gate-audit.log")
    eventually("the event is there", lambda: gate.identity.user in events.read_text())
    assert line.rpartition(".")[2] not in events.read_text()
    assert events.stat().st_mode & 0o077 == 0
