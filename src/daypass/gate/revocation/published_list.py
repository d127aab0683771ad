"""The revocation list as a ConfigMap: what a publisher writes, and how authorizers read it.

`heardAt` is the time at which the publisher last knew everything that is revoked. It is renewed at
least every HEARTBEAT_SECONDS; a reader refuses everything once it is too old. The list is
compressed, since 20,000 UIDs nearly fill a ConfigMap.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import json
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from daypass._core.clock import Clock, utc
from daypass._core.errors import DaypassError
from daypass._core.hints import command
from daypass.kube.cluster import Cluster
from daypass.kube.informer import Informer
from daypass.kube.resources import CONFIG_MAPS, Object
from daypass.render.envoy.filters import RevocationSnapshot
from daypass.render.objects import GATE_REVOKED

HEARTBEAT_SECONDS = 20.0
FORMAT = 1
LIMIT_BYTES = 16 * 1024 * 1024
LIMIT_NAMES = 200_000
LIMIT_NAME = 253
_LIST, _HEARD = "revoked.json.gz", "heardAt"


class RevocationListError(DaypassError):
    """The ConfigMap has no readable revocation list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedRevocations:
    """A revocation list, and its last heartbeat (seconds, UTC)."""

    revoked: RevocationSnapshot
    heard_unix: float


def revocation_config_map(listed: PublishedRevocations, namespace: str) -> Object:
    """Return the ConfigMap; the same list gives the same bytes."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": GATE_REVOKED, "namespace": namespace},
        **heartbeat(listed.heard_unix),
        "binaryData": {_LIST: _packed(listed.revoked)},
    }


def heartbeat(heard_unix: float) -> Object:
    """Return the heartbeat as a merge patch of the ConfigMap."""
    return {"data": {_HEARD: f"{utc(heard_unix):%Y-%m-%dT%H:%M:%SZ}"}}


def read_revocation_list(config_map: Object) -> PublishedRevocations:
    """Return the list in a ConfigMap. Raises RevocationListError; what is read is bounded."""
    try:
        heard = datetime.fromisoformat(config_map["data"][_HEARD])
        document = json.loads(_unpacked(config_map["binaryData"][_LIST]))
        if document["format"] != FORMAT:
            raise ValueError("format")
        if not isinstance(document["closed"], bool):
            raise TypeError("closed")
        revoked = RevocationSnapshot(
            secrets=_names(document["secrets"]),
            service_accounts=_names(document["serviceAccounts"]),
            tokens=_names(document["tokens"]),
            namespaces=_names(document["namespaces"]),
            issued_after_unix=int(document["issuedAfter"]),
            closed=document["closed"],
        )
        return PublishedRevocations(revoked=revoked, heard_unix=heard.timestamp())
    except (
        KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError, EOFError,
        OSError, zlib.error, binascii.Error,
    ) as error:  # fmt: skip
        raise RevocationListError(
            f"ConfigMap {GATE_REVOKED} has no readable revocation list ({type(error).__name__})",
            f"`{command('gate', 'watch')}` of the same version writes it again",
        ) from None


def _packed(revoked: RevocationSnapshot) -> str:
    document = {
        "format": FORMAT,
        "secrets": sorted(revoked.secrets),
        "serviceAccounts": sorted(revoked.service_accounts),
        "tokens": sorted(revoked.tokens),
        "namespaces": sorted(revoked.namespaces),
        "issuedAfter": revoked.issued_after_unix,
        "closed": revoked.closed,
    }
    text = json.dumps(document, separators=(",", ":")).encode()
    return base64.b64encode(gzip.compress(text, mtime=0)).decode()


def _unpacked(text: str) -> bytes:
    unpacking = zlib.decompressobj(wbits=31)  # gzip
    content = unpacking.decompress(base64.b64decode(text, validate=True), LIMIT_BYTES)
    if not unpacking.eof:
        raise ValueError("size")
    return content


def _names(listed: Any) -> frozenset[str]:
    if not isinstance(listed, list) or len(listed) > LIMIT_NAMES:
        raise ValueError("names")
    if not all(isinstance(name, str) and len(name) <= LIMIT_NAME for name in listed):
        raise ValueError("name")
    return frozenset(listed)


WATCH_SECONDS = 30
CHECK_EVERY_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 1.0
FUTURE_SECONDS = 60.0
"""A heartbeat further ahead of the local clock is not believed."""
CLOSED = RevocationSnapshot(closed=True)


class RevocationListClient:
    """Calls `take` with each list on threads of its own, from `start` to `stop`.

    The list is closed while it can't be known what is revoked: if the last heartbeat is too old.
    `close_after_seconds`: the age of a heartbeat at which the gate closes.
    """

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        take: Callable[[RevocationSnapshot], None],
        clock: Clock,
        *,
        close_after_seconds: float,
    ) -> None:
        self._informer = Informer(
            cluster, CONFIG_MAPS, namespace, self.update, clock, name=GATE_REVOKED,
            watch_seconds=WATCH_SECONDS, longest_pause_seconds=LONGEST_PAUSE_SECONDS,
        )  # fmt: skip
        self._namespace = namespace
        self._take = take
        self._clock = clock
        self._close_after_seconds = close_after_seconds
        self._revoked: RevocationSnapshot | None = None
        self._fresh_until = 0.0
        self._taken: RevocationSnapshot | None = None
        self._list_error = ""
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    @property
    def last_error(self) -> str:
        """What does not work right now, or ""."""
        return self._informer.last_error or self._list_error

    def start(self) -> None:
        """Watch in the background."""
        self._informer.start()
        threading.Thread(target=self._check_age, daemon=True).start()

    def stop(self) -> None:
        """Stop without waiting for the watch; `take` is not called any more."""
        self._informer.stop()
        self._stopped.set()

    def update(self, event: str, found: list[Object]) -> None:
        """Take the ConfigMap, or that there is none."""
        if event == "DELETED" or not found:
            self._list_error = (
                f"there is no ConfigMap {GATE_REVOKED} in {self._namespace}: "
                f"does `{command('gate', 'watch')}` run?"
            )
            return
        try:
            listed = read_revocation_list(found[0])
        except RevocationListError as error:
            self._list_error = str(error)  # the last list stays in force until it is too old
            return
        age = self._clock.unix() - listed.heard_unix
        with self._lock:
            self._revoked = listed.revoked
            if age > -FUTURE_SECONDS:
                left = self._close_after_seconds - max(0.0, age)
                self._fresh_until = self._clock.monotonic() + left
        self._list_error = ""
        self.check()

    def check(self) -> None:
        """Pass on the list as it applies now, if it differs from the last one."""
        with self._lock:
            revoked = self._revoked
            is_fresh = self._clock.monotonic() < self._fresh_until
            now = CLOSED if revoked is None else revoked
            if not is_fresh:
                now = replace(now, closed=True)
            if revoked is None and self._taken is None:
                return  # nothing has been read yet
            if now != self._taken:
                self._taken = now
                self._take(now)

    def _check_age(self) -> None:
        while not self._stopped.wait(CHECK_EVERY_SECONDS):
            self.check()
