"""The authorizer of a gate on this machine: an event loop on a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path

import uvloop

from daypass._core.clock import Clock
from daypass.gateway.review.service import Listen, ReviewSettings, Service
from daypass.kube.access import Access
from daypass.render.envoy.revocation import Revoked

START_SECONDS = 30.0
STOP_SECONDS = 10.0
DRAIN_SECONDS = 2.0


class LocalAuthorizer:
    """Listens at the Unix socket `path` from the start on, until `stop`.

    `write`: takes audit events, a line each, on the thread. Raises KubeconfigError, ListenError.
    """

    def __init__(
        self,
        settings: ReviewSettings,
        access: Access,
        path: Path,
        clock: Clock,
        write: Callable[[str], None],
    ) -> None:
        self.settings = settings
        self.path = path
        self._loop = uvloop.new_event_loop()
        self._service = Service(settings, access, clock, write, needs_list=False)
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        try:
            self._run(self._start(), START_SECONDS)
        except BaseException:
            self.stop()
            raise

    @property
    def is_alive(self) -> bool:
        """Whether it does its work and can be reached; otherwise only a new one helps."""
        return (
            self._thread.is_alive()
            and self._service.is_alive()
            # Without the folder a new one could not be reached either.
            and (self.path.exists() or not self.path.parent.exists())
        )

    @property
    def trouble(self) -> str:
        """Why the API server cannot be asked right now, or ""."""
        return self._service.reviewing.trouble

    def take_revoked(self, revoked: Revoked) -> None:
        """Refuse from now on what is on this list. From any thread."""
        with suppress(RuntimeError):  # it has ended
            self._loop.call_soon_threadsafe(self._service.take_revoked, revoked)

    def retire(self) -> None:
        """End it after what is under way, beside."""
        threading.Thread(target=self._retire, daemon=True).start()

    def stop(self) -> None:
        """End it."""
        if self._loop.is_closed():
            return
        if self._thread.is_alive():
            with suppress(TimeoutError):
                self._run(self._service.stop(), STOP_SECONDS)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(STOP_SECONDS)
        else:
            with suppress(TimeoutError):
                work = asyncio.wait_for(self._stop_dead(), STOP_SECONDS)
                self._loop.run_until_complete(work)
        if not self._thread.is_alive():
            self._loop.close()
        self.path.unlink(missing_ok=True)

    def _retire(self) -> None:
        with suppress(TimeoutError, RuntimeError):
            self._run(self._service.drain(DRAIN_SECONDS), STOP_SECONDS)
        self.stop()

    async def _stop_dead(self) -> None:
        """Close the sockets of a thread that died, where questions have waited since."""
        await self._service.stop()
        await self._service.stop()  # also for what had waited, and began meanwhile
        await asyncio.sleep(0)

    async def _start(self) -> None:
        await self._service.start(Listen(path=str(self.path)))
        self.path.chmod(0o600)

    def _run(self, work: Coroutine[None, None, None], seconds: float) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(seconds)
