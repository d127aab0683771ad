"""The controller of a gate: publishes what its observer sees, while it is the leader.

Several replicas observe, and the one that holds a Lease publishes. All that is published has a
closing time: without a working controller the gate refuses every token after `watch.closeAfter`.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric

from daypass._core.clock import Clock
from daypass._core.errors import DaypassError
from daypass._core.server import Routes, health_routes
from daypass.config.key_set import key_ids
from daypass.gate.metrics import METRIC_PREFIX, Durations, counter, exposition, gauge
from daypass.gate.signing_keys import SigningKeys
from daypass.gate.watch.cluster_publisher import BACKOFF, ClusterPublisher
from daypass.gate.watch.schedule import (
    PACE_SECONDS,
    TICK_SECONDS,
    Number,
    Observation,
    ShardsPlanner,
    Turns,
    Urgency,
    steps_between,
)
from daypass.kube.errors import ApiError, ConflictError
from daypass.rules.published import LIMIT_DENIALS, Published

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
    many shards were `written`."""
    KEYS = "keys"
    """Signing keys are published: `issuer`, `kids`."""
    PROBLEM = "problem"
    """Something does not work, or works again: its `kind`, and `why`, which is empty once it is
    over. `/status` has those that last."""
    STOPPED = "stopped"
    """The watch ended in order."""


LogEvent = Callable[..., None]
"""Called with a WatchEvent and its fields by name."""

CLOCK_SECONDS = 10.0
"""By how much the clock may differ from the API server's."""
LAGS_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Buckets of how long changes wait."""
LIMIT_WHY_CHARACTERS = 2000
"""Of a problem in the log."""


@dataclass(slots=True, kw_only=True)
class Leader:
    """What a controller knows while it leads, from taking over until a failure or another leader.

    `published`: what is in force. It follows each write once that has succeeded; after one that
    failed, nobody knows what is in force, and so the controller takes over again. `keys`: those
    that this leader has published.
    """

    term: int
    published: Published
    state: State = State.LISTING
    keys: SigningKeys | None = None


class Controller:
    """Observes, and publishes while it is the leader: `run`, or `publish_once` after a `sync`.

    One thread takes the steps; others read. `leader`: what it knows as the leader; None while it is
    a follower. `last_error`: why it could not publish, or "". `publications`: how many shards,
    denials and keys it has published; `lags`: how long after it saw their changes.
    """

    def __init__(
        self,
        observer: CredentialObserver,
        publisher: ClusterPublisher,
        clock: Clock,
        log: LogEvent,
        close_after_seconds: float,
    ) -> None:
        self.observer = observer
        self.publisher = publisher
        self.leader: Leader | None = None
        self.last_error = ""
        self.publications = 0
        self.lags = Durations(LAGS_SECONDS)
        self.close_after_seconds = close_after_seconds
        self._seen_at: dict[Number, float] = {}  # changes that are not published
        self._clock = clock
        self._log = log
        self._logged_state: dict[str, object] = {}
        self._logged_problems: dict[str, str] = {}
        self._planner = ShardsPlanner(publisher.shards, close_after_seconds)
        self._turns = Turns()
        self._failures = 0  # in a row
        self._pause_ends = -math.inf

    @property
    def state(self) -> State:
        """What it does."""
        leader = self.leader
        return State.FOLLOWER if leader is None else leader.state

    @property
    def is_leader(self) -> bool:
        """Whether this controller may publish."""
        return self.publisher.lease.is_held

    def problems(self) -> dict[str, str]:
        """Return what does not work right now, by kind."""
        observation, publisher = self.observer.observation(), self.publisher
        listed_at, ahead = observation.listed_at, publisher.clock_ahead_seconds
        found = {
            "listing": self.observer.last_error,
            "publish": self.last_error,
            "lease": publisher.lease.last_error,
            "keys": "" if publisher.keys is None else publisher.keys.last_error,
        }
        is_old = listed_at is not None and self._age(listed_at) >= self.close_after_seconds
        if is_old or self.state is State.CLOSED:
            why = "every token is refused: no listing has succeeded for closeAfter, or there are "
            found["closed"] = f"{why}over {LIMIT_DENIALS} denials"
        if abs(ahead) > CLOCK_SECONDS:
            where = "ahead of" if ahead > 0 else "behind"
            found["clock"] = (
                f"the clock of this machine is over {CLOCK_SECONDS:.0f} s {where} the API server's"
            )
        found["gates"] = "\n".join(
            f"the gate {gate.name} does not have all that is published: {gate.why}"
            for gate in publisher.gateways
            if gate.why
        )
        found |= observation.problems()
        return {kind: text for kind, text in found.items() if text}

    def run(self, stop: threading.Event) -> None:
        """Publish until `stop` is set, and then release the lease."""
        self._log(WatchEvent.STARTED)
        background = (self.observer, self.publisher.keys, self.publisher.lease)
        running = [each for each in background if each is not None]
        for each in running:
            each.start()
        try:
            while not stop.is_set():
                if self.step():
                    stop.wait(PACE_SECONDS)
                else:
                    self.observer.changed.wait(TICK_SECONDS)
        finally:
            for each in running:
                each.stop()
            self._log(WatchEvent.STOPPED)

    def publish_once(self) -> bool:
        """Publish what was listed and the keys; return whether all of it is in force."""
        if self.publisher.keys is not None:
            self.publisher.keys.fetch()
        self.step(is_once=True)
        failed = self.problems().keys() & {"publish", "keys", "gates"}
        return self.state is State.PUBLISHING and not failed

    def step(self, *, is_once: bool = False) -> bool:
        """Do what is to be done now; return whether something was written.

        `is_once`: there is no next step.
        """
        # Before anything is read: what changes from here on causes another step.
        self.observer.changed.clear()
        is_changed = False
        if not self.is_leader:
            self.leader, self.last_error = None, ""
            self._seen_at.clear()
        elif self._clock.monotonic() >= self._pause_ends:
            try:
                is_changed = self._lead(is_once=is_once)
                self.last_error = ""
            except (OSError, DaypassError) as error:
                self._fail(error)
        self._report()
        return is_changed

    def _lead(self, *, is_once: bool) -> bool:
        """Publish as the leader. Returns and raises as `_publish`."""
        leader, is_changed = self._take_over(), False
        if self._is_ready(leader, self.observer.observation(), is_once=is_once):
            is_changed = self._publish(leader, is_once=is_once)
        self._publish_keys(leader)
        self.publisher.check()
        return is_changed

    def _take_over(self) -> Leader:
        """Return what is known as the leader. A follower takes over, and so does a leader if the
        lease has another term: it was lost in between, and another may have written.
        """
        leader = self.leader
        if leader is None or leader.term != self._term():
            published = self.publisher.take_over()
            # After that: a publisher raises the term above all that it finds.
            self.leader = leader = Leader(term=self._term(), published=published)
        return leader

    def _term(self) -> int:
        return self.publisher.lease.term

    def _fail(self, error: OSError | DaypassError) -> None:
        """Take over again, after a pause: what was being written may be in force or not."""
        now = self._clock.monotonic()
        is_again = now < self._pause_ends + BACKOFF.longest_seconds
        self._failures = self._failures + 1 if is_again else 1
        self._pause_ends = now + BACKOFF.seconds(self._failures)
        self.last_error = f"the credentials could not be published: {error}"
        self.leader = None

    def _is_ready(self, leader: Leader, observation: Observation, *, is_once: bool) -> bool:
        """Whether to replace what was in force before.

        A new leader leaves that in force until it has listed everything: what it has not listed yet
        would be refused. It does not wait for ever: what was in force closes.
        """
        if observation.listed_at is None or observation.progress_at is None:
            return False
        is_settled = observation.is_settled(self._clock.monotonic())
        return is_once or is_settled or leader.state is not State.LISTING

    def _publish(self, leader: Leader, *, is_once: bool) -> bool:
        """Publish what has changed, each shard at most once; return whether something was written.

        After a pace, the rest is left for the next round. Others do not wait for a shard that the
        API server refuses: its error is raised in the end.
        """
        began = self._clock.monotonic()
        puts = written = 0
        refused = None
        self._turns.begin()
        while self.is_leader:
            if not is_once and puts and self._age(began) >= PACE_SECONDS:
                break
            # Observed anew for each shard: a round may last, and a removal must not wait for it.
            wanted = self._planner.wanted(
                self.observer.observation(), now=self._clock.monotonic(), now_unix=self._unix()
            )
            # Nobody is there later to renew what is not renewed now.
            lasts = math.inf if is_once else self.close_after_seconds
            steps = steps_between(
                leader.published, wanted, now_unix=self._unix(), close_after_seconds=lasts
            )
            for each, urgency in steps.items():
                if urgency is not Urgency.RENEWAL:
                    self._seen_at.setdefault(each, self._clock.monotonic())
            turn = self._turns.next(steps)
            if turn is None:
                break
            number, urgency = turn
            puts += 1
            try:
                self._put(leader, number, wanted)
                written += urgency is not Urgency.RENEWAL
            except ConflictError:
                raise  # another one has written
            except ApiError as error:
                refused = error
        if written or leader.state is State.LISTING:
            credentials, denials = leader.published.count, len(leader.published.denials)
            self._log(
                WatchEvent.PUBLISHED, credentials=credentials, denials=denials, written=written
            )
        closed = leader.published.closed_shards(self._unix())
        is_closed = len(closed) == self.publisher.shards
        leader.state = State.CLOSED if is_closed else State.PUBLISHING
        if refused is not None:
            raise refused
        return puts > 0

    def _put(self, leader: Leader, number: Number, wanted: Published) -> None:
        self.publisher.publish(number, wanted)
        self.publications += 1
        if (seen_at := self._seen_at.pop(number, None)) is not None:
            self.lags.add(self._age(seen_at))
        before, leader.published = leader.published, leader.published.updated(number, wanted)
        if number is None:
            for key in sorted(wanted.denials.keys - before.denials.keys):
                self._log(WatchEvent.DENIED, key=key)
        else:
            after = wanted.shards[number].credentials
            for each in sorted(before.shards[number].credentials - after):
                self._log(WatchEvent.REMOVED, uid=each.partition("/")[0])

    def _publish_keys(self, leader: Leader) -> None:
        keys = None if self.publisher.keys is None else self.publisher.keys.latest
        if keys is None or keys == leader.keys:
            return
        self.publisher.publish_keys(keys)
        leader.keys = keys
        self.publications += 1
        self._log(WatchEvent.KEYS, issuer=keys.issuer, kids=key_ids(keys.key_set))

    def _report(self) -> None:
        """Log what has changed, also what is over."""
        lease = self.publisher.lease
        state: dict[str, object] = {
            "state": self.state.value,
            "leader": lease.holder,
            "term": lease.term,
        }
        if state != self._logged_state:
            self._logged_state = state
            self._log(WatchEvent.STATE, **state)
        before, self._logged_problems = self._logged_problems, self.problems()
        for kind in sorted(before.keys() | self._logged_problems.keys()):
            why = self._logged_problems.get(kind, "")
            if why != before.get(kind, ""):
                self._log(WatchEvent.PROBLEM, kind=kind, why=why[:LIMIT_WHY_CHARACTERS])

    def _unix(self) -> float:
        """Return the time by which shards close: the API server's, if this clock is far ahead of
        it. Otherwise all that is published would be valid for longer.
        """
        ahead = self.publisher.clock_ahead_seconds
        return self._clock.unix() - (ahead if ahead > CLOCK_SECONDS else 0.0)

    def _age(self, at: float) -> float:
        return self._clock.monotonic() - at


class WatchStatus:
    """Reads a controller from any thread."""

    def __init__(self, controller: Controller, clock: Clock) -> None:
        self._controller = controller
        self._clock = clock

    @property
    def routes(self) -> Routes:
        """`/healthz`: it runs. `/readyz`: it has listed everything, lately. `/status`: whether an
        administrator has to act, and why. `/metrics`.
        """
        health = health_routes(metrics=lambda: exposition(self), why_not_ready=self._why_not_ready)
        return {**health, "/status": self._status}

    def collect(self) -> Iterator[Metric]:
        """Return all metrics for Prometheus."""
        controller, observation = self._controller, self._controller.observer.observation()
        yield _gauge("leader", "1 for the replica that publishes.", controller.is_leader)
        yield _gauge("healthy", "1 if no administrator has to act.", not controller.problems())
        text = "Shards of the set, denials and keys that this replica has published."
        yield counter("watch_publications", text, controller.publications)
        lag = HistogramMetricFamily(
            f"{METRIC_PREFIX}watch_publish_lag_seconds",
            "Time from when this replica saw a change to its publication.",
            buckets=controller.lags.buckets,
            sum_value=controller.lags.seconds,
        )
        yield lag
        keys = controller.publisher.keys
        if keys is not None and keys.fetched_at is not None:
            age = self._clock.monotonic() - keys.fetched_at
            text = "Time since the API server's signing keys were last read."
            yield _gauge("keys_age_seconds", text, age)
        if (leader := controller.leader) is not None:
            published = leader.published
            closes = min(shard.closes_unix for shard in published.shards)
            left = round(closes - self._clock.unix())
            credentials = published.count
            yield _gauge("credentials", "Credentials in the published set.", credentials)
            yield _gauge("denials", "Published denials.", len(published.denials))
            yield _gauge("closes_seconds", "Time until the first shard closes.", left)
            if closes:  # it was published once
                text = "Time since the oldest listing that the published set relies on."
                age = controller.close_after_seconds - left
                yield _gauge("published_age_seconds", text, age)
            text = "Objects that a gateway does not have as they are published, by gate."
            lacking = GaugeMetricFamily(f"{METRIC_PREFIX}watch_lacking", text, labels=["gate"])
            for gate in controller.publisher.gateways:
                lacking.add_metric([gate.name], len(gate.lacking))
            yield lacking
        watched = len(observation.namespaces.keys() - observation.unwatched.keys())
        unwatched, left_out = len(observation.unwatched), sum(observation.left_out.values())
        yield _gauge("namespaces", "Watched identity namespaces.", watched)
        name, text = "namespaces_unwatched", "Identity namespaces that cannot be listed."
        yield _gauge(name, text, unwatched)
        yield _gauge(
            "credentials_left_out", "Credentials beyond the limit of their namespace.", left_out
        )

    def _why_not_ready(self) -> str:
        if not self._controller.observer.observation().is_complete:
            return "not everything has been listed yet"
        problems = self._controller.problems()
        return problems.get("closed") or problems.get("publish") or ""

    def _status(self) -> tuple[int, str]:
        controller, problems = self._controller, self._controller.problems()
        holder = controller.publisher.lease.holder
        document = {"state": controller.state.value, "holder": holder, "problems": problems}
        return 503 if problems else 200, json.dumps(document, indent=2) + "\n"


def _gauge(name: str, text: str, value: float) -> Metric:
    return gauge(f"watch_{name}", text, value)
