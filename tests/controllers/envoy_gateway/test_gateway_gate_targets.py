"""Which hosts, paths and headers pass the gate on a real Envoy Gateway, against the decision."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from controllers.gateway_environment import APPS, HOST, INFRA, PUBLIC, GatewayEnv, config, gate
from daypass.rules.reasons import Reason
from support.clusters import apply
from support.deadline import eventually
from support.envoy_gateway import delete, route
from support.hostile_targets import (
    NO_HTTP,
    OPENINGS,
    OPENINGS_KEYS,
    REWRITTEN_MORE,
    Target,
    assert_targets_agree,
)
from support.raw import Answer, Reconnecting, connect, get
from support.tokens import ISSUER

pytestmark = pytest.mark.timeout(1800)

EVERY_FORM = ", ".join(
    ["check: review", *(f"{key}: {json.dumps(value)}" for key, value in OPENINGS_KEYS.items())]
)


@pytest.fixture(scope="module")
def every_form(env: GatewayEnv) -> Iterator[GatewayEnv]:
    """A Gateway that leads every host to a service, and guards hosts of every form."""
    everything = route("every", APPS, gateway=f"{INFRA}/public", host="x", service="echo")
    del everything["spec"]["hostnames"]
    with env.authorizer(EVERY_FORM), env.changed(gate("SecurityPolicy", config(EVERY_FORM))):
        apply(env.plane, everything)
        try:
            eventually(
                "any host is routed",
                lambda: env.send(host="x.y.example.com").code == 401,
                seconds=60,
            )
            yield env
        finally:
            delete(env.plane, everything)


def test_each_target_has_the_reason_of_the_decision(every_form: GatewayEnv) -> None:
    env = every_form

    def ask(target: Target, token: str) -> Answer:
        return asking.ask(get(*target.lines(token), host=target.host, path=target.path))

    def sign(audience: str) -> str:
        return env.plane.make_token(env.identity, audiences=[audience]).reveal()

    rules = replace(OPENINGS, issuer=ISSUER, published=None)
    with closing(
        Reconnecting(lambda: connect(env.port, authority_pem=PUBLIC.pem, name=HOST))
    ) as asking:
        counts = assert_targets_agree(ask, rules, sign, NO_HTTP, REWRITTEN_MORE)
    assert Reason.AUDIENCE_OPENING in counts
