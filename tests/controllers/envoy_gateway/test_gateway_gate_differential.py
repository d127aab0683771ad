"""Envoy Gateway with the authorizer, and the pure decision, asked the same: no difference."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controllers.gateway_environment import HOST, PUBLIC, GatewayEnv, config
from daypass._core.jwt import decode_unverified
from daypass._core.secret import Secret
from daypass.gate.signing_keys import is_signed
from daypass.rules.decision import Decision, GateRequest, TokenReview, decide
from daypass.rules.patterns import HostPattern
from support.controlplane import ControlPlane
from support.gate_differences import assert_documented, compare
from support.raw import connect
from support.single_changes import RULES, Keys, Sent, single_changes
from support.tokens import AUDIENCE, ISSUER, Signer

pytestmark = pytest.mark.timeout(1800)


def reviewed(plane: ControlPlane, token: str) -> TokenReview:
    """What the API server itself says about a token."""
    status = plane.review(Secret(token), AUDIENCE)
    return TokenReview(
        authenticated=status.get("authenticated", False),
        user=status.get("user", {}).get("username", ""),
        audiences=tuple(status.get("audiences", ())),
    )


def test_each_single_change_of_a_token_has_the_reason_of_the_decision(
    env: GatewayEnv, plane: ControlPlane
) -> None:
    rules = replace(
        RULES, hosts=(HostPattern.parse(HOST),), issuer=ISSUER, audience=AUDIENCE, published=None,
        longest_lifetime_seconds=config().longest_lifetime_seconds,
    )  # fmt: skip
    claims = decode_unverified(env.bearer().removeprefix("Authorization: Bearer "))[1]
    named = {name: claims[name] for name in ("sub", "kubernetes.io")}
    keys = Keys(ours=plane.signer, stranger=Signer(), issuer=ISSUER, audience=AUDIENCE, other=named)

    jwks = plane.admin.request("GET", "/openid/v1/jwks").body.decode()

    def decided(sent: Sent, now_unix: float) -> Decision:
        request = GateRequest(host=sent.host, authorizations=sent.authorization)
        signed = is_signed(sent.token, jwks)
        decision = decide(request, rules, now_unix, signed=signed)
        if not decision.is_allowed:
            return decision
        review = reviewed(plane, sent.token)
        return decide(request, rules, now_unix, signed=signed, token_review=review)

    pairs = compare(
        single_changes(keys),
        keys,
        lambda: connect(env.port, authority_pem=PUBLIC.pem, name=HOST),
        decided,
    )
    assert_documented(pairs, "authorizer")
