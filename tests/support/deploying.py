"""Applying to a cluster of the tests, and whatever is in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from daypass._core.kubernetes.objects import Object, name_of
from daypass._core.threads import in_parallel
from daypass.deploy.apply import execute
from daypass.deploy.cluster_state import read_cluster_state
from daypass.deploy.plan import ApplyPlan, make_plan
from daypass.deploy.remove import ApplyResult, find_removals, remove_all
from daypass.kube.cluster import Cluster
from daypass.kube.resources import CONFIG_MAPS, NAMESPACES, SERVICE_ACCOUNTS, Resource
from daypass.render.manifests import render_folders
from support.admin import APPLY_PATCH, Answer
from support.clusters import admin_cluster
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.rendered import config_of

BOTH = """\
version: 1
domains:
  ekf: {host: ekf.example.com, front: ingress-nginx, tls: {secret: ekf-tls}, dns: external-dns}
  serving: {host: serving.example.com, front: istio, tls: {secret: serving-tls}}
policy: {audiences: [gate.example.com]}
"""
"""Both domains of an EKF cluster."""

ONLY_EKF = "".join(line for line in BOTH.splitlines(keepends=True) if "serving" not in line)

GATE = """\
cluster: {issuer: 'https://kubernetes.default.svc'}
gates: {default: {audience: gate.example.com, hosts: [serving.example.com]}}
gatePods: {image: 'r.example.com/daypass:1'}
"""
"""A gate for one of them."""

DOORS = ("daypass", "edge")
"""The namespaces to which tests apply a door."""

QUICK_APPLY = ("apply", "--no-commit", "--no-wait")
"""`daypass apply` without git and without waiting."""

Everything = dict[tuple[str, str, str], tuple[str, str]]
"""UID and version by (group and kind, namespace, name)."""

# Controllers of the control plane write these by themselves, at any time.
_RESTLESS = {"Event", "Lease", "APIService", "ComponentStatus"}
# Of these they write the status, up to a minute later.
_WITH_LATE_STATUS = {"FlowSchema", "ValidatingAdmissionPolicy"}


def apply(cluster: Cluster, text: str) -> ApplyResult:
    return execute(plan(cluster, text))


def apply_strictly(plane: ControlPlane, cluster: Cluster, document: Object) -> Answer:
    """Server-side apply that refuses unknown fields."""
    metadata = document["metadata"]
    path = cluster.resource(document).path(metadata.get("namespace"), metadata["name"])
    return plane.admin.request(
        "PATCH", f"{path}?fieldManager=daypass-tests&fieldValidation=Strict", document,
        headers={"Content-Type": APPLY_PATCH},
    )  # fmt: skip


def write(folder: Path, text: str) -> None:
    (folder / "daypass.yaml").write_text(text)


def plan(cluster: Cluster, text: str) -> ApplyPlan:
    config, state = config_of(text), read_cluster_state(cluster)
    facts = state.facts(config)
    return make_plan(state, config, facts, render_folders(config, facts))


def remove(cluster: Cluster) -> ApplyResult:
    state = read_cluster_state(cluster)
    return remove_all(state, find_removals(cluster, state.entries))


def clear(cluster: Cluster) -> None:
    """Remove what was applied, and come back when the doors' namespaces are gone."""
    left = [(str(each.ref), each.why) for each in remove(cluster).left]

    def are_gone() -> bool:
        found = filter(None, (cluster.find(NAMESPACES, each) for each in DOORS))
        there = [(each["metadata"], each["status"]) for each in found]
        assert not there, there
        return True

    eventually(f"all is gone but {left}", are_gone)


def prepare(
    plane: ControlPlane, kinds: Iterable[Callable[[ControlPlane], None]], *namespaces: str
) -> None:
    """Install kinds and namespaces; come back after the control plane's first writes."""
    for install in kinds:
        install(plane)
    for name in namespaces:
        plane.admin.create("/api/v1/namespaces", {"metadata": {"name": name}})
    with admin_cluster(plane) as cluster:
        settle(cluster)


def settle(cluster: Cluster) -> None:
    """Come back when the controllers have put into each namespace what they put into all."""

    def has_both() -> bool:
        namespaces = {
            name_of(each)
            for each in cluster.list(NAMESPACES)
            if "deletionTimestamp" not in each["metadata"]
        }
        return all(
            namespaces
            <= {each["metadata"]["namespace"] for each in cluster.list(kind, fields=name)}
            for kind, name in (
                (SERVICE_ACCOUNTS, "metadata.name=default"),
                (CONFIG_MAPS, "metadata.name=kube-root-ca.crt"),
            )
        )

    eventually("the controllers have caught up", has_both)


def everything(cluster: Cluster) -> Everything:
    """Every object of every kind in every namespace."""
    kinds = cluster.kinds(refresh=True).resources.values()
    listed = {(each.api_version.partition("/")[0], each.kind): each for each in kinds}

    def look(resource: Resource) -> Everything:
        answer = cluster.request(
            "GET",
            resource.path(),
            headers={"Accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"},
            what=f"list {resource.plural}",
        )
        found: Everything = {}
        late = ("generation", "labels", "annotations")
        version = late if resource.kind in _WITH_LATE_STATUS else ("resourceVersion",)
        for document in answer["items"] or ():
            metadata = document["metadata"]
            key = f"{resource.api_version} {resource.kind}", metadata.get("namespace", "")
            found[*key, metadata["name"]] = (
                metadata["uid"], str([metadata.get(each) for each in version])
            )  # fmt: skip
        return found

    whole: Everything = {}
    wanted = [one for one in listed.values() if one.kind not in _RESTLESS and _can_list(one)]
    for found in in_parallel(look, wanted):
        whole |= found
    return whole


def named(there: Everything) -> set[tuple[str, str, str]]:
    """Kind, namespace and name, whatever the version."""
    return {(kind.rpartition(" ")[2], namespace, name) for kind, namespace, name in there}


def _can_list(resource: Resource) -> bool:
    return not resource.kind.endswith(("Review", "Options", "Eviction", "Binding")) or (
        resource.kind.endswith(("RoleBinding", "PolicyBinding"))
    )
