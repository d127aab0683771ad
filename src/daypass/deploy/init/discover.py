"""Look up what a cluster already has that a door can be published by.

Every lookup is optional: what the user may not read, or does not exist, becomes a note.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from daypass._core.errors import DaypassError
from daypass.deploy import routes
from daypass.deploy.routes import (
    GATEWAY,
    HTTP_ROUTE,
    ISTIO_GATEWAY,
    VIRTUAL_SERVICE,
    GroupKind,
    PublishedHost,
    PublishedRoute,
)
from daypass.kube.cluster import Cluster
from daypass.kube.errors import ApiError, ForbiddenError, UnauthorizedError
from daypass.kube.resources import PODS, Object, Resource

_NETWORKING, _ISTIO = "networking.k8s.io/v1", "networking.istio.io"
_GATEWAY_API = "gateway.networking.k8s.io/v1"
_INGRESSES = Resource(api_version=_NETWORKING, kind="Ingress", plural="ingresses")
_INGRESS_CLASSES = Resource(
    api_version=_NETWORKING, kind="IngressClass", plural="ingressclasses", namespaced=False
)
_ISSUERS = Resource(
    api_version="cert-manager.io/v1",
    kind="ClusterIssuer",
    plural="clusterissuers",
    namespaced=False,
)
GATEWAYS = Resource(api_version=_GATEWAY_API, kind="Gateway", plural="gateways")
_GATEWAY_CLASSES = Resource(
    api_version=_GATEWAY_API, kind="GatewayClass", plural="gatewayclasses", namespaced=False
)
_HTTP_ROUTES = Resource(api_version=_GATEWAY_API, kind="HTTPRoute", plural="httproutes")
_DEPLOYMENTS = Resource(api_version="apps/v1", kind="Deployment", plural="deployments")
_SERVICES = Resource(api_version="v1", kind="Service", plural="services")
_ENDPOINT_SLICES = Resource(
    api_version="discovery.k8s.io/v1", kind="EndpointSlice", plural="endpointslices"
)
_DISCOVERY_DOCUMENT = "/.well-known/openid-configuration"
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


def discover(open_cluster: Callable[[], Cluster]) -> DiscoveredCluster:
    """Look a cluster up. If no API server answers, nothing is found, with one note."""
    found = DiscoveredCluster()
    try:
        cluster = open_cluster()
    except DaypassError as error:
        found.notes.append(f"no cluster was looked at: {error.fact}")
        return found
    try:
        _ask_all(cluster, found)
        found.asked = True
    except DaypassError as error:
        return DiscoveredCluster(notes=[f"no cluster was looked at: {error.fact}"])
    finally:
        cluster.close()
    return found


def _ask_all(cluster: Cluster, found: DiscoveredCluster) -> None:
    classes = _list(cluster, found, _INGRESS_CLASSES)
    if classes is not None:
        found.classes = {_name(each): each["spec"].get("controller", "") for each in classes}
        found.default_class = next((_name(c) for c in classes if _is_default(c)), None)
    for each in _list(cluster, found, _INGRESSES) or ():
        _note(found, each, routes.of_ingress(each, found.classes or {}))
    if cluster.serves(_ISSUERS):
        issuers = _list(cluster, found, _ISSUERS)
        found.issuers = None if issuers is None else sorted(_name(each) for each in issuers)
    else:
        found.issuers = []
        found.notes.append("there is no cert-manager")
    _ask_istio(cluster, found)
    _ask_gateway_api(cluster, found)
    deployments = _list(cluster, found, _DEPLOYMENTS, metadata_only=True)
    if deployments is not None:
        found.external_dns = any("external-dns" in _name(each) for each in deployments)
    with _optional(found, "the issuer of tokens"):
        document = cluster.request("GET", _DISCOVERY_DOCUMENT, what=f"get {_DISCOVERY_DOCUMENT}")
        found.issuer = str(document["issuer"]) if document.get("issuer") else None
    with _optional(found, "the addresses of the API servers"):
        slices = cluster.list(
            _ENDPOINT_SLICES, "default", labels="kubernetes.io/service-name=kubernetes"
        )
        found.addresses = sorted(
            {a for each in slices for e in each.get("endpoints") or () for a in e["addresses"]}
        )


def _ask_istio(cluster: Cluster, found: DiscoveredCluster) -> None:
    kinds = {"VirtualService": "virtualservices", "Gateway": "gateways"}
    served = [
        {k: Resource(api_version=f"{_ISTIO}/{v}", kind=k, plural=p) for k, p in kinds.items()}
        for v in ("v1", "v1beta1")
    ]
    known = next((each for each in served if cluster.serves(each["VirtualService"])), None)
    found.istio = known is not None
    if known is None:
        found.notes.append("there is no Istio")
        return
    for each in _kept(cluster, found, ISTIO_GATEWAY, known["Gateway"]):
        _note(found, each, routes.of_istio_gateway(each))
    for each in _kept(cluster, found, VIRTUAL_SERVICE, known["VirtualService"]):
        _note(found, each, routes.of_virtual_service(each))
    pods = _list(cluster, found, PODS, labels=_INGRESS, metadata_only=True)
    found.ingress_pods = [dict(each["metadata"].get("labels") or {}) for each in pods or ()]
    services = _list(cluster, found, _SERVICES, labels=_INGRESS)
    found.ingress_gateways = sorted(
        f"{each['metadata']['namespace']}/{_name(each)}" for each in services or ()
    )


def _ask_gateway_api(cluster: Cluster, found: DiscoveredCluster) -> None:
    found.gateway_api = cluster.serves(_HTTP_ROUTES)
    if not found.gateway_api:
        found.notes.append("there is no Gateway API")
        return
    classes = _list(cluster, found, _GATEWAY_CLASSES)
    found.gateway_classes = None if classes is None else sorted(_name(each) for each in classes)
    for each in _kept(cluster, found, GATEWAY, GATEWAYS):
        _note(found, each, routes.of_gateway(each))
    for each in _kept(cluster, found, HTTP_ROUTE, _HTTP_ROUTES):
        _note(found, each, routes.of_http_route(each))


def _note(
    found: DiscoveredCluster, document: Object, parts: Iterator[PublishedHost | PublishedRoute]
) -> None:
    if routes.is_ours(document):
        return
    for part in parts:
        if isinstance(part, PublishedHost):
            found.hosts.append(part)
        else:
            found.routes.append(part)


def _kept(
    cluster: Cluster, found: DiscoveredCluster, kind: GroupKind, resource: Resource
) -> list[Object]:
    found.objects[kind] = _list(cluster, found, resource) or []
    return found.objects[kind]


def _list(
    cluster: Cluster,
    found: DiscoveredCluster,
    resource: Resource,
    *,
    labels: str | None = None,
    metadata_only: bool = False,
) -> list[Object] | None:
    with _optional(found, f"which {resource.plural} there are"):
        listed = cluster.list(resource, labels=labels, metadata_only=metadata_only)
        # The items of a list have no kind.
        return [{**each, "kind": resource.kind} for each in listed]
    return None


@contextmanager
def _optional(found: DiscoveredCluster, what: str) -> Iterator[None]:
    """Turn an API error of one lookup into a note."""
    try:
        yield
    except UnauthorizedError:
        raise
    except ForbiddenError:
        found.notes.append(f"no right to ask {what}")
    except ApiError as error:
        found.notes.append(f"{what}: not known ({error.status.message})")


def _name(document: Object) -> str:
    return str(document["metadata"]["name"])


def _is_default(document: Object) -> bool:
    return (document["metadata"].get("annotations") or {}).get(_DEFAULT_CLASS) == "true"
