"""The watch of a cluster, put together from a config."""

from __future__ import annotations

import os
import secrets
import socket

from daypass._core.clock import Clock
from daypass.gateway.asked import issuer_of, keys_of
from daypass.gateway.cluster_watch import ClusterWatch
from daypass.gateway.events import Tell
from daypass.gateway.follower import Follower
from daypass.gateway.following import Following, Scope
from daypass.gateway.key_set import key_set
from daypass.gateway.lease import Lease
from daypass.gateway.native import is_native, publisher_of, takes_keys
from daypass.gateway.record import ClusterRecord
from daypass.kube.cluster import Cluster
from daypass.render.names import GATE_WATCH
from daypass.spec import Config, Gate

KEYS_EVERY_SECONDS = 10.0


def cluster_watch(
    cluster: Cluster,
    config: Config,
    gate: Gate,
    clock: Clock,
    tell: Tell,
    *,
    longest_lifetime_seconds: int,
) -> ClusterWatch:
    """The watch that a config asks for; `cluster` allows as many connections as it has feeds."""

    def keys() -> str:
        issuer = config.cluster.issuer or issuer_of(cluster)
        return f"{issuer}\n{key_set(keys_of(cluster))}"

    namespace = config.door.namespace
    scope = Scope(orders_namespace=namespace, each_namespace=True, names_followed=is_native(gate))
    me = f"{socket.gethostname()[:200]}-{os.getpid()}-{secrets.token_hex(4)}"
    return ClusterWatch(
        following=Following(
            cluster, clock, scope,
            longest_lifetime_seconds=longest_lifetime_seconds,
            close_after_seconds=gate.close_after_seconds,
        ),
        record=ClusterRecord(cluster, namespace),
        publisher=publisher_of(cluster, config, gate),
        lease=Lease(cluster, clock, namespace=namespace, name=GATE_WATCH, me=me),
        keys=Follower(keys, KEYS_EVERY_SECONDS) if takes_keys(gate) else None,
        clock=clock,
        tell=tell,
        config=config,
        close_after_seconds=gate.close_after_seconds,
    )  # fmt: skip
