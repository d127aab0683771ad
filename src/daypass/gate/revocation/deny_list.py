"""Denials by hand: a ConfigMap that `daypass gate deny` writes to and the watch follows.

A key an entry, `uid.UID` or `jti.JTI`; its value is the time at which it ends (RFC 3339, UTC). So
two people's entries never get into each other's way, and one is taken back by removing its key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime

from daypass._core.clock import utc
from daypass._core.errors import UsageError
from daypass.gate.revocation.revocation_list import Denial
from daypass.kube.cluster import Cluster
from daypass.kube.errors import AlreadyExistsError
from daypass.kube.resources import CONFIG_MAPS, NAMESPACES, Object
from daypass.render.objects import GATE_DENIED

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
"""What UIDs and `jti`s of Kubernetes look like, and what a key of a ConfigMap can hold."""
_PREFIXES = {"uid.": False, "jti.": True}


def denials_in(config_map: Object) -> Iterator[Denial]:
    """The entries of the ConfigMap; one whose end cannot be read has none."""
    for key, value in (config_map.get("data") or {}).items():
        is_token, name = _PREFIXES.get(key[:4]), key[4:]
        if is_token is not None and name:
            yield Denial(is_token=is_token, name=name, until_unix=_until(value))


def entry(order: Denial) -> dict[str, str]:
    """An entry as data of the ConfigMap. Raises UsageError for what is no UID and no `jti`."""
    if not _NAME.fullmatch(order.name):
        what = "jti" if order.is_token else "UID"
        raise UsageError(
            f"{order.name[:40]!r} is no {what}", "copy it from the token or the object"
        )
    prefix = next(prefix for prefix, token in _PREFIXES.items() if token is order.is_token)
    return {f"{prefix}{order.name}": f"{utc(order.until_unix):%Y-%m-%dT%H:%M:%SZ}"}


def deny(cluster: Cluster, namespace: str, order: Denial) -> str:
    """Add an entry, with the namespace and the ConfigMap if there is none; its key.

    Raises UsageError, and the errors of `daypass.kube.errors`.
    """
    data = entry(order)
    metadata = {"name": GATE_DENIED, "namespace": namespace}
    head = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    if cluster.find(NAMESPACES, namespace) is None:
        cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    with suppress(AlreadyExistsError):
        cluster.create(head)
    cluster.patch(CONFIG_MAPS, GATE_DENIED, {"data": data}, namespace)
    return next(iter(data))


def take_back(cluster: Cluster, namespace: str, order: Denial) -> None:
    """Remove an entry, if it is there. Raises as `deny`, and NotFoundError without a ConfigMap."""
    cluster.patch(CONFIG_MAPS, GATE_DENIED, {"data": dict.fromkeys(entry(order))}, namespace)


def _until(value: object) -> float:
    try:
        until = datetime.fromisoformat(str(value))
    except ValueError:
        return float("inf")
    return until.replace(tzinfo=until.tzinfo or UTC).timestamp()
