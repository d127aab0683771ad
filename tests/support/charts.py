"""Charts of configs, and the real Helm."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from tools.gobuild import built

from daypass._core.kubernetes.objects import Object
from daypass.render.chart import render_chart
from daypass.render.output_tree import write
from support.manifest_cases import CASES, Case

REPOSITORY = Path(__file__).parents[2]
EXAMPLE = REPOSITORY / "examples" / "cluster.yaml"

# Text that a template engine would act on, in places that take any text.
BRACES = """\
version: 1
cluster: {issuer: 'https://kubernetes.default.svc'}
domains:
  ekf: {host: ekf.example.com, front: istio, tls: {secret: ekf-tls}}
policy:
  audiences: ['{{.Values.door.image}}', '{{fail(1)}}', '}}{{-']
  exempt: ['{{ include (x) . }}', '{{- /a comment/ -}}', '$(echo) ${HOME} {{']
gate:
  audience: '{{.Values.door.image}}'
  check: review
gatePods:
  image: registry.example.com/daypass:1
"""
# Every value differs from its default.
CHOSEN = """\
version: 1
cluster: {issuer: 'https://kubernetes.default.svc'}
domains:
  ekf: {host: ekf.example.com, front: ingress-nginx, tls: {secret: ekf-tls}}
door: {namespace: edge, replicas: 3, image: 'registry.example.com/envoy:1', SETTINGS}
gate:
  audience: gate.example.com
  engine: envoy-gateway
  gateway: infra/public
  check: review
gatePods:
  replicas: 5
  image: registry.example.com/daypass:1
  SETTINGS
""".replace(
    "SETTINGS",
    "resources: {requests: {cpu: 0.5}, limits: {cpu: 3, memory: 1Gi}}, "
    "nodeSelector: {disk: ssd}, tolerations: [{operator: Exists}], "
    "labels: {example.com/team: platform, cost: ''}, imagePullSecrets: [{name: registry}]",
    1,
).replace("SETTINGS", "labels: {team: gate}")

CHARTS = {
    **CASES,
    "braces": Case(text=BRACES),
    "chosen": Case(text=CHOSEN),
    "example": Case(text=EXAMPLE.read_text()),
}


def write_chart(case: Case, folder: Path) -> Path:
    """The chart of a case, in a new folder."""
    write(folder, chart_of(case))
    return folder


def chart_of(case: Case) -> dict[str, str]:
    """The files of the chart of a case."""
    return render_chart(case.config, case.facts)


def run_helm(*words: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run Helm without files of the user."""
    return subprocess.run(
        [str(built("helm")), *words],
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **(env or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def templated(chart: Path, *options: str, values: Mapping[str, Any] | None = None) -> list[Object]:
    """The objects that `helm template` writes. Fails if it does not."""
    if values is not None:
        file = chart.with_name(f"{chart.name}-values.json")
        file.write_text(json.dumps(values))
        options = (*options, "--values", str(file))
    done = run_helm("template", "daypass", str(chart), *options)
    assert done.returncode == 0, done.stderr
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return [value for value in yaml.load_all(done.stdout, Loader=loader) if value]


def key(value: Object) -> tuple[str, str, str, str]:
    """What names an object in a cluster."""
    metadata = value["metadata"]
    group = value["apiVersion"].rpartition("/")[0]
    return group, value["kind"], metadata.get("namespace", ""), metadata["name"]


def by_key(objects: list[Object]) -> dict[tuple[str, str, str, str], Object]:
    """Objects by their names, of which no two are the same."""
    found = {key(value): value for value in objects}
    assert len(found) == len(objects)
    return found
