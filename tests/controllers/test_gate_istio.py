"""The gate on a real istiod and its Envoy, with tokens of a real API server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from daypass._core.clock import SYSTEM_CLOCK
from daypass._core.kubernetes.objects import Object
from daypass._core.threads import in_parallel
from daypass.render.names import GATE, GATE_KEYS
from daypass.rules.published import (
    CLUSTER_SHARDS,
    CREDENTIALS,
    DENIALS,
    NAMES,
    Shard,
    shard_name,
    shard_of,
)
from daypass.rules.reasons import MESSAGES, Reason
from support.deadline import eventually
from support.endless import Endless
from support.engines import keys_object, shard_object
from support.gate_differences import (
    FORGERIES,
    assert_passed_as,
    assert_refused,
    seen,
)
from support.h2c import Http2
from support.istio_gates import (
    FILTERS,
    FORGED,
    GUARDED,
    OTHER,
    POLICIES,
    IstioEnv,
    get,
    route,
    running_istio_gate,
    service,
    signed,
)
from support.istio_gateway import LABELS, NAMESPACE
from support.istio_logins import authentication
from support.objects import make
from support.publishing import NEVER, closing_in
from support.raw import Answer
from support.tokens import ACCOUNT_UID, SECRET_UID, Signer

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IstioEnv]:
    with running_istio_gate(tmp_path_factory.mktemp("gate")) as running:
        yield running


@pytest.fixture(autouse=True)
def _as_it_was(gate: IstioEnv) -> Iterator[None]:
    yield
    gate.publish()
    gate.configure("")
    lines = (gate.bearer(), bound_token(gate))
    eventually(
        "the gate is as it was", lambda: all(gate.send(each).code == 200 for each in lines),
        seconds=60,
    )  # fmt: skip


def test_the_filters_stand_before_everything_else_and_in_order(gate: IstioEnv) -> None:
    names = gate.filters()
    claims = f"{GATE}-claims"
    first = [f"{GATE}-forget", GATE_KEYS, claims, DENIALS, CREDENTIALS, f"{GATE}-decision"]
    assert names[: len(first)] == first
    assert names[-2:] == [f"{GATE}-identity", "envoy.filters.http.router"]


@pytest.mark.parametrize("forged", FORGERIES)
def test_identity_headers_of_a_client_never_survive(gate: IstioEnv, forged: list[str]) -> None:
    answer = gate.send(gate.bearer(), *forged)
    assert_passed_as(answer, gate.identity.user)
    assert not any("_" in name for name in seen(answer))


def test_the_same_holds_over_http2(gate: IstioEnv) -> None:
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


DOOR = "/kubernetes/api/v1/namespaces/team/serviceaccounts/bot/token"


@pytest.mark.parametrize("path", [DOOR, "/kubernetes", "/kubernetes?x=y"])
def test_the_door_on_the_same_host_gets_what_was_sent_but_no_identity(
    gate: IstioEnv, path: str
) -> None:
    line = f"Authorization: Bearer {gate.identity.token.reveal()}"
    headers = seen(gate.send(line, *FORGED, path=path))
    assert headers["authorization"] == line.partition(": ")[2]
    assert not any(name.startswith("kubeflow") for name in headers)
    assert seen(gate.send(gate.bearer(), path=path))["authorization"].startswith("Bearer ")


@pytest.mark.parametrize(
    "path",
    ["/kubernetesx", "/kubernetes/%2e%2e/pipeline", "//kubernetes/", "/Kubernetes/"],
)
def test_nothing_else_is_taken_for_the_door(gate: IstioEnv, path: str) -> None:
    answer = gate.send(*FORGED, path=path)
    if answer.code == 200:  # Istio's own normalisation made the door's prefix of it
        assert answer.json["path"].startswith("/kubernetes/")
        assert not any(name.startswith("kubeflow") for name in seen(answer))
    else:
        assert_refused(answer, Reason.NO_TOKEN)


def test_another_host_on_the_same_gateway_is_untouched(gate: IstioEnv) -> None:
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


def test_an_answer_that_is_no_refusal_of_the_gates_keeps_its_words(gate: IstioEnv) -> None:
    deny = authorization("elsewhere", "DENY", [{"to": [{"operation": {"paths": ["/private"]}}]}])
    with gate.added(deny):
        for host in (OTHER, GUARDED):
            eventually("it is refused", lambda: refused_by(gate, host))  # noqa: B023 - called at once


def refused_by(gate: IstioEnv, host: str) -> bool:
    answer = gate.send(gate.bearer(), host=host, path="/private")
    return (answer.code, answer.body) == (403, b"RBAC: access denied")


def authorization(name: str, action: str, rules: list[Object], **more: object) -> Object:
    selector = {"selector": {"matchLabels": LABELS}}
    spec = {**selector, "action": action, "rules": rules, **more}
    return make("security.istio.io/v1", "AuthorizationPolicy", name, NAMESPACE, spec=spec)


def test_istios_own_policies_read_who_calls(gate: IstioEnv) -> None:
    caller = {"source": {"requestPrincipals": [f"{gate.issuer}/{gate.identity.user}"]}}
    secret = "request.auth.claims[kubernetes.io][secret][uid]"
    bound = {"key": secret, "values": [gate.identity.secret_uid]}
    good = gate.bearer()
    rules: list[Object] = [{"from": [caller]}, {"when": [bound]}]
    for rule in rules:
        eventually("no policy is there", lambda: gate.send(good).code == 200)
        with gate.added(authorization("elsewhere", "DENY", [rule])):
            eventually("the policy sees it", lambda: gate.send(good).code == 403)
            assert gate.send(host=OTHER).code == 200


def test_nobody_elses_word_for_a_token_opens_what_the_filters_have_not_seen(
    gate: IstioEnv,
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


def test_where_the_backstop_is_missing_the_filters_still_refuse(gate: IstioEnv) -> None:
    gate.delete(f"{POLICIES}/{GATE}")
    eventually("it is gone", lambda: "envoy.filters.http.rbac" not in gate.filters())
    assert_refused(gate.send(*FORGED), Reason.NO_TOKEN)
    assert gate.send(gate.bearer()).code == 200


def asked(conversation: Any, request: bytes, code: int = 200) -> Answer | None:
    """The next answer, if it is another one than before."""
    conversation.send(request)
    answer: Answer = conversation.answer()
    assert answer.code, "the connection has ended"
    return None if answer.code == code else answer


def bound_token(gate: IstioEnv, **changed: Any) -> str:
    """An Authorization line with a token that names a credential of its own."""
    bound = {
        "namespace": "team",
        "secret": {"uid": SECRET_UID},
        "serviceaccount": {"name": "bot", "uid": ACCOUNT_UID},
        **changed,
    }
    return signed(gate, gate.signer, jti="j-1", **{"kubernetes.io": bound})


def test_new_keys_are_obeyed_by_an_open_connection(gate: IstioEnv) -> None:
    old, new = get(signed(gate, gate.signer)), Signer("new")
    with gate.conversation() as conversation:
        conversation.send(old)
        assert conversation.answer().code == 200
        gate.apply(keys_object(gate.config, gate.issuer, new.jwks))
        answer = eventually("the old key is no more", lambda: asked(conversation, old))
        assert_refused(answer, Reason.SIGNATURE)
        conversation.send(get(signed(gate, new)))
        assert conversation.answer().code == 200


def test_keys_that_are_none_leave_the_old_ones_in_force(gate: IstioEnv) -> None:
    rejected = "daypass-gate-keys.update_rejected$"
    before = sum(gate.gateway.stats(rejected).values())
    gate.apply(keys_object(gate.config, gate.issuer, "junk"))
    eventually("Envoy has refused", lambda: sum(gate.gateway.stats(rejected).values()) > before)
    assert gate.send(signed(gate, gate.signer)).code == 200
    assert gate.send(host=OTHER).code == 200


MINE, OTHERS = shard_of(SECRET_UID, CLUSTER_SHARDS), "00000000-0000-4000-8000-000000000001"
"""The shard of `good_claims`, and the credential of another shard."""


@pytest.mark.parametrize("missing", [GATE_KEYS, DENIALS])
def test_a_gateway_that_starts_without_what_every_token_needs_refuses_all(
    gate: IstioEnv, missing: str
) -> None:
    gate.start_without(missing)
    assert_refused(gate.send(gate.bearer()), Reason.UNKNOWN)
    assert_refused(gate.send(*FORGED), Reason.NO_TOKEN)
    assert gate.send(host=OTHER).code == 200


def test_a_gateway_that_starts_without_a_part_refuses_its_tokens_and_no_others(
    gate: IstioEnv,
) -> None:
    shard = shard_of(gate.identity.secret_uid, CLUSTER_SHARDS)
    other = next(
        uid for uid in (SECRET_UID, OTHERS) if shard_of(uid, CLUSTER_SHARDS) != shard
    )  # fmt: skip
    gate.know(gate.known(other))
    gate.start_without(shard_name(shard))
    assert_refused(gate.send(gate.bearer()), Reason.UNKNOWN)
    assert gate.send(bound_token(gate, secret={"uid": other})).code == 200


def test_a_gateway_that_starts_while_nothing_is_published_refuses(gate: IstioEnv) -> None:
    """Nothing but a shard of no token here: once that is delivered, istiod has seen the rest go."""
    other = (MINE + 1) % CLUSTER_SHARDS
    for name in set(NAMES) - {shard_name(other)}:
        gate.delete(f"{FILTERS}/{name}")
    reloads = f"{shard_name(other)}.config_reload$"
    before = sum(gate.gateway.stats(reloads).values())
    gate.apply(shard_object(gate.config, other, Shard(closes_unix=NEVER - 1)))
    gate.applied.pop(shard_name(other))
    eventually("it arrives", lambda: sum(gate.gateway.stats(reloads).values()) > before)
    gate.gateway.restart_envoy()
    good = gate.bearer()
    eventually("it starts", lambda: gate.send(good).code == 503, seconds=60)
    assert_refused(gate.send(good), Reason.UNKNOWN)
    assert_refused(gate.send(bound_token(gate)), Reason.UNKNOWN)
    assert gate.send(host=OTHER).code == 200
    gate.publish()
    eventually("it passes, without a restart", lambda: gate.send(good).code == 200)


def deleted(gate: IstioEnv, name: str) -> None:
    gate.delete(f"{FILTERS}/{name}")
    with gate.added(
        authorization("elsewhere", "DENY", [{"to": [{"operation": {"paths": ["/p"]}}]}])
    ):
        eventually("istiod has pushed since", lambda: gate.send(host=OTHER, path="/p").code == 403)


def test_a_part_that_is_not_renewed_refuses_from_its_closing_time_on_and_the_others_go_on(
    gate: IstioEnv,
) -> None:
    mine, other = bound_token(gate), bound_token(gate, secret={"uid": OTHERS})
    gate.know(gate.known(OTHERS))
    eventually("the other one passes", lambda: gate.send(other).code == 200)
    closes = closing_in(10)
    gate.apply(shard_object(gate.config, MINE, Shard(closes_unix=closes)))
    refused = eventually("it is in force", lambda: changed(gate, mine, 200))
    deleted(gate, shard_name(MINE))
    assert_refused(refused, Reason.UNKNOWN_CREDENTIAL)
    answer = eventually("it is closed", lambda: changed(gate, mine, 401))
    assert closing_in(0) >= closes
    assert_refused(answer, Reason.UNKNOWN)
    assert gate.send(other).code == 200


def changed(gate: IstioEnv, line: str, code: int) -> Answer | None:
    """The answer on a new connection, if it is another one than before."""
    answer = gate.send(line)
    return None if answer.code == code else answer


def test_a_stream_that_lasts_too_long_is_cut(gate: IstioEnv) -> None:
    """Of the whole gateway: what the gate does not guard, too."""
    longest_seconds = 10  # the shortest that a config may have
    gate.configure(f"maxStreamDuration: {longest_seconds}s")
    with Endless() as endless:
        gate.apply(
            service("endless", endless.port),
            *(route(host, "echo", {"/events": "endless"}) for host in (GUARDED, OTHER)),
        )
        for seconds in in_parallel(lambda host: lasts(gate, host), (GUARDED, OTHER)):
            assert longest_seconds <= seconds < 4 * longest_seconds
        gate.apply(*(route(host, "echo") for host in (GUARDED, OTHER)))


def lasts(gate: IstioEnv, host: str) -> float:
    """The seconds of a stream that its service does not end, once the gate bounds it."""

    def bounded() -> float | None:
        with gate.gateway.connect(name=GUARDED, authority_pem=gate.public.pem) as connection:
            began = SYSTEM_CLOCK.monotonic()
            connection.sendall(get(gate.bearer(), host=host, path="/events"))
            if b"event-stream" not in connection.recv(65536):
                return None
            while connection.recv(65536):
                pass
            return SYSTEM_CLOCK.monotonic() - began

    return eventually("a stream is cut", bounded, seconds=60)
