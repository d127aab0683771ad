"""Observes which credentials exist: the namespaces with the label, the Secrets of identities and
the ServiceAccounts in them, and denials by hand.

An identity whose deadline has passed does not count, nor does a Secret that is retired, by the API
server's clock: no event tells of that, so an observation looks at the time.

Everything is listed and watched in one event loop on one thread. Each namespace has informers of
its own: the right to list its Secrets comes from a Role in it, and reaches no further; and a tenant
with many or large objects slows down only its own lists.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from heapq import nsmallest
from itertools import chain
from sys import intern
from typing import Any

import httpx2

from daypass._core.clock import Clock, deadline_unix
from daypass._core.kubernetes import labels
from daypass._core.kubernetes.objects import Object, name_of, uid_of
from daypass._core.threads import LoopThread
from daypass.gate.watch.schedule import Observation, ObservedNamespace
from daypass.kube.answers import Selection
from daypass.kube.connection import ConnectionConfig
from daypass.kube.resources import (
    ACCOUNT_UID_ANNOTATION,
    CONFIG_MAPS,
    IDENTITY_SECRET_NAME,
    NAMESPACES,
    SECRETS,
    SERVICE_ACCOUNTS,
    Resource,
)
from daypass.kube.watching import AsyncCluster, Informer
from daypass.render.names import GATE_DENIED
from daypass.rules.published import UID, Denial, credential_of, read_denials

LISTS_AT_ONCE = 32
HELD_AT_MOST = 10
"""How many times the limit of a namespace is listed to find the oldest ones. A tenant with more
loses only its own credentials."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What is kept of an object. Of a Secret, `account_uid` is that of the ServiceAccount that it
    is for, and `account_name` that one's name by the Secret's own; "" if they are of another form.
    `ends_unix`: it does not count from then on.
    """

    name: str
    created: str
    is_managed: bool
    account_uid: str
    account_name: str
    ends_unix: float

    @classmethod
    def read(cls, document: Object, *, deadline: str) -> _Found | None:
        """Read an object. `deadline`: the annotation that has it."""
        if _is_deleted(document) or not UID.fullmatch(uid_of(document)):
            return None
        metadata = document["metadata"]
        named = IDENTITY_SECRET_NAME.fullmatch(name_of(document))
        annotations = metadata.get("annotations") or {}
        account_uid = str(annotations.get(ACCOUNT_UID_ANNOTATION, ""))
        is_uid = UID.fullmatch(account_uid) is not None  # anyone may write a long text instead
        return cls(
            name=name_of(document),
            created=str(metadata.get("creationTimestamp", "")),
            is_managed=labels.is_managed(document),
            account_uid=intern(account_uid) if is_uid else "",
            account_name=intern(named[1]) if named else "",
            ends_unix=deadline_unix(annotations.get(deadline)),
        )


_Objects = Mapping[str, _Found]
"""By UID."""


def _is_deleted(document: Object) -> bool:
    """Return whether an object is being deleted: it counts as deleted."""
    return bool(document["metadata"].get("deletionTimestamp"))


class _Namespace:
    """A namespace with the label.

    `tasks`: run its informers. `no_room`: why none do, or "". `counting`: the credentials that
    count, of Secrets and of ServiceAccounts; `left_out`: how many are beyond the limit.
    """

    def __init__(self, secrets: Informer[_Found], accounts: Informer[_Found]) -> None:
        self.secrets = secrets
        self.accounts = accounts
        self.tasks: list[asyncio.Task[None]] = []
        self.no_room = ""
        self.counting: tuple[frozenset[str], ...] = (frozenset(), frozenset())
        self.left_out = 0
        self._counted: tuple[_Objects, ...] = ({}, {})
        self._valid_unix = -math.inf, math.inf  # from and until when, as far as deadlines go

    @property
    def is_awaited(self) -> bool:
        """Whether something was never listed, but may be."""
        never = (each for each in (self.secrets, self.accounts) if each.listing is None)
        return not self.no_room and not all(each.is_forbidden for each in never)

    @property
    def why_unwatched(self) -> str:
        """Why credentials of the namespace may not count, or ""."""
        why = self.no_room or self.accounts.last_error
        if self.secrets.last_error and any(a.is_managed for a in self.accounts.objects.values()):
            why = why or self.secrets.last_error
        return why

    def count(self, limit: int, *, accounts_too: bool, now_unix: float) -> None:
        """Count again what was found, if it has changed, or a deadline has passed."""
        secrets, accounts = self.secrets.objects, self.accounts.objects
        is_same = secrets is self._counted[0] and accounts is self._counted[1]
        if is_same and self._valid_unix[0] <= now_unix < self._valid_unix[1]:
            return
        self._counted = secrets, accounts
        deadlines = [each.ends_unix for each in chain(secrets.values(), accounts.values())]
        self._valid_unix = (
            max((at for at in deadlines if at <= now_unix), default=-math.inf),
            min((at for at in deadlines if at > now_unix), default=math.inf),
        )
        live = {uid: each for uid, each in accounts.items() if each.ends_unix > now_unix}
        existing = {
            credential_of(uid, each.account_uid): each
            for uid, each in secrets.items()
            if each.ends_unix > now_unix and _exists(each, live)
        }
        unbound = live.items() if accounts_too else ()
        both = existing, {credential_of(uid, uid): each for uid, each in unbound}
        self.counting = tuple(_oldest(each, limit) for each in both)
        self.left_out = sum(map(len, both)) - sum(map(len, self.counting))


def _exists(secret: _Found, accounts: _Objects) -> bool:
    """Return whether a Secret is of an identity that exists."""
    account = accounts.get(secret.account_uid)
    return account is not None and account.is_managed and account.name == secret.account_name


def _oldest(found: Mapping[str, _Found], limit: int) -> frozenset[str]:
    """Return as many as count of one namespace."""
    if len(found) <= limit:
        return frozenset(found)
    return frozenset(nsmallest(limit, found, key=lambda it: (found[it].created, found[it].name)))


class CredentialObserver:
    """Observes one cluster: from `start` to `stop`, or once, by `sync`. Raises KubeconfigError.

    - `gate_namespace`: the namespace of the denials.
    - `per_namespace`: how many Secrets of a namespace count, and how many ServiceAccounts; the
      oldest ones do.
    - `accounts_too`: tokens that are bound to no Secret may pass.
    - `changed`: is set when something else exists, or something else fails, but not by a list that
      finds the same, nor by a deadline.
    - `transport` replaces the network, for tests.
    """

    def __init__(
        self,
        connection: ConnectionConfig,
        clock: Clock,
        *,
        gate_namespace: str,
        per_namespace: int,
        accounts_too: bool,
        close_after_seconds: float,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self.changed = threading.Event()
        self._clock = clock
        self._per_namespace = per_namespace
        self._accounts_too = accounts_too
        self._close_after_seconds = close_after_seconds
        self._cluster = AsyncCluster(connection, clock=clock, transport=transport)
        self._slots = asyncio.Semaphore(LISTS_AT_ONCE)
        self._labelled = Informer(
            self._cluster,
            Selection(resource=NAMESPACES, labels=labels.POLICY_SELECTOR, metadata_only=True),
            _name,
            valid_seconds=close_after_seconds,
            notify=self._follow_namespaces,
        )
        self._denied = Informer(
            self._cluster,
            Selection(
                resource=CONFIG_MAPS,
                namespace=gate_namespace,
                fields=f"metadata.name={GATE_DENIED}",
            ),
            _denials,
            valid_seconds=close_after_seconds,
            notify=self.changed.set,
        )
        self._for_all: tuple[Informer[Any], ...] = (self._labelled, self._denied)
        self._thread = LoopThread("daypass-watch", self._watching())
        self._tasks: asyncio.TaskGroup | None = None
        self._namespaces: dict[str, _Namespace] = {}
        self._lock = threading.Lock()
        self._observation = Observation()

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

    @asynccontextmanager
    async def _watching(self) -> AsyncIterator[None]:
        try:
            async with asyncio.TaskGroup() as self._tasks:
                for informer in self._for_all:
                    self._tasks.create_task(informer.run())
                yield
        finally:
            await self._cluster.close()

    def sync(self) -> None:
        """List everything once, on this thread, without watching.

        Raises the error of a list that concerns all namespaces. Those that cannot be listed are
        `unwatched` in the observation.
        """
        asyncio.run(self._sync())

    async def _sync(self) -> None:
        try:
            await asyncio.gather(*(informer.sync() for informer in self._for_all))
            for informer in self._for_all:
                if informer.failure is not None:
                    raise informer.failure.error
            both = [(each.secrets, each.accounts) for each in self._namespaces.values()]
            await asyncio.gather(*(informer.sync() for informer in chain(*both)))
        finally:
            await self._cluster.close()

    def observation(self) -> Observation:
        """Return what exists, as far as known; from any thread.

        Of a namespace that has not changed, the credentials are the same object as before.
        """
        with self._lock:
            self._observation = self._observe(self._observation)
            return self._observation

    def _observe(self, before: Observation) -> Observation:
        listings = [each.listing for each in self._for_all]
        listed = [each.began_at for each in listings if each is not None]
        listed_at = min(listed) if len(listed) == len(listings) else None
        # Namespaces are known a moment before there are informers for them.
        names = set(self._labelled.objects.values())
        is_complete = listed_at is not None and names == self._namespaces.keys()
        secrets, accounts, unwatched, left_out = {}, {}, {}, {}
        now_unix = self._cluster.server_unix()
        for name, each in self._namespaces.items():
            if name not in names:
                continue
            # Times come first: what is counted is at least as recent.
            of_secrets, of_accounts = each.secrets.listing, each.accounts.listing
            each.count(self._per_namespace, accounts_too=self._accounts_too, now_unix=now_unix)
            its_secrets, its_accounts = each.counting
            if of_accounts is not None and self._accounts_too:
                at = of_accounts.began_at
                accounts[name] = ObservedNamespace(credentials=its_accounts, listed_at=at)
            if of_accounts is not None and of_secrets is not None:
                at = min(of_secrets.began_at, of_accounts.began_at)
                secrets[name] = ObservedNamespace(credentials=its_secrets, listed_at=at)
            elif each.is_awaited:
                is_complete = False
            if why := each.why_unwatched:
                unwatched[name] = why
            if each.left_out:
                left_out[name] = each.left_out
        is_progress = (
            (before.listed_at is None and listed_at is not None)
            or secrets.keys() - before.namespaces.keys()
            or accounts.keys() - before.accounts.keys()
        )
        return Observation(
            namespaces=secrets,
            accounts=accounts,
            denials=next(iter(self._denied.objects.values()), ()),
            listed_at=listed_at,
            progress_at=self._clock.monotonic() if is_progress else before.progress_at,
            is_complete=is_complete,
            unwatched=unwatched,
            left_out=left_out,
        )

    def _follow_namespaces(self) -> None:
        """Have informers for the namespaces with the label, as far as there is room for watches."""
        before, names = self._namespaces, set(self._labelled.objects.values())
        namespaces = {name: each for name, each in before.items() if name in names}
        namespaces |= {name: self._namespace(name) for name in sorted(names - before.keys())}
        for name in before.keys() - names:
            for task in before[name].tasks:
                task.cancel()
        room = (self._cluster.watches_at_most - len(self._for_all)) // 2
        for number, each in enumerate(namespaces.values()):
            if self._tasks is None or each.tasks:
                continue
            each.no_room = "" if number < room else f"there is room for {room} namespaces"
            if number < room:
                informers = each.secrets, each.accounts
                each.tasks = [self._tasks.create_task(it.run()) for it in informers]
        self._namespaces = namespaces  # another dict: other threads read it
        self.changed.set()

    def _namespace(self, name: str) -> _Namespace:
        def informer(resource: Resource, selector: str | None, deadline: str) -> Informer[_Found]:
            selection = Selection(
                resource=resource, namespace=name, labels=selector, metadata_only=True
            )
            return Informer(
                self._cluster,
                selection,
                partial(_Found.read, deadline=deadline),
                valid_seconds=self._close_after_seconds,
                notify=self.changed.set,
                slots=self._slots,
                limit_objects=HELD_AT_MOST * self._per_namespace,
            )

        return _Namespace(
            # Of any type: whatever a token is bound to, its deletion revokes the token.
            informer(SECRETS, labels.SELECTOR, labels.RETIRE_AFTER),
            informer(
                SERVICE_ACCOUNTS,
                None if self._accounts_too else labels.SELECTOR,
                labels.DEADLINE,
            ),
        )


def _name(document: Object) -> str | None:
    return None if _is_deleted(document) else name_of(document)


def _denials(document: Object) -> tuple[Denial, ...]:
    return tuple(read_denials(document.get("data") or {}))
