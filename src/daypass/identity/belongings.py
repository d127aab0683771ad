"""Everything that is marked as an identity's, wherever it is, and its end in an order without gaps.

The order, and why. First the RoleBinding by which the identity asks for its own tokens: from then
on none is made. Then the Secrets: the long-lived tokens end, and what hangs on them. Then grants
in any namespace, and the Role. The ServiceAccount comes last: until then a run that broke off can
be seen and repeated; with it end also those tokens that hang on nothing.

Taken the other way round, an API server that remembers the long-lived token for some seconds would
let it make a token that hangs on nothing and outlives the Secret.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from daypass.identity import marks
from daypass.identity.manifests import role_name
from daypass.identity.naming import IdentityName
from daypass.kube.cluster import Cluster
from daypass.kube.errors import ForbiddenError, NotFoundError
from daypass.kube.resources import (
    AUTHORIZATION_POLICIES,
    ROLE_BINDINGS,
    ROLES,
    SECRETS,
    Object,
    Resource,
    name_of,
    uid_of,
)

GRANTS = (ROLE_BINDINGS, AUTHORIZATION_POLICIES)
Warn = Callable[[str, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Belonging:
    """An object that is marked as an identity's."""

    resource: Resource
    namespace: str
    name: str
    uid: str
    owner: str

    @property
    def shown(self) -> str:
        """As people read it: `rolebindings/x in team`."""
        return self.resource.named(self.namespace, self.name)

    def remove(self, cluster: Cluster) -> bool:
        """Delete this very object; False where it is gone already."""
        return cluster.delete(self.resource, self.name, self.namespace, uid=self.uid)


def find_belongings(cluster: Cluster, namespace: str | None, warn: Warn) -> list[Belonging]:
    """What is marked as any identity's of a namespace (None: of all), in the order of removal.

    Grants are looked for in all namespaces, and where that is forbidden, in that one alone.
    """
    found: list[Belonging] = []
    for resource in (SECRETS, ROLES):
        found += _marked(resource, cluster.list(
            resource, namespace, labels=marks.SELECTOR, metadata_only=True
        ))  # fmt: skip
    for resource in GRANTS:
        found += _marked(resource, _grants(cluster, resource, namespace, warn))
    return sorted(found, key=_step)


def belongings_of(name: IdentityName, found: Iterable[Belonging]) -> list[Belonging]:
    """Those of one identity."""
    return [each for each in found if each.owner == name.key]


def warn_of_opened(cluster: Cluster, removed: Iterable[Belonging], warn: Warn) -> None:
    """Say where the last AuthorizationPolicy that allows went: Istio lets everybody in there."""
    places = {each.namespace for each in removed if each.resource is AUTHORIZATION_POLICIES}
    for namespace in sorted(places):
        left = cluster.list(AUTHORIZATION_POLICIES, namespace)
        if not any((each.get("spec") or {}).get("action", "ALLOW") == "ALLOW" for each in left):
            warn(
                f"{namespace} has no AuthorizationPolicy left that allows anything",
                "Istio takes that as leave for everybody: is that meant?",
            )


def _grants(
    cluster: Cluster, resource: Resource, namespace: str | None, warn: Warn
) -> list[Object]:
    try:
        return cluster.list(resource, labels=marks.SELECTOR, metadata_only=True)
    except NotFoundError:
        return []  # Istio is not installed
    except ForbiddenError as error:
        if namespace is None:
            raise
        warn(f"{resource.plural} of other namespaces are not looked for", error.hint)
    try:
        return cluster.list(resource, namespace, labels=marks.SELECTOR, metadata_only=True)
    except ForbiddenError as error:
        warn(f"{resource.plural} are not looked for", error.hint)
        return []


def _marked(resource: Resource, documents: Iterable[Object]) -> list[Belonging]:
    return [
        Belonging(
            resource=resource,
            namespace=document["metadata"]["namespace"],
            name=name_of(document),
            uid=uid_of(document),
            owner=owner,
        )
        for document in documents
        if (owner := (document["metadata"].get("annotations") or {}).get(marks.IDENTITY))
    ]


def _step(belonging: Belonging) -> int:
    own = belonging.owner.partition("/")[2]
    if belonging.resource is ROLE_BINDINGS and belonging.name == role_name(own):
        return 0
    return {SECRETS: 1, ROLE_BINDINGS: 2, AUTHORIZATION_POLICIES: 2}.get(belonging.resource, 3)
