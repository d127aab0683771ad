"""A Helm chart of one config: its objects as they are, and values for its pods alone.

    Chart.yaml, values.yaml, values.schema.json
    templates/objects.yaml      writes objects/ as they are, and pods/ with the values
    objects/FILE                objects without values
    pods/WORKLOAD/FILE          those of door, gateServe or gateWatch

The template is the same for every config, and no object passes through the template engine: `{{` in
a config has no meaning. What decides what is reachable is in the objects, so it has no value.
"""

import json
from typing import Any

from daypass._core import VERSION
from daypass._core.kubernetes.objects import Object
from daypass.config import Config, json_schema
from daypass.config.pods import PodSettings
from daypass.config.types import key_of
from daypass.render.cluster_facts import ClusterFacts
from daypass.render.manifests import MARK, file_names, render_objects
from daypass.render.names import DOOR, GATE, GATE_WATCH
from daypass.render.yaml import document

_WORKLOADS = {DOOR: "door", GATE: "gateServe", GATE_WATCH: "gateWatch"}
_OF_PODS = (
    "ConfigMap", "Deployment", "HorizontalPodAutoscaler", "NetworkPolicy", "PodDisruptionBudget",
    "Service", "ServiceAccount",
)  # fmt: skip
_TEMPLATE = """\
{{- range $path, $_ := .Files.Glob "objects/*.yaml" }}
---
{{ $.Files.Get $path }}
{{- end }}
{{- range $workload, $values := omit .Values "global" }}
{{- range $path, $_ := $.Files.Glob (printf "pods/%s/*.yaml" $workload) }}
{{- $object := $.Files.Get $path | fromYaml }}
{{- $spec := $object.spec }}
{{- /* The labels of daypass take precedence. */}}
{{- $_ := merge $object.metadata.labels $values.labels }}
{{- if eq $object.kind "HorizontalPodAutoscaler" }}
{{- $most := mul $values.replicas (div $spec.maxReplicas $spec.minReplicas) }}
{{- $_ := set (set $spec "minReplicas" $values.replicas) "maxReplicas" $most }}
{{- else if eq $object.kind "Deployment" }}
{{- if $spec.replicas }}{{ $_ := set $spec "replicas" $values.replicas }}{{ end }}
{{- $_ := merge $spec.template.metadata.labels $values.labels }}
{{- range $key := list "nodeSelector" "tolerations" "imagePullSecrets" }}
{{- with index $values $key }}{{ $_ := set $spec.template.spec $key . }}{{ end }}
{{- end }}
{{- $container := first $spec.template.spec.containers }}
{{- $_ := set (set $container "image" $values.image) "resources" $values.resources }}
{{- end }}
---
{{ toYaml $object }}
{{- end }}
{{- end }}
"""


def render_chart(config: Config, facts: ClusterFacts) -> dict[str, str]:
    """Return the chart: texts by relative path. Raises RenderError as `render_objects` does."""
    values = _values(config, render_objects(config, facts))
    folders: dict[str, list[Object]] = {}
    for value in render_objects(_without_settings(config), facts):
        workload = _workload(config, value)
        folders.setdefault(f"pods/{workload}" if workload else "objects", []).append(value)
    chart = {
        f"{folder}/{name}": MARK + document(value)
        for folder, objects in folders.items()
        for name, value in zip(file_names(objects), objects, strict=True)
    }
    about = {
        "apiVersion": "v2",
        "name": "daypass",
        "description": "The objects of one daypass.yaml, with values for its pods",
        "type": "application",
        "version": VERSION,
        "appVersion": VERSION,
        "kubeVersion": ">=1.30.0-0",
    }
    chart["Chart.yaml"] = MARK + document(about)
    chart["values.yaml"] = MARK + document(values)
    chart["values.schema.json"] = json.dumps(_schema([*values]), indent=2) + "\n"
    chart["templates/objects.yaml"] = MARK + _TEMPLATE
    return dict(sorted(chart.items()))


def _workload(config: Config, value: Object) -> str | None:
    """Return the name in the values of the workload that an object belongs to."""
    metadata = value["metadata"]
    is_here = metadata.get("namespace") == config.door.namespace and value["kind"] in _OF_PODS
    return _WORKLOADS.get(metadata["name"]) if is_here else None


def _without_settings(config: Config) -> Config:
    """Return the config without what the values set, which a user could not take away."""
    nothing = dict.fromkeys(PodSettings.model_fields)
    sections = {"door": config.door, "gate_pods": config.gate_pods}
    return config.model_copy(
        update={name: each.model_copy(update=nothing) for name, each in sections.items()}
    )


def _values(config: Config, objects: list[Object]) -> Object:
    """Return the values with which the chart gives these objects."""
    specs = {(_workload(config, each), each["kind"]): each.get("spec", {}) for each in objects}
    values: Object = {}
    for workload in filter(None, dict.fromkeys(workload for workload, _ in specs)):
        spec, scaler = (
            specs.get((workload, kind), {}) for kind in ("Deployment", "HorizontalPodAutoscaler")
        )
        pod = spec["template"]["spec"]
        (container,) = pod["containers"]
        settings = config.door if workload == "door" else config.gate_pods
        values[workload] = {
            "image": container["image"],
            "replicas": scaler.get("minReplicas") or spec["replicas"],
            "resources": container["resources"],
            "nodeSelector": pod.get("nodeSelector", {}),
            "tolerations": pod.get("tolerations", []),
            "labels": dict(settings.labels or {}),
            "imagePullSecrets": pod.get("imagePullSecrets", []),
        }
    return dict(sorted(values.items()))


def _schema(workloads: list[str]) -> dict[str, Any]:
    """Return the JSON Schema of the values: that of the same keys of the config."""
    config = json_schema()
    keys = ("image", "replicas", *map(key_of, PodSettings.model_fields))
    properties: dict[str, Any] = {
        "global": {"type": "object", "description": "Helm adds it to a chart in a chart."}
    }
    for workload in workloads:
        known = config["$defs"]["Door" if workload == "door" else "GatePods"]["properties"]
        properties[workload] = _section({key: known[key] for key in keys}, [*keys])
    used = ("Amounts", "PullSecret", "Resources", "Toleration")
    return {
        "$comment": MARK[2:-1],
        "$schema": config["$schema"],
        **_section(properties, workloads),
        "$defs": {name: config["$defs"][name] for name in used},
    }


def _section(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    closed = {"type": "object", "additionalProperties": False}
    return {**closed, "required": required, "properties": properties}
