"""What a cluster lacks before an apply, and what to do about it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from daypass.deploy.cluster_state import ClusterState, MissingError
from daypass.kube.resources import group_of, resource
from daypass.render.cluster_facts import ClusterFacts
from daypass.render.manifests import render_objects
from support.messages import raises
from support.rendered import config_of

CONFIG = """
version: 1
cluster: {issuer: "https://kubernetes.default.svc"}
domains: {a: {host: a.example.com, front: FRONT, tls: {secret: a-tls}}}
policy: {audiences: [gate]}
"""
GATE = "gate: {audience: gate, check: both, image: 'r.example.com/daypass:1', engine: istio}\n"
ISSUER = "door: {certificateIssuer: ca}\n"


def without(group: str, documents: list[dict[str, Any]]) -> ClusterState:
    """A cluster that has what these objects need, except the kinds of a group."""
    kinds = {
        (each["apiVersion"], each["kind"]): resource(each["apiVersion"], each["kind"], "any")
        for each in documents
        if not group_of(each["apiVersion"]).endswith(group)
    }
    cluster: Any = SimpleNamespace(kinds=lambda: SimpleNamespace(resources=kinds))
    return ClusterState(cluster=cluster, namespaces={}, inventories=())


@pytest.mark.parametrize(
    ("front", "more", "group", "expected"),
    [
        ("ingress-nginx", GATE, ".istio.io", ["`gate.engine`"]),
        ("istio", "", ".istio.io", ["`front`"]),
        ("istio", GATE, ".istio.io", ["`front`", "`gate.engine`"]),
        ("ingress-nginx", ISSUER, "cert-manager.io", ["issuer"]),
    ],
    ids=["gate", "front", "both", "issuer"],
)
def test_the_hint_for_missing_kinds_names_each_cause_once(
    front: str, more: str, group: str, expected: list[str]
) -> None:
    documents = render_objects(config_of(CONFIG.replace("FRONT", front) + more), ClusterFacts())
    with raises(MissingError) as raised:
        without(group, documents).require(documents)
    lines = sorted(raised.value.hint.splitlines())
    assert len(lines) == len(expected)
    assert all(key in line for line, key in zip(lines, expected, strict=True)), lines
