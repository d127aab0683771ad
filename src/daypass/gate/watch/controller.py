"""The controller of a gate: publishes what its observer sees, while it is the leader.

In a cluster several replicas observe, and the one that holds a Lease publishes. On one machine
there is one controller, which needs no Lease. All that is published has a closing time: without a
working controller the gate refuses every token after `gate.closeAfter`.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable
from enum import Enum, StrEnum
from typing import TYPE_CHECKING

from daypass._core.backoff import Backoff
from daypass._core.clock import Clock
from daypass._core.errors import DaypassError
from daypass._core.poller import Poller
from daypass.config.key_set import key_ids
from daypass.gate.signing_keys import SigningKeys
from daypass.gate.watch.observation import Observation
from daypass.gate.watch.publisher import Publisher
from daypass.gate.watch.schedule import PartsPlanner, Urgency, steps_between
from daypass.kube.errors import ApiError, ConflictError
from daypass.kube.lease import Lease
from daypass.rules.denials import LIMIT
from daypass.rules.published import Published

if TYPE_CHECKING:
    from daypass.gate.watch.observer import CredentialObserver


class State(Enum):
    """What a controller does."""

    FOLLOWER = "follower"
    """Another one publishes, or none."""
    LISTING = "listing"
    """It leads, and leaves in force what was published until it has listed everything."""
    PUBLISHING = "publishing"
    """It publishes what it sees."""
    CLOSED = "closed"
    """It leads, and every token is refused: no listing has succeeded for too long."""


class WatchEvent(StrEnum):
    """Every event that is ever logged."""

    STARTED = "started"
    """The watch runs."""
    STATE = "state"
    """What this replica does from now on: `state` (follower, listing, publishing, closed). `leader`
    is the one that publishes, `term` how often that has changed."""
    REMOVED = "removed"
    """The tokens of a credential are refused from now on: `uid`."""
    DENIED = "denied"
    """An administrator's denial is in force: its `key`, such as `jti.JTI`."""
    PUBLISHED = "published"
    """How many `credentials` and `denials` are in force, after a change or of a new leader, and how
    many parts were `written`."""
    KEYS = "keys"
    """Signing keys are published: `issuer`, `kids`."""
    PROBLEM = "problem"
    """Something does not work, or works again: its `kind`, and `why`, which is empty once it is
    over. `/status` has those that last."""
    STOPPED = "stopped"
    """The watch ended in order."""


LogEvent = Callable[..., None]
"""Called with a WatchEvent and its fields by name."""

TICK_SECONDS = 0.5
SETTLE_SECONDS = 15.0
"""How long a new leader waits for a further listing."""
BACKOFF = Backoff(first_seconds=1.0, longest_seconds=10.0)
"""Between two attempts."""
CLOCK_SECONDS = 10.0
"""By how much the clock may differ from the API server's."""


class Controller:
    """Observes, and publishes while it is the leader: `run`, or `publish_once` after a `sync`.

    `lease`: None if there is no other controller. `keys`: None if the publisher needs none.
    `published`: what is in force, as far as a leader knows. `last_error`: why it could not publish,
    or "".
    """

    def __init__(
        self,
        observer: CredentialObserver,
        publisher: Publisher,
        lease: Lease | None,
        keys: Poller[SigningKeys] | None,
        clock: Clock,
        log: LogEvent,
        close_after_seconds: float,
    ) -> None:
        self.observer = observer
        self.lease = lease
        self.keys = keys
        self.state = State.FOLLOWER
        self.published = Published.closed(publisher.parts)
        self.last_error = ""
        self._publisher = publisher
        self._clock = clock
        self._log = log
        self._close_after_seconds = close_after_seconds
        self._planner = PartsPlanner(publisher.parts, close_after_seconds)
        self._term = 0
        self._published_keys: SigningKeys | None = None
        self._failures, self._retry_at = 0, -math.inf
        self._round, self._round_of = 0, dict[int | None, int]()
        self._renewed_at = -math.inf
        self._logged_state: dict[str, object] = {}
        self._logged_problems: dict[str, str] = {}
        self._warned: frozenset[str] = frozenset()

    @property
    def is_leader(self) -> bool:
        """Whether this controller may publish."""
        return self.lease is None or self.lease.is_held

    def problems(self) -> dict[str, str]:
        """Return what does not work right now, by kind."""
        observation = self.observer.observation()
        listed_at, ahead = observation.listed_at, self._publisher.clock_ahead_seconds
        found = {
            "trouble": self.observer.last_error,
            "publish": self.last_error,
            "lease": "" if self.lease is None else self.lease.last_error,
            "keys": "" if self.keys is None else self.keys.last_error,
        }
        is_old = listed_at is not None and self._age(listed_at) >= self._close_after_seconds
        if is_old or self.state is State.CLOSED:
            why = f"no listing has succeeded for closeAfter, or there are over {LIMIT} denials"
            found["closed"] = f"every token is refused: {why}"
        if abs(ahead) > CLOCK_SECONDS:
            where = "ahead of" if ahead > 0 else "behind"
            found["clock"] = (
                f"the clock of this machine is over {CLOCK_SECONDS:.0f} s {where} the API server's"
            )
        if unwatched := ", ".join(sorted(observation.unwatched)):
            why = next(iter(observation.unwatched.values()))
            found["namespaces"] = f"tokens of these namespaces are refused: {unwatched}\n{why}"
        if left_out := ", ".join(sorted(observation.left_out)):
            found["leftOut"] = f"the newest credentials of these namespaces are refused: {left_out}"
        return {kind: text for kind, text in found.items() if text}

    def run(self, stop: threading.Event) -> None:
        """Publish until `stop` is set, and then release the lease."""
        self._log(WatchEvent.STARTED)
        background = [each for each in (self.observer, self.keys, self.lease) if each is not None]
        for each in background:
            each.start()
        try:
            while not stop.is_set():
                if self.step():
                    stop.wait(self._publisher.pace_seconds)
                else:
                    self.observer.changed.wait(TICK_SECONDS)
        finally:
            for each in background:
                each.stop()
            self._log(WatchEvent.STOPPED)

    def publish_once(self) -> bool:
        """Publish what was listed and the keys; return whether all of it is in force."""
        if self.keys is not None:
            self.keys.fetch()
        self.step(is_once=True)
        return self.state is State.PUBLISHING and not self.problems().keys() & {"publish", "keys"}

    def step(self, *, is_once: bool = False) -> bool:
        """Do what is to be done now; return whether more or less passes since then.

        `is_once`: there is no next step.
        """
        self.observer.changed.clear()
        is_changed = False
        if not self.is_leader:
            self.state, self.last_error = State.FOLLOWER, ""
        elif self._clock.monotonic() >= self._retry_at:
            try:
                self._lead()
                if self._is_ready(self.observer.observation(), is_once=is_once):
                    is_changed = self._publish(is_once=is_once)
                self._publish_keys()
                self._publisher.check()
                self.last_error = ""
            except (OSError, DaypassError) as error:
                self._fail(error)
        self._report()
        return is_changed

    def _lead(self) -> None:
        """Take over, if another has written since, or the lease was lost in between."""
        term = 0 if self.lease is None else self.lease.term
        if self.state is State.FOLLOWER or term != self._term:
            self._published_keys = None
            self.published = self._publisher.take_over()
            self._term = 0 if self.lease is None else self.lease.term
            self.state = State.LISTING

    def _fail(self, error: OSError | DaypassError) -> None:
        """Take over again: what was being written may be in force or not. After a failure that
        comes soon after another one, it takes longer until then.
        """
        now = self._clock.monotonic()
        is_again = now < self._retry_at + BACKOFF.longest_seconds
        self._failures = self._failures + 1 if is_again else 1
        self._retry_at = now + BACKOFF.seconds(self._failures)
        self.last_error = f"the credentials could not be published: {error}"
        self.state = State.FOLLOWER

    def _is_ready(self, observation: Observation, *, is_once: bool) -> bool:
        """Whether to replace what was in force before."""
        if observation.listed_at is None or observation.progress_at is None:
            return False
        return (
            is_once
            or self.state is not State.LISTING
            or observation.is_complete
            or self._age(observation.progress_at) >= SETTLE_SECONDS
        )

    def _publish(self, *, is_once: bool) -> bool:
        """Publish what has changed, each part at most once; return whether something has. After a
        pace, the rest is left for the next round. Others do not wait for a part that the API server
        refuses, nor for a namespace in which much changes.
        """
        began = self._clock.monotonic()
        renewals = self._renewals(began)
        written, refused, served = 0, None, Counter[object]()
        self._round += 1
        while self.is_leader:
            wanted = self._wanted()
            # Nobody is there later to renew what is not renewed now.
            lasts = math.inf if is_once else self._close_after_seconds
            found = steps_between(
                self.published, wanted, now_unix=self._unix(), close_after_seconds=lasts
            )
            steps = {n: found[n] for n in found if self._round_of.get(n) != self._round}
            if not steps:
                break
            number = min(steps, key=lambda n: self._turn(n, steps[n], served))
            is_renewal = steps[number] is Urgency.RENEWAL
            if not is_once:
                is_late = self._age(began) >= self._publisher.pace_seconds
                if is_late and (written or refused):
                    break
                if is_renewal and not renewals:
                    break
            self._round_of[number] = self._round
            served.update(self._planner.waiting.pop(number, ()))
            if is_renewal:
                renewals, self._renewed_at = renewals - 1, began
            try:
                self._put(number, wanted)
                written += not is_renewal
            except ConflictError:
                raise
            except ApiError as error:
                refused = error
        if written or self.state is State.LISTING:
            credentials, denials = self.published.count, len(self.published.denials)
            self._log(
                WatchEvent.PUBLISHED, credentials=credentials, denials=denials, written=written
            )
        closed = self.published.closed_parts(self._unix())
        is_closed = len(closed) == self._publisher.parts
        self.state = State.CLOSED if is_closed else State.PUBLISHING
        if refused is not None:
            raise refused
        return written > 0

    def _turn(
        self, number: int | None, urgency: Urgency, served: Counter[object]
    ) -> tuple[bool, int, Urgency, int]:
        """Return what orders the steps of a round. Namespaces take turns, `served` says how often
        each had one; of a namespace, the most urgent comes first, and then what waits longest.
        """
        turns = min((served[each] for each in self._planner.waiting.get(number, ())), default=0)
        return urgency is Urgency.RENEWAL, turns, urgency, self._round_of.get(number, 0)

    def _wanted(self) -> Published:
        observation = self.observer.observation()
        now, now_unix = self._clock.monotonic(), self._unix()
        return self._planner.wanted(observation, now=now, now_unix=now_unix)

    def _renewals(self, now: float) -> int:
        """Return how many may be renewed in a round. All of them together take half of the time
        that is left for them, so that none delays a removal.
        """
        interval = self._close_after_seconds / 6 / (self._publisher.parts + 1)
        return int(min(now - self._renewed_at, max(interval, 2 * TICK_SECONDS)) / interval)

    def _put(self, number: int | None, wanted: Published) -> None:
        self._publisher.publish(number, wanted)
        before, self.published = self.published, self.published.updated(number, wanted)
        if number is None:
            for key in sorted(wanted.denials.keys - before.denials.keys):
                self._log(WatchEvent.DENIED, key=key)
        else:
            for uid in sorted(before.parts[number].uids - wanted.parts[number].uids):
                self._log(WatchEvent.REMOVED, uid=uid)

    def _publish_keys(self) -> None:
        keys = None if self.keys is None else self.keys.latest
        if keys is None or keys == self._published_keys:
            return
        self._publisher.publish_keys(keys)
        self._published_keys = keys
        self._log(WatchEvent.KEYS, issuer=keys.issuer, kids=key_ids(keys.key_set))

    def _report(self) -> None:
        """Log what differs from what was logged last."""
        state: dict[str, object] = {"state": self.state.value}
        if self.lease is not None:
            state |= {"leader": self.lease.holder, "term": self.lease.term}
        if state != self._logged_state:
            self._logged_state = state
            self._log(WatchEvent.STATE, **state)
        before, self._logged_problems = self._logged_problems, self.problems()
        for kind in sorted(before.keys() | self._logged_problems.keys()):
            why = self._logged_problems.get(kind, "")
            if why != before.get(kind, ""):
                self._log(WatchEvent.PROBLEM, kind=kind, why=why[:2000])
        if self.is_leader:
            left_out = frozenset(self.observer.observation().left_out)
            for namespace in sorted(left_out - self._warned):
                try:
                    self._publisher.warn(namespace)
                except DaypassError as error:
                    self._log(WatchEvent.PROBLEM, kind="events", why=str(error)[:2000])
            self._warned = left_out

    def _unix(self) -> float:
        """Return the time by which parts close: the API server's, if this clock is far ahead of it.
        Otherwise all that is published would be valid for longer.
        """
        ahead = self._publisher.clock_ahead_seconds
        return self._clock.unix() - (ahead if ahead > CLOCK_SECONDS else 0.0)

    def _age(self, at: float) -> float:
        return self._clock.monotonic() - at
