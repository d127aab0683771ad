"""A gate of a cluster without a socket: a stand-in for its watch publishes while commands wait."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from daypass._core.kubernetes import labels
from daypass._core.kubernetes.objects import name_of
from daypass.gate.publication import denials_config_map, shard_config_map
from daypass.identity.credential_secrets import list_secrets
from daypass.kube.resources import CONFIG_MAPS
from daypass.render.names import GATE_DENIED
from daypass.rules.published import Denials, credential_of, read_denials
from support.embedded import EmbeddedCluster
from support.publishing import shards_of


@dataclass(kw_only=True)
class StandInGate:
    """A gate in a namespace of its own, which publishes `delay_seconds` after it saw a change.

    `room`: credentials of one namespace. `accounts`: UIDs that it has published, too. `seen`: what
    `look` returned at each publication.
    """

    embedded: EmbeddedCluster
    gate_namespace: str = "daypass"
    delay_seconds: float = 0.3
    room: int = 2000
    accounts: set[str] = field(default_factory=set)
    look: Callable[[], object] = lambda: None
    seen: list[object] = field(default_factory=list)
    _written: dict[str, object] = field(default_factory=dict, init=False)
    _due: float | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        metadata = {"name": self.gate_namespace, "labels": {labels.GATE: "true"}}
        self.embedded.cluster.create(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
        )
        self.publish()
        self._others, self.embedded.sleep = self.embedded.sleep, self._sleep

    @property
    def credentials(self) -> set[str]:
        """What it has to publish."""
        secrets = [each for each in list_secrets(self.embedded.cluster, None) if each.is_known]
        found = {credential_of(each.uid, each.account_uid) for each in secrets if each.account_uid}
        return found | {credential_of(uid, uid) for uid in self.accounts}

    def publish(self) -> None:
        """Publish all parts and the denials."""
        self.seen.append(self.look())
        closes_unix = 2**32
        parts = shards_of(self.credentials, closes_unix)
        written = self.embedded.cluster.find(CONFIG_MAPS, GATE_DENIED, self.gate_namespace) or {}
        entries = read_denials(written.get("data") or {})
        denials = Denials.of(entries, self.embedded.clock.unix(), closes_unix)
        documents = [
            shard_config_map(number, part, self.gate_namespace, room=self.room)
            for number, part in enumerate(parts)
        ]
        for each in (*documents, denials_config_map(denials, self.gate_namespace)):
            if self._written.get(name_of(each)) != each["data"]:
                self.embedded.cluster.apply(each, force=True)
                self._written[name_of(each)] = each["data"]

    def _sleep(self, seconds: float) -> None:
        """What happens while a command waits."""
        self._others(seconds)
        now = self.embedded.clock.monotonic()
        self._due = now + self.delay_seconds - seconds if self._due is None else self._due
        if now >= self._due:
            self._due = None
            self.publish()
