"""Watches what tokens are bound to: Secrets, ServiceAccounts, and denials by hand.

Nothing is published here. The controller calls `revoked` whenever `changed` is set, and regularly,
since entries expire and silence closes the gate.

In a cluster, the token Secrets of each identity namespace have an informer of their own, so that
its permission comes from a Role in that namespace and reaches no further. Identity namespaces are
those that `identity create` labels for the policy. If the Role is missing, or there are more
namespaces than LIMIT_INFORMERS, deletions there can't be seen: the namespace is not watched, and
the gate refuses its tokens.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from daypass._core.clock import Clock, random_fraction
from daypass._core.labels import has_policy_label, is_managed
from daypass.gate.revocation.deny_list import denials_in
from daypass.gate.revocation.revocation_list import ObjectKind, RevocationList
from daypass.kube.cluster import Cluster
from daypass.kube.informer import LISTED, WATCH_SECONDS, Informer, OnChange
from daypass.kube.resources import (
    CONFIG_MAPS,
    NAMESPACES,
    SECRETS,
    SERVICE_ACCOUNTS,
    TOKEN_SECRETS,
    Object,
    Resource,
    name_of,
    uid_of,
)
from daypass.render.envoy.filters import RevocationSnapshot
from daypass.render.objects import GATE_DENIED

LIMIT_INFORMERS = 500
"""Namespaces with an informer; each takes a thread and a connection."""
NAMESPACE_WATCH_SECONDS = 60
"""At least, and up to twice that: hundreds of watches should not restart at the same time."""
LISTS_AT_ONCE = 16


class PerNamespaceInformers:
    """One informer of token Secrets per namespace; call its methods under the watcher's lock.

    `make` returns the informer of a namespace. `waiting`: namespaces beyond `limit`.
    """

    def __init__(
        self,
        make: Callable[[str], Informer],
        revocations: RevocationList,
        unix: Callable[[], float],
        *,
        limit: int = LIMIT_INFORMERS,
    ) -> None:
        self.informers: dict[str, Informer] = {}
        self.waiting: set[str] = set()
        self._stopping: list[Informer] = []
        self._make = make
        self._revocations = revocations
        self._unix = unix
        self._limit = limit
        self._is_started = False

    def start(self) -> None:
        """Start the informers, those that exist and those to come."""
        self._is_started = True
        for informer in self.informers.values():
            informer.start()

    def stop(self) -> None:
        """Stop all informers."""
        for name in list(self.informers):
            self._remove(name)
        self.waiting.clear()

    def add_waiting(self) -> None:
        """Add the namespaces that were beyond the limit before."""
        for name in sorted(self.waiting):
            self._add(name)

    def watched_namespaces(self, silent_at_most_seconds: float) -> frozenset[str]:
        """Return the namespaces whose informer gave a sign of life lately."""
        return frozenset(
            name
            for name, informer in self.informers.items()
            if (silent := informer.silent_seconds()) is not None
            and silent <= silent_at_most_seconds
        )

    def namespaces_changed(self, event: str, found: list[Object]) -> None:
        """Follow the namespaces; all of them are watched, to tell a lost label from a deletion."""
        names = {name_of(each) for each in found}
        labelled = {name_of(each) for each in found if has_policy_label(each)}
        if event == LISTED:
            deleted = set(self._revocations.known_namespaces() - names)
            removed = (self.informers.keys() | self.waiting) - labelled
        else:
            deleted = names if event == "DELETED" else set()
            labelled -= deleted
            removed = names - labelled
        for name in deleted:
            self._revocations.namespace_gone(name, self._unix())
        for name in removed:
            self._remove(name)
        for name in sorted(labelled):
            self._add(name)

    def _add(self, name: str) -> None:
        if name in self.informers:
            return
        self._stopping = [informer for informer in self._stopping if informer.is_running]
        if len(self.informers) + len(self._stopping) >= self._limit:
            self.waiting.add(name)
            return
        self.waiting.discard(name)
        self.informers[name] = self._make(name)
        if self._is_started:
            self.informers[name].start()

    def _remove(self, name: str) -> None:
        """Its objects stay known: if it is labelled again, they are compared with a new list."""
        self.waiting.discard(name)
        informer = self.informers.pop(name, None)
        if informer is not None:
            informer.stop()
            self._stopping.append(informer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What to watch. `denials_namespace`: of the ConfigMap of denials by hand.

    `each_namespace`: Secrets of identity namespaces only, with one informer each.
    `only_watched_namespaces`: the gateway refuses tokens of namespaces that are not watched, so the
    list holds nothing else of them. Authorizers don't: they send a TokenReview, and the API server
    accepts a token for seconds after its namespace was deleted. `metadata_only`: request only the
    metadata of objects.
    """

    denials_namespace: str
    each_namespace: bool = False
    only_watched_namespaces: bool = True
    metadata_only: bool = True


class RevocationWatcher:
    """The informers and the revocation list that they keep up; read the list under `lock`."""

    def __init__(
        self,
        cluster: Cluster,
        clock: Clock,
        scope: Scope,
        *,
        longest_lifetime_seconds: int,
        close_after_seconds: float,
    ) -> None:
        self.revocations = RevocationList(longest_lifetime_seconds)
        self.lock = threading.RLock()
        self.changed = threading.Event()
        self.namespaces: PerNamespaceInformers | None = None
        self._cluster = cluster
        self._clock = clock
        self._scope = scope
        self._close_after_seconds = close_after_seconds
        # A silent watch has to give several signs of life before the gate closes.
        self._longest_watch_seconds = max(1, int(close_after_seconds / 4))
        self._watch_seconds = min(WATCH_SECONDS, self._longest_watch_seconds)
        self._list_slots = threading.BoundedSemaphore(LISTS_AT_ONCE)
        self._identities: dict[str, str] = {}
        if scope.each_namespace:
            self.namespaces = PerNamespaceInformers(
                self._secrets_informer, self.revocations, clock.unix
            )
        self._cluster_wide = self._cluster_wide_informers()

    @property
    def informers(self) -> list[Informer]:
        """All informers, those for the whole cluster first."""
        with self.lock:
            each = self.namespaces.informers.values() if self.namespaces else ()
            return [*self._cluster_wide, *each]

    @property
    def last_error(self) -> str:
        """What does not work right now, or ""."""
        problems = (informer.last_error for informer in self.informers)
        return "\n".join(dict.fromkeys(filter(None, problems)))

    @property
    def heard_at(self) -> float | None:
        """The last sign of life (monotonic) of the cluster-wide informer that is silent for
        longest; None before each has given one.
        """
        heard = [informer.heard_at for informer in self._cluster_wide]
        known = [at for at in heard if at is not None]
        return min(known) if len(known) == len(heard) else None

    @property
    def heard_unix(self) -> float:
        """`heard_at` as seconds, UTC; 0 for None."""
        at = self.heard_at
        return 0.0 if at is None else self._clock.unix() - (self._clock.monotonic() - at)

    @property
    def is_closed(self) -> bool:
        """Whether it was silent for so long that all tokens have to be refused."""
        at = self.heard_at
        return at is None or self._clock.monotonic() - at > self._close_after_seconds

    @property
    def is_settled(self) -> bool:
        """Whether everything was listed once, as far as permissions allow."""
        with self.lock:
            return self.heard_at is not None and all(each.is_tried for each in self.informers)

    @property
    def watched_namespaces(self) -> frozenset[str]:
        """Identity namespaces whose informer gave a sign of life lately."""
        if self.namespaces is None:
            return frozenset()
        with self.lock:
            return self.namespaces.watched_namespaces(self._close_after_seconds)

    @property
    def unwatched_namespaces(self) -> frozenset[str]:
        """Identity namespaces that should be watched and are not, and have identities.

        A namespace that lost its last identity keeps its label, and nobody needs it.
        """
        if self.namespaces is None:
            return frozenset()
        with self.lock:
            wanted = self.namespaces.informers.keys() | self.namespaces.waiting
            return frozenset(self._identities.values()) & wanted - self.watched_namespaces

    def sync(self) -> None:
        """List everything once, on this thread; namespaces first."""
        for informer in self._cluster_wide:
            informer.sync()
        for informer in self.informers[len(self._cluster_wide) :]:
            informer.sync()

    def start(self) -> None:
        """Start all informers."""
        for informer in self._cluster_wide:
            informer.start()
        if self.namespaces is not None:
            with self.lock:
                self.namespaces.start()

    def stop(self) -> None:
        """Stop all informers without waiting for them; the list does not change any more."""
        with self.lock:
            for informer in self._cluster_wide:
                informer.stop()
            if self.namespaces is not None:
                self.namespaces.stop()

    def revoked(self, *, is_in_force: bool = False) -> RevocationSnapshot:
        """Return what has to be refused now, after adding namespaces and dropping old entries.

        `is_in_force`: whether the last snapshot is.
        """
        with self.lock:
            if self.namespaces is not None:
                self.namespaces.add_waiting()
                if self._scope.only_watched_namespaces:
                    self.revocations.watched_namespaces = self.namespaces.watched_namespaces(
                        self._close_after_seconds
                    )
            now = self._clock.unix()
            self.revocations.compact(now, is_in_force=is_in_force)
            revoked = self.revocations.revoked(now, closed=self.is_closed)
            until = math.ceil(self.heard_unix + self._close_after_seconds)
            return replace(revoked, closed_after_unix=0 if revoked.closed else until)

    def record(self) -> dict[str, Any]:
        """Return what has to outlive the process."""
        with self.lock:
            return self.revocations.record()

    def refuse_issued_until_now(self) -> None:
        """Refuse tokens issued until now, since revocations among them are unknown.

        `iat` is in whole seconds. So the gate stays closed for the rest of this second, in which
        another token may get the same `iat` as one that was revoked before.
        """
        with self.lock:
            self.revocations.recorded_since_unix = int(self._clock.unix()) + 1

    @property
    def opens_in_seconds(self) -> float:
        """How long the gate has to stay closed after `refuse_issued_until_now`."""
        return max(0.0, self.revocations.recorded_since_unix - self._clock.unix())

    def set_longest_lifetime(self, seconds: int) -> None:
        """Change the longest lifetime of tokens, which is how long entries stay on the list."""
        with self.lock:
            self.revocations.longest_lifetime_seconds = seconds
        self.changed.set()

    def merge(self, record: dict[str, Any]) -> None:
        """Add what another controller recorded. Raises as `RevocationList.merge`."""
        with self.lock:
            self.revocations.merge(record, self._clock.unix(), self._is_listed)

    def _is_listed(self, kind: ObjectKind, namespace: str) -> bool:
        if kind is ObjectKind.SECRET and self.namespaces is not None:
            informer = self.namespaces.informers.get(namespace)
            return informer is not None and informer.heard_at is not None
        return all(
            informer.heard_at is not None
            for informer in self._cluster_wide
            if informer.resource in (SECRETS, SERVICE_ACCOUNTS)
        )

    def _cluster_wide_informers(self) -> list[Informer]:
        if self.namespaces is None:
            first = self._secrets_informer(None)
        else:
            first = self._informer(
                NAMESPACES, None, self.namespaces.namespaces_changed, metadata_only=True
            )
        accounts = self._informer(
            SERVICE_ACCOUNTS, None, self._accounts_changed, metadata_only=self._scope.metadata_only
        )
        denied = self._informer(
            CONFIG_MAPS, self._scope.denials_namespace, self._denials_changed,
            fields=f"metadata.name={GATE_DENIED}",
        )  # fmt: skip
        return [first, accounts, denied]

    def _secrets_informer(self, namespace: str | None) -> Informer:
        seconds = self._watch_seconds
        if namespace is not None:
            spread = int(NAMESPACE_WATCH_SECONDS * (1 + random_fraction()))
            seconds = min(spread, self._longest_watch_seconds)
        return self._informer(
            SECRETS, namespace, partial(self._objects_changed, ObjectKind.SECRET, namespace),
            fields=TOKEN_SECRETS, metadata_only=self._scope.metadata_only, watch_seconds=seconds,
        )  # fmt: skip

    def _informer(
        self,
        resource: Resource,
        namespace: str | None,
        on_change: OnChange,
        *,
        fields: str = "",
        metadata_only: bool = False,
        watch_seconds: int | None = None,
    ) -> Informer:
        return Informer(
            self._cluster, resource, namespace, on_change, self._clock, fields=fields,
            metadata_only=metadata_only, watch_seconds=watch_seconds or self._watch_seconds,
            lock=self.lock, changed=self.changed, list_slots=self._list_slots,
        )  # fmt: skip

    def _denials_changed(self, event: str, found: list[Object]) -> None:
        there = () if event == "DELETED" else found
        self.revocations.manual_denials = tuple(
            denial for each in there for denial in denials_in(each)
        )

    def _accounts_changed(self, event: str, found: list[Object]) -> None:
        if event == LISTED:
            self._identities = {}
        for each in found:
            if event == "DELETED" or _is_being_deleted(each):
                self._identities.pop(uid_of(each), None)
            elif is_managed(each):
                self._identities[uid_of(each)] = _namespace(each)
        self._objects_changed(ObjectKind.SERVICE_ACCOUNT, None, event, found)

    def _objects_changed(
        self, kind: ObjectKind, namespace: str | None, event: str, found: list[Object]
    ) -> None:
        """Keep the list up. The API server refuses tokens of an object that is being deleted."""
        now = self._clock.unix()
        present = {uid_of(each): _namespace(each) for each in found if not _is_being_deleted(each)}
        if event == LISTED:
            self.revocations.listed(kind, present, now, namespace=namespace)
        for each in found:
            uid, place = uid_of(each), _namespace(each)
            if event == "DELETED" or _is_being_deleted(each):
                self.revocations.gone(kind, uid, place, now)
            elif event != LISTED:
                self.revocations.present(kind, uid, place)


def _namespace(found: Object) -> str:
    return str(found["metadata"]["namespace"])


def _is_being_deleted(found: Object) -> bool:
    """Return whether an object has a deletion timestamp."""
    return bool(found["metadata"].get("deletionTimestamp"))
