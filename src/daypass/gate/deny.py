"""Writing denials by hand: the ConfigMap that `daypass gate deny` changes and the watch reads."""

from __future__ import annotations

from daypass._core.errors import DaypassError, UsageError
from daypass._core.hints import Placeholder, command, kubectl
from daypass._core.kubernetes.objects import Object
from daypass._core.kubernetes.syntax import is_label
from daypass._core.text import printable
from daypass.kube.cluster import Cluster
from daypass.kube.errors import AlreadyExistsError, ConflictError
from daypass.kube.resources import CONFIG_MAPS, NAMESPACES
from daypass.render.names import GATE_DENIED
from daypass.rules.published import DENIAL_KEY, LIMIT_DENIALS, UID, Denial, DeniedKind, read_denials

TRIES = 5
"""Of a write that another one overtakes."""
KEPT_SECONDS = 86_400
"""How long an expired denial stays: the clock of the user's machine may be ahead."""


class TooManyDenialsError(DaypassError):
    """With one more, the gate would be closed."""


def change_denial(cluster: Cluster, gate_namespace: str, denial: Denial, *, undo: bool) -> None:
    """Add a denial, or remove it (`undo`), and remove all that expired a day ago.

    `gate_namespace` is created if needed, with the ConfigMap. Raises UsageError for an invalid
    name, TooManyDenialsError, DaypassError if there is nothing to undo, ApiError.
    """
    is_name = DENIAL_KEY.fullmatch(denial.key) is not None
    if denial.kind is DeniedKind.NAMESPACE:
        is_name = is_label(denial.name)
    if denial.kind is DeniedKind.OBJECT:
        is_name = UID.fullmatch(denial.name) is not None
    if not is_name:
        fact = f"{printable(denial.name, 40)!r} is no {denial.kind}"
        raise UsageError(fact, "copy it from the token or the object")
    for attempt in range(TRIES):
        found = cluster.find(CONFIG_MAPS, GATE_DENIED, gate_namespace)
        if undo and (found is None or denial.key not in (found.get("data") or {})):
            show = kubectl("get", "configmap", GATE_DENIED, "-n", gate_namespace, "-o", "yaml")
            fact = f"there is no denial of {denial.kind} {denial.name} to undo"
            raise DaypassError(fact, f"see all: {show}", reason="no-denial")
        try:
            if found is None:
                _create(cluster, gate_namespace, denial)
            else:
                change = _change(found, denial, cluster.clock.unix(), undo=undo)
                cluster.patch(CONFIG_MAPS, GATE_DENIED, change, gate_namespace)
            return
        except (AlreadyExistsError, ConflictError):
            if attempt == TRIES - 1:
                raise


def _change(found: Object, denial: Denial, now_unix: float, *, undo: bool) -> Object:
    """Return the merge patch of the ConfigMap as it was found."""
    entries = list(read_denials(found.get("data") or {}))
    old = [each.key for each in entries if each.until_unix <= now_unix - KEPT_SECONDS]
    in_force = {each.key for each in entries if each.until_unix > now_unix}
    if not undo and len(in_force | {denial.key}) > LIMIT_DENIALS:
        raise TooManyDenialsError(
            f"there are {LIMIT_DENIALS} denials already: with more, the gate would be closed",
            "revoke identities instead, or deny a whole namespace: "
            + command("gate", "deny", "--of-namespace", Placeholder("NAMESPACE")),
        )
    data = {**dict.fromkeys(old), denial.key: None if undo else denial.until}
    return {"metadata": {"resourceVersion": found["metadata"]["resourceVersion"]}, "data": data}


def _create(cluster: Cluster, gate_namespace: str, denial: Denial) -> None:
    if cluster.find(NAMESPACES, gate_namespace) is None:
        cluster.create(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": gate_namespace}}
        )
        if cluster.dry_run:
            return  # a namespace that does not exist can hold nothing
    metadata = {"name": GATE_DENIED, "namespace": gate_namespace}
    data = {denial.key: denial.until}
    cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
