"""Look up what a cluster already has that a door can be published by.

Every lookup is optional: what the user may not read, or does not exist, becomes a note.
"""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

from daypass._core.errors import DaypassError
from daypass._core.objects import Object, name_of
from daypass.deploy.routes import (
    GATEWAY,
    HTTP_ROUTE,
    INGRESS,
    ISTIO_GATEWAY,
    VIRTUAL_SERVICE,
    GroupKind,
    ListedObjects,
    PublishedHost,
    PublishedRoute,
    published,
)
from daypass.gate.signing_keys import find_issuer
from daypass.kube.cluster import Cluster
from daypass.kube.errors import ApiError, ForbiddenError, UnauthorizedError
from daypass.kube.resources import PODS, Resource, resource

_GATEWAY_API = "gateway.networking.k8s.io/v1"
_INGRESSES = resource("networking.k8s.io/v1", "Ingress", "ingresses")
_INGRESS_CLASSES = resource(
    "networking.k8s.io/v1", "IngressClass", "ingressclasses", namespaced=False
)
_ISSUERS = resource("cert-manager.io/v1", "ClusterIssuer", "clusterissuers", namespaced=False)
_GATEWAYS = resource(_GATEWAY_API, "Gateway", "gateways")
_GATEWAY_CLASSES = resource(_GATEWAY_API, "GatewayClass", "gatewayclasses", namespaced=False)
_HTTP_ROUTES = resource(_GATEWAY_API, "HTTPRoute", "httproutes")
_DEPLOYMENTS = resource("apps/v1", "Deployment", "deployments")
_SERVICES = resource("v1", "Service", "services")
_ENDPOINT_SLICES = resource("discovery.k8s.io/v1", "EndpointSlice", "endpointslices")
_INGRESS = "istio=ingressgateway"
_DEFAULT_CLASS = "ingressclass.kubernetes.io/is-default-class"


@dataclass(slots=True, kw_only=True)
class DiscoveredCluster:
    """What was found; None where it could not be looked up. `asked`: whether a cluster answered.

    `classes`: controller by IngressClass. `ingress_gateways`: Services of Istio, NAMESPACE/NAME.
    `addresses`: of the API servers. `objects`: of Istio and the Gateway API that publish hosts.
    `ingress_pods`: the labels of Istio's gateway pods. `notes`: what is not known, and why.
    """

    asked: bool = False
    classes: dict[str, str] | None = None
    default_class: str | None = None
    issuers: list[str] | None = None
    istio: bool | None = None
    ingress_gateways: list[str] = field(default_factory=list)
    gateway_api: bool | None = None
    gateway_classes: list[str] | None = None
    external_dns: bool | None = None
    issuer: str | None = None
    addresses: list[str] = field(default_factory=list)
    hosts: list[PublishedHost] = field(default_factory=list)
    routes: list[PublishedRoute] = field(default_factory=list)
    objects: dict[GroupKind, list[Object]] = field(default_factory=dict)
    ingress_pods: list[dict[str, str]] = field(default_factory=list)
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
        classes = self._list(_INGRESS_CLASSES)
        if classes is not None:
            found.classes = {name_of(each): each["spec"].get("controller", "") for each in classes}
            found.default_class = next((name_of(c) for c in classes if _is_default(c)), None)
        found.objects[INGRESS] = self._list(_INGRESSES) or []
        if cluster.serves(_ISSUERS):
            found.issuers = self._names(_ISSUERS)
        else:
            found.issuers = []
            found.notes.append("there is no cert-manager")
        self._look_up_istio()
        self._look_up_gateway_api()
        listed = ListedObjects(objects=found.objects)
        found.hosts, found.routes = published(listed, found.classes or {})
        deployments = self._list(_DEPLOYMENTS, metadata_only=True)
        if deployments is not None:
            found.external_dns = any("external-dns" in name_of(each) for each in deployments)
        with self._optional("the issuer of tokens"):
            found.issuer = find_issuer(cluster)
        with self._optional("the addresses of the API servers"):
            slices = cluster.list(
                _ENDPOINT_SLICES, "default", labels="kubernetes.io/service-name=kubernetes"
            )
            found.addresses = sorted(
                {a for each in slices for e in each.get("endpoints") or () for a in e["addresses"]}
            )

    def _look_up_istio(self) -> None:
        group, found = "networking.istio.io", self._found
        versions = [f"{group}/{version}" for version in ("v1", "v1beta1")]
        services = [resource(v, "VirtualService", "virtualservices") for v in versions]
        known = next((each for each in services if self._cluster.serves(each)), None)
        found.istio = known is not None
        if known is None:
            found.notes.append("there is no Istio")
            return
        gateways = resource(known.api_version, "Gateway", "gateways")
        found.objects[ISTIO_GATEWAY] = self._list(gateways) or []
        found.objects[VIRTUAL_SERVICE] = self._list(known) or []
        pods = self._list(PODS, labels=_INGRESS, metadata_only=True)
        found.ingress_pods = [dict(each["metadata"].get("labels") or {}) for each in pods or ()]
        found.ingress_gateways = sorted(
            f"{each['metadata']['namespace']}/{name_of(each)}"
            for each in self._list(_SERVICES, labels=_INGRESS) or ()
        )

    def _look_up_gateway_api(self) -> None:
        self._found.gateway_api = self._cluster.serves(_HTTP_ROUTES)
        if not self._found.gateway_api:
            self._found.notes.append("there is no Gateway API")
            return
        self._found.gateway_classes = self._names(_GATEWAY_CLASSES)
        self._found.objects[GATEWAY] = self._list(_GATEWAYS) or []
        self._found.objects[HTTP_ROUTE] = self._list(_HTTP_ROUTES) or []

    def _names(self, resource: Resource) -> list[str] | None:
        listed = self._list(resource)
        return None if listed is None else sorted(name_of(each) for each in listed)

    def _list(
        self, resource: Resource, *, labels: str | None = None, metadata_only: bool = False
    ) -> list[Object] | None:
        with self._optional(f"which {resource.plural} there are"):
            listed = self._cluster.list(resource, labels=labels, metadata_only=metadata_only)
            # The items of a list have no kind.
            return [{**each, "kind": resource.kind} for each in listed]
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


def _is_default(document: Object) -> bool:
    return (document["metadata"].get("annotations") or {}).get(_DEFAULT_CLASS) == "true"
