"""Which hosts, paths and headers pass the gate of one machine, against the decision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daypass.render.envoy.settings import Timeouts
from daypass.rules.decision import Rules
from daypass.rules.reasons import Reason
from support.doors import EKF
from support.gates import RunningGate, running_gate
from support.h2c import Http2
from support.hostile_targets import (
    NO_HTTP,
    OPENINGS,
    PATTERNS,
    UNHTTP,
    Target,
    assert_targets_agree,
    decided,
    outcome,
)
from support.raw import Answer, Reconnecting, exchange, get
from support.single_changes import RULES, known
from support.tokens import AUDIENCE, Signer, good_claims

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
    soon = Timeouts(close_seconds=0.05)  # many targets end the connection
    with running_gate(folder, OURS.jwks, published=known(), rules=rules, timeouts=soon) as running:
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


_LABELS = st.sampled_from((
    "iris", "alice", "a-b", "a-b-c", "-", "", "X", "a_b", "xn--80ak6aa92e", "example", "com", "org",
    "serving", "any", "svc", "cluster", "local", "*", "%2e", "1", "a" * 63,
))  # fmt: skip
_ENDS = st.sampled_from((
    "", ".example.com", ".EXAMPLE.com", ".serving.example.org", ".any.example.org", ".svc",
    ".svc.cluster.local", ".example.com.", ".example.com:443", ".serving.example.org:x",
))  # fmt: skip
_HOSTS = st.builds("{}{}".format, st.lists(_LABELS, max_size=4).map(".".join), _ENDS)
_PIECES = st.sampled_from((
    "serving", "alice", "bob", "iris", "/", "/", "/", ".", "..", "%2e", "%2F", "%5c", "\\", ";",
    "?", "%", "%61", "%20", "A", "=", "&", "//", "v1", ":predict", "%25", "%00", "%C3%A9", "~", '"',
))  # fmt: skip
_PATHS = st.lists(_PIECES, max_size=12).map(lambda pieces: f"/{''.join(pieces)}")


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    host=st.one_of(st.just(EKF), _HOSTS),
    path=st.one_of(_PATHS, _PATHS.map(lambda path: f"/serving/alice{path}")),
    audience=st.sampled_from([AUDIENCE, *OPENINGS.audiences]),
)
def test_any_target_has_the_reason_of_the_decision(
    gate: RunningGate, rules: Rules, host: str, path: str, audience: str
) -> None:
    target = Target(host=host, path=path, audience=audience if rules.audiences else AUDIENCE)
    token = sign(target.audience)
    with gate.connect() as connection:
        answer = exchange(connection, get(*target.lines(token), host=host, path=path))
    found = outcome(answer)
    if found != UNHTTP:
        assert found == decided(target, rules, token), target
