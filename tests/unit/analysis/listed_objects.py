"""What a check reads of a cluster, made of objects, and gateways and routes for it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from daypass._core.kubernetes.objects import Object, group_of
from daypass.analysis.snapshot import Look, ObjectQuery
from support.objects import make

KUBEFLOWS = "kubeflow/kubeflow-gateway"


def look_of(
    *documents: Object, pods: Sequence[Object] | None = None, unseen: Collection[str] = ()
) -> Look:
    """What a snapshot reads of a cluster that has these objects alone. `pods`: all that any
    selector finds. `unseen`: the kinds that the user may not list.
    """

    for each in documents:
        each["metadata"].setdefault("uid", "1")

    def look(query: ObjectQuery) -> Sequence[Object] | None:
        if query.kind in unseen:
            return None
        if pods is not None and query.kind == "Pod":
            return pods
        return [_seen(query, each) for each in documents if _selects(query, each)]

    return look


def _selects(query: ObjectQuery, document: Object) -> bool:
    kind, metadata = (group_of(document["apiVersion"]), document["kind"]), document["metadata"]
    labels = metadata.get("labels") or {}
    wanted = (each.partition("=") for each in filter(None, query.labels.split(",")))
    return (
        kind == query[:2]
        and query.namespace in ("", metadata.get("namespace"))
        and query.fields in ("", f"metadata.name={metadata['name']}")
        and all(
            labels.get(name.rstrip("!")) != value if "!" in name else labels.get(name) == value
            for name, _, value in wanted
        )
    )


def _seen(query: ObjectQuery, document: Object) -> Object:
    if not query.metadata_only:
        return document
    return {key: document[key] for key in ("apiVersion", "kind", "metadata")}


def gateway(
    *hosts: str, name: str = KUBEFLOWS, istio: str = "ingressgateway", **server: object
) -> Object:
    """A Gateway of Istio, NAMESPACE/NAME, with one server."""
    port = {"number": 443, "protocol": "HTTPS"}
    servers = [{"port": port, "hosts": [*hosts], "tls": {"mode": "SIMPLE"}, **server}]
    return of_istio("Gateway", name, selector={"istio": istio}, servers=servers)


def service(
    name: str, *hosts: str, to: str = "dashboard", at: str = KUBEFLOWS, **match: object
) -> Object:
    """A VirtualService of Istio, NAMESPACE/NAME, with one route."""
    route = {"route": [{"destination": {"host": to}}], **({"match": [match]} if match else {})}
    return of_istio("VirtualService", name, hosts=[*hosts], gateways=[at], http=[route])


def of_istio(kind: str, name: str, **spec: object) -> Object:
    namespace, _, own = name.partition("/")
    return make("networking.istio.io/v1", kind, own, namespace, spec=spec)


def ingress_for(
    name: str, host: str, path: str = "/", to: str = "dashboard", kind: str = "Prefix", **spec: str
) -> Object:
    """An Ingress, NAMESPACE/NAME, with one path."""
    namespace, _, own = name.partition("/")
    backend = {"service": {"name": to, "port": {"number": 80}}}
    paths = [{"path": path, "pathType": kind, "backend": backend}]
    rules = [{"host": host, "http": {"paths": paths}}]
    return make("networking.k8s.io/v1", "Ingress", own, namespace, spec={**spec, "rules": rules})
