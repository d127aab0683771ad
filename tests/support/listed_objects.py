"""What is listed in a cluster, as fronts, engines and checks read it, made of objects."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from daypass._core.kubernetes.objects import Object, group_of
from daypass.analysis.snapshot import Look
from daypass.analysis.snapshot import ObjectQuery as Query
from daypass.render.fronts import FRONTS
from daypass.render.fronts.gateway_api import GRPC_ROUTE
from daypass.render.fronts.routes import ListedObjects, ObjectQuery

_QUERIES = tuple(
    dict.fromkeys([*(each for front in FRONTS for each in (front.api, *front.queries)), GRPC_ROUTE])
)


def listed_of(
    *documents: Object,
    queries: Collection[ObjectQuery] = _QUERIES,
    unseen: Collection[ObjectQuery] = (),
    absent: Collection[ObjectQuery] = (),
) -> ListedObjects:
    """The objects of a cluster that has these alone. `absent`: what the API does not serve."""
    assert all(is_listed(queries, each) for each in documents)
    objects = {
        query: [_seen(query, each) for each in documents if _selects(query, each)]
        for query in queries
        if query not in unseen and query not in absent
    }
    return ListedObjects(objects=objects, unseen=frozenset(unseen))


def look_of(
    *documents: Object, pods: Sequence[Object] | None = None, unseen: Collection[str] = ()
) -> Look:
    """What a snapshot reads of a cluster that has these objects alone. `pods`: all that any
    selector finds. `unseen`: the kinds that the user may not list.
    """

    for each in documents:
        each["metadata"].setdefault("uid", "1")

    def look(query: Query) -> Sequence[Object] | None:
        if query.kind in unseen:
            return None
        if pods is not None and query.kind == "Pod":
            return pods
        return [_seen(query, each) for each in documents if _selects(query, each)]

    return look


def is_listed(queries: Collection[ObjectQuery], document: Object) -> bool:
    """Whether some of these queries find an object."""
    return any(_selects(query, document) for query in queries)


def _selects(query: ObjectQuery | Query, document: Object) -> bool:
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


def _seen(query: ObjectQuery | Query, document: Object) -> Object:
    if not query.metadata_only:
        return document
    return {key: document[key] for key in ("apiVersion", "kind", "metadata")}
