"""Follows what tokens hang on in a cluster, and publishes whatever has to be refused.

One thread for each kind of object (list, then watch), and one that publishes: what happens while it
is at work goes out together afterwards, so a fleet's rotation is a few lists and not thousands. Who
has not heard from the API server for too long knows nothing any more, and closes the gate.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from daypass._core.clock import Clock
from daypass._core.errors import DaypassError
from daypass.gateway.denials import Denials, Kind
from daypass.gateway.orders import DENIED_CONFIG_MAP, orders_in
from daypass.gateway.published import Publisher, RecordError
from daypass.kube.cluster import Cluster
from daypass.kube.errors import ApiError, ClusterUnreachableError
from daypass.kube.resources import CONFIG_MAPS, SECRETS, SERVICE_ACCOUNTS, Object, Resource, uid_of
from daypass.render.envoy.revocation import Revoked

TOKEN_SECRETS = "type=kubernetes.io/service-account-token"  # noqa: S105 - a field selector
CLOSE_AFTER_SECONDS = 600
WATCH_SECONDS = 15
"""A watch that is silent ends and begins anew after this: a sign of life from the API server."""
STEADY_SECONDS = 1.0
"""A watch that ends sooner is not begun again at once."""
TICK_SECONDS = 1.0
GONE = 410
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.25, 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Feed:
    """The objects of a kind, and what to do with them; both are called under the lock."""

    resource: Resource
    namespace: str | None
    fields: str
    listed: Callable[[list[Object]], None]
    happened: Callable[[str, Object], None]


class RevocationWatch:
    """Keeps a gate's list of the revoked current: `first`, then `start`, at the end `stop`.

    It closes `cluster`. `orders_namespace`: where the ConfigMap of denials by hand is.
    `metadata_only`: ask for nothing but the metadata of Secrets. Raises RecordError.
    """

    def __init__(
        self,
        cluster: Cluster,
        publisher: Publisher,
        clock: Clock,
        *,
        longest_lifetime_seconds: int,
        orders_namespace: str,
        close_after_seconds: float = CLOSE_AFTER_SECONDS,
        metadata_only: bool = True,
    ) -> None:
        self._cluster = cluster
        self._publisher = publisher
        self._clock = clock
        self._close_after_seconds = close_after_seconds
        self._metadata_only = metadata_only
        self._denials = Denials(longest_lifetime_seconds)
        if (record := publisher.kept()) is not None:
            _recall(self._denials, record)
        self._feeds = tuple(self._feeds_of(orders_namespace))
        self._since: dict[Resource, str] = {}
        self._heard_at: dict[Resource, float] = {}
        self._troubles: dict[Resource | None, str] = {}
        self._lock = threading.Lock()
        self._changed, self._ended = threading.Event(), threading.Event()
        self._is_started = False
        self._published: Revoked | None = None
        self._recorded: dict[str, Any] | None = None

    @property
    def trouble(self) -> str:
        """What does not work right now, in words."""
        return "\n".join(dict.fromkeys(list(self._troubles.values())))

    @property
    def is_closed(self) -> bool:
        """Whether it has heard nothing for so long that all tokens have to be refused."""
        now = self._clock.monotonic()
        heard = [self._heard_at.get(feed.resource) for feed in self._feeds]
        return any(at is None or now - at > self._close_after_seconds for at in heard)

    def longest_lifetime(self, seconds: int) -> None:
        """Take another longest lifetime; what is on the list stays for that long."""
        with self._lock:
            self._denials.longest_lifetime_seconds = seconds
        self._changed.set()

    def first(self) -> Revoked:
        """List once, here and now; what has to be refused from the first request on."""
        for feed in self._feeds:
            self._list(feed)
        self._published = self._revoked()
        return self._published

    def start(self) -> None:
        """Follow and publish, beside."""
        followers = [
            threading.Thread(target=self._follow, args=(feed,), daemon=True) for feed in self._feeds
        ]
        for follower in followers:
            follower.start()
        self._is_started = True
        threading.Thread(target=self._keep_publishing, args=(followers,), daemon=True).start()

    def stop(self) -> None:
        """End it; a watch that is under way is not waited for, and does nothing more."""
        self._ended.set()
        self._changed.set()
        if not self._is_started:
            self._cluster.close()

    def _feeds_of(self, orders_namespace: str) -> Iterator[_Feed]:
        for kind, resource, fields in (
            (Kind.SECRET, SECRETS, TOKEN_SECRETS),
            (Kind.SERVICE_ACCOUNT, SERVICE_ACCOUNTS, ""),
        ):
            yield self._uid_feed(kind, resource, fields)

        def orders(found: list[Object]) -> None:
            self._denials.orders = tuple(order for each in found for order in orders_in(each))

        yield _Feed(
            resource=CONFIG_MAPS,
            namespace=orders_namespace,
            fields=f"metadata.name={DENIED_CONFIG_MAP}",
            listed=orders,
            happened=lambda what, found: orders([] if what == "DELETED" else [found]),
        )

    def _uid_feed(self, kind: Kind, resource: Resource, fields: str) -> _Feed:
        def listed(found: list[Object]) -> None:
            present = {uid_of(each): _namespace(each) for each in found if not _is_ending(each)}
            self._denials.listed(kind, present, self._clock.unix())
            for each in filter(_is_ending, found):
                happened("DELETED", each)

        def happened(what: str, found: Object) -> None:
            if what == "DELETED" or _is_ending(found):
                now = self._clock.unix()
                self._denials.gone(kind, uid_of(found), _namespace(found), now)
            else:
                self._denials.present(kind, uid_of(found), _namespace(found))

        return _Feed(
            resource=resource, namespace=None, fields=fields, listed=listed, happened=happened
        )

    def _metadata(self, feed: _Feed) -> bool:
        return self._metadata_only and feed.resource is not CONFIG_MAPS

    def _list(self, feed: _Feed) -> None:
        """Take all that there is, and remember the version to go on from."""
        try:
            found, since = self._cluster.snapshot(
                feed.resource, feed.namespace, fields=feed.fields,
                metadata_only=self._metadata(feed),
            )  # fmt: skip
        except (ApiError, ClusterUnreachableError) as error:
            self._troubles[feed.resource] = str(error)
            return
        with self._lock:
            feed.listed(found)
        self._since[feed.resource] = since
        self._heard_at[feed.resource] = self._clock.monotonic()
        self._changed.set()

    def _follow(self, feed: _Feed) -> None:
        pause = FIRST_PAUSE_SECONDS
        while not self._ended.is_set():
            if feed.resource not in self._since:
                self._list(feed)
            began = self._clock.monotonic()
            try:
                if feed.resource in self._since:
                    self._watch(feed)
            except ApiError as error:
                # Also 410: from here on only a list says what there is.
                self._since.pop(feed.resource, None)
                if error.status.code != GONE:
                    self._troubles[feed.resource] = str(error)
            except ClusterUnreachableError as error:
                self._troubles[feed.resource] = str(error)
            if self._clock.monotonic() - began >= STEADY_SECONDS:
                pause = FIRST_PAUSE_SECONDS
                continue
            self._ended.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _watch(self, feed: _Feed) -> None:
        """Take what happens until the API server ends this watch."""
        for what, found in self._cluster.watch(
            feed.resource, feed.namespace, self._since[feed.resource], fields=feed.fields,
            metadata_only=self._metadata(feed), timeout_seconds=WATCH_SECONDS,
        ):  # fmt: skip
            if self._ended.is_set():
                return
            if what != "BOOKMARK":
                with self._lock:
                    feed.happened(what, found)
                self._changed.set()
            self._since[feed.resource] = str(found["metadata"]["resourceVersion"])
            self._heard(feed)
        self._heard(feed)

    def _heard(self, feed: _Feed) -> None:
        self._heard_at[feed.resource] = self._clock.monotonic()
        self._troubles.pop(feed.resource, None)

    def _keep_publishing(self, followers: list[threading.Thread]) -> None:
        while not self._ended.is_set():
            self._publish()
            self._changed.wait(TICK_SECONDS)
            self._changed.clear()
        for follower in followers:
            follower.join()
        self._cluster.close()

    def _revoked(self) -> Revoked:
        with self._lock:
            return self._denials.revoked(self._clock.unix(), closed=self.is_closed)

    def _publish(self) -> None:
        revoked = self._revoked()
        with self._lock:
            record = self._denials.record()
        try:
            if revoked != self._published:
                self._publisher.publish(revoked)
                self._published = revoked
            if record != self._recorded:
                self._publisher.keep(record)
                self._recorded = record
            self._troubles.pop(None, None)
        except (OSError, DaypassError) as error:
            self._troubles[None] = f"the list of the revoked could not be published: {error}"


def _recall(denials: Denials, record: dict[str, object]) -> None:
    try:
        denials.recall(record)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise RecordError(
            "what was kept of earlier revocations is damaged, or was written by another version",
            "start with another --state, or without its file revocations.json: what was deleted"
            " before is then not refused",
        ) from None


def _namespace(found: Object) -> str:
    return str(found["metadata"]["namespace"])


def _is_ending(found: Object) -> bool:
    """Whether it is being deleted: the API server refuses its tokens from then on."""
    return bool(found["metadata"].get("deletionTimestamp"))
