"""What a config says about pods, in the rendered objects, and what it can't change there."""

from __future__ import annotations

import copy

import pytest

from daypass._core.kubernetes.objects import Object
from daypass.config import Config
from daypass.render.cluster_facts import ClusterFacts
from daypass.render.manifests import render_objects
from daypass.render.names import DOOR, GATE, GATE_WATCH
from support.rendered import config_of

CONFIG = """\
version: 1
cluster: {issuer: 'https://kubernetes.default.svc'}
domains:
  ekf: {host: ekf.example.com, front: istio, tls: {secret: ekf-tls}}
gates: {default: {audience: gate.example.com, check: review}}
gatePods: {image: 'registry.example.com/daypass:1', GATE}
door: {DOOR}
"""
SETTINGS = """\
pod: {resources: {limits: {memory: 1Gi}}, nodeSelector: {disk: ssd},
    tolerations: [{operator: Exists}], topologySpreadConstraints: [], affinity: {podAffinity: {}},
    imagePullSecrets: [{name: registry}], labels: {example.com/team: platform, cost: ''}}"""
KINDS = (
    "ServiceAccount", "ConfigMap", "Deployment", "NetworkPolicy", "PodDisruptionBudget", "Service",
    "HorizontalPodAutoscaler",
)  # fmt: skip
LABELS = {"example.com/team": "platform", "cost": ""}


def config(door: str = "", gate: str = "") -> Config:
    return config_of(CONFIG.replace("DOOR", door).replace("GATE", gate))


def rendered(door: str = "", gate: str = "") -> list[Object]:
    return render_objects(config(door, gate), ClusterFacts())


def key(value: Object) -> tuple[str, str, str]:
    return value["kind"], value["metadata"].get("namespace", ""), value["metadata"]["name"]


@pytest.mark.parametrize(
    ("door", "gate", "names"), [(SETTINGS, "", {DOOR}), ("", SETTINGS, {GATE, GATE_WATCH})]
)
def test_settings_reach_the_pods_of_their_section_and_nothing_else(
    door: str, gate: str, names: set[str]
) -> None:
    before, after = rendered(), rendered(door, gate)
    expected = copy.deepcopy(before)
    for value in expected:
        metadata, (kind, namespace, name) = value["metadata"], key(value)
        if name in names and namespace == "daypass" and kind in KINDS:
            metadata["labels"] = LABELS | metadata["labels"]
        if name not in names:
            continue
        if kind == "Deployment":
            template = value["spec"]["template"]
            template["metadata"]["labels"] = LABELS | template["metadata"]["labels"]
            template["spec"] |= {
                "nodeSelector": {"disk": "ssd"},
                "tolerations": [{"operator": "Exists"}],
                "imagePullSecrets": [{"name": "registry"}],
                "topologySpreadConstraints": [],
                "affinity": {"podAffinity": {}},
            }
            template["spec"]["containers"][0]["resources"]["limits"]["memory"] = "1Gi"
    assert after == expected
