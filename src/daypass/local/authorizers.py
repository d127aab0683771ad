"""Which authorizer runs for the gate on this machine, also while its settings change."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from daypass._core.clock import Clock
from daypass._core.errors import DaypassError, UsageError
from daypass.local.behind import Behind
from daypass.local.settings import longest_lifetime_seconds
from daypass.render.envoy.revocation import Revoked
from daypass.spec import Config, Gate

if TYPE_CHECKING:
    from daypass.gateway.review.service import ReviewSettings
    from daypass.local.authorizer import LocalAuthorizer

AUDIT_FILE = "gate-audit.log"
LIMIT_AUDIT_BYTES = 16 * 1024 * 1024


class Authorizers:
    """Starts one where the check asks for it: `socket_for`, then `keep_new` or `keep_old`.

    Audit events go to `folder`/AUDIT_FILE.
    """

    def __init__(self, behind: Behind, folder: Path, clock: Clock) -> None:
        self._behind = behind
        self._folder = folder
        self._clock = clock
        self._current: LocalAuthorizer | None = None
        self._next: LocalAuthorizer | None = None
        self._revoked: Revoked | None = None
        self._lock = threading.Lock()
        self._count = 0
        self._told = ""

    def socket_for(self, config: Config, gate: Gate, issuer: str) -> Path | None:
        """Where the authorizer listens for this gate; None where its check asks nobody.

        Raises UsageError where it is not known whom to ask as, KubeconfigError, ListenError.
        """
        if gate.check == "jwt":
            self._next = None
            return None
        from daypass.gateway.review.service import ReviewSettings

        settings = ReviewSettings.of(
            config, gate, issuer=issuer, longest_lifetime_seconds=longest_lifetime_seconds(config)
        )
        if self._current is not None and self._current.settings == settings:
            self._next = self._current
            return self._next.path
        self._count += 1
        path = self._folder / f"authorizer-{self._count}.sock"
        self._start(settings, path)
        return path

    def keep_new(self) -> None:
        """Envoy asks the one that `socket_for` told."""
        with self._lock:
            old, self._current = self._current, self._next
        if old is not None and old is not self._current:
            old.retire()

    def keep_old(self) -> None:
        """Envoy goes on with the one before."""
        with self._lock:
            new, self._next = self._next, self._current
        if new is not None and new is not self._current:
            new.stop()

    def take_revoked(self, revoked: Revoked | None) -> None:
        """Refuse from now on what is on this list. From any thread."""
        if revoked is None:
            return
        with self._lock:
            self._revoked = revoked
            for each in self._running():
                each.take_revoked(revoked)

    def look(self) -> str:
        """Start a new one where the current one has ended; return what there is to report."""
        trouble = "" if self._current is None else self._current.trouble
        if self._current is not None and not self._current.is_alive:
            self._current.stop()
            try:
                self._start(self._current.settings, self._current.path, is_current=True)
            except (OSError, DaypassError) as error:
                trouble = f"the authorizer has ended, and cannot be started again: {error}"
            else:
                self._told = ""
                return "the authorizer had ended; a new one is up"
        if trouble == self._told:
            return ""
        self._told = trouble
        return trouble or "the API server answers the gate again"

    def stop(self) -> None:
        """End whatever runs."""
        for each in self._running():
            each.stop()

    def _start(self, settings: ReviewSettings, path: Path, *, is_current: bool = False) -> None:
        from daypass.local.authorizer import LocalAuthorizer

        access = self._behind.access()
        if access is None:
            raise UsageError(
                "gate.check review and both ask the API server, and nobody is named to ask as",
                "--kubeconfig FILE, of somebody who may create tokenreviews "
                "(ClusterRole system:auth-delegator)",
            )
        started = LocalAuthorizer(settings, access, path, self._clock, self._write)
        with self._lock:
            self._next = started
            if is_current:
                self._current = started
            if self._revoked is not None:
                started.take_revoked(self._revoked)

    def _running(self) -> set[LocalAuthorizer]:
        return {each for each in (self._current, self._next) if each is not None}

    def _write(self, line: str) -> None:
        file = self._folder / AUDIT_FILE
        descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line.encode())
            if os.fstat(descriptor).st_size > LIMIT_AUDIT_BYTES:
                file.replace(file.with_suffix(".old"))
        finally:
            os.close(descriptor)
