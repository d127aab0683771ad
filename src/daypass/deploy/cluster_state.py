"""A cluster before an apply: its kinds, its namespaces, and what was applied before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from daypass._core.errors import DaypassError
from daypass._core.hints import command, kubectl
from daypass._core.kubernetes.labels import HOLDS_INVENTORY
from daypass._core.kubernetes.objects import Object, group_of, name_of
from daypass.config import Config
from daypass.deploy.inventory import AppliedObject, Inventory, read_inventories
from daypass.deploy.objects import ObjectRef
from daypass.deploy.openings import Openings
from daypass.gate.signing_keys import issuer_for, keys_for
from daypass.kube.cluster import Cluster
from daypass.kube.resources import NAMESPACES
from daypass.render.cluster_facts import ClusterFacts, read_facts
from daypass.render.names import GATE

_PROVIDERS = {
    "networking.istio.io": "Istio",
    "security.istio.io": "Istio",
    "gateway.networking.k8s.io": "the Gateway API (standard-install.yaml of its release)",
    "cert-manager.io": "cert-manager",
    "monitoring.coreos.com": "the Prometheus Operator",
}


class MissingError(DaypassError):
    """Kinds or namespaces that must exist before anything is applied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterState:
    """`namespaces`: by name, whether it is being deleted. `inventories`: the latest first."""

    cluster: Cluster
    namespaces: dict[str, bool]
    inventories: tuple[Inventory, ...]

    @property
    def entries(self) -> dict[ObjectRef, AppliedObject]:
        """What was applied or about to be, of all inventories; the latest takes precedence."""
        inventories = reversed(self.inventories)
        return {ref: entry for one in inventories for ref, entry in one.entries.items()}

    def inventory_of(self, namespace: str) -> Inventory:
        """Return the inventory of a namespace, which may not exist yet."""
        found = (each for each in self.inventories if each.namespace == namespace)
        return next(found, Inventory(namespace=namespace))

    @property
    def exposed(self) -> Openings | None:
        """What was confirmed to be open; None before the first apply."""
        return self.inventories[0].exposed if self.inventories else None

    def facts(self, config: Config) -> ClusterFacts:
        """Return the facts that rendering needs; the issuer is requested if needed."""
        issuer = issuer_for(config, self.cluster) if config.cluster_gates else ""
        return read_facts(config, self.cluster.kinds().names, issuer)

    def require_keys(self, config: Config) -> None:
        """Raise KeySetError if there is a gate, and no keys for it."""
        if config.cluster_gates:
            keys_for(config, self.cluster)

    def require(self, documents: Sequence[Object]) -> None:
        """Raise MissingError for kinds and namespaces that these need and that do not exist."""
        kinds = self.cluster.kinds().resources
        missing: dict[str, set[str]] = {}
        hints: dict[str, None] = {}
        for document in documents:
            version, kind = document["apiVersion"], document["kind"]
            if (version, kind) not in kinds:
                missing.setdefault(version, set()).add(kind)
                hints[_install_hint(document)] = None
        if missing:
            shown = "; ".join(f"{', '.join(sorted(each))} ({v})" for v, each in missing.items())
            fact = f"the cluster does not have {shown}: nothing was applied"
            raise MissingError(fact, "\n".join(hints))
        self._require_namespaces(documents)

    def _require_namespaces(self, documents: Sequence[Object]) -> None:
        made = {name_of(document) for document in documents if document["kind"] == "Namespace"}
        used = {str(document["metadata"].get("namespace") or "") for document in documents}
        leaving = sorted(name for name in made | used if self.namespaces.get(name))
        if leaving:
            raise MissingError(
                f"the namespace {leaving[0]} is being deleted: nothing was applied",
                "wait until it is gone, and try again",
            )
        absent = sorted(used - made - self.namespaces.keys() - {""})
        if absent:
            raise MissingError(
                f"the cluster has no namespace {', '.join(absent)}: nothing was applied",
                "the pods of the ingress or gateway are in it: install that, or name its namespace"
                " with `frontNamespace`, or in `gateway`",
            )


def _install_hint(document: Object) -> str:
    group = group_of(document["apiVersion"])
    what = _PROVIDERS.get(group, f"what serves {group}")
    if group == "cert-manager.io":
        return f"install {what}, or name no issuer"
    if group == "monitoring.coreos.com":
        return f"install {what}, or leave monitors and alerts out of `metrics`"
    base, _, gate = name_of(document).partition(".")
    key = f"gates.{gate}.engine" if gate else "engine" if base.startswith(GATE) else "front"
    return f"install {what}, or write another `{key}`"


def _with_kubectl(verb: str) -> str:
    """Return what to type if the API server is too old for daypass."""
    if verb == "delete":
        look = "look at what it prints first: a namespace is deleted with everything in it"
        return f"{command('render')} | {kubectl('delete', '-f', '-')}\n{look}"
    line = kubectl("diff" if verb == "diff" else "apply", "--server-side", "-f", "-")
    return f"{command('render')} | {line}"


def read_cluster_state(cluster: Cluster, *, instead: str = "apply") -> ClusterState:
    """Read a cluster. Raises as `Cluster.kinds`; the hint is how to do it `instead` by kubectl."""
    cluster.kinds(refresh=True, hint=partial(_with_kubectl, instead))
    namespaces, holders = {}, []
    for document in cluster.list(NAMESPACES, metadata_only=True):
        metadata = document["metadata"]
        namespaces[name_of(document)] = "deletionTimestamp" in metadata
        if HOLDS_INVENTORY.items() <= (metadata.get("labels") or {}).items():
            holders.append(name_of(document))
    return ClusterState(
        cluster=cluster,
        namespaces=namespaces,
        inventories=tuple(read_inventories(cluster, holders)),
    )
