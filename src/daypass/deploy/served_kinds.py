"""Which kinds an API server serves, all of them, in two requests."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from daypass._core.errors import DaypassError
from daypass._core.hints import command, kubectl
from daypass.kube.cluster import Cluster
from daypass.kube.discovery import refuse_embedded
from daypass.kube.resources import Resource

_ALL_AT_ONCE = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
"""Kubernetes 1.30 and later (KEP-3352)."""
APPLY_WITH_KUBECTL = f"{command('render')} | {kubectl('apply', '--server-side', '-f', '-')}"
DIFF_WITH_KUBECTL = f"{command('render')} | {kubectl('diff', '--server-side', '-f', '-')}"
DELETE_WITH_KUBECTL = f"""{command("render")} | {kubectl("delete", "-f", "-")}
look at what it prints first: a namespace is deleted with everything in it"""
"""What to type at an API server that is too old for daypass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedKinds:
    """Resources by apiVersion and kind, in the API server's own order: of the versions of a group
    the preferred one first. `belongings`: the kinds that one can look for in a namespace and
    delete there.
    """

    resources: Mapping[tuple[str, str], Resource]
    belongings: tuple[Resource, ...]

    @property
    def served(self) -> frozenset[str]:
        """`GROUP/VERSION/KIND` of each, as the renderer wants to know it."""
        return frozenset(f"{version}/{kind}" for version, kind in self.resources)

    def find(self, group: str, kind: str) -> Resource | None:
        """A kind in the best version there is now; None where it is gone."""
        for (version, name), resource in self.resources.items():
            if name == kind and group_of(version) == group:
                return resource
        return None


def group_of(api_version: str) -> str:
    """The group of an apiVersion; empty for the core."""
    return api_version.rpartition("/")[0]


def discover_kinds(cluster: Cluster, *, instead: str = APPLY_WITH_KUBECTL) -> ServedKinds:
    """Ask an API server for all kinds.

    Raises DaypassError where it cannot say: it is the embedded one, or too old, and then `instead`
    says what works.
    """
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda path: _ask(cluster, path), ("/api", "/apis")))
    if any(answer.get("kind") != "APIGroupDiscoveryList" for answer in answers):
        refuse_embedded(cluster)
        fact = f"the API server {cluster.access.server} is older than Kubernetes 1.30"
        raise DaypassError(fact, instead)
    groups = [group for answer in answers for group in answer.get("items") or ()]
    resources: dict[tuple[str, str], Resource] = {}
    belongings: dict[tuple[str, str], Resource] = {}
    for group in groups:
        name = group["metadata"].get("name", "")
        for version in group["versions"]:
            api_version = f"{name}/{version['version']}" if name else version["version"]
            for each in version.get("resources") or ():
                resource = _resource(api_version, each)
                resources[api_version, resource.kind] = resource
                if resource.namespaced and {"list", "delete"} <= set(each["verbs"]):
                    belongings.setdefault((name, resource.kind), resource)
    return ServedKinds(resources=resources, belongings=tuple(belongings.values()))


def _ask(cluster: Cluster, path: str) -> dict[str, Any]:
    return cluster.request(
        "GET", path, headers={"Accept": _ALL_AT_ONCE}, what="discover what the API serves"
    )


def _resource(api_version: str, each: Mapping[str, Any]) -> Resource:
    return Resource(
        api_version=api_version,
        kind=each["responseKind"]["kind"],
        plural=each["resource"],
        namespaced=each["scope"] == "Namespaced",
    )
