"""The token Secrets of each namespace of identities by itself, so that no right goes further.

Which namespaces these are is what `identity create` labels for the policy. Each has a feed of its
own, begun and ended as namespaces come and go, with the right that a Role there gives. Where that
is missing, or there are more namespaces than FEEDS_AT_MOST, nobody sees what is deleted: such a
namespace is not followed, and the gate takes no token of it.

What tokens hang on in a cluster, followed: Secrets, ServiceAccounts, and denials by hand.

Nothing is published here. Whoever does asks for `revoked`, whenever `changed` is set and every so
often: what nobody has heard of for too long ends by time.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from daypass._core.clock import Clock, random_fraction
from daypass._core.labels import POLICY, POLICY_ENFORCED
from daypass.gate.revocation.deny_list import denials_in
from daypass.gate.revocation.revocation_list import ObjectKind, RevocationList
from daypass.kube.cluster import Cluster
from daypass.kube.informer import WATCH_SECONDS, Informer, WatchSpec
from daypass.kube.resources import (
    CONFIG_MAPS,
    NAMESPACES,
    SECRETS,
    SERVICE_ACCOUNTS,
    Object,
    name_of,
    uid_of,
)
from daypass.render.envoy.filters import RevocationSnapshot
from daypass.render.objects import GATE_DENIED

FEEDS_AT_MOST = 500
"""Each is a thread and a connection."""


class PerNamespaceInformers:
    """Feeds by namespace; all methods are called under the lock of whoever follows.

    `make`: a feed of a namespace's token Secrets. `unix`: the time.
    """

    def __init__(
        self,
        make: Callable[[str], Informer],
        denials: RevocationList,
        unix: Callable[[], float],
        *,
        feeds_at_most: int = FEEDS_AT_MOST,
    ) -> None:
        self.feeds: dict[str, Informer] = {}
        self.waiting: set[str] = set()
        self._ending: list[Informer] = []
        self._make = make
        self._denials = denials
        self._unix = unix
        self._feeds_at_most = feeds_at_most
        self._is_started = False

    def namespaces(self) -> WatchSpec:
        """What says which there are: all are, so that a lost label is told from an end."""
        return WatchSpec(resource=NAMESPACES, listed=self._listed, happened=self._happened)

    def start(self) -> None:
        """Let the feeds follow, those that are there and those to come."""
        self._is_started = True
        for feed in self.feeds.values():
            feed.start()

    def stop(self) -> None:
        """End all."""
        for name in list(self.feeds):
            self._end(name)
        self.waiting.clear()

    def begin_waiting(self) -> None:
        """Begin what there was no room for before."""
        for name in sorted(self.waiting):
            self._begin(name)

    def followed(self, silent_at_most_seconds: float) -> frozenset[str]:
        """The namespaces of which something was heard lately."""
        return frozenset(
            name
            for name, feed in self.feeds.items()
            if (silent := feed.silent_seconds()) is not None and silent <= silent_at_most_seconds
        )

    def _listed(self, found: list[Object]) -> None:
        there = {name_of(each) for each in found}
        for name in self._denials.known_namespaces() - there:
            self._denials.namespace_gone(name, self._unix())
        labelled = {name_of(each) for each in found if _is_labelled(each)}
        for name in (self.feeds.keys() | self.waiting) - labelled:
            self._end(name)
        for name in sorted(labelled):
            self._begin(name)

    def _happened(self, what: str, found: Object) -> None:
        name = name_of(found)
        if what == "DELETED":
            self._denials.namespace_gone(name, self._unix())
        if what != "DELETED" and _is_labelled(found):
            self._begin(name)
        else:
            self._end(name)

    def _begin(self, name: str) -> None:
        if name in self.feeds:
            return
        self._ending = [feed for feed in self._ending if feed.is_running]
        if len(self.feeds) + len(self._ending) >= self._feeds_at_most:
            self.waiting.add(name)
            return
        self.waiting.discard(name)
        self.feeds[name] = self._make(name)
        if self._is_started:
            self.feeds[name].start()

    def _end(self, name: str) -> None:
        """What is known of it stays known: labelled again, it is compared with what is there."""
        self.waiting.discard(name)
        feed = self.feeds.pop(name, None)
        if feed is not None:
            feed.stop()
            self._ending.append(feed)


def _is_labelled(found: Object) -> bool:
    return (found["metadata"].get("labels") or {}).get(POLICY) == POLICY_ENFORCED


TOKEN_SECRETS = "type=kubernetes.io/service-account-token"  # noqa: S105 - a field selector
NAMESPACE_WATCH_SECONDS = 60
"""At least, and up to twice that: hundreds of them are not to begin anew at the same time."""
LISTS_AT_ONCE = 16
OURS = ("app.kubernetes.io/managed-by", "daypass")
"""What ServiceAccounts of identities are labelled with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Where to look. `orders_namespace`: of the ConfigMap of denials by hand.

    `each_namespace`: of Secrets only those in namespaces of identities, each by itself.
    `names_followed`: whoever gets the list refuses tokens of namespaces that nobody looks at, so
    that nothing else of them has to be on it. Authorizers do not: they ask the API server, which
    takes a token for seconds after its namespace has gone.
    `metadata_only`: ask for nothing but the metadata of objects.
    """

    orders_namespace: str
    each_namespace: bool = False
    names_followed: bool = True
    metadata_only: bool = True


def is_due(
    before: RevocationSnapshot, revoked: RevocationSnapshot, close_after_seconds: float
) -> bool:
    """Return whether a list has to be published after `before`: it differs, or half of the time
    for which `before` is valid has passed.
    """
    until = revoked.closed_after_unix
    if replace(before, closed_after_unix=until) != revoked:
        return True
    return until - before.closed_after_unix >= close_after_seconds / 2


class RevocationWatcher:
    """The feeds and what they have told. Read `denials` and what else is here under `lock`."""

    def __init__(
        self,
        cluster: Cluster,
        clock: Clock,
        scope: Scope,
        *,
        longest_lifetime_seconds: int,
        close_after_seconds: float,
    ) -> None:
        self.denials = RevocationList(longest_lifetime_seconds)
        self.lock = threading.RLock()
        self.changed = threading.Event()
        self.each: PerNamespaceInformers | None = None
        self._cluster = cluster
        self._clock = clock
        self._scope = scope
        self._close_after_seconds = close_after_seconds
        # A silent watch has to give several signs of life before the gate closes.
        self._watch_at_most = max(1, int(close_after_seconds / 4))
        self._watch_seconds = min(WATCH_SECONDS, self._watch_at_most)
        self._listing = threading.BoundedSemaphore(LISTS_AT_ONCE)
        self._identities: dict[str, str] = {}
        if scope.each_namespace:
            self.each = PerNamespaceInformers(
                lambda name: self._feed(self._secrets(name)), self.denials, clock.unix
            )
        self._wide = [self._feed(each) for each in self._everywhere()]

    @property
    def feeds(self) -> list[Informer]:
        """All of them."""
        with self.lock:
            return [*self._wide, *(self.each.feeds.values() if self.each else ())]

    @property
    def trouble(self) -> str:
        """What does not work right now, in words."""
        return "\n".join(dict.fromkeys(feed.trouble for feed in self.feeds if feed.trouble))

    @property
    def heard_at(self) -> float | None:
        """When the last sign of life came from the feed that is silent for longest, of those that
        are for the whole cluster (monotonic); None where one never gave any.
        """
        heard = [feed.heard_at for feed in self._wide]
        known = [at for at in heard if at is not None]
        return min(known) if len(known) == len(heard) else None

    @property
    def heard_unix(self) -> float:
        """The same in seconds, UTC; 0 where one never gave any."""
        at = self.heard_at
        return 0.0 if at is None else self._clock.unix() - (self._clock.monotonic() - at)

    @property
    def is_closed(self) -> bool:
        """Whether it has heard nothing for so long that all tokens have to be refused."""
        at = self.heard_at
        return at is None or self._clock.monotonic() - at > self._close_after_seconds

    @property
    def is_settled(self) -> bool:
        """Whether everything was listed once, as far as it may be."""
        with self.lock:
            return self.heard_at is not None and all(feed.is_tried for feed in self.feeds)

    @property
    def followed(self) -> frozenset[str]:
        """Namespaces of identities of which something was heard lately."""
        if self.each is None:
            return frozenset()
        with self.lock:
            return self.each.followed(self._close_after_seconds)

    @property
    def unfollowed(self) -> frozenset[str]:
        """Namespaces of which nothing is heard, and there are identities in them.

        One that was left by its last identity is still held to the policy, and nobody misses it.
        """
        if self.each is None:
            return frozenset()
        with self.lock:
            there = self.each.feeds.keys() | self.each.waiting
            return frozenset(self._identities.values()) & there - self.followed

    def look(self) -> None:
        """List all once, here and now; first which namespaces there are."""
        for feed in self._wide:
            feed.look()
        for feed in self.feeds[len(self._wide) :]:
            feed.look()

    def start(self) -> None:
        """Follow, beside."""
        for feed in self._wide:
            feed.start()
        if self.each is not None:
            with self.lock:
                self.each.start()

    def stop(self) -> None:
        """End all feeds; none is waited for, and none tells anything more."""
        with self.lock:
            for feed in self._wide:
                feed.stop()
            if self.each is not None:
                self.each.stop()

    def revoked(self, *, is_in_force: bool = False) -> RevocationSnapshot:
        """What is to be refused now. `is_in_force`: whether what it gave last is."""
        with self.lock:
            if self.each is not None:
                self.each.begin_waiting()
                if self._scope.names_followed:
                    self.denials.followed = self.each.followed(self._close_after_seconds)
            now = self._clock.unix()
            self.denials.settle(now, is_in_force=is_in_force)
            revoked = self.denials.revoked(now, closed=self.is_closed)
            until = math.ceil(self.heard_unix + self._close_after_seconds)
            return replace(revoked, closed_after_unix=0 if revoked.closed else until)

    def record(self) -> dict[str, Any]:
        """What has to outlive the process."""
        with self.lock:
            return self.denials.record()

    def record_is_lost(self) -> None:
        """Refuse what was issued until now: nobody knows what of it was revoked."""
        with self.lock:
            # `iat` is in whole seconds. The gate stays closed for the rest of this second, so that
            # no token can carry the same `iat` as one that was revoked before.
            self.denials.recorded_since_unix = int(self._clock.unix()) + 1

    def absorb(self, record: dict[str, Any]) -> None:
        """Take over what another one has recorded. Raises as `Denials.recall`."""
        with self.lock:
            self.denials.absorb(record, self._clock.unix(), self._is_listed)

    def _is_listed(self, kind: ObjectKind, namespace: str) -> bool:
        if kind is ObjectKind.SECRET and self.each is not None:
            feed = self.each.feeds.get(namespace)
            return feed is not None and feed.heard_at is not None
        return all(
            feed.heard_at is not None
            for feed in self._wide
            if feed.followed.resource in (SECRETS, SERVICE_ACCOUNTS)
        )

    def _feed(self, followed: WatchSpec) -> Informer:
        return Informer(
            self._cluster, followed, self._clock,
            lock=self.lock, changed=self.changed, listing=self._listing,
        )  # fmt: skip

    def _everywhere(self) -> Iterator[WatchSpec]:
        if self.each is None:
            yield self._secrets(None)
        else:
            yield replace(self.each.namespaces(), watch_seconds=self._watch_seconds)
        yield self._uids(ObjectKind.SERVICE_ACCOUNT, None)
        yield WatchSpec(
            resource=CONFIG_MAPS,
            namespace=self._scope.orders_namespace,
            fields=f"metadata.name={GATE_DENIED}",
            metadata_only=False,
            watch_seconds=self._watch_seconds,
            listed=self._ordered,
            happened=lambda what, found: self._ordered([] if what == "DELETED" else [found]),
        )

    def _ordered(self, found: list[Object]) -> None:
        self.denials.orders = tuple(order for each in found for order in denials_in(each))

    def _secrets(self, namespace: str | None) -> WatchSpec:
        return self._uids(ObjectKind.SECRET, namespace)

    def _uids(self, kind: ObjectKind, namespace: str | None) -> WatchSpec:
        def listed(found: list[Object]) -> None:
            present = {uid_of(each): _namespace(each) for each in found if not _is_ending(each)}
            self.denials.listed(kind, present, self._clock.unix(), namespace=namespace)
            if kind is ObjectKind.SERVICE_ACCOUNT:
                self._identities = {
                    uid_of(each): _namespace(each) for each in found if _is_identity(each)
                }
            for each in filter(_is_ending, found):
                happened("DELETED", each)

        def happened(what: str, found: Object) -> None:
            if what == "DELETED" or _is_ending(found):
                now = self._clock.unix()
                self.denials.gone(kind, uid_of(found), _namespace(found), now)
                self._identities.pop(uid_of(found), None)
            else:
                self.denials.present(kind, uid_of(found), _namespace(found))
                if kind is ObjectKind.SERVICE_ACCOUNT and _is_identity(found):
                    self._identities[uid_of(found)] = _namespace(found)

        is_secret = kind is ObjectKind.SECRET
        longer = min(int(NAMESPACE_WATCH_SECONDS * (1 + random_fraction())), self._watch_at_most)
        return WatchSpec(
            resource=SECRETS if is_secret else SERVICE_ACCOUNTS,
            namespace=namespace,
            fields=TOKEN_SECRETS if is_secret else "",
            metadata_only=self._scope.metadata_only,
            watch_seconds=self._watch_seconds if namespace is None else longer,
            listed=listed,
            happened=happened,
        )


def _namespace(found: Object) -> str:
    return str(found["metadata"]["namespace"])


def _is_ending(found: Object) -> bool:
    """Whether it is being deleted: the API server refuses its tokens from then on."""
    return bool(found["metadata"].get("deletionTimestamp"))


def _is_identity(found: Object) -> bool:
    return (found["metadata"].get("labels") or {}).get(OURS[0]) == OURS[1]
