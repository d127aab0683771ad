"""What the gate on this machine refuses since it was revoked, and what a person is told of that."""

import threading
from collections.abc import Callable
from pathlib import Path

from daypass._core.clock import Clock
from daypass.gateway.following import Scope
from daypass.gateway.published import OnThisMachine
from daypass.gateway.watch import RevocationWatch
from daypass.kube.cluster import Cluster
from daypass.local.behind import Behind
from daypass.render.envoy.revocation import Revoked
from daypass.spec import Config

STATE_FILE = "revocations.json"
UNSEEN = (
    "what is revoked is not seen by this gate: a token passes until its own end\n"
    "with --kubeconfig FILE, of somebody who may watch Secrets, ServiceAccounts and ConfigMaps, "
    "it is refused within a second"
)
RECORD_LOST = (
    f"there is no record of what was revoked before ({STATE_FILE} in the state folder)\n"
    "with check jwt and both, tokens issued before this start are refused; "
    "clients get new ones by themselves"
)


class Revocations:
    """A watch, if there is somebody to watch as, and its troubles as lines for `say`."""

    def __init__(
        self,
        config: Config,
        behind: Behind,
        take: Callable[[Revoked], None],
        clock: Clock,
        say: Callable[[str], None],
        *,
        longest_lifetime_seconds: int,
        state: Path | None,
        is_first_start: bool,
        close_after_seconds: float,
    ) -> None:
        self._say = say
        self._told = ""
        self._told_closed = ""
        self._watch: RevocationWatch | None = None
        access = behind.access()
        if access is None:
            say(UNSEEN)
            return
        self._watch = RevocationWatch(
            Cluster(access),
            OnThisMachine(
                take,
                None if state is None else state / STATE_FILE,
                is_first_start=is_first_start,
            ),
            clock,
            longest_lifetime_seconds=longest_lifetime_seconds,
            scope=Scope(
                orders_namespace=config.door.namespace, metadata_only=behind.serves_metadata
            ),
            close_after_seconds=close_after_seconds,
        )
        if self._watch.record_is_lost:
            say(RECORD_LOST)

    def first(self) -> Revoked | None:
        """What is refused from the first request on. Waits until the gate may open, 1 s at most."""
        if self._watch is None:
            return None
        threading.Event().wait(min(1.0, self._watch.opens_in_seconds))
        return self._watch.first()

    def start(self) -> None:
        """Follow, beside."""
        if self._watch is not None:
            self._watch.start()

    def look(self) -> None:
        """Tell what is new."""
        if self._watch is None:
            return
        if (trouble := self._watch.trouble) != self._told:
            self._told = trouble
            self._say(
                f"what is revoked is not seen right now\n{trouble}"
                if trouble
                else "what is revoked is seen again"
            )
        closed = ""
        if self._watch.is_closed:
            closed = "the gate refuses every token: it has not heard for too long what is revoked"
        elif self._watch.is_expired:
            closed = "with check jwt and both the gate refuses every token: its list is out of date"
        if closed != self._told_closed:
            self._told_closed = closed
            self._say(closed or "the gate is open again: it knows what is revoked")

    def longest_lifetime(self, seconds: int) -> None:
        """Take another longest lifetime."""
        if self._watch is not None:
            self._watch.longest_lifetime(seconds)

    def stop(self) -> None:
        """End it."""
        if self._watch is not None:
            self._watch.stop()
