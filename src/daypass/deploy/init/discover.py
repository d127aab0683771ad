"""Look up what a cluster already has that a door can be published by.

Every lookup is optional: what the user may not read, or does not exist, becomes a note.
"""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

from daypass._core.errors import DaypassError
from daypass._core.kubernetes.objects import Object, name_of
from daypass.deploy.routes import is_served, list_objects, served_by_others
from daypass.gate.signing_keys import find_issuer
from daypass.kube.cluster import Cluster
from daypass.kube.errors import ApiError, ForbiddenError, UnauthorizedError
from daypass.render.fronts import FRONTS
from daypass.render.fronts.routes import (
    ListedObjects,
    ObjectQuery,
    ServedHost,
    ServedRoute,
)

_ISSUERS = ObjectQuery("cert-manager.io", "ClusterIssuer")
_DEPLOYMENTS = ObjectQuery("apps", "Deployment", metadata_only=True)
_ENDPOINT_SLICES = ObjectQuery(
    "discovery.k8s.io", "EndpointSlice", "default", "kubernetes.io/service-name=kubernetes"
)


@dataclass(slots=True, kw_only=True)
class DiscoveredCluster:
    """What was found; None where it could not be looked up. `asked`: whether a cluster answered.

    `listed`: what the fronts are recognised by, of others and of daypass. `hosts` and `routes`: of
    others. `addresses`: of the API servers. `notes`: what is not known, and why.
    """

    asked: bool = False
    listed: ListedObjects = field(default_factory=ListedObjects)
    issuers: list[str] | None = None
    external_dns: bool | None = None
    issuer: str | None = None
    addresses: list[str] = field(default_factory=list)
    hosts: list[ServedHost] = field(default_factory=list)
    routes: list[ServedRoute] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def discover(
    open_cluster: Callable[[], Cluster], show: Callable[[str], object] = lambda text: None
) -> DiscoveredCluster:
    """Look a cluster up. If no API server answers, nothing is found, with one note.

    `show` gets what is looked up.
    """
    found = DiscoveredCluster()
    try:
        with closing(open_cluster()) as cluster:
            _Lookup(cluster, found, show).run()
    except DaypassError as error:
        return DiscoveredCluster(notes=[f"no cluster was looked at: {error.fact}"])
    found.asked = True
    return found


class _Lookup:
    """Looks a cluster up and adds what it has to `found`."""

    def __init__(
        self, cluster: Cluster, found: DiscoveredCluster, show: Callable[[str], object]
    ) -> None:
        self._cluster = cluster
        self._show = show
        self._found = found

    def run(self) -> None:
        cluster, found = self._cluster, self._found
        if is_served(cluster, _ISSUERS):
            issuers = self._list(_ISSUERS)
            found.issuers = None if issuers is None else sorted(map(name_of, issuers))
        else:
            found.issuers = []
            found.notes.append("there is no cert-manager")
        found.listed = self._list_fronts()
        found.hosts, found.routes = served_by_others(found.listed)
        deployments = self._list(_DEPLOYMENTS)
        if deployments is not None:
            found.external_dns = any("external-dns" in name_of(each) for each in deployments)
        with self._optional("the issuer of tokens"):
            found.issuer = find_issuer(cluster)
        with self._optional("the addresses of the API servers"):
            slices = list_objects(cluster, _ENDPOINT_SLICES)
            found.addresses = sorted(
                {a for each in slices for e in each.get("endpoints") or () for a in e["addresses"]}
            )

    def _list_fronts(self) -> ListedObjects:
        """List what every front is recognised by that a cluster may have, and note the others."""
        wanted: dict[ObjectQuery, None] = {}
        for front in FRONTS:
            if is_served(self._cluster, front.api):
                wanted.update(dict.fromkeys((front.api, *front.queries)))
            elif front.provider:
                self._found.notes.append(f"there is no {front.provider}")
        served = (query for query in wanted if is_served(self._cluster, query))
        return ListedObjects.seen({query: self._list(query) for query in served})

    def _list(self, query: ObjectQuery) -> list[Object] | None:
        with self._optional(f"which {query.plural.lower()} there are"):
            return list_objects(self._cluster, query)
        return None

    @contextmanager
    def _optional(self, what: str) -> Iterator[None]:
        """Turn an API error of one lookup into a note."""
        self._show(f"asking the cluster {what}")
        try:
            yield
        except UnauthorizedError:
            raise
        except ForbiddenError:
            self._found.notes.append(f"no right to ask {what}")
        except ApiError as error:
            self._found.notes.append(f"{what}: not known ({error.status.message})")
