"""`daypass trace` reads what a gateway of a real istiod, and one of a real Envoy Gateway, write by
the formats of docs/reference/logs.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from tools.docs.pages import ROOT

from daypass._core.jwt import decode_unverified
from daypass.local.echo import Echo
from daypass.rules.reasons import Reason
from daypass.trace.events import Event, Skipped, read_event, read_objects
from daypass.trace.search import Logs
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.envoy_gateway import CLASS, NAMESPACE, prepare, running_envoy_gateway
from support.gateway_environment import running_gateway_env
from support.istio_gates import GUARDED, running_istio_gate

pytestmark = pytest.mark.timeout(1800)

PROXIES = f"/apis/gateway.envoyproxy.io/v1alpha1/namespaces/{NAMESPACE}/envoyproxies"
BLOCKS = (ROOT / "docs/reference/logs.md").read_text().split("```yaml\n")


def documented(key: str) -> dict[str, Any]:
    """The block of the page with a key."""
    (block,) = [each.partition("```")[0] for each in BLOCKS if each.startswith(f"{key}:")]
    document: dict[str, Any] = yaml.safe_load(block)
    return document


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


def test_a_gateway_of_istio_logs_who_calls_with_which_token(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    mesh = {**documented("meshConfig")["meshConfig"], "accessLogFile": str(log)}
    with running_istio_gate(tmp_path, mesh=mesh) as gate:
        good, denied = gate.bearer(), gate.bearer(audiences=["other"])
        gate.send(good)
        gate.send(denied)
        (line,) = eventually("it is logged", lambda: found(jti_of(good), log), seconds=60)
        refused = eventually("it is logged", lambda: refused_in(log), seconds=60)[-1]
    assert (line.component, line.client, line.code, line.target) == (
        "gate",
        "127.0.0.1",
        200,
        GUARDED,
    )
    assert f"system:serviceaccount:{line.account.replace('/', ':')}" == gate.identity.user
    assert not line.is_refused
    assert (refused.reason, refused.is_refused) == (Reason.AUDIENCE, True)


def test_a_gateway_of_envoy_gateway_logs_who_calls_and_the_authorizer_the_token(
    tmp_path: Path,
) -> None:
    log, folder = tmp_path / "access.log", tmp_path / "authorizer"
    telemetry = documented("apiVersion")["spec"]["telemetry"]
    (settings,) = telemetry["accessLog"]["settings"]
    settings["sinks"][0]["file"]["path"] = str(log)
    folder.mkdir()
    with ControlPlane.start(tmp_path / "plane") as plane, Echo() as echo:
        prepare(plane)
        plane.admin.patch(f"{PROXIES}/{CLASS}", {"spec": {"telemetry": telemetry}})
        with (
            running_envoy_gateway(tmp_path, plane),
            running_gateway_env(folder, plane, echo.address.port) as env,
        ):
            user, token = env.identity.user, env.bearer()
            env.send(token)
            env.send(f"kubeflow-userid: {user}")
            *_, line = eventually("it is logged", lambda: found(user, log), seconds=60)
            refused = eventually("it is logged", lambda: refused_in(log)[1:], seconds=60)[-1]
            (events,) = folder.rglob("authorizer.log")
    assert line.account == user.removeprefix("system:serviceaccount:").replace(":", "/")
    assert (line.client, line.code, line.is_refused) == ("127.0.0.1", 200, False)
    assert (refused.account, refused.reason) == ("", Reason.NO_TOKEN)
    accepted = found(jti_of(token), events)
    assert [(each.account, each.client) for each in accepted] == [(line.account, "127.0.0.1")]
