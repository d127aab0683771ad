"""Which hosts, paths and headers pass Istio's gate, against the decision."""

from __future__ import annotations

import json
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
    OPENINGS_KEYS,
    REWRITTEN,
    Target,
    assert_targets_agree,
)
from support.istio_gates import GUARDED, IstioEnv, route, running_istio_gate, served
from support.raw import Answer, Reconnecting, get
from support.tokens import good_claims

pytestmark = pytest.mark.timeout(600)

EVERY_FORM = ", ".join(f"{key}: {json.dumps(value)}" for key, value in OPENINGS_KEYS.items())


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IstioEnv]:
    """A gateway that serves every host by a wildcard, and guards some."""
    with running_istio_gate(tmp_path_factory.mktemp("gate"), EVERY_FORM) as running:
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


def test_where_the_filters_are_missing_no_form_of_a_guarded_host_is_served(gate: IstioEnv) -> None:
    """The backstop knows only the ends of hosts, so it refuses some others, too. While the filters
    are there it leaves those alone.
    """
    guarded = "iris.alice.example.com"
    forms = (guarded, guarded.upper(), f"{guarded}:443", f"{guarded}:99", f"{guarded}.", GUARDED,
             f"x.{guarded}", f"{GUARDED}:99")  # fmt: skip
    refused_with_them = ("kubeflow.example.com", "x.example.org:8443", "10.0.0.1")
    gate.configure("hosts: [ekf.example.com, '{name}.{namespace}.example.com']")
    try:
        eventually("two labels are no host of it", lambda: gate.send(host="iris.alice").code == 200)
        for host in (*refused_with_them, "x.example.org"):
            assert gate.send(host=host).code == 200, host
        for host in forms:
            assert gate.send(host=host).code in (401, 404), host
        with gate.without_filters():
            good = gate.bearer()
            for host in (*forms, *refused_with_them):
                answer = gate.send(good, host=host)
                assert (answer.code, answer.body) == (403, b"RBAC: access denied"), host
            assert gate.send(host="x.example.org").code == 200
    finally:
        gate.configure(EVERY_FORM)
