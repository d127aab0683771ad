"""The gate on a real istiod and its Envoy, with tokens of a real API server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from daypass._core.reasons import MESSAGES, REASON_HEADER, Reason
from daypass.render.envoy.filters import RevocationSnapshot
from daypass.render.istio.objects import keys_object, revoked_objects
from daypass.render.objects import GATE, GATE_KEYS, GATE_REVOKED, Object
from support.deadline import eventually
from support.gate_differences import assert_refused
from support.h2c import Http2
from support.istio_gates import (
    FILTERS,
    FORGED,
    GUARDED,
    OTHER,
    OTHER_TOKENS,
    POLICIES,
    IstioGate,
    get,
    running_istio_gate,
    seen,
    signed,
)
from support.istio_gateway import LABELS, NAMESPACE
from support.istio_logins import authentication
from support.objects import make
from support.raw import Answer
from support.tokens import AUDIENCE, Signer

pytestmark = pytest.mark.timeout(600)

STRANGER = Signer("tests")


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IstioGate]:
    with running_istio_gate(tmp_path_factory.mktemp("gate")) as running:
        yield running


@pytest.fixture(autouse=True)
def _as_it_was(gate: IstioGate) -> Iterator[None]:
    yield
    gate.publish()
    gate.configure("")
    good = gate.bearer()
    eventually("the gate is as it was", lambda: gate.send(good).code == 200, seconds=60)


def test_a_token_passes_and_the_service_learns_who_calls(gate: IstioGate) -> None:
    headers = seen(gate.send(gate.bearer(), *FORGED))
    assert headers["kubeflow-userid"] == gate.identity.user
    assert headers["kubeflow-groups"] == (
        f"system:serviceaccounts,system:serviceaccounts:{gate.identity.namespace},"
        "system:authenticated"
    )
    assert "authorization" not in headers


def test_the_filters_stand_before_everything_else_and_in_order(gate: IstioGate) -> None:
    names = gate.filters()
    revoked = [f"{GATE_REVOKED}-{number}-mark" for number in range(4)]
    first = [f"{GATE}-forget", GATE_KEYS, f"{GATE}-decision", f"{GATE}-claims", *revoked]
    assert names[: len(first)] == first
    assert names[-2:] == [f"{GATE}-identity", "envoy.filters.http.router"]


@pytest.mark.parametrize(("shape", "reason"), OTHER_TOKENS)
def test_other_tokens_of_the_api_server_are_refused(
    gate: IstioGate, shape: dict[str, Any], reason: Reason
) -> None:
    assert_refused(gate.send(gate.bearer(**shape), *FORGED), reason)


def test_a_long_lived_token_is_refused_with_the_advice_to_exchange_it(gate: IstioGate) -> None:
    of_another_cluster = STRANGER.sign({"iss": "kubernetes/serviceaccount"})
    for token in (gate.identity.token.reveal(), of_another_cluster):
        assert_refused(gate.send(f"Authorization: Bearer {token}"), Reason.LONG_LIVED)


@pytest.mark.parametrize(
    "host", ["EKF.Example.COM", *(GUARDED + end for end in (":443", ":8443", ":x", ".", ".:443"))]
)
def test_the_host_is_guarded_in_whatever_form_it_is_named(gate: IstioGate, host: str) -> None:
    assert_refused(gate.send(*FORGED, host=host), Reason.NO_TOKEN)
    assert_refused(gate.send(*FORGED, host=host, sni=OTHER), Reason.NO_TOKEN)


@pytest.mark.parametrize(
    "forged",
    [
        ["kubeflow-userid: admin", "kubeflow-userid: admin2"],
        ["Kubeflow-UserID: admin", "KUBEFLOW-GROUPS: system:masters"],
        ["kubeflow_userid: admin", "kubeflow_groups: system:masters"],
        ["kubeflow-userid: admin", "Connection: kubeflow-userid"],
        ["Connection: kubeflow-userid, kubeflow-groups"],
        ["TE: trailers", "Connection: TE, kubeflow-userid", "kubeflow-userid: admin"],
    ],
)
def test_identity_headers_of_a_client_never_survive(gate: IstioGate, forged: list[str]) -> None:
    answer = gate.send(gate.bearer(), *forged)
    headers = {name.replace("_", "-"): value for name, value in seen(answer).items()}
    assert headers["kubeflow-userid"] == gate.identity.user
    assert "masters" not in headers["kubeflow-groups"]
    assert not any("_" in name for name in seen(answer))


def test_a_token_that_the_client_calls_hop_by_hop_is_none(gate: IstioGate) -> None:
    answer = gate.send(gate.bearer(), "Connection: close, authorization", *FORGED)
    assert_refused(answer, Reason.NO_TOKEN)


def test_the_same_holds_over_http2(gate: IstioGate) -> None:
    begin = [(":method", "GET"), (":scheme", "https"), (":authority", GUARDED), (":path", "/")]
    forged = [("kubeflow-userid", "admin"), ("kubeflow-userid", "x"), ("kubeflow_groups", "x")]
    good = [("authorization", gate.bearer().partition(": ")[2])]
    with Http2(gate.gateway.port, authority_pem=gate.public.pem, name=GUARDED) as client:
        reply = client.request([*begin, *forged, *good])
        assert reply.code == 200
        assert reply.json["headers"]["kubeflow-userid"] == gate.identity.user
        assert "masters" not in str(reply.json)
        reply = client.request([*begin, *forged])
        assert reply.code == 401
        assert reply.json["message"].startswith(MESSAGES[Reason.NO_TOKEN])


def test_a_refusal_follows_the_whole_body(gate: IstioGate) -> None:
    """curl and others lose one that comes earlier. A gRPC client may wait for it, so it gets it."""
    begin = [(":method", "POST"), (":scheme", "https"), (":authority", GUARDED), (":path", "/")]
    wrong = gate.bearer(audiences=["elsewhere.example.com"])
    gate.revoke(RevocationSnapshot(secrets={gate.identity.secret_uid}))
    eventually("it is revoked", lambda: gate.send(gate.bearer()).code == 401)
    for token, reason in ((wrong, Reason.AUDIENCE), (gate.bearer(), Reason.DENIED)):
        block = [*begin, ("authorization", token.partition(": ")[2])]
        with Http2(gate.gateway.port, authority_pem=gate.public.pem, name=GUARDED) as client:
            stream = client.send(block, end=False)
            assert not client.settled(stream).ended
            client.upload(stream, bytes(1024 * 1024))
            client.wait(stream)
            reply = client.settled(stream)
            assert (reply.headers[REASON_HEADER], reply.reset) == (reason, None)
            too_long = client.send([*block, ("content-length", "100000000")], end=False)
            assert client.settled(too_long).headers[REASON_HEADER] == reason
            grpc = client.send([*block, ("content-type", "application/grpc")], end=False)
            assert client.settled(grpc).ended


DOOR = "/kubernetes/api/v1/namespaces/team/serviceaccounts/bot/token"


@pytest.mark.parametrize("path", [DOOR, "/kubernetes", "/kubernetes/", "/kubernetes?x=y"])
def test_the_door_on_the_same_host_gets_what_was_sent_but_no_identity(
    gate: IstioGate, path: str
) -> None:
    line = f"Authorization: Bearer {gate.identity.token.reveal()}"
    headers = seen(gate.send(line, *FORGED, path=path))
    assert headers["authorization"] == line.partition(": ")[2]
    assert not any(name.startswith("kubeflow") for name in headers)
    assert seen(gate.send(gate.bearer(), path=path))["authorization"].startswith("Bearer ")


@pytest.mark.parametrize(
    "path",
    [
        "/kubernetesx", "/kubernetes/../pipeline", "/kubernetes/%2e%2e/pipeline",
        "/x/../kubernetesx/", "//kubernetes/", "/Kubernetes/", "/%6bubernetes/..%2fx",
        "/?/kubernetes/",
    ],
)  # fmt: skip
def test_nothing_else_is_taken_for_the_door(gate: IstioGate, path: str) -> None:
    answer = gate.send(*FORGED, path=path)
    if answer.code == 200:  # Istio's own normalisation made the door's prefix of it
        assert answer.json["path"].startswith("/kubernetes/")
        assert not any(name.startswith("kubeflow") for name in seen(answer))
    else:
        assert_refused(answer, Reason.NO_TOKEN)


def test_another_host_on_the_same_gateway_is_untouched(gate: IstioGate) -> None:
    for line in (
        signed(gate, gate.signer, iss="https://dex.example.com"),
        signed(gate, gate.signer, exp=1),
        "x: y",
    ):
        headers = seen(gate.send(line, *FORGED, "kubeflow_groups: x", host=OTHER))
        name, _, value = line.partition(": ")
        assert headers[name.lower()] == value
        assert headers["kubeflow-userid"] == "admin"
        assert headers["kubeflow-groups"] == "system:masters"
        assert headers["kubeflow_groups"] == "x"
    answer = gate.send(host=OTHER, path="/missing")
    assert answer.code == 200


def test_an_answer_that_is_no_refusal_of_the_gates_keeps_its_words(gate: IstioGate) -> None:
    deny = authorization("elsewhere", "DENY", [{"to": [{"operation": {"paths": ["/private"]}}]}])
    with gate.added(deny):
        for host in (OTHER, GUARDED):
            eventually("it is refused", lambda: refused_by(gate, host))  # noqa: B023 - called at once


def refused_by(gate: IstioGate, host: str) -> bool:
    answer = gate.send(gate.bearer(), host=host, path="/private")
    return (answer.code, answer.body) == (403, b"RBAC: access denied")


def authorization(name: str, action: str, rules: list[Object], **more: object) -> Object:
    selector = {"selector": {"matchLabels": LABELS}}
    spec = {**selector, "action": action, "rules": rules, **more}
    return make("security.istio.io/v1", "AuthorizationPolicy", name, NAMESPACE, spec=spec)


@pytest.mark.parametrize(
    ("source", "when"),
    [
        ({"requestPrincipals": ["*"]}, []),
        ({"requestPrincipals": ["{issuer}/{user}"]}, []),
        (None, [{"key": "request.auth.claims[kubernetes.io][secret][uid]", "values": ["{uid}"]}]),
        (None, [{"key": "request.auth.audiences", "values": [AUDIENCE]}]),
    ],
)
def test_istios_own_policies_read_who_calls(
    gate: IstioGate, source: Object | None, when: list[Object]
) -> None:
    text = json.dumps({"from": [{"source": source}] if source else [], "when": when})
    known = {"{issuer}": gate.issuer, "{user}": gate.identity.user}
    for place, value in {**known, "{uid}": gate.identity.secret_uid}.items():
        text = text.replace(place, value)
    rule = {name: value for name, value in json.loads(text).items() if value}
    good = gate.bearer()
    with gate.added(authorization("elsewhere", "DENY", [rule])):
        eventually("the policy sees it", lambda: gate.send(good).code == 403)
        assert gate.send(host=OTHER).code == 200


def test_where_the_filters_are_missing_everything_is_refused(gate: IstioGate) -> None:
    good = gate.bearer()
    with gate.without_filters():
        for host in (GUARDED, "EKF.example.com", f"{GUARDED}:8443", f"{GUARDED}.", f"{GUARDED}.:1"):
            for lines in ([good], [good, *FORGED], [*FORGED], []):
                assert gate.send(*lines, host=host).code == 403
        assert gate.send(host=OTHER).code == 200
        assert gate.send(path=DOOR).code == 200


def test_nobody_elses_word_for_a_token_opens_what_the_filters_have_not_seen(
    gate: IstioGate,
) -> None:
    """As with Kubeflow's own RequestAuthentication, which takes the cluster's tokens of all
    audiences, on a gateway that has lost or refused the filters.
    """
    lines = [gate.bearer(audiences=[]), *FORGED]
    with gate.added(authentication("m2m", gate.issuer, gate.keys)), gate.without_filters():
        judge = "envoy.filters.http.jwt_authn"
        eventually("the other one verifies tokens", lambda: judge in gate.filters())
        assert gate.send(*lines).code == 403
        assert gate.send(gate.bearer(), *FORGED).code == 403
        assert gate.send(lines[0], host=OTHER).code == 200


def test_where_the_backstop_is_missing_the_filters_still_refuse(gate: IstioGate) -> None:
    gate.delete(f"{POLICIES}/{GATE}")
    eventually("it is gone", lambda: "envoy.filters.http.rbac" not in gate.filters())
    assert_refused(gate.send(*FORGED), Reason.NO_TOKEN)
    assert gate.send(gate.bearer()).code == 200


def test_the_token_goes_on_where_it_is_asked_for(gate: IstioGate) -> None:
    gate.configure("forwardToken: true")
    line = gate.bearer()
    headers = eventually(
        "the token arrives", lambda: h if "authorization" in (h := seen(gate.send(line))) else None
    )
    assert headers["authorization"] == line.partition(": ")[2]
    assert headers["kubeflow-userid"] == gate.identity.user
    assert_refused(gate.send(signed(gate, gate.signer, exp=1)), Reason.EXPIRED)


def test_a_revoked_secret_closes_an_open_connection(gate: IstioGate) -> None:
    good, other = get(gate.bearer()), get(signed(gate, gate.signer))
    with gate.conversation() as conversation:
        conversation.send(good)
        assert conversation.answer().code == 200
        gate.revoke(RevocationSnapshot(secrets={gate.identity.secret_uid}))
        assert_refused(
            eventually("it is refused", lambda: asked(conversation, good)), Reason.DENIED
        )
        conversation.send(other)
        assert conversation.answer().code == 200


def asked(conversation: Any, request: bytes, code: int = 200) -> Answer | None:
    """The next answer, if it is another one than before."""
    conversation.send(request)
    answer: Answer = conversation.answer()
    assert answer.code, "the connection has ended"
    return None if answer.code == code else answer


@pytest.mark.parametrize(
    "revoked",
    [
        RevocationSnapshot(service_accounts={"sa-1"}),
        RevocationSnapshot(tokens={"jti-1"}),
        RevocationSnapshot(namespaces={"team"}),
        RevocationSnapshot(secrets={"secret-1"} | {f"s-{number}" for number in range(20_000)}),
        RevocationSnapshot(secrets={"secret-1"}, closed=True),
        RevocationSnapshot(secrets={"secret-1"}, stable={"secret-1"}),
        RevocationSnapshot(service_accounts={"sa-1"}, stable={"sa-1"}),
        RevocationSnapshot(secrets={"secret-1"}, compacting={"secret-1"}),
    ],
    ids=["account", "token", "namespace", "many", "closed", "stable", "stable account", "both"],
)
def test_each_kind_of_entry_is_refused(gate: IstioGate, revoked: RevocationSnapshot) -> None:
    bound = {
        "namespace": "team",
        "secret": {"uid": "secret-1"},
        "serviceaccount": {"name": "bot", "uid": "sa-1"},
    }
    line = signed(gate, gate.signer, jti="jti-1", **{"kubernetes.io": bound})
    gate.revoke(revoked)
    answer = eventually(
        "it is refused", lambda: a if (a := gate.send(line)).code == 401 else None, seconds=60
    )
    assert_refused(answer, Reason.DENIED)
    elsewhere = {**bound, "namespace": "t2", "secret": {"uid": "s"}, "serviceaccount": {"uid": "a"}}
    other = signed(gate, gate.signer, jti="jti-2", **{"kubernetes.io": elsewhere})
    if revoked.closed:  # which may be told by another object than the one that holds the name
        answer = eventually(
            "it is closed", lambda: a if (a := gate.send(other)).code != 200 else None
        )
        assert_refused(answer, Reason.UNKNOWN)
    else:
        assert gate.send(other).code == 200
    assert gate.send(host=OTHER).code == 200


def test_no_object_is_larger_than_the_api_server_takes(gate: IstioGate) -> None:
    names = {f"{number:08d}-0000-4000-8000-000000000000" for number in range(20_000)}
    for each in revoked_objects(gate.config, RevocationSnapshot(secrets=names)):
        assert len(json.dumps(each, separators=(",", ":"))) < 1.4 * 1024 * 1024


def test_new_keys_are_obeyed_by_an_open_connection(gate: IstioGate) -> None:
    old, new = get(signed(gate, gate.signer)), Signer("new")
    with gate.conversation() as conversation:
        conversation.send(old)
        assert conversation.answer().code == 200
        gate.apply(keys_object(gate.config, gate.issuer, new.jwks))
        answer = eventually("the old key is no more", lambda: asked(conversation, old))
        assert_refused(answer, Reason.SIGNATURE)
        conversation.send(get(signed(gate, new)))
        assert conversation.answer().code == 200


@pytest.mark.parametrize("keys", ["junk", '{"keys": []}', "[]"])
def test_keys_that_are_none_leave_the_old_ones_in_force(gate: IstioGate, keys: str) -> None:
    rejected = "daypass-gate-keys.update_rejected$"
    before = sum(gate.gateway.stats(rejected).values())
    gate.apply(keys_object(gate.config, gate.issuer, keys))
    eventually("Envoy has refused", lambda: sum(gate.gateway.stats(rejected).values()) > before)
    assert gate.send(signed(gate, gate.signer)).code == 200
    assert gate.send(host=OTHER).code == 200


@pytest.mark.parametrize("missing", [GATE_KEYS, f"{GATE_REVOKED}-0", f"{GATE_REVOKED}-3"])
def test_a_gateway_that_starts_without_what_is_published_refuses(
    gate: IstioGate, missing: str
) -> None:
    gate.start_without(missing)
    assert_refused(gate.send(gate.bearer()), Reason.UNKNOWN)
    assert_refused(gate.send(*FORGED), Reason.NO_TOKEN)
    assert gate.send(host=OTHER).code == 200


@pytest.fixture
def revoked(gate: IstioGate) -> str:
    """A header line with a token that is revoked."""
    gate.revoke(RevocationSnapshot(secrets={gate.identity.secret_uid}))
    line = gate.bearer()
    eventually("it is refused", lambda: gate.send(line).code == 401)
    return line


def test_what_is_published_stays_in_force_when_its_object_is_deleted(
    gate: IstioGate, revoked: str
) -> None:
    for name in (GATE_KEYS, f"{GATE_REVOKED}-0"):
        gate.delete(f"{FILTERS}/{name}")
    with gate.added(
        authorization("elsewhere", "DENY", [{"to": [{"operation": {"paths": ["/p"]}}]}])
    ):
        eventually("istiod has pushed since", lambda: gate.send(host=OTHER, path="/p").code == 403)
    assert_refused(gate.send(revoked), Reason.DENIED)
    assert gate.send(signed(gate, gate.signer)).code == 200


def test_a_list_that_is_none_leaves_the_old_one_in_force(gate: IstioGate, revoked: str) -> None:
    rejected = "daypass-gate-revoked-0-mark.update_rejected$"
    before = sum(gate.gateway.stats(rejected).values())
    (first, *_) = revoked_objects(gate.config, RevocationSnapshot())
    for patch in first["spec"]["configPatches"]:
        matcher: Any = {"matcher_list": {"matchers": []}}  # Envoy takes no empty one
        patch["patch"]["value"]["typed_config"]["matcher"] = matcher
    gate.apply(first)
    eventually("Envoy has refused", lambda: sum(gate.gateway.stats(rejected).values()) > before)
    assert_refused(gate.send(revoked), Reason.DENIED)
    assert gate.send(signed(gate, gate.signer)).code == 200


def test_a_gateway_that_is_killed_comes_back_with_the_list(gate: IstioGate, revoked: str) -> None:
    gate.gateway.restart_envoy()  # killed, and another one
    assert_refused(gate.send(revoked), Reason.DENIED)
    eventually("others pass", lambda: gate.send(signed(gate, gate.signer)).code == 200)


def test_without_istiod_the_gate_goes_on_and_catches_up(gate: IstioGate) -> None:
    good = get(gate.bearer())
    with gate.conversation() as conversation:
        gate.gateway.stop_istiod()
        conversation.send(good)
        assert conversation.answer().code == 200
        gate.revoke(RevocationSnapshot(secrets={gate.identity.secret_uid}))
        conversation.send(good)
        assert conversation.answer().code == 200
        gate.gateway.start_istiod()
        answer = eventually("it is refused", lambda: asked(conversation, good), seconds=60)
        assert_refused(answer, Reason.DENIED)
