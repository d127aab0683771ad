"""What is revoked is refused on connections that are open, at 200 hosts and two gates."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from daypass._core.clock import SYSTEM_CLOCK
from daypass.rules.reasons import Reason
from support.deadline import eventually
from support.gate_differences import assert_refused
from support.identities import Identity
from support.kserve import Model
from support.model_serving import (
    DOMAIN,
    EKF,
    EKF_GATE,
    SERVING_AUDIENCE,
    SERVING_GATE,
    ServingEnv,
    config_text,
    running_serving,
)
from support.raw import Caller, Conversation
from support.tokens import AUDIENCE
from support.watching import identity_namespace

pytestmark = pytest.mark.timeout(300)

COUNT = 200
MODELS = [Model(name=f"m{number}", namespace="alice") for number in range(COUNT)]
REMEMBER_SECONDS = 5


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServingEnv]:
    with running_serving(tmp_path_factory.mktemp("serving")) as running:
        running.plane.admin.create("/api/v1/namespaces", {"metadata": {"name": "alice"}})
        running.serve(*MODELS)
        running.kubelet.apply(config_text(default=EKF_GATE, serving=SERVING_GATE))
        yield running


def test_a_deleted_secret_closes_200_hosts_and_the_other_gate(env: ServingEnv) -> None:
    seconds = []
    for _ in range(5):
        bot = reader(env)
        with ExitStack() as stack:
            calling = open_callers(env, stack, bot)
            env.plane.admin.delete(bot.secret_path)
            began = SYSTEM_CLOCK.monotonic()
            refusal = calling[0].becomes(401)
            seconds.append(SYSTEM_CLOCK.monotonic() - began)
            # By the gate itself, or by the review that it asked for meanwhile.
            assert_refused(refusal, Reason.UNKNOWN_CREDENTIAL, Reason.REVIEW_REFUSED)
            for each in calling:
                each.becomes(401)
            assert SYSTEM_CLOCK.monotonic() - began < REMEMBER_SECONDS
    assert statistics.median(seconds) <= 1, seconds


def test_a_deleted_role_binding_closes_200_hosts_within_what_is_remembered(
    env: ServingEnv,
) -> None:
    bot = reader(env)
    with ExitStack() as stack:
        calling = open_callers(env, stack, bot)[1:]
        bindings = "/apis/rbac.authorization.k8s.io/v1/namespaces/alice/rolebindings"
        for binding in env.plane.admin.get(bindings)["items"]:
            env.plane.admin.delete(f"{bindings}/{binding['metadata']['name']}")
        began = SYSTEM_CLOCK.monotonic()
        for each in calling:
            assert_refused(each.becomes(403), Reason.MODEL)
        assert SYSTEM_CLOCK.monotonic() - began < REMEMBER_SECONDS + 3


def reader(env: ServingEnv) -> Identity:
    """An identity that may call every model in `alice`."""
    bot = env.plane.make_identity(identity_namespace(env.plane))
    env.allow(bot, namespace="alice")
    return bot


def open_callers(env: ServingEnv, stack: ExitStack, bot: Identity) -> list[Caller]:
    """One at the ingress and one for each model, each on a connection of its own, let through."""
    places = [
        (env.ingress, EKF, EKF, AUDIENCE),
        *((env.serving, DOMAIN, each.host(each.name, DOMAIN), SERVING_AUDIENCE) for each in MODELS),
    ]
    tokens = {
        audience: env.plane.make_token(bot, audiences=[audience])
        for audience in (AUDIENCE, SERVING_AUDIENCE)
    }
    found = []
    for gateway, name, host, audience in places:
        opened = stack.enter_context(gateway.connect(name=name, authority_pem=env.public.pem))
        found.append(Caller(Conversation(opened), host, tokens[audience]))
    for each in found:
        eventually("it passes", lambda each=each: each.ask().code == 200)  # type: ignore[misc]
    return found
