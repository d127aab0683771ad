"""Which hosts, paths and headers pass the gate of one machine, against the decision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from daypass.rules.decision import Rules
from daypass.rules.reasons import Reason
from support.doors import EKF
from support.gates import RunningGate, running_gate
from support.h2c import Http2
from support.hostile_targets import (
    NO_HTTP,
    OPENINGS,
    PATTERNS,
    Target,
    assert_targets_agree,
)
from support.raw import Answer, Reconnecting, get
from support.single_changes import RULES, known
from support.tokens import Signer, good_claims

OURS = Signer("ours")


def sign(audience: str) -> str:
    return OURS.sign(good_claims(aud=[audience]))


@pytest.fixture(
    scope="module", params=[RULES, PATTERNS, OPENINGS], ids=["names", "patterns", "openings"]
)
def rules(request: pytest.FixtureRequest) -> Rules:
    found: Rules = request.param
    return found


@pytest.fixture(scope="module")
def gate(rules: Rules, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGate]:
    folder = tmp_path_factory.mktemp("gate")
    with running_gate(folder, OURS.jwks, published=known(), rules=rules) as running:
        yield running


def test_each_target_has_the_reason_of_the_decision(gate: RunningGate, rules: Rules) -> None:
    with closing(Reconnecting(gate.connect)) as asking:

        def ask(target: Target, token: str) -> Answer:
            lines = target.lines(token)
            return asking.ask(get(*lines, host=target.host, path=target.path))

        counts = assert_targets_agree(ask, rules, sign, NO_HTTP)
    expected = {Reason.ALLOWED, Reason.NOT_GUARDED}
    if rules.audiences:
        expected |= {Reason.AMBIGUOUS, Reason.AUDIENCE_OPENING}
    assert counts.keys() == expected


def test_each_target_has_the_reason_of_the_decision_over_http2(
    gate: RunningGate, rules: Rules
) -> None:
    connections = list[Http2]()

    def ask(target: Target, token: str) -> Answer:
        if not connections or connections[-1].closed:
            connections.append(Http2(gate.port, authority_pem=gate.authority.pem, name=EKF))
        lines = (line.partition(":") for line in target.lines(token))
        fields = [
            (":method", "GET"), (":scheme", "https"), (":authority", target.host),
            (":path", target.path), *((name.lower(), value.strip()) for name, _, value in lines),
        ]  # fmt: skip
        reply = connections[-1].request(fields)
        return Answer(code=reply.code, headers=reply.headers, body=reply.body)

    try:
        assert_targets_agree(ask, rules, sign, NO_HTTP)
    finally:
        for each in connections:
            each.__exit__()
