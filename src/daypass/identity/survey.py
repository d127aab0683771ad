"""Asking a cluster for all that an inventory is made of: a handful of lists at the same time.

No Secret's data is asked for, and nothing is asked for each identity. Who may not see everything
sees what they may, and is told what they do not see.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from daypass._core import labels
from daypass._core.labels import POLICY_NAME
from daypass.identity.inventory import Objects
from daypass.identity.tokens import OF_TOKENS
from daypass.identity.watch_rbac import GATES
from daypass.kube.cluster import Cluster
from daypass.kube.discovery import is_embedded
from daypass.kube.errors import ForbiddenError, NotFoundError
from daypass.kube.informer import ObjectMirror
from daypass.kube.resources import (
    AUTHORIZATION_POLICIES,
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    NAMESPACES,
    ROLE_BINDINGS,
    ROLES,
    SECRETS,
    SERVICE_ACCOUNTS,
    VALIDATING_ADMISSION_POLICY_BINDINGS,
    Object,
    Resource,
)

Warn = Callable[[str, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListQuery:
    """One list. `needed`: without it there is no inventory. `quiet`: no word where it may not be
    asked for.
    """

    resource: Resource
    namespace: str | None = None
    labels: str | None = None
    fields: str | None = None
    metadata_only: bool = False
    needed: bool = False
    quiet: bool = False


def questions(namespace: str | None) -> dict[str, ListQuery]:
    """The lists, by the fields of Objects. Grants are looked for in all namespaces."""
    ours = labels.SELECTOR
    only = f"metadata.name={namespace}" if namespace else None
    return {
        "accounts": ListQuery(
            resource=SERVICE_ACCOUNTS, namespace=namespace, labels=ours, needed=True
        ),
        "bindings": ListQuery(resource=ROLE_BINDINGS, needed=True),
        "secrets": ListQuery(
            resource=SECRETS, namespace=namespace, fields=OF_TOKENS, metadata_only=True
        ),
        "roles": ListQuery(resource=ROLES, namespace=namespace, labels=ours),
        "policies": ListQuery(resource=AUTHORIZATION_POLICIES, labels=ours),
        "namespaces": ListQuery(resource=NAMESPACES, fields=only, metadata_only=True),
        "gates": ListQuery(resource=NAMESPACES, labels=GATES, metadata_only=True),
        "cluster_roles": ListQuery(resource=CLUSTER_ROLES),
        "cluster_bindings": ListQuery(resource=CLUSTER_ROLE_BINDINGS),
        "policy_bindings": ListQuery(
            resource=VALIDATING_ADMISSION_POLICY_BINDINGS,
            fields=f"metadata.name={POLICY_NAME}",
            metadata_only=True,
            quiet=True,
        ),
    }


def survey(cluster: Cluster, namespace: str | None, *, warn: Warn) -> Objects:
    """What the cluster holds now, for one namespace or (None) for all. Raises ApiError."""
    asked = questions(namespace)
    with ThreadPoolExecutor(len(asked), thread_name_prefix="daypass-survey") as pool:
        tasks = {
            name: pool.submit(_ask, cluster, question, namespace)
            for name, question in asked.items()
        }
        answers = {name: task.result() for name, task in tasks.items()}
    if answers["bindings"][1] is not None:
        # Policies of namespaces whose bindings are not seen would look like halves of grants.
        answers["policies"] = (None, answers["policies"][1])
    for _, words in answers.values():
        if words is not None:
            warn(*words)
    return Objects(**{name: found for name, (found, _) in answers.items()})  # type: ignore[arg-type]


def _ask(
    cluster: Cluster, question: ListQuery, namespace: str | None
) -> tuple[list[Object] | None, tuple[str, str] | None]:
    """The objects (None: not to be had), and what to tell about it."""
    plural = question.resource.plural
    try:
        return _list(cluster, question), None
    except NotFoundError:
        if question.resource is not VALIDATING_ADMISSION_POLICY_BINDINGS:
            return None, None  # no Istio
        if is_embedded(cluster):
            return None, ("note: the embedded API server enforces no policy; a cluster does", "")
        return [], None
    except ForbiddenError as error:
        if question.quiet:
            return None, None
        if not question.needed:
            return None, (f"{plural} are not yours to see", error.hint)
        if namespace is None or question.namespace is not None:
            raise
        words = (f"{plural} of other namespaces are not yours to see", error.hint)
    return _list(cluster, replace(question, namespace=namespace)), words


def _list(cluster: Cluster, question: ListQuery) -> list[Object]:
    return cluster.list(
        question.resource,
        question.namespace,
        labels=question.labels,
        fields=question.fields,
        metadata_only=question.metadata_only,
    )


class InventoryWatcher:
    """The same, kept current by watches, each on a thread of its own that ends with the process.

    Everything has to be there for whoever asks: this is for admins of the cluster.
    """

    def __init__(self, cluster: Cluster, namespace: str | None) -> None:
        asked = questions(namespace)
        if not cluster.serves(AUTHORIZATION_POLICIES):
            del asked["policies"]
        if _ask(cluster, asked["policy_bindings"], namespace)[0] is None:
            del asked["policy_bindings"]
        self._changed = threading.Event()
        self._error: Exception | None = None
        self._mirrors = {
            name: ObjectMirror(
                cluster,
                question.resource,
                question.namespace,
                labels=question.labels,
                fields=question.fields,
                metadata_only=question.metadata_only,
            )
            for name, question in asked.items()
        }
        self._waiting = set(self._mirrors)

    def changes(self, every_seconds: float) -> Iterator[Objects]:
        """All that there is, once it is there; again whenever it changes, and every so often.

        Raises what ended a watch for good.
        """
        for name in self._mirrors:
            thread = threading.Thread(target=self._follow, args=(name,), daemon=True)
            thread.start()
        while True:
            self._changed.wait(every_seconds)
            self._changed.clear()
            if self._error is not None:
                raise self._error
            if not self._waiting:
                yield Objects(**{name: each.objects() for name, each in self._mirrors.items()})

    def _follow(self, name: str) -> None:
        try:
            for _ in self._mirrors[name].follow():
                self._waiting.discard(name)
                self._changed.set()
        except Exception as error:  # of whatever kind: told by the thread that waits for it
            self._error = error
            self._changed.set()
