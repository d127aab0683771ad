"""Publishing a revocation by hand, beside a watch or without one.

Whoever deletes something knows what has to be refused, and need not wait for a watch to see it. It
goes the same way: recorded first, and then put in force with all that was in force before.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from daypass.gateway.denials import Denials, Kind
from daypass.gateway.native import publisher_of
from daypass.gateway.orders import orders_in
from daypass.gateway.published import RecordError
from daypass.gateway.record import ClusterRecord, Recorded
from daypass.gateway.revoked_list import RevokedListError, read_revoked
from daypass.kube.cluster import Cluster
from daypass.kube.errors import ConflictError
from daypass.kube.resources import CONFIG_MAPS
from daypass.render.envoy.revocation import Revoked
from daypass.render.names import GATE_DENIED, GATE_REVOKED
from daypass.render.pod_config import config_text
from daypass.spec import Config, ConfigError, Gate, parse
from daypass.spec.policy import DEFAULT_LONGEST_LIFETIME_SECONDS

TRIES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A Secret or a ServiceAccount that somebody has deleted just now."""

    kind: Kind
    namespace: str
    uid: str


def publish_now(cluster: Cluster, home: str, ended: Iterable[Ended]) -> bool:
    """Refuse what hung on these from now on, at the gate whose record is in the namespace `home`.

    With nothing that ended: put denials by hand in force. False where nothing is published there
    yet. Raises RecordError, and the errors of `daypass.kube.errors`.
    """
    gone = tuple(ended)
    record = ClusterRecord(cluster, home)
    for attempt in range(TRIES):
        recorded = record.read()
        if not recorded.number:
            return False
        config, gate = _config(recorded, home)
        denials = _denials(recorded, _longest_lifetime_seconds(config))
        now = cluster.clock.unix()
        for each in gone:
            denials.gone(each.kind, each.uid, each.namespace, now)
        found = cluster.find(CONFIG_MAPS, GATE_DENIED, home)
        denials.orders = () if found is None else tuple(orders_in(found))
        try:
            written = record.write(recorded, denials.record(), recorded.published)
        except ConflictError:
            if attempt == TRIES - 1:
                raise
            continue
        revoked = _in_force(denials, recorded, now)
        publisher_of(cluster, config, gate).publish(
            revoked, heard_unix=_heard_unix(cluster, home, recorded), number=written.number
        )
        return True
    raise AssertionError("unreachable")


def published_state(revoked: Revoked, config: Config, heard_unix: float) -> dict[str, Any]:
    """What a record says of how a list is published, for whoever publishes next."""
    return {
        "config": config_text(config),
        "followed": None if revoked.followed is None else sorted(revoked.followed),
        "closed": revoked.closed,
        "closedAfter": revoked.closed_after_unix,
        "heard": int(heard_unix),
    }


def _in_force(denials: Denials, recorded: Recorded, now_unix: float) -> Revoked:
    state = recorded.published
    followed = state.get("followed")
    denials.followed = None if followed is None else frozenset(map(str, followed))
    revoked = denials.revoked(now_unix, closed=bool(state.get("closed")))
    return replace(revoked, closed_after_unix=int(state.get("closedAfter") or 0))


def _denials(recorded: Recorded, longest_lifetime_seconds: int) -> Denials:
    denials = Denials(longest_lifetime_seconds)
    denials.recall({**recorded.refused, "known": {kind: {} for kind in Kind}})
    return denials


def _config(recorded: Recorded, home: str) -> tuple[Config, Gate]:
    try:
        text = str(recorded.published["config"]).encode()
        config = parse(text, name=f"what is recorded in {home}", folder=Path("/"))
        if config.gate is not None:
            return config, config.gate
    except (KeyError, ConfigError):
        pass
    raise RecordError(
        f"what is recorded in {home} does not say how the gate is published",
        "was it written by another version? A watch of this version writes it anew",
    )


def _longest_lifetime_seconds(config: Config) -> int:
    if config.policy is None:
        return DEFAULT_LONGEST_LIFETIME_SECONDS
    return config.policy.longest_lifetime_seconds


def _heard_unix(cluster: Cluster, home: str, recorded: Recorded) -> float:
    """When the watch knew all, as it has said last: nobody else can say so."""
    found = cluster.find(CONFIG_MAPS, GATE_REVOKED, home)
    try:
        told = 0.0 if found is None else read_revoked(found).heard_unix
    except RevokedListError:
        told = 0.0
    return max(told, float(recorded.published.get("heard") or 0))
