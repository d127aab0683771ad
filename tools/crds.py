"""The CustomResourceDefinitions of Istio, the Gateway API, Envoy Gateway and others, as their Go
modules hold them, but without descriptions.

    python -m tools.crds

Needs Go's module proxy the first time, for some seconds; afterwards it returns at once. They
are kept in the user's cache folder, by module and version, as a `List` in JSON, which kubectl reads
as it is and Python a hundred times faster than YAML. The paths go to stdout.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tools.gobuild import BuildError, downloaded


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """A Go module of a version, the hash that its contents must have, and what to take of it: by
    patterns, with spaces between them.
    """

    path: str
    version: str
    sum: str
    files: str

    def kept(self) -> Path:
        """Where its definitions are kept."""
        base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        name = f"{self.path.replace('/', '_')}@{self.version}.json"
        return Path(base) / "daypass" / "definitions" / name


ISTIO = Module(
    path="istio.io/istio",
    version="v0.0.0-20260827124520-eed52ebb66ad",
    sum="h1:ui9TJjRMAV/hb5ehQaZDq7IUGxuQP6dra9lapT/VjHI=",
    files="manifests/charts/base/files/crd-all.gen.yaml",
)
GATEWAY_API = Module(
    path="sigs.k8s.io/gateway-api",
    version="v1.6.1",
    sum="h1:mock6phZbI6rvZerwrVNk7hVNymQgHo+6sJ81Ia7ftY=",
    files="config/crd/experimental/gateway.networking*.yaml",
)
ENVOY_GATEWAY = Module(
    path="github.com/envoyproxy/gateway",
    version="v1.9.1",
    sum="h1:vAVp6/AlBXJ1aOhp1mxL7fNEzVEfjADUguUhm2wzxQY=",
    files="charts/gateway-helm/charts/crds/crds/generated/*.yaml",
)
CERT_MANAGER = Module(
    path="github.com/cert-manager/cert-manager",
    version="v1.20.0",
    sum="h1:czZamsFJ1YdKPhpv+SopJZN9t3W68vQBnFYUevSHGqY=",
    files="deploy/crds/cert-manager.io_*.yaml",
)
ARGO_CD = Module(
    path="github.com/argoproj/argo-cd/v3",
    version="v3.5.7",
    sum="h1:Xm1BF+I5OgDKUG3SDK49vn2/Y5AMyaNVko+/JT08gj0=",
    files="manifests/crds/application-crd.yaml",
)
FLUX_SOURCE = Module(
    path="github.com/fluxcd/source-controller",
    version="v1.9.6",
    sum="h1:nG534/bI6nVpyHra7ONAk6xDB3xPsVT+EOLHZHXPrrc=",
    files="config/crd/bases/*_gitrepositories.yaml",
)
FLUX_KUSTOMIZE = Module(
    path="github.com/fluxcd/kustomize-controller",
    version="v1.9.6",
    sum="h1:XB+G3A0mky0j5uVHZWv4oSlS2RvZBoNIUhstIvY0JKE=",
    files="config/crd/bases/*.yaml",
)
KSERVE = Module(
    path="github.com/kserve/kserve",
    version="v0.20.0",
    sum="h1:Bs7HxmGV4KFqqptDcWseKv+mwD4YOYHJWcuVgPG2Gug=",
    # An API server takes five seconds of processor time for the full ones.
    files="config/crd/minimal/**/serving.kserve.io_*inferenceservice*.yaml",
)
PROMETHEUS_OPERATOR = Module(
    path="github.com/prometheus-operator/prometheus-operator",
    version="v0.85.0",
    sum="h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=",
    files="example/*/*_podmonitors.yaml example/*/*rules.yaml",
)


def definitions_file(module: Module) -> Path:
    """A file with the definitions of a module. Raises BuildError."""
    kept = module.kept()
    if not kept.exists():
        folder = _download(module)
        found = definitions(it for glob in module.files.split() for it in folder.glob(glob))
        if not found:
            raise BuildError(f"{module.path}@{module.version} has no definition in {module.files}")
        kept.parent.mkdir(parents=True, exist_ok=True)
        partial = kept.with_name(f"{kept.name}.{os.getpid()}")
        partial.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": found}))
        partial.replace(kept)
    return kept


def definitions(files: Iterable[Path]) -> list[dict[str, Any]]:
    """The CustomResourceDefinitions in files of YAML, and nothing else that they hold."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return [
        _without_descriptions(document)
        for file in sorted(files)
        for document in yaml.load_all(file.read_text(), Loader=loader)
        if document and document["kind"] == "CustomResourceDefinition"
    ]


def _without_descriptions(found: Any) -> Any:
    """The same, without two thirds of the text, which costs an API server much time."""
    if isinstance(found, list):
        return [_without_descriptions(each) for each in found]
    if isinstance(found, dict):
        return {
            key: _without_descriptions(each)
            for key, each in found.items()
            if key != "description" or not isinstance(each, str)
        }
    return found


def _download(module: Module) -> Path:
    """The module's folder, of exactly the contents that are pinned here."""
    answer = downloaded(f"{module.path}@{module.version}", Path(__file__).resolve().parent)
    if answer["Sum"] != module.sum:
        raise BuildError(f"{module.path}@{module.version} is {answer['Sum']}, not {module.sum}")
    return Path(answer["Dir"])


if __name__ == "__main__":
    try:
        print(*map(definitions_file, (ISTIO, GATEWAY_API, ENVOY_GATEWAY)), sep="\n")
    except BuildError as error:
        raise SystemExit(f"crds: {error}") from None
