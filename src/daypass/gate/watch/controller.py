"""The controller of a gate: publishes what its observer sees, while it is the leader.

In a cluster several replicas observe, and the one that holds a Lease publishes. On one machine
there is one controller, which needs no Lease. All that is published has a closing time: without a
working controller the gate refuses every token after `gate.closeAfter`.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Set
from enum import Enum, StrEnum
from typing import TYPE_CHECKING

from daypass._core.clock import Clock
from daypass._core.errors import DaypassError
from daypass._core.poller import Poller
from daypass.gate.signing_keys import SigningKeys, key_ids
from daypass.gate.watch.observation import Observation
from daypass.gate.watch.plan import PartsPlanner, PlannedWrite, Urgency, denials_of, steps_between
from daypass.gate.watch.publisher import Publisher
from daypass.kube.errors import ApiError, ConflictError
from daypass.kube.lease import Lease
from daypass.published.denials import Denials
from daypass.published.snapshot import Published

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
    """It leads, and no listing has succeeded for so long that every token is refused."""


class WatchEvent(StrEnum):
    """Every event that is ever logged."""

    STARTED = "started"
    """The watch runs."""
    LEADING = "leading"
    """This replica publishes from now on. `term`: how often the leader has changed."""
    FOLLOWING = "following"
    """Another replica publishes: `leader`."""
    REMOVED = "removed"
    """The tokens of a credential are refused from now on: `uid`."""
    DENIED = "denied"
    """An administrator's denial is in force. `key`: its kind and name."""
    PUBLISHED = "published"
    """How many `credentials` and `denials` are in force, after a change or of a new leader, and how
    many parts were `written`."""
    NOT_PUBLISHED = "not-published"
    """A publication failed, and is repeated: `why`."""
    CLOSED = "closed"
    """Every token is refused: no listing has succeeded for `gate.closeAfter`."""
    OPENED = "opened"
    """They are accepted again."""
    KEYS = "keys"
    """Signing keys are published: `issuer`, `kids`."""
    NAMESPACE_WATCHED = "namespace-watched"
    """Credentials of a namespace are accepted from now on: `namespace`."""
    NAMESPACE_UNWATCHED = "namespace-unwatched"
    """They are no longer: `namespace`, `why`."""
    LEFT_OUT = "left-out"
    """A namespace has more credentials than `gate.credentialsPerNamespace`: `namespace`, and how
    many of the newest are refused: `credentials`."""
    RESTORED = "restored"
    """Published objects had been changed or deleted, and were written again: `names`."""
    TROUBLE = "trouble"
    """Something does not work: `why`. An administrator may have to act."""
    TROUBLE_OVER = "trouble-over"
    """All of it works again."""
    STOPPED = "stopped"
    """The watch ended in order."""


LogEvent = Callable[..., None]
"""Called with a WatchEvent and its fields by name."""
WarnNamespace = Callable[[str, int], None]
"""Called with a namespace and the number of its credentials that are left out. It may raise
DaypassError."""

TICK_SECONDS = 0.5
SETTLE_SECONDS = 15.0
"""How long a new leader waits for a further listing."""
RETRY_SECONDS = 10.0
"""Between two attempts, at most."""
KEYS_EVERY_SECONDS = 10.0
CLOCK_SECONDS = 10.0
"""By how much the clock may differ from the API server's."""
LEFT_OUT_EVERY_SECONDS = 600.0
"""How often a namespace is reported: each time is an Event in it, which a tenant can cause."""
LOGGED_AT_MOST = 1000
"""Entries of one publication, in the log."""


class Controller:
    """Observes, and publishes while it is the leader: `run`, or `publish_once` after a `sync`.

    `lease`: None if there is no other controller. `keys`: None if the publisher needs none.
    `clock_ahead`: returns how far this clock is ahead of the API server's. `warn`: reports in a
    namespace what is left out. `published`: what is in force, as far as the leader knows.
    `last_error`: why it could not publish, or "".
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
        *,
        clock_ahead: Callable[[], float] = lambda: 0.0,
        warn: WarnNamespace = lambda namespace, count: None,
    ) -> None:
        self.observer = observer
        self.lease = lease
        self.keys = keys
        self.state = State.FOLLOWER
        self.errors = 0
        self.last_error = ""
        self.published: Published | None = None
        self.listed_at: float | None = None
        self.changed_at: float | None = None
        self.keys_at: float | None = None
        self._publisher = publisher
        self._clock = clock
        self._log = log
        self.close_after_seconds = close_after_seconds
        self._clock_ahead = clock_ahead
        self._warn = warn
        self._planner = PartsPlanner(publisher.parts, close_after_seconds)
        self._term = 0
        self._retry_seconds = 1.0
        self._led_at = self._retry_at = self._round_at = -math.inf
        self._put_at: dict[int | None, float] = {}
        self._renewed_at = self._renewals_at = -math.inf
        self._published_keys: SigningKeys | None = None
        self._reports = _Reports(log)

    @property
    def is_leader(self) -> bool:
        """Whether this controller may publish."""
        return self.lease is None or self.lease.is_held

    @property
    def other_leader(self) -> str:
        """The name of the controller that publishes instead of this one, or ""."""
        return "" if self.is_leader or self.lease is None else self.lease.holder

    def problems(self) -> dict[str, str]:
        """Return what does not work right now, by kind."""
        found = {
            "trouble": self.observer.last_error,
            "publish": self.last_error,
            "lease": "" if self.lease is None else self.lease.last_error,
            "keys": "" if self.keys is None else self.keys.last_error,
            "clock": self._clock_problem(),
        }
        return {kind: text for kind, text in found.items() if text}

    def run(self, stop: threading.Event) -> None:
        """Publish until `stop` is set, and then release the lease."""
        self._log(WatchEvent.STARTED)
        self.observer.start()
        if self.keys is not None:
            self.keys.start()
        if self.lease is not None:
            self.lease.start()
        try:
            while not stop.is_set():
                if not self.step():
                    self.observer.changed.wait(TICK_SECONDS)
                paced_at = self._round_at + self._publisher.pace_seconds
                stop.wait(max(0.0, paced_at - self._clock.monotonic()))
        finally:
            self.observer.stop()
            if self.keys is not None:
                self.keys.stop()
            if self.lease is not None:
                self.lease.stop()
            self._log(WatchEvent.STOPPED)

    def publish_once(self) -> bool:
        """Publish what was listed and the keys; return whether all of it is in force."""
        if self.keys is not None:
            self.keys.fetch()
        self.step(is_once=True)
        return self.state is State.PUBLISHING and self.last_error == ""

    def step(self, *, is_once: bool = False) -> bool:
        """Do what is to be done now; return whether something is left for the next round.

        `is_once`: there is no next one.
        """
        self.observer.changed.clear()
        observation = self.observer.observation()
        self.listed_at = observation.listed_at
        is_more = False
        if not self.is_leader:
            self._follow()
        elif self.state is not State.FOLLOWER or self._clock.monotonic() >= self._retry_at:
            try:
                self._lead()
                if self._is_ready(observation, is_once=is_once):
                    is_more = self._publish(is_once=is_once)
                self._publish_keys()
                if restored := self._publisher.restore():
                    self._log(WatchEvent.RESTORED, names=restored)
                self.last_error, self._retry_seconds = "", 1.0
            except (OSError, DaypassError) as error:
                self._fail(error)
        self._report(observation)
        return is_more

    def _lead(self) -> None:
        """Take over, if another has written since, or the lease was lost in between."""
        term = 0 if self.lease is None else self.lease.term
        if self.state is not State.FOLLOWER and term == self._term:
            return
        self.state = State.FOLLOWER
        self._published_keys = None
        self.published = self._publisher.take_over()
        self._term = 0 if self.lease is None else self.lease.term
        self._led_at = self._clock.monotonic()
        self.state = State.LISTING
        self._log(WatchEvent.LEADING, term=self._term)

    def _follow(self) -> None:
        if self.state is not State.FOLLOWER:
            self._log(WatchEvent.FOLLOWING, leader=self.other_leader)
        self.state = State.FOLLOWER
        self.published = None
        self.last_error = ""

    def _fail(self, error: OSError | DaypassError) -> None:
        """Take over again: what was being written may be in force or not."""
        self.errors += 1
        if not self.last_error:
            self._log(WatchEvent.NOT_PUBLISHED, why=str(error))
        self.last_error = f"the credentials could not be published: {error}"
        self.state = State.FOLLOWER
        self.published = None
        self._retry_at = self._clock.monotonic() + self._retry_seconds
        self._retry_seconds = min(2 * self._retry_seconds, RETRY_SECONDS)

    def _is_ready(self, observation: Observation, *, is_once: bool) -> bool:
        """Whether to replace what was in force before."""
        if observation.listed_at is None:
            return False
        if self.state is not State.LISTING or is_once:
            return True
        since = max(self._led_at, observation.progress_at or self._led_at)
        waited = self._clock.monotonic() - since
        return observation.is_complete or waited >= SETTLE_SECONDS

    def _publish(self, *, is_once: bool) -> bool:
        """Publish what has changed, each part at most once. After a pace, additions are left for
        the next round; removals, and what is seen in the meantime, are not. Others do not wait for
        a part that the API server refuses.
        """
        began = self._clock.monotonic()
        written, is_more = 0, False
        done: set[int | None] = set()
        refused: ApiError | None = None
        while self.is_leader:
            wanted = self._wanted()
            found = self._steps(wanted, is_once=is_once)
            steps = [step for step in found if step.number not in done]
            if not steps:
                break
            # Of equally urgent ones the one that waits longest: others may change all the time.
            step = min(steps, key=lambda s: (s.urgency, self._put_at.get(s.number, -math.inf)))
            now = self._clock.monotonic()
            if not is_once and step.urgency is not Urgency.REMOVAL:
                if done and now >= began + self._publisher.pace_seconds:
                    is_more = step.urgency is Urgency.ADDITION
                    break
                if step.urgency is Urgency.RENEWAL and not self._may_renew(began):
                    break
            self._put_at[step.number] = now
            done.add(step.number)
            try:
                self._put(step, wanted)
                written += step.urgency is not Urgency.RENEWAL
            except ConflictError:
                raise
            except ApiError as error:
                refused = error
        if written:
            self._round_at = self.changed_at = self._clock.monotonic()
        if self.published is not None and (written or self.state is State.LISTING):
            self._reports.published(self.published, written)
        self._set_state()
        if refused is not None:
            raise refused
        return is_more

    def _wanted(self) -> Published:
        observation = self.observer.observation()
        now, now_unix = self._clock.monotonic(), self._unix()
        denials = denials_of(
            observation, now=now, now_unix=now_unix, close_after_seconds=self.close_after_seconds
        )
        parts = self._planner.parts_of(observation, now=now, now_unix=now_unix)
        return Published(parts=parts, denials=denials)

    def _steps(self, wanted: Published, *, is_once: bool) -> list[PlannedWrite]:
        if self.published is None:
            return []
        # Nobody is there later to renew what is not renewed now.
        lasts = math.inf if is_once else self.close_after_seconds
        now_unix = self._unix()
        return steps_between(self.published, wanted, now_unix=now_unix, close_after_seconds=lasts)

    def _may_renew(self, now: float) -> bool:
        """Spread renewals over half of the time that is left for them, in rounds with a pause."""
        interval = self.close_after_seconds / 6 / (self._publisher.parts + 1)
        at = max(self._renewed_at + interval, now - 2 * TICK_SECONDS)
        pauses_until = self._renewals_at + self._publisher.pace_seconds
        if now < at or self._renewals_at < now < pauses_until:
            return False
        self._renewed_at, self._renewals_at = at, now
        return True

    def _put(self, step: PlannedWrite, wanted: Published) -> None:
        published = self.published
        if published is None:
            return
        if step.number is None:
            self._publisher.publish_denials(wanted.denials)
            self._reports.denied(published.denials, wanted.denials)
            self.published = published.with_denials(wanted.denials)
            return
        part = wanted.parts[step.number]
        self._publisher.publish_part(step.number, part)
        self._reports.removed(published.parts[step.number].uids - part.uids)
        self.published = published.with_part(step.number, part)

    def _set_state(self) -> None:
        """Publishing, or closed if all that is in force has closed."""
        if self.published is None:
            return
        parts = self.published.parts
        is_closed = all(part.closes_unix <= self._unix() for part in parts)
        if is_closed and self.state is State.PUBLISHING:
            self._log(WatchEvent.CLOSED)
        if not is_closed and self.state is State.CLOSED:
            self._log(WatchEvent.OPENED)
        self.state = State.CLOSED if is_closed else State.PUBLISHING

    def _publish_keys(self) -> None:
        keys = None if self.keys is None else self.keys.latest
        if keys is None or keys == self._published_keys:
            return
        self._publisher.publish_keys(keys)
        self._published_keys = keys
        self.keys_at = self._clock.monotonic()
        self._log(WatchEvent.KEYS, issuer=keys.issuer, kids=key_ids(keys.key_set))

    def _report(self, observation: Observation) -> None:
        problems = self.problems()
        problems.pop("publish", None)  # an event of its own
        self._reports.trouble("\n".join(problems.values()))
        self._reports.namespaces(observation)
        if not self.is_leader:
            return
        for namespace in self._reports.left_out(observation, self._clock.monotonic()):
            try:
                self._warn(namespace, observation.left_out[namespace])
            except DaypassError as error:
                self._log(WatchEvent.TROUBLE, why=str(error)[:2000])

    def _unix(self) -> float:
        """Return the time by which parts close: the API server's, if this clock is far ahead of it.
        Otherwise all that is published would be valid for longer.
        """
        ahead = self._clock_ahead()
        return self._clock.unix() - (ahead if ahead > CLOCK_SECONDS else 0.0)

    def _clock_problem(self) -> str:
        ahead = self._clock_ahead()
        if abs(ahead) <= CLOCK_SECONDS:
            return ""
        where = "ahead of" if ahead > 0 else "behind"
        return f"the clock of this machine is {abs(ahead):.0f} s {where} the API server's"


class _Reports:
    """Logs what has changed since it was logged last."""

    def __init__(self, log: LogEvent) -> None:
        self._log = log
        self._logged = 0
        self._trouble = ""
        self._watched: frozenset[str] = frozenset()
        self._left_out: dict[str, float] = {}

    def removed(self, uids: Set[str]) -> None:
        """Log what is no longer accepted, LOGGED_AT_MOST of a round."""
        shown = sorted(uids)[: LOGGED_AT_MOST - self._logged]
        self._logged += len(shown)
        for uid in shown:
            self._log(WatchEvent.REMOVED, uid=uid)

    def denied(self, before: Denials, after: Denials) -> None:
        """Log the denials that are new."""
        for key in sorted(after.keys - before.keys):
            self._log(WatchEvent.DENIED, key=key)

    def published(self, now: Published, written: int) -> None:
        """Log how much is in force after a round."""
        credentials, denials = now.count, len(now.denials)
        self._log(WatchEvent.PUBLISHED, credentials=credentials, denials=denials, written=written)
        self._logged = 0

    def trouble(self, problems: str) -> None:
        """Log other problems, or that there are none any more."""
        if problems == self._trouble:
            return
        event = WatchEvent.TROUBLE if problems else WatchEvent.TROUBLE_OVER
        self._log(event, **({"why": problems[:2000]} if problems else {}))
        self._trouble = problems

    def namespaces(self, observation: Observation) -> None:
        """Log which namespaces are watched from now on, and which no longer."""
        watched = frozenset(observation.namespaces) - observation.unwatched.keys()
        for name in sorted(watched - self._watched):
            self._log(WatchEvent.NAMESPACE_WATCHED, namespace=name)
        for name in sorted(self._watched - watched):
            why = observation.unwatched.get(name, "it is gone, or has lost its label")
            self._log(WatchEvent.NAMESPACE_UNWATCHED, namespace=name, why=why[:500])
        self._watched = watched

    def left_out(self, observation: Observation, now: float) -> list[str]:
        """Log the namespaces of which credentials are left out, now and then, and return them."""
        since = now - LEFT_OUT_EVERY_SECONDS
        self._left_out = {name: at for name, at in self._left_out.items() if at > since}
        found = sorted(observation.left_out.keys() - self._left_out.keys())
        for name in found:
            self._log(WatchEvent.LEFT_OUT, namespace=name, credentials=observation.left_out[name])
            self._left_out[name] = now
        return found
