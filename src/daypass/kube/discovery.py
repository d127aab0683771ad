"""Which kinds an API server knows: asked once for each group and version, and remembered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daypass._core.errors import DaypassError
from daypass._core.status import Status
from daypass.kube import resources
from daypass.kube.errors import ApiError, NotFoundError
from daypass.kube.resources import Resource

if TYPE_CHECKING:
    from daypass.kube.cluster import Cluster

EMBEDDED = "daypass-embedded"
"""The build metadata in the version of the embedded API server."""
_KNOWN = {
    (each.api_version, each.kind): each
    for each in vars(resources).values()
    if isinstance(each, Resource)
}


class Discovery:
    """Kinds by apiVersion and kind. Those that `resources` names need no question."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._groups: dict[str, dict[str, Resource]] = {}

    def resource(self, api_version: str, kind: str) -> Resource:
        """Where objects of a kind are. Raises NotFoundError where the API server has none such."""
        return _KNOWN.get((api_version, kind)) or self.ask(api_version, kind)

    def ask(self, api_version: str, kind: str) -> Resource:
        """The same by the API server's own word."""
        if api_version not in self._groups:
            self._groups[api_version] = self._load(api_version)
        found = self._groups[api_version].get(kind)
        if found is None:
            raise _unknown(api_version, kind)
        return found

    def _load(self, api_version: str) -> dict[str, Resource]:
        path = f"/{'apis' if '/' in api_version else 'api'}/{api_version}"
        try:
            answer = self._cluster.request("GET", path, what=f"discover {api_version}")
        except NotFoundError:
            return {}
        return {
            each["kind"]: Resource(
                api_version=api_version,
                kind=each["kind"],
                plural=each["name"],
                namespaced=bool(each["namespaced"]),
            )
            for each in answer.get("resources", ())
            if "/" not in each["name"]  # subresources, such as serviceaccounts/token
        }


def is_embedded(cluster: Cluster) -> bool:
    """Return whether this is the embedded API server of `daypass up`, by its /version."""
    try:
        version = cluster.request("GET", "/version", what="get the version")
    except ApiError:
        return False
    return str(version.get("gitVersion")).endswith(f"+{EMBEDDED}")


def refuse_embedded(cluster: Cluster) -> None:
    """Raise DaypassError where this is the embedded API server."""
    if is_embedded(cluster):
        raise DaypassError(
            f"{cluster.access.server} is the embedded API server of `daypass up`: "
            "nothing can be deployed to it, and it enforces no policy",
            "name the kubeconfig of a cluster: --kubeconfig FILE",
        )


def _unknown(api_version: str, kind: str) -> NotFoundError:
    fact = f"the cluster knows no {kind} in {api_version}"
    status = Status({"kind": "Status", "code": 404, "reason": "NotFound", "message": fact})
    return NotFoundError(status, fact, "is its CustomResourceDefinition installed?")
