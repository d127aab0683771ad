"""A cluster's gate is changed, and gets a second one next to it, while requests pass."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from serving.model_serving import (
    DOMAIN,
    EKF,
    EKF_GATE,
    SERVING_AUDIENCE,
    SERVING_GATE,
    Gate,
    ServingEnv,
    config_text,
    running_serving,
)
from support.deadline import eventually
from support.istio_gateway import Gateway
from support.kserve import Model
from support.tokens import AUDIENCE
from support.traffic import Traffic
from support.watching import identity_namespace

pytestmark = pytest.mark.timeout(600)


def test_a_change_refuses_no_good_request_and_lets_no_revoked_one_pass(tmp_path: Path) -> None:
    with running_serving(tmp_path) as env, ExitStack() as stack:
        plane = env.plane
        namespace = identity_namespace(plane)
        env.serve(Model(name="iris", namespace=namespace))
        model = f"iris.{namespace}.{DOMAIN}"
        first: Gate = {**EKF_GATE, "check": "review"}
        env.kubelet.apply(config_text(default=first))
        bot, revoked, late = (plane.make_identity(namespace, name) for name in ("a", "b", "c"))
        tokens = {
            each: plane.make_token(each, audiences=[AUDIENCE]) for each in (bot, revoked, late)
        }
        good, bad, meanwhile = (
            Traffic(connect=at(env.ingress, EKF, env), host=EKF, token=token)
            for token in tokens.values()
        )
        # Nobody needs a token for models before.
        open_before = Traffic(connect=at(env.serving, model, env), host=model, token=tokens[bot])
        plane.admin.delete(revoked.secret_path)
        for traffic, code in ((good, 200), (bad, 401), (meanwhile, 200), (open_before, 200)):
            with traffic.flowing():
                eventually("the gate is in force", lambda t=traffic, c=code: t.last == c)  # type: ignore[misc]
            traffic.codes.clear()
            traffic.history.clear()
            stack.enter_context(traffic.flowing())

        # A gateway that has got the new filters waits less for what they read.
        env.kubelet.pull_seconds = 6
        changed = config_text(default={**first, "login": "keep"}, serving=SERVING_GATE)
        applying = env.kubelet.start_apply(changed)

        def is_applied() -> bool:
            if plane.admin.find(late.secret_path) is not None and good.codes.total() > 50:
                plane.admin.delete(late.secret_path)
            return env.kubelet.has_applied(applying)

        eventually("the second gate is applied", is_applied, seconds=180)
        assert applying.exit_code() == 0, applying.tail(40)
        eventually("what was revoked meanwhile is refused", lambda: meanwhile.last == 401)
        eventually("its own host is guarded", lambda: open_before.last == 403)
        counted = good.codes.total()
        eventually("more has passed", lambda: good.codes.total() > counted + 100)
        assert good.codes.keys() == {200}, good.codes
        assert bad.codes.keys() == {401}, bad.codes
        assert 200 not in open_before.history[1:], open_before.history

        reader = plane.make_identity(namespace, "reader")
        env.allow(reader, "iris")
        token = plane.make_token(reader, audiences=[SERVING_AUDIENCE])
        eventually("a reader passes the second", lambda: env.call(token, host=model).code == 200)
        assert env.call(token, host=EKF, gateway=env.ingress).code == 403


def at(gateway: Gateway, name: str, env: ServingEnv) -> Callable[[], ssl.SSLSocket]:
    sni = DOMAIN if name != EKF else EKF
    return partial(gateway.connect, name=sni, authority_pem=env.public.pem)
