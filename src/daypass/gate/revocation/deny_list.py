"""Denials by hand: a ConfigMap that `daypass gate deny` writes and the controller watches.

Each entry is a key, `uid.UID` or `jti.JTI`, and the time at which it expires (RFC 3339, UTC). So
entries of two people never conflict, and one is removed by removing its key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime

from daypass._core.clock import utc
from daypass._core.errors import UsageError
from daypass.gate.revocation.revocation_list import Denial
from daypass.kube.cluster import Cluster
from daypass.kube.errors import AlreadyExistsError
from daypass.kube.resources import CONFIG_MAPS, NAMESPACES, Object
from daypass.render.objects import GATE_DENIED

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
"""The form of UIDs and `jti`s of Kubernetes; a ConfigMap's key can hold nothing else."""
_PREFIXES = {"uid.": False, "jti.": True}


def denials_in(config_map: Object) -> Iterator[Denial]:
    """Yield the entries of the ConfigMap. An unreadable time means that the entry never expires."""
    for key, value in (config_map.get("data") or {}).items():
        is_token, name = _PREFIXES.get(key[:4]), key[4:]
        if is_token is not None and name:
            yield Denial(is_token=is_token, name=name, until_unix=_until(value))


def entry(denial: Denial) -> dict[str, str]:
    """Return an entry as data of the ConfigMap. Raises UsageError for an invalid UID or `jti`."""
    if not _NAME.fullmatch(denial.name):
        what = "jti" if denial.is_token else "UID"
        raise UsageError(
            f"{denial.name[:40]!r} is no {what}", "copy it from the token or the object"
        )
    prefix = next(prefix for prefix, token in _PREFIXES.items() if token is denial.is_token)
    return {f"{prefix}{denial.name}": f"{utc(denial.until_unix):%Y-%m-%dT%H:%M:%SZ}"}


def change_denial(cluster: Cluster, namespace: str, denial: Denial, *, undo: bool = False) -> str:
    """Add an entry, or remove it (`undo`), and return its key.

    Creates the namespace and the ConfigMap if needed. Raises UsageError and the errors of
    `daypass.kube.errors`: NotFoundError if there is no ConfigMap to remove it from.
    """
    data = entry(denial)
    key = next(iter(data))
    if undo:
        cluster.patch(CONFIG_MAPS, GATE_DENIED, {"data": {key: None}}, namespace)
        return key
    metadata = {"name": GATE_DENIED, "namespace": namespace}
    whole = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
    if cluster.find(NAMESPACES, namespace) is None:
        cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        if cluster.dry_run:
            return key  # a namespace that does not exist can hold nothing
    try:
        cluster.create(whole)
    except AlreadyExistsError:
        cluster.patch(CONFIG_MAPS, GATE_DENIED, {"data": data}, namespace)
    return key


def _until(value: object) -> float:
    try:
        until = datetime.fromisoformat(str(value))
    except ValueError:
        return float("inf")
    return until.replace(tzinfo=until.tzinfo or UTC).timestamp()
