"""Which hosts, paths and headers pass Istio's gate, against the decision."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from daypass.rules.reasons import Reason
from support.deadline import eventually
from support.hostile_targets import (
    LEFT_ALONE,
    NO_HTTP,
    OPENINGS,
    REWRITTEN,
    Target,
    assert_targets_agree,
)
from support.istio_gates import GUARDED, IstioEnv, route, running_istio_gate, served
from support.raw import Answer, Reconnecting, get
from support.tokens import good_claims

pytestmark = pytest.mark.timeout(600)

HOSTS = ", ".join(f"'{host.text}'" for host in OPENINGS.hosts)
AUDIENCES = ", ".join(
    f"{audience}: {{hosts: [{', '.join(repr(host.text) for host in opening.hosts)}],"
    f" paths: [{', '.join(repr(path.text) for path in opening.paths)}]}}"
    for audience, opening in OPENINGS.audiences.items()
)


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IstioEnv]:
    """A gateway that serves every host by a wildcard, and guards some."""
    gate = f"hosts: [{HOSTS}], audiences: {{{AUDIENCES}}}"
    with running_istio_gate(tmp_path_factory.mktemp("gate"), gate) as running:
        running.apply(served("*"), route("*", "echo"))
        eventually(
            "any host is served",
            lambda: (
                running.send(host="x.example.org").code == 200
                and running.send(host="x.y.example.com").code == 401
            ),
        )
        yield running


def test_each_target_has_the_reason_of_the_decision(gate: IstioEnv) -> None:
    def ask(target: Target, token: str) -> Answer:
        return asking.ask(get(*target.lines(token), host=target.host, path=target.path))

    def sign(audience: str) -> str:
        return gate.signer.sign(good_claims(iss=gate.issuer, aud=[audience]))

    def connect() -> ssl.SSLSocket:
        return gate.gateway.connect(name=GUARDED, authority_pem=gate.public.pem)

    rules = replace(OPENINGS, issuer=gate.issuer, published=None)
    with closing(Reconnecting(connect)) as asking:
        counts = assert_targets_agree(ask, rules, sign, NO_HTTP, LEFT_ALONE, REWRITTEN)
    assert Reason.AUDIENCE_OPENING in counts
