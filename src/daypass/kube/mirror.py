"""The objects of a kind as they are in the cluster right now, by a list and a watch."""

from __future__ import annotations

from collections.abc import Iterator

from daypass.kube.cluster import Cluster
from daypass.kube.errors import ApiError, ClusterUnreachableError
from daypass.kube.resources import Object, Resource, uid_of

GONE = 410
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 30.0


class Mirror:
    """Filled and kept current by whoever iterates over `follow`, read by anybody."""

    def __init__(
        self,
        cluster: Cluster,
        resource: Resource,
        namespace: str | None = None,
        *,
        labels: str | None = None,
        fields: str | None = None,
        metadata_only: bool = False,
    ) -> None:
        self._cluster = cluster
        self._resource = resource
        self._namespace = namespace
        self._labels = labels
        self._fields = fields
        self._metadata_only = metadata_only
        self._objects: dict[str, Object] = {}

    def objects(self) -> list[Object]:
        """Those that are there now; none before the first turn of `follow`."""
        return list(self._objects.values())

    def follow(self) -> Iterator[None]:
        """One turn for each change, for ever; the first once all is there.

        What breaks is tried again, and after it all is listed anew. Raises ApiError for what will
        not heal, such as a right that is missing (ForbiddenError).
        """
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                found, since = self._cluster.snapshot(
                    self._resource, self._namespace, labels=self._labels, fields=self._fields,
                    metadata_only=self._metadata_only,
                )  # fmt: skip
                self._objects = {uid_of(each): each for each in found}
                yield
                pause = FIRST_PAUSE_SECONDS
                yield from self._watch(since)
            except (ApiError, ClusterUnreachableError) as error:
                if isinstance(error, ApiError) and error.status.code == GONE:
                    continue
                if isinstance(error, ApiError) and error.status.code < 500:
                    raise
                self._cluster.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _watch(self, since: str) -> Iterator[None]:
        while True:
            for kind, document in self._cluster.watch(
                self._resource, self._namespace, since, labels=self._labels, fields=self._fields,
                metadata_only=self._metadata_only,
            ):  # fmt: skip
                since = document["metadata"]["resourceVersion"]
                if kind == "BOOKMARK":
                    continue
                if kind == "DELETED":
                    self._objects.pop(uid_of(document), None)
                else:
                    self._objects[uid_of(document)] = document
                yield
