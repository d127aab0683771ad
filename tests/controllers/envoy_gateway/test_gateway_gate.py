"""The gate on a real Envoy Gateway: what passes, what is refused, and that it never fails open."""

from __future__ import annotations

import socket

import pytest

from controllers.gateway_environment import (
    DOORS,
    FACTS,
    HOST,
    GatewayEnv,
    config,
    gate,
)
from daypass._core.jwt import decode_unverified
from daypass.render.manifests import gate_objects
from daypass.render.names import GATE
from daypass.rules.reasons import Reason
from support.authority import Authority
from support.children import Child
from support.clusters import apply
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.doors import post
from support.envoy_gateway import delete, endpoints
from support.gate_differences import FORGERIES, assert_passed_as, assert_refused, seen
from support.ports import free_ports
from support.tokens import AUDIENCE, Signer

pytestmark = pytest.mark.timeout(1800)

REVIEWED = r'daypass_gate_cache_lookups_total\{gate="default",result="miss"\}'
"""Tokens that a TokenReview was sent for, or will be."""


def test_the_rendered_policies_are_accepted(env: GatewayEnv) -> None:
    for value in gate_objects(config(), FACTS):
        if value["kind"] in ("SecurityPolicy", "ClientTrafficPolicy", "BackendTLSPolicy"):
            status, message = env.condition(value, "Accepted")
            assert status == "True", (value["metadata"], message)


def test_a_token_is_forwarded_only_if_the_gate_says_so(env: GatewayEnv) -> None:
    with env.authorizer("check: review, forwardToken: true"):

        def forwarded() -> str | None:
            answer = env.send(bearer)
            return seen(answer).get("authorization") if answer.code == 200 else None

        bearer = env.bearer()
        token = eventually("it is forwarded", forwarded)
        assert token == bearer.removeprefix("Authorization: ")


@pytest.mark.parametrize("forged", [*FORGERIES, ["Connection: close, authorization"]])
def test_identity_headers_of_a_client_never_survive(env: GatewayEnv, forged: list[str]) -> None:
    answer = env.send(env.bearer(), *forged)
    if answer.code == 200:
        assert_passed_as(answer, env.identity.user)
    else:
        assert answer.code in (400, 401)
    assert env.send(*forged).code in (400, 401)


@pytest.mark.parametrize("path", ["/", "/pipeline?x=y", "/kubernetesx", "/kubernetes/../pipeline"])
def test_without_a_token_nothing_of_the_host_is_reached(env: GatewayEnv, path: str) -> None:
    assert_refused(env.send(path=path), Reason.NO_TOKEN)


def test_forged_foreign_and_expired_tokens_reach_no_api_server(
    env: GatewayEnv, plane: ControlPlane
) -> None:
    assert env.usual is not None
    claims = decode_unverified(env.bearer().removeprefix("Authorization: Bearer "))[1]
    stranger = Signer()
    before = env.usual.metric(REVIEWED)
    for token, reason in (
        (stranger.sign(claims), Reason.SIGNATURE),
        (stranger.sign(claims, {"kid": plane.signer.key_id}), Reason.SIGNATURE),
        (plane.signer.sign({**claims, "iss": "https://elsewhere"}), Reason.FOREIGN_ISSUER),
        (plane.signer.sign({**claims, "exp": claims["iat"] - 60}), Reason.EXPIRED),
    ):
        assert_refused(env.send(f"Authorization: Bearer {token}"), reason)
    assert env.usual.metric(REVIEWED) == before
    assert env.send(env.bearer()).code == 200
    assert env.usual.metric(REVIEWED) == before + 1


def test_plain_http_is_guarded_too(env: GatewayEnv) -> None:
    request = post("/pipeline", host=HOST, method="GET", headers=(), body=b"")
    with socket.create_connection(("127.0.0.1", env.plain_port), timeout=20) as connection:
        connection.sendall(request)
        assert connection.recv(65536).startswith(b"HTTP/1.1 401 ")


def test_while_the_authorizer_is_down_nobody_gets_in(env: GatewayEnv) -> None:
    bearer = env.bearer()
    (closed,) = free_ports(1)
    with env.changed(endpoints(GATE, DOORS, closed)):
        assert env.closed(bearer).code == 503
        assert env.send().code == 503


def test_while_the_authorizer_hangs_nobody_gets_in(env: GatewayEnv) -> None:
    bearer = env.bearer()
    assert env.usual is not None
    assert env.send(bearer).code == 200
    with env.usual.child.suspended():
        assert env.send(bearer).code == 503
        assert env.send().code == 503
    env.wait()


def test_without_envoy_gateway_the_gate_goes_on(
    env: GatewayEnv, plane: ControlPlane, envoy_gateway: Child
) -> None:
    identity = plane.make_identity()
    token = plane.make_token(identity, audiences=[AUDIENCE])
    one, other = f"Authorization: Bearer {token.reveal()}", env.bearer()
    with envoy_gateway.suspended():
        assert (env.send(one).code, env.send(other).code) == (200, 200)
        plane.admin.delete(identity.secret_path)
        eventually("it is refused", lambda: env.send(one).code == 401, seconds=60)
        assert env.send(other).code == 200
    env.wait()


@pytest.mark.parametrize("wrong", ["authority", "name"])
def test_an_authorizer_of_another_authority_or_name_is_not_asked(
    env: GatewayEnv, wrong: str
) -> None:
    bearer = env.bearer()
    authority = Authority() if wrong == "authority" else None
    shown = "daypass-gate.elsewhere.svc" if wrong == "name" else ""
    with env.authorizer(authority=authority, shown=shown) as other:
        assert env.closed(bearer).code == 503
        assert other.events == []


@pytest.mark.parametrize("kind", ["ReferenceGrant", "BackendTLSPolicy"])
def test_without_the_way_to_the_authorizer_nobody_gets_in(env: GatewayEnv, kind: str) -> None:
    bearer = env.bearer()
    with env.without(gate(kind)):
        assert env.closed(bearer).code in (403, 503)
        assert env.send().code in (403, 503)


def test_nobody_slips_in_while_a_refused_policy_comes_back(env: GatewayEnv) -> None:
    forged = "kubeflow-userid: system:serviceaccount:kube-system:x"
    bearer = env.bearer()
    grant = gate("ReferenceGrant")
    for _ in range(3):
        delete(env.plane, grant)
        eventually("it is refused", lambda: env.send(bearer).code == 403, seconds=60)
        apply(env.plane, grant)
        codes = {env.send(forged).code for _ in iter(lambda: env.send(bearer).code, 200)}
        assert codes <= {401, 403, 503}
    env.wait()
