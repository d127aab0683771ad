"""Which identities there are, and what they may do.

`list_objects` lists what is needed in parallel requests, and never the data of Secrets.
`identity_records` makes one record per identity of them. It reads rights from the subjects of all
bindings, no matter who created them; the annotations only tell which ones daypass created.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import starmap
from typing import Any

from daypass._core.kubernetes import labels
from daypass._core.kubernetes.objects import Object, name_of
from daypass._core.threads import in_parallel
from daypass.gate.publication import GATE_NAMESPACES
from daypass.identity.accounts import (
    Account,
    IdentityName,
    Warn,
    federated_binding_name,
    is_owned_by,
    owner_of,
    role_name,
    token_right_names,
    users_of,
)
from daypass.identity.credential_secrets import CredentialSecret, read_secrets
from daypass.identity.grants import display_role, read_grant
from daypass.identity.roles import (
    EVERY_MODEL,
    MODEL_KINDS,
    BoundRole,
    GrantedModel,
    ModelPlural,
    Roles,
    role_of,
)
from daypass.kube.answers import Selection
from daypass.kube.cluster import Cluster
from daypass.kube.errors import ForbiddenError, NotFoundError
from daypass.kube.resources import (
    AUTHORIZATION_POLICIES,
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    NAMESPACES,
    OTHER_SECRETS,
    ROLE_BINDINGS,
    ROLES,
    SECRETS,
    SERVICE_ACCOUNTS,
    TOKEN_SECRETS,
    VALIDATING_ADMISSION_POLICY_BINDINGS,
)

_BOOTSTRAPPING_LABEL = "kubernetes.io/bootstrapping"
EVERYWHERE = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterObjects:
    """The objects of the API server; None for a kind that can't be listed.

    `accounts`: all ServiceAccounts. `roles`: all Roles where `bindings` are from. `secrets`: the
    metadata of all that hold tokens, `other_secrets`: that of all others. `policies`: daypass's
    AuthorizationPolicies, None without Istio. `gates`: the namespaces of gates. `policy_bindings`:
    the binding of the admission policy, None if the API server can enforce none.
    """

    accounts: Sequence[Object]
    bindings: Sequence[Object]
    secrets: Sequence[Object] | None = None
    other_secrets: Sequence[Object] | None = None
    roles: Sequence[Object] | None = None
    policies: Sequence[Object] | None = None
    namespaces: Sequence[Object] | None = None
    gates: Sequence[Object] | None = None
    cluster_roles: Sequence[Object] | None = None
    cluster_bindings: Sequence[Object] | None = None
    policy_bindings: Sequence[Object] | None = None


def list_queries(namespace: str | None) -> dict[str, Selection]:
    """Return the lists, by the fields of ClusterObjects. Grants are in all namespaces."""
    ours = labels.SELECTOR
    only = f"metadata.name={namespace}" if namespace else None
    secrets = partial(Selection, resource=SECRETS, namespace=namespace, metadata_only=True)
    return {
        "accounts": Selection(resource=SERVICE_ACCOUNTS, namespace=namespace),
        "bindings": Selection(resource=ROLE_BINDINGS),
        "secrets": secrets(fields=TOKEN_SECRETS),
        "other_secrets": secrets(fields=OTHER_SECRETS),
        "roles": Selection(resource=ROLES),
        "policies": Selection(resource=AUTHORIZATION_POLICIES, labels=ours),
        "namespaces": Selection(resource=NAMESPACES, fields=only, metadata_only=True),
        "gates": Selection(resource=NAMESPACES, labels=GATE_NAMESPACES, metadata_only=True),
        "cluster_roles": Selection(resource=CLUSTER_ROLES),
        "cluster_bindings": Selection(resource=CLUSTER_ROLE_BINDINGS),
        "policy_bindings": Selection(
            resource=VALIDATING_ADMISSION_POLICY_BINDINGS,
            fields=f"metadata.name={labels.POLICY_NAME}",
            metadata_only=True,
        ),
    }


def list_objects(cluster: Cluster, namespace: str | None, *, warn: Warn) -> ClusterObjects:
    """Return what the cluster holds for one namespace or (None) for all. Raises ApiError.

    A user who may not list everything gets what they may see, and a warning about the rest: of
    RoleBindings, those of the namespace. ServiceAccounts are required.
    """
    queries, forbidden = list_queries(namespace), dict[str, ForbiddenError]()

    def try_list(name: str) -> list[Object] | None:
        try:
            return _list(cluster, queries[name])
        except NotFoundError:
            return None  # the API server does not serve the kind
        except ForbiddenError as error:
            if name == "accounts":
                raise
            forbidden[name] = error
            return None

    results = in_parallel(try_list, queries, threads=len(queries))
    found: dict[str, Any] = dict(zip(queries, results, strict=True))
    if "bindings" in forbidden:
        if namespace is None:
            raise forbidden["bindings"]
        # Policies and Roles in namespaces whose bindings can't be seen would look like half grants.
        bindings = cluster.list(ROLE_BINDINGS, namespace)
        found |= {"bindings": bindings, "policies": None, "roles": None}
    if forbidden:
        names = sorted(forbidden)
        plurals = dict.fromkeys(queries[name].resource.plural for name in names)
        warn(
            f"you may not list {', '.join(plurals)} everywhere: what they show is left out",
            forbidden[names[0]].hint,
        )
    return ClusterObjects(**found)


def _list(cluster: Cluster, query: Selection) -> list[Object]:
    return cluster.list(
        query.resource,
        query.namespace,
        labels=query.labels,
        fields=query.fields,
        metadata_only=query.metadata_only,
    )


@dataclass(slots=True, kw_only=True)
class IdentityRecord:
    """One identity and its objects. `account` is None if its ServiceAccount was deleted.

    `policies`: its AuthorizationPolicies. `granted_roles`: the Roles of its grants.
    `can_request_tokens`: a binding gives it the Role for its own TokenRequests, `has_own_role`:
    that exists. `users`: those of another issuer who may send them; None unless it is federated.
    """

    name: IdentityName
    account: Account | None = None
    created: str = ""
    secrets: list[CredentialSecret] = field(default_factory=list)
    roles: list[BoundRole] = field(default_factory=list)
    policies: list[Object] = field(default_factory=list)
    granted_roles: list[Object] = field(default_factory=list)
    has_own_role: bool = False
    can_request_tokens: bool = False
    users: tuple[str, ...] | None = None

    @property
    def is_federated(self) -> bool:
        """Whether it is for users with tokens of another issuer."""
        return self.users is not None

    @property
    def annotations(self) -> Mapping[str, str]:
        return self.account.annotations if self.account else {}

    @property
    def models(self) -> Mapping[str, Sequence[str]]:
        """The kinds of the models that it may call, by `NAMESPACE/NAME`; `*` for all."""
        found: dict[str, dict[str, None]] = {}
        for role in self.roles:
            for model in role.models or ():
                name = f"{role.namespace or EVERYWHERE}/{model.name or EVERY_MODEL}"
                found.setdefault(name, {})[MODEL_KINDS[model.resource]] = None
        return {model: tuple(kinds) for model, kinds in sorted(found.items())}


def identity_records(objects: ClusterObjects, namespace: str | None = None) -> list[IdentityRecord]:
    """Return the identities of a namespace or (None) of all, and the remains of deleted ones."""
    accounts = [Account.read(document) for document in objects.accounts]
    names = {account.name for account in accounts}
    records = {each.name.key: IdentityRecord(name=each.name) for each in accounts if each.is_ours}
    for documents in (objects.roles, objects.bindings, objects.policies):
        for document in documents or ():
            owner = IdentityName.parse_key(owner_of(document) or "")
            if owner is None or namespace not in (None, owner.namespace):
                continue
            if _is_owned(document, owner):
                _add_object(records.setdefault(owner.key, IdentityRecord(name=owner)), document)
    for secret in read_secrets(objects.secrets or (), objects.other_secrets or ()):
        name = secret.account
        if secret.is_ours and name in names:
            records.setdefault(name.key, IdentityRecord(name=name))
        if record := records.get(name.key):
            record.secrets.append(secret)
    for account, document in zip(accounts, objects.accounts, strict=True):
        if record := records.get(account.name.key):
            record.account = account
            record.created = document["metadata"].get("creationTimestamp") or ""
    _add_roles(objects, records)
    return sorted(records.values(), key=lambda record: record.name)


def _is_owned(document: Object, owner: IdentityName) -> bool:
    """Return whether an object is what its annotation says: anybody can annotate a RoleBinding."""
    is_grant = "roleRef" in document and name_of(document) not in token_right_names(owner.name)
    return not is_grant or [*_accounts_in(document)] == [owner]


def _add_object(record: IdentityRecord, document: Object) -> None:
    """Add an object that is annotated as the identity's own."""
    name, namespace = name_of(document), document["metadata"]["namespace"]
    if "rules" in document:
        if (namespace, name) == (record.name.namespace, role_name(record.name.name)):
            record.has_own_role = True
        else:
            record.granted_roles.append(document)
    elif "roleRef" not in document:
        record.policies.append(document)
    elif (namespace, name) == (record.name.namespace, federated_binding_name(record.name.name)):
        record.users = users_of(document)


def _add_roles(objects: ClusterObjects, records: dict[str, IdentityRecord]) -> None:
    policies = None
    if objects.policies is not None:
        policies = {(each["metadata"]["namespace"], name_of(each)) for each in objects.policies}
    roles = Roles(objects.roles, objects.cluster_roles)
    by_namespace: dict[str, list[IdentityRecord]] = defaultdict(list)
    for record in records.values():
        by_namespace[record.name.namespace].append(record)
    for binding in (*objects.bindings, *(objects.cluster_bindings or ())):
        for record in _bound_records(binding, records, by_namespace):
            _add_role(record, binding, roles, policies)
    for record in records.values():
        record.roles.sort(key=lambda role: (role.namespace or EVERYWHERE, role.display))


def _add_role(
    record: IdentityRecord, binding: Object, roles: Roles, policies: set[tuple[str, str]] | None
) -> None:
    namespace: str | None = binding["metadata"].get("namespace")
    key, name = role_of(binding), name_of(binding)
    if key == (record.name.namespace, role_name(record.name.name)):
        record.can_request_tokens = True
        return
    rules = roles.rules(key)
    grant = read_grant(binding, rules) if is_owned_by(binding, record.name) else None
    has_policy = None
    if grant is not None and policies is not None:
        has_policy = all((namespace, each) in policies for each in grant.policy_names(name))
    kind, models = binding["roleRef"]["kind"], roles.models(key)
    display = grant.display if grant else display_role(key[1], kind)
    record.roles.append(
        BoundRole(
            namespace=namespace,
            role=key[1],
            kind=kind,
            binding=name,
            daypass=grant is not None,
            authorization_policy=has_policy,
            models=None if models is None else [*starmap(_model, models)],
            exists=not roles.is_missing(key),
            display=f"{namespace or EVERYWHERE}={display}",
        )
    )


def _model(plural: ModelPlural, name: str) -> GrantedModel:
    return GrantedModel(resource=plural, name=None if name == EVERY_MODEL else name)


def _bound_records(
    binding: Object,
    records: dict[str, IdentityRecord],
    by_namespace: dict[str, list[IdentityRecord]],
) -> Iterable[IdentityRecord]:
    """Return the identities that a binding names, or that are in a group that it names."""
    bound: dict[str, IdentityRecord] = {}
    for subject in binding.get("subjects") or ():
        if subject["kind"] == "Group":
            members = _members(subject["name"], binding, records, by_namespace)
            bound |= {record.name.key: record for record in members}
    for name in _accounts_in(binding):
        if name is not None and (record := records.get(name.key)):
            bound[name.key] = record
    return bound.values()


def _members(
    group: str,
    binding: Object,
    records: dict[str, IdentityRecord],
    by_namespace: dict[str, list[IdentityRecord]],
) -> Iterable[IdentityRecord]:
    if _BOOTSTRAPPING_LABEL in (binding["metadata"].get("labels") or {}):
        return ()  # Kubernetes's default rights of all users
    if group in ("system:serviceaccounts", "system:authenticated"):
        return records.values()
    prefix, _, namespace = group.rpartition(":")
    return by_namespace.get(namespace, ()) if prefix == "system:serviceaccounts" else ()


def _accounts_in(binding: Object) -> Iterator[IdentityName | None]:
    """Yield the ServiceAccounts among the subjects of a binding; None for each other user."""
    for subject in binding.get("subjects") or ():
        if subject["kind"] == "ServiceAccount":
            namespace = subject.get("namespace") or binding["metadata"].get("namespace", "")
            yield IdentityName(namespace=namespace, name=subject["name"])
        elif subject["kind"] == "User":
            parts = subject["name"].split(":")
            is_account = len(parts) == 4 and parts[:2] == ["system", "serviceaccount"]
            yield IdentityName(namespace=parts[2], name=parts[3]) if is_account else None
