"""Observes which credentials exist: the namespaces with the label, their ServiceAccounts, the
Secrets of identities in them, and denials by hand.

Everything is listed and watched in one event loop on one thread. The Secrets of each namespace have
an informer of their own, since the right to list them comes from a Role in that namespace, and
reaches no further.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from heapq import nsmallest
from itertools import chain
from typing import Any

import httpx2

from daypass._core import labels
from daypass._core.clock import Clock
from daypass.gate.watch.observation import Observation, ObservedNamespace
from daypass.kube.async_cluster import LIMIT_OBJECTS, AsyncCluster
from daypass.kube.connection import ConnectionConfig
from daypass.kube.informer import LISTED, Informer, LoopThread
from daypass.kube.resources import (
    ACCOUNT_UID_ANNOTATION,
    CONFIG_MAPS,
    IDENTITY_SECRET_NAME,
    NAMESPACES,
    SECRETS,
    SERVICE_ACCOUNTS,
    TOKEN_SECRETS,
    Object,
    Resource,
    name_of,
    uid_of,
)
from daypass.published.credentials import UID
from daypass.published.denials import Denial, read_denials
from daypass.render.objects import GATE_DENIED

LISTS_AT_ONCE = 16
HELD_AT_MOST = 10
"""How many times the limit of a namespace is listed to find the oldest ones. A tenant with more
loses only its own credentials."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What is kept of an object. `account`: of a Secret, the UID of the ServiceAccount that it is
    for, and that one's name by the Secret's own; "" if that is not the name of a credential.
    """

    uid: str
    namespace: str
    name: str
    created: str
    is_managed: bool
    is_deleted: bool
    account: tuple[str, str]

    @classmethod
    def read(cls, document: Object) -> _Found:
        """Read an object. One that is being deleted counts as deleted."""
        metadata = document["metadata"]
        named = IDENTITY_SECRET_NAME.fullmatch(name_of(document))
        account_uid = str((metadata.get("annotations") or {}).get(ACCOUNT_UID_ANNOTATION, ""))
        is_uid = UID.fullmatch(account_uid) is not None  # anyone may write a long text instead
        return cls(
            uid=uid_of(document),
            namespace=str(metadata.get("namespace", "")),
            name=name_of(document),
            created=str(metadata.get("creationTimestamp", "")),
            is_managed=labels.is_managed(document),
            is_deleted=bool(metadata.get("deletionTimestamp")),
            account=(account_uid if is_uid else "", named[1] if named else ""),
        )


_Known = dict[str, _Found]
"""By UID."""
_Apply = Callable[[str, list[Any]], object]


@dataclass(slots=True, eq=False)
class _Namespace:
    """A namespace with the label. `secrets`: all that its list showed. `task`: runs `informer`.

    `observed`: what counts of them, `left_out` the number beyond the limit.
    """

    informer: Informer[_Found]
    task: asyncio.Task[None] | None = None
    secrets: _Known = field(default_factory=dict)
    observed: ObservedNamespace | None = None
    left_out: int = 0


class CredentialObserver:
    """Observes one cluster: from `start` to `stop`, or once, by `sync`. Raises KubeconfigError.

    - `home`: the namespace of the denials.
    - `per_namespace`: how many Secrets of a namespace count, and how many ServiceAccounts; the
      oldest ones do.
    - `accounts_too`: tokens that are bound to no Secret may pass.
    - `changed`: is set when something else exists, or something else fails, but not by a list that
      finds the same.
    - `transport` replaces the network, for tests.
    """

    def __init__(
        self,
        connection: ConnectionConfig,
        clock: Clock,
        *,
        home: str,
        per_namespace: int,
        accounts_too: bool,
        close_after_seconds: float,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self.changed = threading.Event()
        self._clock = clock
        self._per_namespace = per_namespace
        self._limit_secrets = HELD_AT_MOST * per_namespace
        self._accounts_too = accounts_too
        self._close_after_seconds = close_after_seconds
        self._cluster = AsyncCluster(connection, clock=clock, transport=transport)
        self._slots = asyncio.Semaphore(LISTS_AT_ONCE)
        self._thread = LoopThread("daypass-watch", self._run)
        self._tasks: asyncio.TaskGroup | None = None
        self._lock = threading.Lock()  # of all that follows
        self._namespaces: dict[str, _Namespace] = {}
        self._accounts: _Known = {}
        self._denials: tuple[Denial, ...] = ()
        self._dirty: set[str] = set()
        self._is_accounts_dirty = True
        self._with_identities: frozenset[str] = frozenset()
        self._account_uids: frozenset[str] = frozenset()
        self._accounts_left_out: dict[str, int] = {}
        self._progress_at: float | None = None
        self._is_stale = True
        self._observation = Observation()
        self._for_all: tuple[Informer[Any], ...] = (
            self._informer(
                NAMESPACES, None, _Found.read, self._namespaces_changed,
                labels=labels.POLICY_SELECTOR,
            ),
            self._informer(
                SERVICE_ACCOUNTS, None, _Found.read, self._accounts_changed,
                labels="" if accounts_too else labels.SELECTOR,
            ),
            self._informer(
                CONFIG_MAPS, home, _denials, self._denials_changed,
                fields=f"metadata.name={GATE_DENIED}", metadata_only=False,
            ),
        )  # fmt: skip

    @property
    def last_error(self) -> str:
        """What does not work right now for all namespaces, or ""."""
        errors = [informer.last_error for informer in self._for_all]
        if self._thread.error is not None:
            errors.append(f"nothing is watched any more: {type(self._thread.error).__name__}")
        return "\n".join(dict.fromkeys(filter(None, errors)))

    def start(self) -> None:
        """List and watch in the background."""
        self._thread.start()

    def stop(self) -> None:
        """Stop, and wait for the end. The observation does not change any more."""
        self._thread.stop()

    def sync(self) -> None:
        """List everything once, on this thread, without watching.

        Raises the error of a list that concerns all namespaces. Those that cannot be listed are
        `unwatched` in the observation.
        """
        asyncio.run(self._sync())

    def observation(self) -> Observation:
        """Return what exists, as far as known; from any thread.

        Only what has changed is computed again: all else is the same objects as before.
        """
        with self._lock:
            if self._is_stale:
                self._is_stale = False
                self._observation = self._observe()
            return self._observation

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as self._tasks:
                for informer in self._for_all:
                    self._tasks.create_task(informer.run())
        finally:
            await self._cluster.close()

    async def _sync(self) -> None:
        try:
            await asyncio.gather(*(informer.sync() for informer in self._for_all))
            for informer in self._for_all:
                if informer.error is not None:
                    raise informer.error
            await asyncio.gather(*(each.informer.sync() for each in self._namespaces.values()))
        finally:
            await self._cluster.close()

    def _informer(
        self,
        resource: Resource,
        namespace: str | None,
        read: Callable[[Object], Any],
        apply: _Apply,
        *,
        labels: str = "",
        fields: str = "",
        metadata_only: bool = True,
    ) -> Informer[Any]:
        """Return an informer for `apply`, which returns whether something has changed."""
        has_news, reported = False, (False, "")

        def on_change(event: str, found: list[Any]) -> None:
            nonlocal has_news
            with self._lock:
                has_news = bool(apply(event, found)) or has_news

        def notify() -> None:
            nonlocal has_news, reported
            now = informer.listed_at is not None, informer.last_error
            with self._lock:
                self._is_stale = True
                if now[0] and not reported[0]:
                    self._progress_at = self._clock.monotonic()
            if has_news or now != reported:
                has_news, reported = False, now
                self.changed.set()

        informer: Informer[Any] = Informer(
            self._cluster, resource, namespace, on_change, read=read, notify=notify,
            valid_seconds=self._close_after_seconds, labels=labels, fields=fields,
            metadata_only=metadata_only,
            slots=self._slots if resource is SECRETS else None,
            limit_objects=self._limit_secrets if resource is SECRETS else LIMIT_OBJECTS,
        )  # fmt: skip
        return informer

    def _namespaces_changed(self, event: str, found: list[_Found]) -> bool:
        before = set(self._namespaces)
        here = {each.name for each in found if not each.is_deleted and event != "DELETED"}
        for name in before - here if event == LISTED else {each.name for each in found} - here:
            if (gone := self._namespaces.pop(name, None)) is not None and gone.task is not None:
                gone.task.cancel()
        for name in sorted(here - before):
            informer = self._informer(
                SECRETS, name, _Found.read, partial(self._secrets_changed, name),
                # Anyone who may create Secrets may give another type any label and annotation.
                labels=labels.SELECTOR, fields=TOKEN_SECRETS,
            )  # fmt: skip
            self._namespaces[name] = _Namespace(informer)
        if self._tasks is not None:
            room = self._cluster.watches_at_most - len(self._for_all)
            for each in [*self._namespaces.values()][:room]:
                each.task = each.task or self._tasks.create_task(each.informer.run())
        self._is_accounts_dirty = True
        return before != self._namespaces.keys()

    def _accounts_changed(self, event: str, found: list[_Found]) -> bool:
        self._accounts, changed = _applied(self._accounts, event, found)
        self._dirty |= {each.namespace for each in changed}
        self._is_accounts_dirty = self._is_accounts_dirty or bool(changed)
        return bool(changed)

    def _secrets_changed(self, name: str, event: str, found: list[_Found]) -> bool:
        namespace = self._namespaces.get(name)
        if namespace is None:
            return False
        namespace.secrets, changed = _applied(namespace.secrets, event, found)
        if changed:
            self._dirty.add(name)
        return bool(changed)

    def _denials_changed(self, event: str, found: list[tuple[Denial, ...]]) -> bool:
        before = self._denials
        self._denials = found[0] if found and event != "DELETED" else ()
        return self._denials != before

    def _observe(self) -> Observation:
        if self._is_accounts_dirty:
            self._is_accounts_dirty = False
            self._observe_accounts()
        for name, namespace in self._namespaces.items():
            self._observe_namespace(name, namespace)
        self._dirty.clear()
        listed = [informer.listed_at for informer in self._for_all]
        times = [at for at in listed if at is not None]
        namespaces = self._namespaces.items()
        return Observation(
            namespaces={n: each.observed for n, each in namespaces if each.observed is not None},
            accounts=self._account_uids,
            denials=self._denials,
            listed_at=min(times) if len(times) == len(listed) else None,
            progress_at=self._progress_at,
            is_complete=len(times) == len(listed)
            and all(each.informer.is_tried or self._is_beyond(each) for _, each in namespaces),
            unwatched={
                n: why
                for n, each in namespaces
                if n in self._with_identities and (why := self._why_unwatched(each))
            },
            left_out={
                n: left_out
                for n, each in namespaces
                if (left_out := each.left_out + self._accounts_left_out.get(n, 0))
            },
        )

    def _observe_accounts(self) -> None:
        accounts = self._accounts.values()
        self._with_identities = frozenset(a.namespace for a in accounts if a.is_managed)
        found: dict[str, list[_Found]] = {}
        for each in accounts if self._accounts_too else ():
            if each.namespace in self._namespaces:
                found.setdefault(each.namespace, []).append(each)
        counting = chain.from_iterable(map(self._oldest, found.values()))
        self._account_uids = frozenset(each.uid for each in counting)
        self._accounts_left_out = {
            name: len(each) - self._per_namespace
            for name, each in found.items()
            if len(each) > self._per_namespace
        }

    def _observe_namespace(self, name: str, namespace: _Namespace) -> None:
        listed_at, before = namespace.informer.listed_at, namespace.observed
        if listed_at is None:
            return
        uids = frozenset() if before is None else before.uids
        if before is None or name in self._dirty:
            counting = [each for each in namespace.secrets.values() if self._counts(each)]
            namespace.left_out = max(0, len(counting) - self._per_namespace)
            found = frozenset(each.uid for each in self._oldest(counting))
            uids = uids if found == uids else found
        if before is None or before.uids is not uids or before.listed_at != listed_at:
            namespace.observed = ObservedNamespace(uids=uids, listed_at=listed_at)

    def _oldest(self, found: list[_Found]) -> list[_Found]:
        """Return as many as count of one namespace."""
        if len(found) <= self._per_namespace:
            return found
        return nsmallest(self._per_namespace, found, key=lambda each: (each.created, each.name))

    def _counts(self, secret: _Found) -> bool:
        """Return whether tokens that are bound to a Secret may pass."""
        uid, name = secret.account
        account = self._accounts.get(uid)
        return (
            account is not None
            and account.is_managed
            and (account.namespace, account.name) == (secret.namespace, name)
            and UID.fullmatch(secret.uid) is not None
        )

    def _is_beyond(self, namespace: _Namespace) -> bool:
        return self._tasks is not None and namespace.task is None

    def _why_unwatched(self, namespace: _Namespace) -> str:
        if self._is_beyond(namespace):
            return f"there is room for {self._cluster.watches_at_most} watches"
        return namespace.informer.last_error


def _applied(known: _Known, event: str, found: list[_Found]) -> tuple[_Known, list[_Found]]:
    """Return what is known after a change, and what changed: objects before and after it."""
    here = {each.uid: each for each in found if not each.is_deleted and event != "DELETED"}
    if event == LISTED:
        now, uids = here, known.keys() | here.keys()
    else:
        uids = {each.uid for each in found}
        now = known
    changed = []
    for uid in uids:
        before, after = known.get(uid), here.get(uid)
        if before != after:
            changed += [each for each in (before, after) if each is not None]
            if now is known:
                known.pop(uid, None) if after is None else known.update({uid: after})
    return now, changed


def _denials(document: Object) -> tuple[Denial, ...]:
    return tuple(read_denials(document.get("data") or {}))
