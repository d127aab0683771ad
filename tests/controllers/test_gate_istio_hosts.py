"""Which hosts, paths and headers pass Istio's gate, where a Gateway serves every host."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial

import pytest

from daypass._core.findings import Finding, Level
from daypass.analysis.checks import find_in_cluster
from daypass.analysis.gateways import GATE_HOSTS
from daypass.rules.reasons import MESSAGES, Reason
from support.deadline import eventually
from support.gate_differences import seen
from support.h2c import Http2
from support.hostile_targets import (
    LEFT_ALONE,
    NO_HTTP,
    OPENINGS,
    OPENINGS_KEYS,
    REWRITTEN,
    Target,
    assert_targets_agree,
)
from support.istio_gates import FORGED, GUARDED, OTHER, IstioEnv, route, running_istio_gate, served
from support.istio_gateway import NAMESPACE
from support.messages import check
from support.raw import Answer, Reconnecting, get
from support.rendered import config_of
from support.tokens import good_claims

pytestmark = pytest.mark.timeout(600)

MADE_UP = "made.up.example.org"
NAMES = (OTHER, MADE_UP, f"{MADE_UP}:8443", f"{MADE_UP}.", "MADE.up", "10.0.0.1", "[::1]:443", "x")
EVERY_FORM = ", ".join(f"{key}: {json.dumps(value)}" for key, value in OPENINGS_KEYS.items())
EVERY = "hosts: ['*']"
DOOR = "/kubernetes/api/v1/namespaces/team/serviceaccounts/bot/token"


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IstioEnv]:
    """A gateway with a VirtualService for any host, as Kubeflow has it."""
    with running_istio_gate(tmp_path_factory.mktemp("gate")) as running:
        running.apply(served("*"), route("*", "echo"))
        eventually("any host is served", lambda: running.send(host=MADE_UP).code == 200)
        yield running


@pytest.fixture
def closed(gate: IstioEnv) -> IstioEnv:
    """The gate with every host guarded."""
    if gate.gate_text != EVERY:
        guard_every_host(gate)
    return gate


def allowed(gate: IstioEnv, header: str, host: str) -> Answer | None:
    """The answer to a request that passes, or None."""
    answer = gate.send(header, host=host)
    return answer if answer.code == 200 else None


def guard_every_host(gate: IstioEnv, *more: str) -> None:
    """Come back once the gate with these keys is in force."""
    gate.configure(", ".join((EVERY, *more)))
    wanted = 200 if more else 401
    eventually(
        "any host is guarded",
        lambda: (a := gate.send(*FORGED, host=MADE_UP)).code == wanted and b"admin" not in a.body,
        seconds=60,
    )


def guard_one_host(gate: IstioEnv) -> None:
    """Come back once the gate guards GUARDED alone, and no other name."""
    gate.configure("")
    eventually(
        "one host is guarded",
        lambda: (gate.send(host=GUARDED).code, gate.send(*FORGED, host=MADE_UP).code) == (401, 200),
        seconds=60,
    )


def test_requests_for_unguarded_host_names_are_not_checked(gate: IstioEnv) -> None:
    guard_one_host(gate)
    for host in NAMES:
        headers = seen(gate.send(*FORGED, host=host))
        assert headers["kubeflow-userid"] == "admin", host
    for host in (GUARDED, GUARDED.upper(), f"{GUARDED}:443", f"{GUARDED}."):
        assert gate.send(*FORGED, host=host).code == 401, host
    (finding,) = looked_at(gate)
    assert finding.level is Level.WARNING
    for values, line in zip(
        (("/every", GUARDED), ("/other", OTHER)), finding.fact.split("\n"), strict=True
    ):
        named = (*values, "Gateway istio-system/public", "gates.default.hosts")
        assert [value for value in named if value not in line] == []
    check(finding.fact, reason=finding.check)


def looked_at(gate: IstioEnv) -> list[Finding]:
    """What `daypass verify` says of names that lead past the gate."""
    found = find_in_cluster(gate.cluster, gate.config)
    return [each for each in found if each.check == GATE_HOSTS]


def test_a_service_for_any_host_serves_what_its_gateway_names_alone(gate: IstioEnv) -> None:
    guard_one_host(gate)
    gate.apply(served(GUARDED))
    try:
        eventually("no other host is served", lambda: gate.send(host=MADE_UP).code == 404)
        eventually("the filters are back", lambda: gate.send(host=GUARDED).code == 401, seconds=60)
        assert gate.send(gate.bearer(), host=GUARDED).code == 200
        for host in (OTHER, *NAMES):
            assert gate.send(*FORGED, host=host).code == 404, host
        assert looked_at(gate) == []
    finally:
        gate.apply(served("*"))
        eventually("any host is served", lambda: gate.send(host=MADE_UP).code != 404)


@pytest.mark.parametrize("host", [GUARDED, *NAMES])
def test_every_host_is_guarded_where_the_gate_says_so(closed: IstioEnv, host: str) -> None:
    assert looked_at(closed) == []
    answer = closed.send(*FORGED, host=host)
    assert answer.code == 401
    assert answer.json["message"].startswith(MESSAGES[Reason.NO_TOKEN])
    headers = seen(closed.send(closed.bearer(), *FORGED, host=host))
    assert headers["kubeflow-userid"] == closed.identity.user
    assert not any("_" in name for name in headers)
    assert "authorization" not in headers


def test_a_request_that_names_no_host_is_not_let_in(closed: IstioEnv) -> None:
    assert closed.send(*FORGED, host="").code in (400, 401)
    for request in (b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n"):
        answer = closed.gateway.send(request, name=GUARDED, authority_pem=closed.public.pem)
        assert answer.code in (400, 426)
    begin = [(":method", "GET"), (":scheme", "https"), (":path", "/")]
    with Http2(closed.gateway.port, authority_pem=closed.public.pem, name=GUARDED) as client:
        assert client.request([*begin, (":authority", MADE_UP)]).code == 401
        assert client.request([*begin, ("host", MADE_UP)]).code == 401


def test_the_door_is_left_open_on_its_own_host_alone(closed: IstioEnv) -> None:
    for host in (GUARDED, f"{GUARDED}:443", GUARDED.upper()):
        headers = seen(closed.send(*FORGED, host=host, path=DOOR))
        assert not any(name.startswith("kubeflow") for name in headers)
    for host in NAMES:
        assert closed.send(*FORGED, host=host, path=DOOR).code == 401, host


def test_with_a_login_nobody_is_an_account_on_any_host_without_the_filters(
    gate: IstioEnv,
) -> None:
    account = f"kubeflow-userid: {gate.identity.user}"
    try:
        guard_every_host(gate, "login: keep")
        for host in (GUARDED, *NAMES):
            # The backstop may be in force before the filters are, on a busy machine.
            answer = eventually("it passes", partial(allowed, gate, account, host))
            assert "kubeflow-userid" not in seen(answer)
        with gate.without_filters():
            for host in (GUARDED, f"{GUARDED}.:1", *NAMES):
                assert gate.send(account, host=host).code == 403, host
                assert gate.send(host=host).code == 200, host
            assert gate.send(account, host=MADE_UP, path=DOOR).code == 403
            assert gate.send(account, host=GUARDED, path=DOOR).code == 200
    finally:
        guard_one_host(gate)  # or the next test may take this config for its own


@pytest.mark.parametrize("front", ["istio", "ingress-nginx"])
def test_where_the_filters_are_missing_every_host_is_refused(gate: IstioEnv, front: str) -> None:
    """With the door on this gateway, and with the door elsewhere."""
    gate.front = front
    try:
        guard_every_host(gate)
        with gate.without_filters():
            for host in (GUARDED, f"{GUARDED}.:1", *NAMES):
                for lines in ([], [gate.bearer()], [*FORGED]):
                    assert gate.send(*lines, host=host).code == 403, host
            assert gate.send(host="").code in (400, 403)
            assert gate.send(host=MADE_UP, path=DOOR).code == 403
            assert gate.send(host=GUARDED, path=DOOR).code == (200 if front == "istio" else 403)
    finally:
        gate.front = "istio"
        guard_one_host(gate)  # or the next test may take this config for its own


def test_a_host_of_a_gateways_wildcard_is_lost_unless_the_gateway_names_it(gate: IstioEnv) -> None:
    host = "lost.example.com"
    config = config_of(f"""\
version: 1
domains: {{ekf: {{host: {host}, front: istio, gateway: {NAMESPACE}/public, tls: outside}}}}
gates: {{default: {{audience: ekf, hosts: [{host}]}}}}
""")

    def findings() -> set[str]:
        return {each.check for each in find_in_cluster(gate.cluster, config)}

    guard_one_host(gate)
    match, answer = [{"uri": {"prefix": "/kubernetes"}}], {"status": 219}
    door = route(host, "echo")
    door["spec"]["http"] = [{"match": match, "directResponse": answer}]
    with gate.added(door):
        eventually("the door has it", lambda: gate.send(host=host).code == 404)
        assert gate.send(host=host, path="/kubernetes").code == 219
        assert "lost-host" in findings()
        gate.apply(served("*", host))
        eventually("both have it", lambda: gate.send(host=host).code == 200)
        assert gate.send(host=host, path="/kubernetes").code == 219
        assert "lost-host" not in findings()
        gate.apply(served("*"))


def test_each_target_has_the_reason_of_the_decision(gate: IstioEnv) -> None:
    gate.configure(EVERY_FORM)
    eventually(
        "it is in force",
        lambda: (
            gate.send(host="x.example.org").code == 200
            and gate.send(host="x.y.example.com").code == 401
        ),
        seconds=60,
    )

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
        guard_one_host(gate)
