"""What a config says about pods, in the rendered objects, and what it can't change there."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from daypass._core.kubernetes.objects import Object
from daypass.config import Config
from daypass.config.settings import amount
from daypass.render.cluster_facts import ClusterFacts
from daypass.render.manifests import render_objects
from daypass.render.names import DOOR, GATE, GATE_WATCH
from daypass.render.prerequisites import prerequisite_notes
from support.rendered import config_of, only

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


def pod(objects: list[Object], name: str) -> dict[str, Any]:
    spec: dict[str, Any] = only(objects, "Deployment", name)["spec"]["template"]["spec"]
    return spec


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


def test_no_selector_has_labels_of_the_config() -> None:
    def selectors(value: Any) -> list[Any]:
        if isinstance(value, list):
            return [found for item in value for found in selectors(item)]
        if not isinstance(value, dict):
            return []
        inner = [found for item in value.values() for found in selectors(item)]
        names = ("selector", "podSelector", "labelSelector", "matchLabels")
        return inner + [value[name] for name in names if name in value]

    found = selectors(rendered(SETTINGS, SETTINGS))
    assert found
    assert not [each for each in found if "platform" in str(each) or "cost" in str(each)]


@pytest.mark.parametrize(
    ("chosen", "requests", "limits"),
    [
        ("", {"cpu": "100m", "memory": "128Mi"}, {"cpu": "2", "memory": "512Mi"}),
        ("limits: {memory: 64Mi}", {"memory": "64Mi"}, {"memory": "64Mi"}),
        ("requests: {cpu: 4}", {"cpu": 4}, {"cpu": 4}),
        ("requests: {cpu: 1}, limits: {cpu: 1500m}", {"cpu": 1}, {"cpu": "1500m"}),
        ("limits: {ephemeral-storage: 8Mi}", {"ephemeral-storage": "8Mi"}, {}),
    ],
)
def test_a_default_makes_no_request_exceed_its_limit(
    chosen: str, requests: dict[str, object], limits: dict[str, object]
) -> None:
    (container,) = pod(rendered(f"pod: {{resources: {{{chosen}}}}}"), DOOR)["containers"]
    found = container["resources"]
    assert requests.items() <= found["requests"].items()
    assert limits.items() <= found["limits"].items()
    assert found["requests"].keys() == found["limits"].keys()
    assert all(
        amount(found["requests"][it]) <= amount(found["limits"][it]) for it in found["limits"]
    )


def test_the_image_of_the_door_can_be_another_copy() -> None:
    image = f"registry.example.com/envoy@sha256:{'0' * 64}"
    (container,) = pod(rendered(f"image: '{image}'"), DOOR)["containers"]
    assert container["image"] == image


def test_settings_of_pods_change_no_config_inside_them() -> None:
    before, after = rendered(), rendered(SETTINGS, f"replicas: 5, {SETTINGS}")
    for name in (DOOR, GATE, GATE_WATCH):
        configs = [only(objects, "ConfigMap", name)["data"] for objects in (before, after)]
        assert configs[0] == configs[1]


def test_a_pull_secret_is_listed_as_something_that_must_exist() -> None:
    notes = prerequisite_notes(config(SETTINGS, SETTINGS))
    assert [note.partition(":")[0] for note in notes].count("Secret daypass/registry") == 1
