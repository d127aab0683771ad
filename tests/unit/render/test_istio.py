"""The objects of the gate on Istio, as far as they can be checked without Envoy."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from uuid import uuid4

import pytest

from daypass._core.kubernetes.objects import Object
from daypass.config import Config
from daypass.gate.publication import shard_config_map
from daypass.render import RenderError
from daypass.render.cluster_facts import ClusterFacts
from daypass.render.engines.istio_filters import policy_operations, wide_operations
from daypass.render.envoy.published import published_filters
from daypass.render.envoy.token_rules import NO_KEYS
from daypass.render.manifests import gate_objects
from daypass.rules.published import (
    CLOSED_SHARD,
    CLUSTER_SHARDS,
    Denials,
    Shard,
    shard_name,
)
from support.engines import denials_object, keys_object, shard_object
from support.hostile_targets import hostile_hosts
from support.messages import raises
from support.publishing import shards_of
from support.rendered import config_of


def config(more: str = "", issuer: str = "issuer: 'https://issuer.example.com'") -> Config:
    return config_of(f"""\
version: 1
cluster: {{{issuer}}}
domains:
  ekf: {{host: ekf.example.com, front: istio, tls: {{secret: ekf-tls}}}}
gates: {{default: {{audience: gate.example.com {more}}}}}
gatePods: {{image: 'registry.example.com/daypass:1'}}
""")


def test_the_placeholder_key_is_derived_from_a_hash() -> None:
    (key,) = json.loads(NO_KEYS)["keys"]
    digest = hashlib.sha256(b"daypass: nobody's key 0").digest()
    assert key["x"] == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    assert (key["kty"], key["crv"], key["alg"]) == ("EC", "P-256", "ES256")


def test_a_gate_needs_the_token_issuer() -> None:
    unknown = config(issuer="")
    with raises(RenderError, match=r"cluster\.issuer"):
        gate_objects(unknown, ClusterFacts())
    assert gate_objects(unknown, ClusterFacts(issuer="https://asked.example.com"))


def test_a_header_with_too_many_dashes_is_rejected() -> None:
    with raises(RenderError, match="a-b-c-d-e-f-g"):
        gate_objects(config(", headers: {user: a-b-c-d-e-f-g}"), ClusterFacts())


def credentials(count: int) -> tuple[Shard, ...]:
    """So many credentials, with UIDs as the API server makes them."""
    return shards_of(str(uuid4()) for _ in range(count))


def size(document: Object) -> int:
    """The bytes of an object as the API server stores it."""
    return len(json.dumps(document, separators=(",", ":")))


def test_no_published_object_is_larger_than_100_kb_with_20_000_credentials() -> None:
    for number, part in enumerate(credentials(20_000)):
        assert size(shard_object(config(), number, part)) <= 100_000
        assert size(shard_config_map(number, part, "daypass", room=2000)) <= 100_000


def test_published_objects_select_the_gateway_pods() -> None:
    gate = config(", gatewayNamespace: gateways, gatewayLabels: {app: edge}")
    for each in (
        keys_object(gate, "https://i", "{}"),
        shard_object(gate, 7, CLOSED_SHARD),
        denials_object(gate, Denials()),
    ):
        assert each["metadata"]["namespace"] == "gateways"
        assert each["spec"]["workloadSelector"]["labels"] == {"app": "edge"}


def test_the_filter_refers_to_each_part_once() -> None:
    """Envoy builds a part again for each place that refers to it, in every filter chain."""
    text = json.dumps(published_filters(lambda name: {"path": name}, shards=CLUSTER_SHARDS))
    for number in range(CLUSTER_SHARDS):
        assert text.count(f'{{"name": "{shard_name(number)}"') == 1


def caught(host: str, operations: list[Object]) -> bool:
    """Whether Istio finds a host among those of operations (HostMatcher in pilot's authz)."""

    def found(names: list[str]) -> bool:
        return any(
            host.lower().endswith(name[1:])
            if name.startswith("*")
            else host.lower().startswith(name[:-1])
            if name.endswith("*")
            else host.lower() == name
            for name in names
        )

    return any(
        found(each.get("hosts", ["*"])) and not found(each.get("notHosts", []))
        for each in operations
    )


@pytest.mark.parametrize("named", [
    "'{name}.{namespace}.example.com'", "'*.example.com', ekf.example.org",
    "'{name}-{namespace}.serving.example.org', '{name}.alice.svc.cluster.local'",
    "iris.alice.svc.cluster.local", "'{name}.{namespace}.svc.cluster.local'",
])  # fmt: skip
def test_the_backstop_catches_every_host_that_could_lead_to_a_guarded_route(named: str) -> None:
    """Others, such as one with two dots at its end, no route has but that for every host."""
    gate = config(f", hosts: [{named}]")
    rules = gate.rules_of(gate.gates["default"], "https://issuer.example.com")
    operations = [*policy_operations(rules, gate), *wide_operations(rules, gate)]
    near = [
        host
        for host in hostile_hosts()
        if any(each.is_near(host) for each in rules.hosts)
        and re.fullmatch(r"[^:]*[^.:]\.?(:[0-9]+)?", host)
    ]
    assert [host for host in near if not caught(host, operations)] == []
    assert len(near) > 10
    wide = "{" in named and named.endswith("svc.cluster.local'") and "alice" not in named
    assert caught("elsewhere.example.net", operations) is wide
