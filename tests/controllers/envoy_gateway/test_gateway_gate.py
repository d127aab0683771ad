"""The gate on a real Envoy Gateway: what passes, what is refused, and that it never fails open."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from controllers.gateway_environment import (
    DOORS,
    FACTS,
    HOST,
    GatewayEnv,
    config,
    config_text,
    gate,
)
from daypass._core.clock import SYSTEM_CLOCK
from daypass._core.jwt import decode_unverified
from daypass.cli import main
from daypass.render.manifests import gate_objects
from daypass.render.names import GATE
from daypass.rules.reasons import Reason
from support import raw
from support.authority import Authority
from support.bad_reviews import assert_no_review_opens
from support.children import Child
from support.clusters import apply
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.doors import post
from support.envoy_gateway import delete, endpoints
from support.fake_reviews import fake_reviews
from support.gate_differences import FORGERIES, assert_passed_as, assert_refused, seen
from support.objects import kubeconfig
from support.ports import free_ports
from support.rendered import config_of
from support.serving import Served
from support.tokens import AUDIENCE, Signer
from support.watching import Watch, identity_namespace

pytestmark = pytest.mark.timeout(1800)

CLOSE_AFTER_SECONDS = 20
REFUSALS = r'daypass_gate_decisions_total\{gate="default",reason="no-token"\}'
REVIEWED = r'daypass_gate_cache_lookups_total\{gate="default",result="miss"\}'
"""Tokens that a TokenReview was sent for, or will be."""
SLACK_SECONDS = 3.0
"""For processes that are waited for, on a machine that is busy."""


def test_the_rendered_policies_are_accepted(env: GatewayEnv) -> None:
    for value in gate_objects(config(), FACTS):
        if value["kind"] in ("SecurityPolicy", "ClientTrafficPolicy", "BackendTLSPolicy"):
            status, message = env.condition(value, "Accepted")
            assert status == "True", (value["metadata"], message)


def test_a_token_is_forwarded_only_if_the_gate_says_so(env: GatewayEnv) -> None:
    with env.authorizer("check: review, forwardToken: true"):

        def forwarded() -> str | None:
            answer = env.send(bearer)
            return seen(answer).get("authorization") if answer.code == 200 else None

        bearer = env.bearer()
        token = eventually("it is forwarded", forwarded)
        assert token == bearer.removeprefix("Authorization: ")


@pytest.mark.parametrize("forged", [*FORGERIES, ["Connection: close, authorization"]])
def test_identity_headers_of_a_client_never_survive(env: GatewayEnv, forged: list[str]) -> None:
    answer = env.send(env.bearer(), *forged)
    if answer.code == 200:
        assert_passed_as(answer, env.identity.user)
    else:
        assert answer.code in (400, 401)
    assert env.send(*forged).code in (400, 401)


@pytest.mark.parametrize("path", ["/", "/pipeline?x=y", "/kubernetesx", "/kubernetes/../pipeline"])
def test_without_a_token_nothing_of_the_host_is_reached(env: GatewayEnv, path: str) -> None:
    assert_refused(env.send(path=path), Reason.NO_TOKEN)


def test_forged_foreign_and_expired_tokens_reach_no_api_server(
    env: GatewayEnv, plane: ControlPlane
) -> None:
    assert env.usual is not None
    claims = decode_unverified(env.bearer().removeprefix("Authorization: Bearer "))[1]
    stranger = Signer()
    before = env.usual.metric(REVIEWED)
    for token, reason in (
        (stranger.sign(claims), Reason.SIGNATURE),
        (stranger.sign(claims, {"kid": plane.signer.key_id}), Reason.SIGNATURE),
        (plane.signer.sign({**claims, "iss": "https://elsewhere"}), Reason.FOREIGN_ISSUER),
        (plane.signer.sign({**claims, "exp": claims["iat"] - 60}), Reason.EXPIRED),
    ):
        assert_refused(env.send(f"Authorization: Bearer {token}"), reason)
    assert env.usual.metric(REVIEWED) == before
    assert env.send(env.bearer()).code == 200
    assert env.usual.metric(REVIEWED) == before + 1


def test_no_review_that_lies_fails_or_hangs_lets_a_token_pass(
    env: GatewayEnv, plane: ControlPlane, tmp_path: Path
) -> None:
    with fake_reviews(lambda token: True) as reviews:
        reviews.keys = plane.admin.request("GET", "/openid/v1/jwks").body.decode()
        file = tmp_path / "kubeconfig"
        file.write_text(json.dumps(kubeconfig(reviews.access.server, {})))
        with env.authorizer(kubeconfig=file):

            def is_asked() -> bool:
                return env.send(env.bearer()).code == 200 and bool(reviews.asked)

            eventually("it is asked", is_asked)
            # Envoy Gateway has no mapper that turns the authorizer's 429 into a 503.
            assert_no_review_opens(reviews, lambda: env.send(env.bearer()), unknown=429)


def test_what_exists_passes_and_what_is_gone_is_refused_through_restarts_and_failures(
    env: GatewayEnv, plane: ControlPlane, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the API server still says: it remembers its good word for 10 s."""
    text = config_text("check: review", watch=f"closeAfter: {CLOSE_AFTER_SECONDS}s")
    names = identity_namespace(plane, home=DOORS)
    one, other = (plane.make_identity(names, name) for name in ("one", "other"))
    gone, there = (raw.bearer(plane.make_token(bot, audiences=[AUDIENCE])) for bot in (one, other))

    def reason(line: str) -> Reason | None:
        answer = env.send(line)
        if answer.code == 200:
            return Reason.ALLOWED
        told = answer.headers.get("daypass-reason")  # Envoy's own, if it has no authorizer yet
        return Reason(told) if told else None

    def becomes(line: str, wanted: Reason, *, never: Reason | None = None) -> float:
        """Each credential is in a part of its own, which opens and closes in its own time."""
        found: list[Reason] = []

        def is_wanted() -> bool:
            if answer := reason(line):
                found.append(answer)
            return answer is wanted

        began = SYSTEM_CLOCK.monotonic()
        eventually(f"it is {wanted}", is_wanted)
        assert never not in found, found
        return SYSTEM_CLOCK.monotonic() - began

    def is_asked(authorizer: Served) -> None:
        """Come back once the gateway asks this authorizer, and no longer the usual one."""
        eventually(
            "it is asked",
            lambda: env.send().code == 401 and authorizer.metric(REFUSALS) > 0,
        )

    with Watch(tmp_path / "watch", plane, config_of(text)) as watch:
        watch.wait_leading()
        with env.authorizer(text=text, is_watched=True) as authorizer:
            is_asked(authorizer)
            for line in (gone, there):
                becomes(line, Reason.ALLOWED)
            plane.admin.delete(one.secret_path)
            assert becomes(gone, Reason.UNKNOWN_CREDENTIAL) <= 1 + SLACK_SECONDS
            assert reason(there) is Reason.ALLOWED
        watch.kill()
    with env.authorizer(text=text, is_watched=True) as authorizer:
        is_asked(authorizer)
        with Watch(tmp_path / "next", plane, config_of(text)) as watch:
            watch.wait_leading()
            becomes(there, Reason.ALLOWED)
            becomes(gone, Reason.UNKNOWN_CREDENTIAL, never=Reason.ALLOWED)
            watch.kill()
            took = becomes(there, Reason.UNKNOWN) + becomes(gone, Reason.UNKNOWN)
            assert took <= CLOSE_AFTER_SECONDS + SLACK_SECONDS
        options = ["--config", str(tmp_path / "next" / "daypass.yaml")]
        options += ["--kubeconfig", str(plane.kubeconfig)]
        assert main(["gate", "watch", "--once", *options]) == 0
        becomes(there, Reason.ALLOWED)
        becomes(gone, Reason.UNKNOWN_CREDENTIAL, never=Reason.ALLOWED)
    capsys.readouterr()


def test_plain_http_is_guarded_too(env: GatewayEnv) -> None:
    request = post("/pipeline", host=HOST, method="GET", headers=(), body=b"")
    with socket.create_connection(("127.0.0.1", env.plain_port), timeout=20) as connection:
        connection.sendall(request)
        assert connection.recv(65536).startswith(b"HTTP/1.1 401 ")


def test_while_the_authorizer_is_down_nobody_gets_in(env: GatewayEnv) -> None:
    bearer = env.bearer()
    (closed,) = free_ports(1)
    with env.changed(endpoints(GATE, DOORS, closed)):
        assert env.closed(bearer).code == 503
        assert env.send().code == 503


def test_while_the_authorizer_hangs_nobody_gets_in(env: GatewayEnv) -> None:
    bearer = env.bearer()
    assert env.usual is not None
    assert env.send(bearer).code == 200
    with env.usual.child.suspended():
        assert env.send(bearer).code == 503
        assert env.send().code == 503
    env.wait()


def test_without_envoy_gateway_the_gate_goes_on(
    env: GatewayEnv, plane: ControlPlane, envoy_gateway: Child
) -> None:
    identity = plane.make_identity()
    token = plane.make_token(identity, audiences=[AUDIENCE])
    one, other = f"Authorization: Bearer {token.reveal()}", env.bearer()
    with envoy_gateway.suspended():
        assert (env.send(one).code, env.send(other).code) == (200, 200)
        plane.admin.delete(identity.secret_path)
        eventually("it is refused", lambda: env.send(one).code == 401, seconds=60)
        assert env.send(other).code == 200
    env.wait()


@pytest.mark.parametrize("wrong", ["authority", "name"])
def test_an_authorizer_of_another_authority_or_name_is_not_asked(
    env: GatewayEnv, wrong: str
) -> None:
    bearer = env.bearer()
    authority = Authority() if wrong == "authority" else None
    shown = "daypass-gate.elsewhere.svc" if wrong == "name" else ""
    with env.authorizer(authority=authority, shown=shown) as other:
        assert env.closed(bearer).code == 503
        assert other.events == []


@pytest.mark.parametrize("kind", ["ReferenceGrant", "BackendTLSPolicy"])
def test_without_the_way_to_the_authorizer_nobody_gets_in(env: GatewayEnv, kind: str) -> None:
    bearer = env.bearer()
    with env.without(gate(kind)):
        assert env.closed(bearer).code in (403, 503)
        assert env.send().code in (403, 503)


def test_nobody_slips_in_while_a_refused_policy_comes_back(env: GatewayEnv) -> None:
    forged = "kubeflow-userid: system:serviceaccount:kube-system:x"
    bearer = env.bearer()
    grant = gate("ReferenceGrant")
    for _ in range(3):
        delete(env.plane, grant)
        eventually("it is refused", lambda: env.send(bearer).code == 403, seconds=60)
        apply(env.plane, grant)
        codes = {env.send(forged).code for _ in iter(lambda: env.send(bearer).code, 200)}
        assert codes <= {401, 403, 503}
    env.wait()
