"""Publishing a revocation from a command, with or without a running controller.

A command that deletes an object knows what has to be refused, and does not wait for a watch. It
does what the controller does: it records the change, and then publishes everything that is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from daypass.config import Config, ConfigError, Gate, parse
from daypass.gate.revocation.deny_list import denials_in
from daypass.gate.revocation.published_list import RevocationListError, read_revocation_list
from daypass.gate.revocation.publishers import publisher_of
from daypass.gate.revocation.revocation_list import ObjectKind, RevocationList, no_known_uids
from daypass.gate.revocation.state_store import RecordError, RevocationState, StateStore
from daypass.kube.cluster import Cluster
from daypass.kube.errors import ConflictError
from daypass.kube.resources import CONFIG_MAPS
from daypass.render.envoy.filters import RevocationSnapshot
from daypass.render.objects import GATE_DENIED, GATE_REVOKED
from daypass.render.workloads import config_text

TRIES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletedObject:
    """A Secret or a ServiceAccount that a command has just deleted."""

    kind: ObjectKind
    namespace: str
    uid: str


def publish_once(cluster: Cluster, home: str, deleted: Iterable[DeletedObject]) -> bool:
    """Refuse tokens bound to these objects, at the gate whose record is in the namespace `home`.

    Without objects, only denials by hand are published. Returns False if nothing is published there
    yet. Raises RecordError and the errors of `daypass.kube.errors`.
    """
    gone = tuple(deleted)
    record = StateStore(cluster, home)
    for attempt in range(TRIES):
        recorded = record.read()
        if not recorded.number:
            return False
        config, gate = _config(recorded, home)
        revocations = _revocations(recorded, config.longest_lifetime_seconds)
        now = cluster.clock.unix()
        for each in gone:
            revocations.gone(each.kind, each.uid, each.namespace, now)
        found = cluster.find(CONFIG_MAPS, GATE_DENIED, home)
        revocations.manual_denials = () if found is None else tuple(denials_in(found))
        try:
            written = record.write(recorded, revocations.record(), recorded.published)
        except ConflictError:
            if attempt == TRIES - 1:
                raise
            continue
        revoked = _in_force(revocations, recorded, now)
        publisher_of(cluster, config, gate).publish(
            revoked, heard_unix=_heard_unix(cluster, home, recorded), number=written.number
        )
        return True
    raise AssertionError("unreachable")


def published_state(
    revoked: RevocationSnapshot, config: Config, heard_unix: float
) -> dict[str, Any]:
    """Return the part of a record that tells the next publisher how the list is published."""
    return {
        "config": config_text(config),
        "followed": None
        if revoked.watched_namespaces is None
        else sorted(revoked.watched_namespaces),
        "closed": revoked.closed,
        "closedAfter": revoked.closed_after_unix,
        "heard": int(heard_unix),
    }


def _in_force(
    revocations: RevocationList, recorded: RevocationState, now_unix: float
) -> RevocationSnapshot:
    state = recorded.published
    followed = state.get("followed")
    revocations.watched_namespaces = None if followed is None else frozenset(map(str, followed))
    revoked = revocations.revoked(now_unix, closed=bool(state.get("closed")))
    return replace(revoked, closed_after_unix=int(state.get("closedAfter") or 0))


def _revocations(recorded: RevocationState, longest_lifetime_seconds: int) -> RevocationList:
    revocations = RevocationList(longest_lifetime_seconds)
    known = no_known_uids()
    revocations.merge({**recorded.refused, "known": known}, 0, lambda kind, namespace: False)
    return revocations


def _config(recorded: RevocationState, home: str) -> tuple[Config, Gate]:
    try:
        text = str(recorded.published["config"]).encode()
        config = parse(text, name=f"the record in {home}", folder=Path("/"))
        if config.gate is not None:
            return config, config.gate
    except (KeyError, ConfigError):
        pass
    raise RecordError(
        f"the record in {home} does not tell how the gate is published",
        "was it written by another version? A watch of this version writes it again",
    )


def _heard_unix(cluster: Cluster, home: str, recorded: RevocationState) -> float:
    """Return the last heartbeat of the controller; a command can't give one."""
    found = cluster.find(CONFIG_MAPS, GATE_REVOKED, home)
    try:
        heard = 0.0 if found is None else read_revocation_list(found).heard_unix
    except RevocationListError:
        heard = 0.0
    return max(heard, float(recorded.published.get("heard") or 0))
