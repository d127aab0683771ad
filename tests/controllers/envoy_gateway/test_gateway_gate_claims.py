"""What Envoy Gateway itself makes of a token's claims, and the authorizer of its signature."""

from __future__ import annotations

from typing import Any

import pytest

from daypass._core.jwt import decode_unverified
from daypass._core.kubernetes.objects import Object
from daypass.rules.reasons import Reason
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.gate_differences import assert_refused
from support.gateway_environment import APPS, GatewayEnv
from support.objects import make
from support.tokens import AUDIENCE, ISSUER, Signer

pytestmark = pytest.mark.timeout(1800)

REVIEWED = r'daypass_gate_cache_lookups_total\{gate="default",result="miss"\}'
"""Tokens that a TokenReview was sent for, or will be."""


def keys(plane: ControlPlane) -> str:
    return plane.admin.request("GET", "/openid/v1/jwks").body.decode()


def denying(plane: ControlPlane, claim: str, value: str) -> Object:
    """Somebody's policy for the route: the cluster's tokens, but not those with this claim."""
    reference = {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "echo"}
    provider = {
        "name": "cluster",
        "issuer": ISSUER,
        "audiences": [AUDIENCE],
        "localJWKS": {"type": "Inline", "inline": keys(plane)},
    }
    claims = [{"name": claim, "values": [value]}]
    principal = {"jwt": {"provider": "cluster", "claims": claims}}
    rules = [{"action": "Deny", "principal": principal}]
    spec = {
        "targetRefs": [reference],
        "jwt": {"providers": [provider]},
        "authorization": {"defaultAction": "Allow", "rules": rules},
    }
    return make("gateway.envoyproxy.io/v1alpha1", "SecurityPolicy", "denying", APPS, spec=spec)


def claims_of(bearer: str) -> dict[str, Any]:
    return decode_unverified(bearer.removeprefix("Authorization: Bearer "))[1]


def test_a_rule_on_the_secret_of_a_token_is_accepted_and_never_matches(
    env: GatewayEnv, plane: ControlPlane
) -> None:
    bearer = env.bearer()
    claims = claims_of(bearer)
    for claim, value, code in (
        ("kubernetes.io.secret.uid", claims["kubernetes.io"]["secret"]["uid"], 200),
        ("jti", claims["jti"], 403),
    ):
        theirs = denying(plane, claim, value)
        with env.added(theirs):
            eventually("it is accepted", lambda: env.condition(theirs, "Accepted")[0] == "True")  # noqa: B023 - at once
            eventually("it is in force", lambda: env.send().body == b"Jwt is missing", seconds=60)
            eventually(claim, lambda: env.send(bearer).code == code, seconds=60)  # noqa: B023


def test_forged_foreign_and_expired_tokens_reach_no_api_server(
    env: GatewayEnv, plane: ControlPlane
) -> None:
    assert env.usual is not None
    claims = claims_of(env.bearer())
    stranger = Signer()
    before = env.usual.metric(REVIEWED)
    for token, reason in (
        (stranger.sign(claims), Reason.SIGNATURE),
        (stranger.sign(claims, {"kid": plane.signer.key_id}), Reason.SIGNATURE),
        (plane.sign({**claims, "iss": "https://elsewhere"}).reveal(), Reason.FOREIGN_ISSUER),
        (plane.sign({**claims, "exp": claims["iat"] - 60}).reveal(), Reason.EXPIRED),
    ):
        assert_refused(env.send(f"Authorization: Bearer {token}"), reason)
    assert env.usual.metric(REVIEWED) == before
    assert env.send(env.bearer()).code == 200
    assert env.usual.metric(REVIEWED) == before + 1
