"""`check: review` on a real istiod: the real authorizer, asked by Istio's gateway."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import pytest

from daypass.render.names import GATE, GATE_TRUST, authorizer_server
from daypass.rules.reasons import Reason
from support.authority import Authority
from support.children import Child
from support.deadline import eventually
from support.gate_differences import assert_refused, reason_in, seen
from support.impostors import EVIL, NAMED, Impostor, response
from support.istio_gates import (
    FORGED,
    LOGIN_PAGE,
    OTHER,
    OTHER_TOKENS,
    POLICIES,
    IstioEnv,
    config_text,
    running_istio_gate,
    signed,
)
from support.istio_gateway import NAMESPACE, service_at
from support.istio_logins import by_policy
from support.objects import secret
from support.serving import gate_serve_over_tls
from support.tokens import Signer

pytestmark = pytest.mark.timeout(600)

SESSION = "Cookie: session=alice"
STRANGER = Signer("stranger")
AUTHORITY = Authority()
FORGED_ADDRESSES = (
    ("x-envoy-external-address: 6.6.6.6",),
    ("x-envoy-external-address: 6.6.6.6", "x-envoy-external-address: 6.6.6.6"),
    ("X-Forwarded-For: 6.6.6.6", "x-envoy-internal: true", "x-envoy-external-address: 6.6.6.6"),
)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IstioEnv]:
    with running_istio_gate(tmp_path_factory.mktemp("gate")) as gate:
        gate.plane.admin.create("/api/v1/namespaces", {"metadata": {"name": "daypass"}})
        yield gate


@pytest.fixture(scope="module")
def authorizer(running: IstioEnv, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    """`daypass gate serve`, as the gateway would find it in the cluster."""
    folder = tmp_path_factory.mktemp("authorizer")
    pair = AUTHORITY.server(authorizer_server(running.config.door.namespace).host)
    config = config_text(running.issuer, "check: review")
    arguments = ("--kubeconfig", str(running.plane.kubeconfig), "--without-watch")
    with gate_serve_over_tls(folder, config, pair, *arguments) as served:
        running.apply(
            secret(GATE_TRUST, NAMESPACE, {"ca.crt": AUTHORITY.pem}), service_at(GATE, served.port)
        )
        yield served.child


@pytest.fixture(scope="module")
def gate(running: IstioEnv, authorizer: Child) -> IstioEnv:
    running.configure("check: review")
    good = running.bearer()
    name = f"{GATE}-authorizer"
    eventually("its filters are there", lambda: name in running.filters(), seconds=60)
    eventually("the authorizer is asked", lambda: running.send(good).code == 200, seconds=60)
    return running


def asked(child: Child) -> int:
    """How many decisions the authorizer has logged: all but those from its cache."""
    return child.log.read_text().count('"why"')


def test_what_the_api_server_has_not_signed_is_refused(gate: IstioEnv) -> None:
    # The gateway trusts the tests' key as well; the API server does not.
    assert_refused(gate.send(signed(gate, gate.signer), *FORGED), Reason.REVIEW_REFUSED)


def test_what_the_gateway_itself_refuses_is_never_asked_about(
    gate: IstioEnv, authorizer: Child
) -> None:
    before, since = asked(authorizer), gate.plane.audit_position()
    assert_refused(gate.send(*FORGED), Reason.NO_TOKEN)
    assert_refused(gate.send("Authorization: Bearer opaque"), Reason.UNREADABLE)
    long = f"Authorization: Bearer {gate.identity.token.reveal()}"
    assert_refused(gate.send(long), Reason.LONG_LIVED)
    for shape, reason in OTHER_TOKENS:
        assert_refused(gate.send(gate.bearer(**shape)), reason)
    # The gateway trusts the key of the first; the second forges its name, too.
    for signer in (gate.signer, Signer(gate.signer.key_id)):
        foreign = signed(gate, signer, iss="https://dex.example.com")
        assert_refused(gate.send(foreign), Reason.FOREIGN_ISSUER)
    assert_refused(gate.send(signed(gate, Signer(gate.signer.key_id)), *FORGED), Reason.SIGNATURE)
    assert_refused(gate.send(signed(gate, STRANGER), *FORGED), Reason.SIGNATURE)
    assert_refused(gate.send(signed(gate, gate.signer, exp=1)), Reason.EXPIRED)
    unknown = {"namespace": "team", "secret": {"uid": str(uuid4())}}
    ours = signed(gate, gate.signer, **{"kubernetes.io": unknown})
    assert_refused(gate.send(ours), Reason.UNKNOWN_CREDENTIAL)
    assert asked(authorizer) == before
    assert reviews(gate, since) == 0
    assert gate.send(gate.bearer()).code == 200
    assert reviews(gate, since) == 1


def reviews(gate: IstioEnv, since: int) -> int:
    """How many TokenReviews the API server has answered."""
    events = gate.plane.whole_audit_log(since=since)
    return sum("tokenreviews" in event["requestURI"] for event in events)


def test_a_login_keeps_what_is_its_own(gate: IstioEnv, authorizer: Child) -> None:
    text = gate.gate_text
    gate.configure(f"{text}, login: keep")
    gate.apply(by_policy())
    try:
        eventually("the login answers", lambda: gate.send().code == 302)
        before = asked(authorizer)
        for line in (signed(gate, STRANGER, iss="https://dex.example.com"), FORGED[0]):
            answer = gate.send(line)
            assert (answer.code, answer.headers["location"]) == (302, LOGIN_PAGE)
        assert seen(gate.send(SESSION, *FORGED))["kubeflow-userid"] == "alice@example.com"
        assert asked(authorizer) == before
        headers = seen(gate.send(gate.bearer(), *FORGED))
        assert headers["kubeflow-userid"] == gate.identity.user
        assert_refused(gate.send(gate.bearer(bound=False), SESSION), Reason.UNBOUND)
        stranger = gate.send(signed(gate, STRANGER), SESSION)
        assert_refused(stranger, Reason.SIGNATURE)
    finally:
        gate.delete(f"{POLICIES}/login")
        gate.configure(text)
        eventually("as it was", lambda: gate.send(*FORGED).code == 401)


@contextmanager
def authorizer_at(gate: IstioEnv, port: int) -> Iterator[None]:
    """The gateway finds the authorizer at another port for one block."""
    entries = "/apis/networking.istio.io/v1/namespaces/daypass/serviceentries"
    (entry,) = gate.plane.admin.get(entries)["items"]
    (endpoint,) = entry["spec"]["endpoints"]
    gate.apply(service_at(GATE, port))
    try:
        yield
    finally:
        gate.apply(service_at(GATE, endpoint["ports"]["https"]))
        line = gate.bearer()
        eventually("it is back", lambda: gate.send(line).code == 200)


def test_only_a_response_of_an_authorizer_decides(gate: IstioEnv) -> None:
    """What else may respond there is in tests/wire/test_authorizer_garbage.py."""
    line, name = gate.bearer(), authorizer_server(gate.config.door.namespace).host
    with Impostor(AUTHORITY.context(name)) as impostor:
        impostor.behaviour = response(NAMED + EVIL)
        with authorizer_at(gate, impostor.port):
            eventually("it is asked", lambda: gate.send(line).code == 200 and impostor.asked)
            for claims in FORGED_ADDRESSES:
                impostor.asked.clear()
                assert gate.send(line, *claims).code == 200
                (asked_about,) = impostor.asked
                assert "x-envoy-external-address: 127.0.0.1" in asked_about, claims
                assert "6.6.6.6" not in asked_about, claims
            assert "evil" not in json.dumps(seen(gate.send(line, *FORGED)))
            for code in (b"201", b"302", b"401", b"500"):
                impostor.behaviour = response(NAMED + EVIL, code=code, body=b"evil")
                answer = gate.send(line, *FORGED)
                assert reason_in(answer) is Reason.UNKNOWN
                assert b"evil" not in answer.body
                assert not answer.cookies


def test_without_an_authorizer_nothing_passes(gate: IstioEnv) -> None:
    line = gate.bearer()
    with authorizer_at(gate, 9):
        answer = eventually("it is gone", lambda: a if (a := gate.send(line)).code == 503 else None)
        assert_refused(answer, Reason.UNKNOWN)
        assert answer.headers["retry-after"] == "1"
        assert gate.send(host=OTHER).code == 200
        assert_refused(gate.send(*FORGED), Reason.NO_TOKEN)


def test_while_the_authorizer_hangs_nothing_passes(gate: IstioEnv, authorizer: Child) -> None:
    line = gate.bearer()
    assert gate.send(line).code == 200
    with authorizer.suspended():
        assert_refused(gate.send(line), Reason.UNKNOWN)
        assert gate.send(host=OTHER).code == 200
    eventually("it is back", lambda: gate.send(line).code == 200)


@pytest.mark.parametrize("wrong", ["authority", "name"])
def test_an_authorizer_that_proves_to_be_another_is_not_believed(
    gate: IstioEnv, wrong: str
) -> None:
    text = gate.gate_text
    rules = "/apis/networking.istio.io/v1/namespaces/daypass/destinationrules"
    (rule,) = (r for r in gate.plane.admin.get(rules)["items"] if r["metadata"]["name"] == GATE)
    bent = {key: rule[key] for key in ("apiVersion", "kind", "spec")}
    bent["metadata"] = {"name": GATE, "namespace": "daypass"}
    tls = bent["spec"]["trafficPolicy"]["tls"]
    if wrong == "name":
        tls["subjectAltNames"] = ["daypass-gate.elsewhere.svc"]
    else:
        gate.apply(secret("other-trust", NAMESPACE, {"ca.crt": Authority().pem}))
        tls["credentialName"] = "other-trust"
    gate.apply(bent)
    try:
        line = gate.bearer()
        answer = eventually("it is out", lambda: a if (a := gate.send(line)).code == 503 else None)
        assert_refused(answer, Reason.UNKNOWN)
    finally:
        gate.configure(text)
        eventually("it is back", lambda: gate.send(line).code == 200)
