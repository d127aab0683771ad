"""Who there is and what they may do: objects of the API server in, one row an identity out.

Nothing here talks to a cluster. What an identity may do is read from the subjects of all bindings,
whoever made them; the marks of daypass say only which of them were meant.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from daypass._core import labels
from daypass.identity.grants import Grant, is_of, shown_role, user_of
from daypass.identity.model import Account, IdentityName, role_name
from daypass.identity.namespaces import GATES
from daypass.identity.tokens import OF_TOKENS, TokenSecret
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
    name_of,
)

LAST_USED_LABEL = "kubernetes.io/legacy-token-last-used"
INVALID_LABEL = "kubernetes.io/legacy-token-invalid-since"
DEFAULTS_LABEL = "kubernetes.io/bootstrapping"
EVERYWHERE = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Objects:
    """What the API server holds; None for a kind that could not be asked for.

    `accounts`, `roles`: those that are daypass'. `secrets`: the metadata of all that hold tokens.
    `policies`: the AuthorizationPolicies of daypass', None also where there is no Istio. `gates`:
    the namespaces of gates. `policy_bindings`: what puts the cluster's policy in force; None also
    at the embedded API server, which enforces none.
    """

    accounts: Sequence[Object]
    bindings: Sequence[Object]
    secrets: Sequence[Object] | None = None
    roles: Sequence[Object] | None = None
    policies: Sequence[Object] | None = None
    namespaces: Sequence[Object] | None = None
    gates: Sequence[Object] | None = None
    cluster_roles: Sequence[Object] | None = None
    cluster_bindings: Sequence[Object] | None = None
    policy_bindings: Sequence[Object] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenUsage:
    """A Secret with a long-lived token. `last_used`: a date, or None for never."""

    secret: TokenSecret
    last_used: str | None
    is_invalid: bool


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Right:
    """A role that an identity has: in a namespace, or EVERYWHERE.

    `is_ours`: daypass gave it, by a RoleBinding of that name. `has_policy`: with its
    AuthorizationPolicy; None where that is not asked for.
    """

    namespace: str
    role: str
    role_kind: str
    binding: str
    is_ours: bool
    has_policy: bool | None = None

    @property
    def shown(self) -> str:
        """As in the table: `alice=edit`, `alice=role/x`."""
        return f"{self.namespace}={shown_role(self.role, self.role_kind)}"


@dataclass(slots=True, kw_only=True)
class IdentityRecord:
    """One identity and all that is about it. `account` is None where it is gone.

    `policies`: AuthorizationPolicies marked as its own. `misplaced`: marked bindings that bind
    not it alone. `parts`: other objects that are marked as its own, in words.
    """

    name: IdentityName
    account: Account | None = None
    created: str = ""
    listed_secrets: tuple[str, ...] = ()
    tokens: list[TokenUsage] = field(default_factory=list)
    rights: list[Right] = field(default_factory=list)
    policies: list[Object] = field(default_factory=list)
    misplaced: list[Object] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    own_role: Object | None = None
    asks_itself: bool = False
    is_federated: bool = False


def entries(objects: Objects, namespace: str | None = None) -> list[IdentityRecord]:
    """Every identity of a namespace or (None) of all, and what is left of those that are gone."""
    found = {}
    for document in objects.accounts:
        account = Account.read(document)
        if account.is_ours:
            listed = tuple(str(each.get("name")) for each in document.get("secrets") or ())
            created = document["metadata"].get("creationTimestamp") or ""
            found[account.name.key] = IdentityRecord(
                name=account.name, account=account, created=created, listed_secrets=listed
            )
    for each in _marked(objects):
        owner = IdentityName.of_key(each["metadata"]["annotations"][labels.IDENTITY])
        if owner is not None and namespace in (None, owner.namespace):
            _place(each, found.setdefault(owner.key, IdentityRecord(name=owner)))
    for document in objects.secrets or ():
        token = _token(document)
        if entry := found.get(token.secret.account.key):
            entry.tokens.append(token)
    _add_rights(objects, found)
    return sorted(found.values(), key=lambda entry: entry.name)


def _marked(objects: Objects) -> Iterator[Object]:
    for documents in (objects.roles, objects.bindings, objects.policies):
        for each in documents or ():
            metadata = each["metadata"]
            owner = (metadata.get("annotations") or {}).get(labels.IDENTITY)
            if owner and (metadata.get("labels") or {}).get(labels.MANAGED_BY) == labels.MANAGER:
                yield each


def _place(document: Object, entry: IdentityRecord) -> None:
    """An object that is marked as an identity's, where it belongs."""
    name, place = name_of(document), document["metadata"]["namespace"]
    if "rules" in document:
        if (place, name) == (entry.name.namespace, role_name(entry.name.name)):
            entry.own_role = document
        entry.parts.append(f"roles/{name} in {place}")
    elif "roleRef" not in document:
        entry.policies.append(document)
    elif document["roleRef"]["kind"] == "Role":
        entry.parts.append(f"rolebindings/{name} in {place}")
        is_own = place == entry.name.namespace
        entry.is_federated |= is_own and name == f"{entry.name.name}-daypass-federated"
    elif list(_subjects(document)) != [entry.name]:
        entry.misplaced.append(document)


def _token(document: Object) -> TokenUsage:
    labels = document["metadata"].get("labels") or {}
    return TokenUsage(
        secret=TokenSecret.read(document),
        last_used=labels.get(LAST_USED_LABEL),
        is_invalid=INVALID_LABEL in labels,
    )


def _add_rights(objects: Objects, found: dict[str, IdentityRecord]) -> None:
    policies = None
    if objects.policies is not None:
        policies = {(each["metadata"]["namespace"], name_of(each)) for each in objects.policies}
    by_namespace: dict[str, list[IdentityRecord]] = defaultdict(list)
    for entry in found.values():
        by_namespace[entry.name.namespace].append(entry)
    for binding in (*objects.bindings, *(objects.cluster_bindings or ())):
        for entry in _bound(binding, found, by_namespace):
            _add_right(entry, binding, policies)


def _add_right(
    entry: IdentityRecord, binding: Object, policies: set[tuple[str, str]] | None
) -> None:
    place = binding["metadata"].get("namespace", EVERYWHERE)
    role, name = binding["roleRef"], name_of(binding)
    own = role_name(entry.name.name)
    if (place, role["kind"], role["name"]) == (entry.name.namespace, "Role", own):
        entry.asks_itself = True  # the right that makes an identity, and no more
        return
    is_ours = is_of(binding, entry.name) and role["kind"] == "ClusterRole" and place != EVERYWHERE
    if is_ours:
        grant = Grant(identity=entry.name, namespace=place, cluster_role=role["name"])
        is_ours = name in grant.names
    entry.rights.append(
        Right(
            namespace=place, role=role["name"], role_kind=role["kind"], binding=name,
            is_ours=is_ours,
            has_policy=(place, name) in policies if is_ours and policies is not None else None,
        )
    )  # fmt: skip


def _bound(
    binding: Object, found: dict[str, IdentityRecord], by_namespace: dict[str, list[IdentityRecord]]
) -> Iterable[IdentityRecord]:
    """The identities that a binding is for, each once: by name, or by a group that they are in."""
    entries: dict[str, IdentityRecord] = {}
    for subject in binding.get("subjects") or ():
        if subject["kind"] == "Group":
            members = _members(subject["name"], binding, found, by_namespace)
            entries |= {entry.name.key: entry for entry in members}
    for name in _subjects(binding):
        if name is not None and (entry := found.get(name.key)):
            entries[name.key] = entry
    return entries.values()


def _members(
    group: str,
    binding: Object,
    found: dict[str, IdentityRecord],
    by_namespace: dict[str, list[IdentityRecord]],
) -> Iterable[IdentityRecord]:
    if DEFAULTS_LABEL in (binding["metadata"].get("labels") or {}):
        return ()  # what Kubernetes itself gives everybody
    if group in ("system:serviceaccounts", "system:authenticated"):
        return found.values()
    prefix, _, namespace = group.rpartition(":")
    return by_namespace.get(namespace, ()) if prefix == "system:serviceaccounts" else ()


def _subjects(binding: Object) -> Iterator[IdentityName | None]:
    """The ServiceAccounts among the subjects of a binding; None for anybody else."""
    for subject in binding.get("subjects") or ():
        if subject["kind"] == "ServiceAccount":
            namespace = subject.get("namespace") or binding["metadata"].get("namespace", "")
            yield IdentityName(namespace=namespace, name=subject["name"])
        elif subject["kind"] == "User":
            parts = subject["name"].split(":")
            is_account = len(parts) == 4 and parts[:2] == ["system", "serviceaccount"]
            yield IdentityName(namespace=parts[2], name=parts[3]) if is_account else None


def policy_proves(policy: Object, identity: IdentityName) -> bool:
    """Whether each rule of an AuthorizationPolicy is about this user, by the word of a principal.

    Without a principal anybody in the mesh could set the header.
    """
    spec = policy.get("spec") or {}
    rules = spec.get("rules") or ()
    return spec.get("action", "ALLOW") == "ALLOW" and bool(rules) and all(
        _names(rule, user_of(identity)) and _has_principals(rule) for rule in rules
    )  # fmt: skip


def _names(rule: Object, user: str) -> bool:
    return any(
        str(each.get("key", "")).startswith("request.headers[") and each.get("values") == [user]
        for each in rule.get("when") or ()
    )


def _has_principals(rule: Object) -> bool:
    sources = rule.get("from") or ()
    return bool(sources) and all(
        (principals := (each.get("source") or {}).get("principals"))
        and not any("*" in str(principal) for principal in principals)
        for each in sources
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
            fields=f"metadata.name={labels.POLICY_NAME}",
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
