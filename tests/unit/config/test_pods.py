"""What a config says about the pods of door and gate."""

import pytest

from daypass.config.pods import PodSettings, amount
from unit.config.texts import MINIMAL, VALIDATOR, Refused, document, read, refused, refuses

EVERYTHING = """\
  image: registry.example.com/image:1
  resources:
    requests: {cpu: 0.5, memory: 256Mi}
    limits: {cpu: 2, ephemeral-storage: 1G}
  nodeSelector: {kubernetes.io/arch: amd64, node-role.kubernetes.io/edge: ''}
  tolerations:
    - {operator: Exists}
    - {key: dedicated, value: edge, effect: NoExecute, tolerationSeconds: 300}
  labels: {example.com/team: platform, cost: ''}
  imagePullSecrets: [{name: registry}]
"""


def door(written: str, *values: str, schema_accepts: bool = False) -> Refused:
    """A section that is refused where `^` is."""
    before, after = f"door: {{{written}}}\n".split("^")
    place = f"7:{len(before) + 1}"
    return refused(MINIMAL + before + after, place, *values, schema_accepts=schema_accepts)


def beyond(written: str, *values: str) -> Refused:
    """The same, where a JSON Schema can't express the mistake."""
    return door(written, *values, schema_accepts=True)


@pytest.mark.parametrize("section", ["door:\n", "gatePods:\n"])
def test_door_and_gate_have_the_same_keys_in_kubernetes_own_form(section: str) -> None:
    text = f"{MINIMAL}{section}{EVERYTHING}"
    VALIDATOR.validate(document(text))
    config = read(text)
    found = (config.door if section == "door:\n" else config.gate_pods).model_dump(
        mode="json", exclude_none=True, include=set(PodSettings.model_fields)
    )
    assert found == {
        "resources": {
            "requests": {"cpu": "0.5", "memory": "256Mi"},
            "limits": {"cpu": "2", "ephemeral-storage": "1G"},
        },
        "nodeSelector": {"kubernetes.io/arch": "amd64", "node-role.kubernetes.io/edge": ""},
        "tolerations": [
            {"operator": "Exists"},
            {
                "key": "dedicated",
                "operator": "Equal",
                "value": "edge",
                "effect": "NoExecute",
                "tolerationSeconds": 300,
            },
        ],
        "labels": {"example.com/team": "platform", "cost": ""},
        "imagePullSecrets": [{"name": "registry"}],
    }


@refuses({
    "an amount is a quantity of its resource, within bounds": [
        door("resources: {limits: {memory: ^512m}}", "door.resources.limits.memory", "'512m'"),
        door("resources: {limits: {cpu: ^100Mi}}", "door.resources.limits.cpu", "'100Mi'"),
        beyond("resources: {limits: {memory: ^1Ki}}", "'1Ki'", "1Mi to 16Ti"),
        beyond("resources: {limits: {cpu: ^0}}", "'0'", "1m to 1024"),
        door("resources: {limits: {cpu: ^-1}}", "'-1'"),
        door("resources: {limits: {cpu: ^true}}", "true"),
        door("resources: {limits: {^gpu: 1}}", "'gpu'", "ephemeral-storage"),
        door("resources: {limits: {^ephemeralStorage: 1Gi}}", "'ephemeral-storage'"),
        beyond("resources: {requests: {memory: 1Gi}, limits: {memory: ^1000Mi}}",
               "door.resources.limits.memory", "1000Mi", "1Gi"),
    ],
    "a label of daypass, a mesh or Kubernetes cannot be overridden": [
        door(f"labels: {{^{key}: x}}", f"'{key}'")
        for key in (
            "app.kubernetes.io/name", "app.kubernetes.io/managed-by", "daypass.dev/gate",
            "policy.daypass.dev/x", "sidecar.istio.io/inject", "istio.io/dataplane-mode",
            "pod-security.kubernetes.io/enforce", "k8s.io/x",
            "kuma.io/sidecar-injection", "azure.workload.identity/use",
        )
    ],
    "a label has Kubernetes' syntax": [
        door("labels: {^-a: b}", "door.labels.-a", "'-a'"),
        door("labels: {a: ^b c}", "door.labels.a", "'b c'"),
        door("labels: {a: ^5}", "door.labels.a", "quotes"),
        door("nodeSelector: {a: ^'-'}", "door.nodeSelector.a", "'-'"),
    ],
    "a toleration is one that Kubernetes accepts": [
        door("tolerations: [{effect: ^noexecute}]", "'NoExecute'"),
        beyond("tolerations: [^{value: a}]", "door.tolerations[0]", "key"),
        beyond("tolerations: [{key: a, operator: Exists, value: ^b}]", "Exists"),
        beyond("tolerations: [{key: a, tolerationSeconds: ^5}]", "NoExecute"),
        door("tolerations: [{key: a, effect: NoExecute, tolerationSeconds: ^-5}]", "-5"),
    ],
    "a pull secret is a name, once": [
        door("imagePullSecrets: [^a]", "door.imagePullSecrets[0]", "mapping"),
        door("imagePullSecrets: [{name: ^A_b}]", "'A_b'"),
        beyond("imagePullSecrets: [{name: a}, ^{name: a}]", "'a'", "twice"),
    ],
    "an image has a version": [door("image: ^envoy", "door.image", "'envoy'")],
    "a list has a bound": [
        door(f"^labels: {{{', '.join(f'l{number}: x' for number in range(21))}}}", "20"),
        door(f"tolerations: ^[{', '.join(['{operator: Exists}'] * 21)}]", "20"),
    ],
})  # fmt: skip
def test_wrong_pod_settings_are_refused_with_the_place_and_the_values(case: Refused) -> None:
    case.check_schema_too()


@pytest.mark.parametrize(
    ("less", "more"), [("999m", "1"), ("1G", "1Gi"), ("0.5", "501m"), ("1000M", "1.001G")]
)
def test_amounts_are_compared_by_value(less: str, more: str) -> None:
    assert amount(less) < amount(more)
