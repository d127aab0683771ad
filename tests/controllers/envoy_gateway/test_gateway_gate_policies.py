"""Others' policies beside the gate's on Envoy Gateway: which wins, and what is left then."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from controllers.gateway_environment import (
    APPS,
    DOORS,
    FACTS,
    HOST,
    INFRA,
    OTHER,
    GatewayEnv,
    config,
    gate,
    policies,
)
from daypass._core.kubernetes.objects import Object
from daypass.deploy.apply import wait_for_policies
from daypass.deploy.objects import ObjectRef
from daypass.kube.cluster import Waiter
from daypass.render.manifests import render_objects
from daypass.render.names import DOOR, DOOR_TRUST
from daypass.rules.reasons import Reason
from support.clusters import admin_cluster, apply
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.doors import CHECK, post
from support.envoy_gateway import endpoints, route
from support.gate_differences import assert_refused, seen
from support.objects import config_map, make
from support.rendered import running_pod
from support.tokens import AUDIENCE

pytestmark = pytest.mark.timeout(1800)

CORS = {"cors": {"allowOrigins": ["https://a.example"]}}


def policy(spec: Object, *, on: Object, where: str) -> Object:
    """Somebody's SecurityPolicy."""
    reference = {"group": "gateway.networking.k8s.io", **on}
    whole = {"targetRefs": [reference], **spec}
    return make("gateway.envoyproxy.io/v1alpha1", "SecurityPolicy", "theirs", where, spec=whole)


def on_route(spec: Object, name: str = "echo") -> Object:
    return policy(spec, on={"kind": "HTTPRoute", "name": name}, where=APPS)


def test_a_policy_for_a_route_takes_it_out_of_the_gate_but_no_identity_can_be_claimed(
    env: GatewayEnv,
) -> None:
    with env.added(on_route(CORS)):
        eventually("the route is out of the gate", lambda: env.send().code == 200, seconds=60)
        headers = seen(env.send("kubeflow-userid: admin", "KUBEFLOW-GROUPS: system:masters"))
        assert not [name for name in headers if name.startswith("kubeflow")]
        assert env.send("kubeflow_userid: admin").code == 400

        def is_overridden() -> bool:
            status, message = env.condition(gate("SecurityPolicy"), "Overridden")
            return status == "True" and f"{APPS}/echo" in message

        eventually("the status says so", is_overridden)


@pytest.mark.parametrize("way", ["StrategicMerge", "JSONMerge"])
def test_a_policy_for_a_route_that_is_merged_leaves_it_in_the_gate(
    env: GatewayEnv, way: str
) -> None:
    with env.added(on_route({**CORS, "mergeType": way})):
        origin, bearer = "Origin: https://a.example", env.bearer()

        def in_force() -> bool:
            return "access-control-allow-origin" in env.send(origin, bearer).headers

        eventually("theirs is in force", in_force, seconds=60)
        assert_refused(env.send(), Reason.NO_TOKEN)
        assert seen(env.send(bearer))["kubeflow-userid"] == env.identity.user


def test_another_policy_for_the_whole_gateway_is_refused_and_the_gate_stays(
    env: GatewayEnv,
) -> None:
    theirs = policy(CORS, on={"kind": "Gateway", "name": "public"}, where=INFRA)
    with env.added(theirs):
        answer = eventually("it is refused", lambda: _no(env, theirs), seconds=60)
        assert "another SecurityPolicy has already attached" in answer
        assert_refused(env.send(), Reason.NO_TOKEN)


def _no(env: GatewayEnv, document: Object) -> str:
    status, message = env.condition(document, "Accepted")
    return message if status == "False" else ""


def test_another_host_of_a_gateway_that_is_guarded_whole_is_refused(
    env: GatewayEnv,
) -> None:
    other = route("other", APPS, gateway=f"{INFRA}/public", host=OTHER, service="echo")
    with env.added(other):
        answer = eventually("it is known", lambda: _other(env, 404, "application/json"))
        assert_refused(answer, Reason.NOT_GUARDED)
        opened = on_route({"authorization": {"defaultAction": "Allow"}}, name="other")
        with env.added(opened):
            eventually("it is open", lambda: env.send(host=OTHER).code == 200, seconds=60)


def _other(env: GatewayEnv, code: int, content_type: str):  # type: ignore[no-untyped-def]
    answer = env.send(env.bearer(), host=OTHER)
    found = (answer.code, answer.headers.get("content-type"))
    return answer if found == (code, content_type) else None


def test_the_door_behind_the_same_gateway_takes_long_lived_tokens(
    env: GatewayEnv, plane: ControlPlane, tmp_path: Path
) -> None:
    objects = render_objects(config(), FACTS)
    with running_pod(
        tmp_path, config(), objects, api_server=plane.port, authority_pem=plane.ca_pem
    ) as door:
        apply(
            plane,
            config_map(DOOR_TRUST, DOORS, {"ca.crt": door.authority.pem}),
            endpoints(DOOR, DOORS, door.envoy.port("door")),
        )
        eventually("the door is reached", lambda: env.send(path=CHECK).code == 403, seconds=60)
        body = json.dumps({"spec": {"audiences": [AUDIENCE]}}).encode()
        token = f"Authorization: Bearer {env.identity.token.reveal()}"
        path = f"/kubernetes{env.identity.token_path}"
        headers = (token, "Content-Type: application/json")
        assert env.exchange(post(path, host=HOST, headers=headers, body=body)).code == 201
        assert_refused(env.send(token, path="/kubernetes/../pipeline"), Reason.LONG_LIVED)


def test_apply_reports_only_the_routes_that_other_policies_take_out(
    env: GatewayEnv,
) -> None:
    def problems() -> list[str]:
        with admin_cluster(env.plane) as cluster:
            rendered = [ObjectRef.of(value) for value in policies(config())]
            found = wait_for_policies(Waiter(cluster, 60, print), rendered)
            return [each.sentence for each in found]

    eventually("all is well", lambda: problems() == [])
    with env.added(on_route(CORS)):
        (line,) = eventually("it is reported", problems)
        assert f" {APPS}/echo," in line
        assert "mergeType: StrategicMerge" in line
