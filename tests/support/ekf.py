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

KUSTOMIZATION = """\
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


def make_ekf(root: Path, *, namespace: str = "rok", only: str | None = None) -> Path:
    """The tree of a deployments repository; `root` itself. `only`: one of the two domains."""
    for domain, folder in FOLDERS.items():
        if only not in (None, domain):
            continue
        overlay = root / folder
        base = overlay.parent.parent / "base"
        (overlay / "patches").mkdir(parents=True)
        base.mkdir()
        name = base.parent.name
        (base / "ingress.yaml").write_text(_INGRESS.format(name=name))
        (base / "kustomization.yaml").write_text(
            f"namespace: {namespace}\nresources:\n- ingress.yaml\n"
        )
        (overlay / "kustomization.yaml").write_text(KUSTOMIZATION.format(name=name))
        (overlay / PATCH).write_text(LONG_PATCH if domain == "ekf" else SHORT_PATCH)
    (root / "README.md").write_text("Deployments of this cluster.\n")
    return root


def adopt(root: Path, what: str, *words: str) -> int:
    """Run `daypass init --adopt`; return its exit code."""
    return main(["init", str(root), "--adopt", what, *words])


def git(root: Path, *arguments: str) -> str:
    return output_of("git", "-C", root, *arguments)


def git_init(root: Path) -> None:
    """A git repository with somebody who commits, and no commit yet."""
    root.mkdir(exist_ok=True)
    git(root, "init", "--quiet", "--initial-branch=main")
    git(root, "config", "user.name", "Ada")
    git(root, "config", "user.email", "ada@example.com")


def add_hook(root: Path, name: str, script: str) -> None:
    """A git hook of a repository, by the lines of a shell script."""
    file = root / ".git" / "hooks" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


def make_repository(root: Path) -> Path:
    git_init(root)
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "Deploy")
    return root


def build(root: Path, folder: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(output_of("kubectl", "kustomize", folder, folder=root)))


def built_ingress(root: Path, domain: str = "ekf") -> dict[str, Any]:
    (ingress,) = build(root, FOLDERS[domain])
    return ingress
