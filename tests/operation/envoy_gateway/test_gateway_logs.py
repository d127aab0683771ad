"""`daypass trace` reads what a gateway of a real istiod, and one of a real Envoy Gateway, write by
the formats of docs/reference/logs.md.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from controllers.gateway_environment import GatewayEnv
from daypass._core.jwt import decode_unverified
from daypass.rules.reasons import Reason
from daypass.trace.events import Event, Skipped, read_event, read_objects
from daypass.trace.search import Logs
from support.deadline import eventually
from support.istio_gates import GUARDED, IstioEnv

pytestmark = pytest.mark.timeout(1800)


def found(what: str, log: Path) -> list[Event]:
    logs = Logs(what)
    if log.exists():
        logs.read([str(log)])
    return logs.result().lines


def refused_in(log: Path) -> list[Event]:
    objects = read_objects(str(log), [b"{"], Skipped()) if log.exists() else ()
    return [each for each in map(read_event, objects) if each is not None and each.is_refused]


def jti_of(line: str) -> str:
    return str(decode_unverified(line.removeprefix("Authorization: Bearer "))[1]["jti"])


def test_a_gateway_of_istio_logs_who_calls_with_which_token(istio: IstioEnv, logs: Path) -> None:
    log = logs / "istio"
    good = istio.bearer()
    istio.send(good)
    istio.send(istio.bearer(audiences=["other"]))
    (line,) = eventually("it is logged", lambda: found(jti_of(good), log), seconds=60)
    refused = eventually("it is logged", lambda: refused_in(log), seconds=60)[-1]
    found_in = (line.component, line.client, line.code, line.target)
    assert found_in == ("gate", "127.0.0.1", 200, GUARDED)
    assert f"system:serviceaccount:{line.account.replace('/', ':')}" == istio.identity.user
    assert not line.is_refused
    assert (refused.reason, refused.is_refused) == (Reason.AUDIENCE, True)


def test_a_gateway_of_envoy_gateway_logs_who_calls_and_the_authorizer_the_token(
    env: GatewayEnv, logs: Path
) -> None:
    log = logs / "envoy-gateway"
    user, token = env.identity.user, env.bearer()
    env.send(token)
    env.send(f"kubeflow-userid: {user}")
    *_, line = eventually("it is logged", lambda: found(user, log), seconds=60)
    refused = eventually("it is logged", lambda: refused_in(log)[1:], seconds=60)[-1]
    (events,) = env.folder.rglob("authorizer.log")
    assert line.account == user.removeprefix("system:serviceaccount:").replace(":", "/")
    assert (line.client, line.code, line.is_refused) == ("127.0.0.1", 200, False)
    assert (refused.account, refused.reason) == ("", Reason.NO_TOKEN)
    accepted = found(jti_of(token), events)
    assert [(each.account, each.client) for each in accepted] == [(line.account, "127.0.0.1")]
