"""The objects of the gate on Envoy Gateway, and the configs that it rejects."""

from __future__ import annotations

import pytest

from daypass._core.kubernetes.objects import Object
from daypass.config import Config
from daypass.render.cluster_facts import ClusterFacts
from daypass.render.manifests import gate_objects
from support.rendered import config_of, only

FACTS = ClusterFacts(issuer="https://kubernetes.default.svc")


def config(gate: str, *, domain: str = "gateway: infra/public, tls: outside") -> Config:
    return config_of(f"""\
version: 1
domains:
  ekf: {{host: ekf.example.com, front: gateway-api, {domain}}}
gates: {{default: {{audience: gate.example.com, engine: envoy-gateway, {gate}}}}}
gatePods: {{image: 'x/daypass:1'}}
""")


def objects(gate: str, **keys: str) -> list[Object]:
    return gate_objects(config(gate, **keys), FACTS)


def test_streams_of_the_whole_gateway_are_bounded() -> None:
    for longest, written in (("1h", "60m0s"), ("90s", "1m30s"), ("7d", "10080m0s")):
        found = objects(f"gateway: infra/public, maxStreamDuration: {longest}")
        limit = only(found, "ClientTrafficPolicy", "daypass-gate")["spec"]["connection"]
        assert limit == {"connectionLimit": {"maxStreamDuration": written}}
    unbounded = only(objects("gateway: infra/public"), "ClientTrafficPolicy", "daypass-gate")
    assert "connection" not in unbounded["spec"]


@pytest.mark.parametrize(
    ("gateway", "domain", "open_"),
    [
        ("infra/public", "gateway: infra/public, tls: outside", True),
        ("infra/public/https", "gateway: infra/public, tls: outside", True),
        ("infra/public/api", "gateway: infra/public, tls: outside", False),
        ("infra/other", "gateway: infra/public, tls: outside", False),
        ("daypass/daypass-domain-ekf", "className: eg, tls: {secret: ekf-tls}", True),
    ],
    ids=["gateway", "its listener", "another listener", "another gateway", "own gateway"],
)
def test_the_door_route_stays_open_on_the_guarded_gateway(
    gateway: str, domain: str, open_: bool
) -> None:
    found = objects(f"gateway: {gateway}, check: review", domain=domain)
    doors = [
        o["spec"]
        for o in found
        if o["kind"] == "SecurityPolicy" and o["metadata"]["name"] == "daypass-domain-ekf"
    ]
    assert bool(doors) == open_
    assert all(spec["authorization"] == {"defaultAction": "Allow"} for spec in doors)
