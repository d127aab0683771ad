"""Observes which credentials exist: the namespaces with the label, their ServiceAccounts, the
Secrets of identities in them, and denials by hand.

Everything is listed and watched in one event loop on one thread. The Secrets of each namespace have
an informer of their own, since the right to list them comes from a Role in that namespace, and
reaches no further.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections import defaultdict
from dataclasses import dataclass, field

import httpx2

from daypass._core import labels
from daypass._core.clock import Clock
from daypass.gate.watch.observation import Observation
from daypass.kube.connection import ConnectionConfig
from daypass.kube.informer import Informer, LoopThread
from daypass.published.denials import Denial

LISTS_AT_ONCE = 16
ACCOUNT_UID = "kubernetes.io/service-account.uid"
"""Annotation of a token Secret, which the token controller sets."""
_SECRET_NAME = re.compile(
    f"(?P<account>.+){re.escape(labels.SECRET_INFIX)}{labels.SECRET_SUFFIX}", re.ASCII
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Secret:
    """What decides whether a Secret counts. `account`: the ServiceAccount that its name names."""

    uid: str
    account: str
    account_uid: str
    age: tuple[str, str]
    is_possible: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Account:
    uid: str
    namespace: str
    name: str
    is_identity: bool
    is_deleted: bool


@dataclass(slots=True, eq=False)
class _Namespace:
    """A namespace with the label. `secrets`: by UID, those that count if their account exists."""

    informer: Informer[_Secret] | None = None
    task: asyncio.Task[None] | None = None
    secrets: dict[str, _Secret] = field(default_factory=dict)
    is_dirty: bool = True
    uids: frozenset[str] = frozenset()
    account_uids: frozenset[str] = frozenset()
    left_out: int = 0


class CredentialObserver:
    """Observes one cluster, from `start` to `stop`, or once by `sync`.

    - `home`: the namespace of the denials.
    - `per_namespace`: how many credentials of a namespace count; the oldest ones do.
    - `accounts_too`: tokens that are bound to no Secret may pass.
    - `changed`: is set when something else exists, or something else fails, and not by a list that
      finds the same.
    - `transport` replaces the network, for tests.

    Raises KubeconfigError.
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
        self._connection = connection
        self._clock = clock
        self._home = home
        self._per_namespace = per_namespace
        self._accounts_too = accounts_too
        self._close_after_seconds = close_after_seconds
        self._transport = transport
        self._lock = threading.Lock()  # of everything below
        self._namespaces: dict[str, _Namespace] = {}
        self._accounts: defaultdict[str, dict[str, _Account]] = defaultdict(dict)
        self._denials: tuple[Denial, ...] = ()
        self._for_all: tuple[Informer[object], ...] = ()
        self._progress_at: float | None = None
        self._is_stale = True
        self._observation = Observation()
        self._thread = LoopThread("daypass-watch", self._run)

    @property
    def last_error(self) -> str:
        """What does not work right now, or ""."""
        return ""

    def start(self) -> None:
        """List and watch in the background."""
        self._thread.start()

    def stop(self) -> None:
        """Stop, and wait for the end. The observation does not change any more."""
        self._thread.stop()

    def sync(self) -> None:
        """List everything once, on this thread.

        Raises the error of a list that concerns all namespaces. Others are in the observation.
        """

    def observation(self) -> Observation:
        """Return what exists, as far as known. From any thread; cheap if nothing has changed."""
        return self._observation

    async def _run(self) -> None:
        raise NotImplementedError
