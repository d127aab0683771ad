"""What Envoy Gateway itself makes of a token's claims, and `check: both`."""

from __future__ import annotations

from typing import Any

import pytest

from daypass._core.jwt import decode_unverified
from daypass.render.objects import GATE_KEYS, Object
from daypass.rules.reasons import Reason
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.envoy_gateway import apply
from support.gate_differences import assert_refused
from support.gateway_stage import APPS, INFRA, Stage, config, gate, headers_seen
from support.objects import config_map, make
from support.tokens import AUDIENCE, ISSUER, Signer

pytestmark = pytest.mark.timeout(1800)

BOTH = "check: both\n  forwardToken: true"


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
    stage: Stage, plane: ControlPlane
) -> None:
    bearer = stage.bearer()
    claims = claims_of(bearer)
    for claim, value, code in (
        ("kubernetes.io.secret.uid", claims["kubernetes.io"]["secret"]["uid"], 200),
        ("jti", claims["jti"], 403),
    ):
        theirs = denying(plane, claim, value)
        with stage.added(theirs):
            eventually("it is accepted", lambda: stage.said(theirs, "Accepted")[0] == "True")  # noqa: B023 - at once
            eventually("it is in force", lambda: stage.send().body == b"Jwt is missing", seconds=60)
            eventually(claim, lambda: stage.send(bearer).code == code, seconds=60)  # noqa: B023


def test_check_both_accepts_a_token_that_passes_authorizer_and_keys(
    stage: Stage, plane: ControlPlane
) -> None:
    of = config(BOTH)
    apply(plane, config_map(GATE_KEYS, INFRA, {"jwks": keys(plane)}))
    with stage.authorizer(BOTH), stage.changed(gate("SecurityPolicy", of)):

        def in_force() -> bool:
            return "authorization" in headers_seen(stage.send(stage.bearer()))

        eventually("the gate is as it should be", in_force, seconds=120)
        assert headers_seen(stage.send(stage.bearer()))["kubeflow-userid"] == stage.identity.user
        assert_refused(stage.send(), Reason.NO_TOKEN)
        assert_refused(stage.send(stage.bearer(bound=False)), Reason.UNBOUND)


def test_check_both_refuses_a_token_that_no_key_verifies(stage: Stage, plane: ControlPlane) -> None:
    bearer = stage.bearer()
    apply(plane, config_map(GATE_KEYS, INFRA, {"jwks": Signer().jwks}))
    with stage.authorizer(BOTH), stage.changed(gate("SecurityPolicy", config(BOTH))):
        eventually("the keys are not known", lambda: stage.send(bearer).code == 401, seconds=60)
        apply(plane, config_map(GATE_KEYS, INFRA, {"jwks": keys(plane)}))
        eventually("new keys are taken", lambda: stage.send(bearer).code == 200, seconds=60)


def test_check_both_is_closed_without_keys(stage: Stage, plane: ControlPlane) -> None:
    with (
        stage.authorizer(BOTH),
        stage.changed(gate("SecurityPolicy", config(BOTH))),
        stage.without(config_map(GATE_KEYS, INFRA, {"jwks": keys(plane)})),
    ):
        assert stage.closed(stage.bearer()).code in (403, 500)
