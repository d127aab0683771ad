"""A deployments repository as EKF's guide shows it, with bases made up to fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from daypass.cli import main
from support.programs import output_of

FOLDERS = {
    "ekf": "rok/kubernetes-proxy/overlays/deploy",
    "serving": "rok/kubernetes-proxy-serving/overlays/deploy",
}
PATCH = "patches/ingress_host.json"
PLACEHOLDER = "arrikto-cluster.apps.example.com"
LONG_PATCH = f"""\
[
    {{
      "op": "replace",
      "path": "/spec/rules/0/host",
      "value": "{PLACEHOLDER}"
    }}
]
"""
SHORT_PATCH = (
    '[ { "op": "replace", "path": "/spec/rules/0/host", "value": '
    '"arrikto-cluster-serving.serving.example.com" } ]\n'
)
"""Both forms are in the guide."""

_KUSTOMIZATION = """\
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization

resources:
- ../../base

# The domain of this cluster.
patches:
- path: patches/ingress_host.json
  target:
    group: networking.k8s.io
    version: v1
    kind: Ingress
    name: {name}
"""
_INGRESS = """\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: {name}
  annotations:
    kubernetes.io/ingress.class: nginx
    nginx.ingress.kubernetes.io/backend-protocol: HTTPS
    nginx.ingress.kubernetes.io/use-regex: "true"
    nginx.ingress.kubernetes.io/rewrite-target: /$1
spec:
  rules:
  - host: placeholder.example.com
    http:
      paths:
      - path: /kubernetes/(api/v1/namespaces/[^/]+/serviceaccounts/[^/]+/token)
        pathType: ImplementationSpecific
        backend:
          service:
            name: kubernetes
            port:
              name: https
"""


def make_ekf(root: Path) -> Path:
    """The tree of a deployments repository; `root` itself."""
    for folder, patch in zip(FOLDERS.values(), (LONG_PATCH, SHORT_PATCH), strict=True):
        overlay = root / folder
        base = overlay.parent.parent / "base"
        (overlay / "patches").mkdir(parents=True)
        base.mkdir()
        name = base.parent.name
        (base / "ingress.yaml").write_text(_INGRESS.format(name=name))
        (base / "kustomization.yaml").write_text("namespace: rok\nresources:\n- ingress.yaml\n")
        (overlay / "kustomization.yaml").write_text(_KUSTOMIZATION.format(name=name))
        (overlay / PATCH).write_text(patch)
    return root


def adopt(root: Path, what: str, *words: str) -> int:
    """Run `daypass init --adopt`; return its exit code."""
    return main(["init", str(root), "--adopt", what, *words])


def built_ingress(root: Path) -> dict[str, Any]:
    """The Ingress that the real kubectl builds from the overlay."""
    built = output_of("kubectl", "kustomize", FOLDERS["ekf"], folder=root)
    ingress: dict[str, Any] = yaml.safe_load(built)
    return ingress
