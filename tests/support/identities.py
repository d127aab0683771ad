"""Namespaces, ServiceAccounts, their token Secrets and the right to ask for tokens."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from daypass._core.kubernetes.labels import (
    ANCHOR_INFIX,
    ANCHOR_TYPE,
    MANAGED_BY,
    MANAGER,
    OWNED,
    POLICY,
    POLICY_ENFORCED,
    SECRET_INFIX,
)
from daypass._core.secret import Secret
from daypass.kube.resources import ACCOUNT_ANNOTATION, ACCOUNT_UID_ANNOTATION, TOKEN_TYPE
from daypass.rules.published import credential_of
from support.admin import Admin, AdminError, Document
from support.deadline import eventually

OF_DAYPASS = {MANAGED_BY: MANAGER}
"""The label of what `identity create` makes, by which the gate's watch finds it."""
WATCHED = {POLICY: POLICY_ENFORCED}
"""The label of namespaces with identities. A gate's watch looks into no others."""
RBAC = "/apis/rbac.authorization.k8s.io/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A ServiceAccount with a long-lived token in a Secret."""

    namespace: str
    service_account: str
    service_account_uid: str
    secret_name: str
    secret_uid: str
    token: Secret = field(repr=False)

    @property
    def user(self) -> str:
        return f"system:serviceaccount:{self.namespace}:{self.service_account}"

    @property
    def credential(self) -> str:
        """What a gate looks up for its tokens."""
        return credential_of(self.secret_uid, self.service_account_uid)

    @property
    def token_path(self) -> str:
        return token_path(self.namespace, self.service_account)

    @property
    def secret_path(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/secrets/{self.secret_name}"

    def bound_to(self, other: Identity) -> Identity:
        """The same, with another one's Secret: its tokens can be bound to that, too."""
        return replace(self, secret_name=other.secret_name, secret_uid=other.secret_uid)

    @property
    def bound_object_ref(self) -> dict[str, str]:
        """`spec.boundObjectRef` of a token that lives as long as the Secret."""
        return {
            "apiVersion": "v1", "kind": "Secret", "name": self.secret_name, "uid": self.secret_uid,
        }  # fmt: skip


def token_path(namespace: str, service_account: str) -> str:
    return f"/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}/token"


def unique(prefix: str, length: int = 8) -> str:
    """`<prefix>-<random>`: tests share one cluster, and nothing they make is called the same."""
    return f"{prefix}-{secrets.token_hex(length // 2)}"


def ensure_namespace(admin: Admin, name: str, *, labels: Mapping[str, str] | None = None) -> None:
    _ensure(admin, "/api/v1/namespaces", {"metadata": {"name": name, "labels": labels or {}}})


def make_namespace(
    admin: Admin, prefix: str = "team", *, labels: Mapping[str, str] | None = None
) -> str:
    name = unique(prefix)
    ensure_namespace(admin, name, labels=labels)
    return name


def ensure_service_account(
    admin: Admin, namespace: str, name: str, *, labels: Mapping[str, str] | None = None
) -> str:
    collection = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    account = _ensure(admin, collection, {"metadata": {"name": name, "labels": labels or {}}})
    return str(account["metadata"]["uid"])


def make_token_secret(
    admin: Admin,
    namespace: str,
    service_account: str,
    *,
    name: str | None = None,
    labels: Mapping[str, str] | None = None,
) -> Document:
    """A Secret of type service-account-token, as it is once the token controller has filled it.

    It is called `<sa>-daypass-<20 random>` unless it is named. It names the account by UID, as
    daypass does: a token controller that does not know the account yet deletes a Secret without.
    """
    name = name or unique(f"{service_account}-daypass", 20)
    account = admin.get(f"/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}")
    collection = f"/api/v1/namespaces/{namespace}/secrets"
    annotations = {
        ACCOUNT_ANNOTATION: service_account,
        ACCOUNT_UID_ANNOTATION: account["metadata"]["uid"],
    }
    metadata = {"name": name, "annotations": annotations, "labels": labels or {}}
    admin.create(collection, {"metadata": metadata, "type": TOKEN_TYPE})

    def filled() -> Document | None:
        secret = admin.get(f"{collection}/{name}")
        return secret if secret.get("data", {}).get("token") else None

    return eventually(f"a token in Secret {namespace}/{name}", filled)


def make_look_alike(
    admin: Admin, identity: Identity, *, type_: str = "Opaque", infix: str = SECRET_INFIX,
    labels: Mapping[str, str] = OWNED,
) -> Identity:  # fmt: skip
    """The identity with another Secret, which has the name and annotations of one of its own."""
    account = identity.service_account
    name = unique(f"{account}{infix}".removesuffix("-"), 20)
    annotations = {
        "kubernetes.io/service-account.name": account,
        ACCOUNT_UID_ANNOTATION: identity.service_account_uid,
    }
    metadata = {"name": name, "labels": dict(labels), "annotations": annotations}
    collection = f"/api/v1/namespaces/{identity.namespace}/secrets"
    made = admin.create(collection, {"metadata": metadata, "type": type_})
    return replace(identity, secret_name=name, secret_uid=made["metadata"]["uid"])


def make_anchor(admin: Admin, identity: Identity) -> Identity:
    """The identity with an anchor as its Secret, as `identity federate` makes it."""
    return make_look_alike(admin, identity, type_=ANCHOR_TYPE, infix=ANCHOR_INFIX)


def make_credential(
    admin: Admin, authority: str, namespace: str, name: str, account_uid: str,
    labels: Mapping[str, str] = OF_DAYPASS,
) -> Document:  # fmt: skip
    """Make a credential of ServiceAccount `name` without a token, and return its Secret.

    It has all that the token controller would add, so that thousands take seconds. `authority`: of
    the API server, as PEM.
    """
    annotations = {
        "kubernetes.io/service-account.name": name, ACCOUNT_UID_ANNOTATION: account_uid,
    }  # fmt: skip
    metadata = {
        "name": unique(f"{name}-daypass", 20), "labels": dict(labels), "annotations": annotations,
    }  # fmt: skip
    content = {"token": "none", "namespace": namespace, "ca.crt": authority}
    data = {key: base64.b64encode(text.encode()).decode() for key, text in content.items()}
    collection = f"/api/v1/namespaces/{namespace}/secrets"
    return admin.create(collection, {"metadata": metadata, "type": TOKEN_TYPE, "data": data})


def secret_token(secret: Document) -> Secret:
    return Secret(base64.b64decode(secret["data"]["token"]).decode())


def allow_token_requests(
    admin: Admin, namespace: str, requester: str, targets: Sequence[str]
) -> None:
    """Let ServiceAccount `requester` ask for tokens of `targets`, in one namespace, by RBAC."""
    rule = {
        "apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"],
        "resourceNames": list(targets),
    }  # fmt: skip
    allow(admin, namespace, requester, rule)


def wait_until_allowed(
    admin: Admin, user: str, attributes: Mapping[str, str], *, groups: Sequence[str] = ()
) -> None:
    """Wait until RBAC lets a user do something: a new binding counts some milliseconds late."""
    review = {"spec": {"user": user, "groups": list(groups), "resourceAttributes": attributes}}
    collection = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    eventually(
        f"{user} may {attributes}",
        lambda: bool(admin.create(collection, review)["status"]["allowed"]),
    )


def allow(
    admin: Admin, namespace: str, requester: str, *rules: Document, home: str | None = None
) -> None:
    """A Role with these rules, bound to ServiceAccount `requester`, in one namespace.

    Returns when they are in force. `home`: the namespace of the ServiceAccount, if it is another.
    """
    name = unique(requester)
    collection = f"{RBAC}/namespaces/{namespace}"
    admin.create(f"{collection}/roles", {"metadata": {"name": name}, "rules": list(rules)})
    bind(admin, namespace, requester, kind="Role", role=name, home=home)
    for rule in rules:
        resource, _, subresource = rule["resources"][-1].partition("/")
        attributes = {
            "namespace": namespace, "verb": rule["verbs"][-1], "group": rule["apiGroups"][-1],
            "resource": resource, "subresource": subresource,
            "name": rule.get("resourceNames", [""])[-1],
        }  # fmt: skip
        user = f"system:serviceaccount:{home or namespace}:{requester}"
        wait_until_allowed(admin, user, attributes)


def bind(
    admin: Admin, namespace: str, requester: str, *, role: str, kind: str = "ClusterRole",
    home: str | None = None, until: Document | None = None,
) -> None:  # fmt: skip
    """Bind a role that exists to a ServiceAccount, as `allow` does.

    `until`: attributes of what it may do then. Returns when it may.
    """
    subject = {"kind": "ServiceAccount", "name": requester, "namespace": home or namespace}
    binding = {"metadata": {"name": unique(requester)}, **_binding(kind, role, subject)}
    admin.create(f"{RBAC}/namespaces/{namespace}/rolebindings", binding)
    if until is not None:
        user = f"system:serviceaccount:{home or namespace}:{requester}"
        wait_until_allowed(admin, user, {"namespace": namespace, **until})


def _binding(kind: str, role: str, subject: Document) -> Document:
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role}
    return {"roleRef": reference, "subjects": [subject]}


@contextmanager
def bound_cluster_wide(
    admin: Admin, cluster_role: str, subject: Identity | Document
) -> Iterator[None]:
    """A ClusterRole in force for an identity or another subject of RBAC, while this lasts."""
    if isinstance(subject, Identity):
        subject = {
            "kind": "ServiceAccount", "name": subject.service_account,
            "namespace": subject.namespace,
        }  # fmt: skip
    name = unique("tests")
    binding = {"metadata": {"name": name}, **_binding("ClusterRole", cluster_role, subject)}
    admin.create(f"{RBAC}/clusterrolebindings", binding)
    try:
        yield
    finally:
        admin.delete(f"{RBAC}/clusterrolebindings/{name}")


def make_identity(
    admin: Admin, namespace: str, name: str = "bot", *, authorize: bool = True
) -> Identity:
    """A ServiceAccount with a new token Secret, which may ask for its own tokens.

    Makes the namespace, with the label, and the ServiceAccount where they are not there yet; asked
    for the same name again it adds another Secret. `authorize=False` leaves Role and RoleBinding
    out.
    """
    ensure_namespace(admin, namespace, labels=WATCHED)
    uid = ensure_service_account(admin, namespace, name, labels=OF_DAYPASS)
    secret = make_token_secret(admin, namespace, name, labels=OF_DAYPASS)
    if authorize:
        allow_token_requests(admin, namespace, name, [name])
    return Identity(
        namespace=namespace,
        service_account=name,
        service_account_uid=uid,
        secret_name=secret["metadata"]["name"],
        secret_uid=secret["metadata"]["uid"],
        token=secret_token(secret),
    )


def make_token(
    admin: Admin,
    identity: Identity,
    *,
    audiences: Sequence[str] = (),
    lifetime_seconds: int = 3600,
    bound: bool = True,
) -> Secret:
    """A short-lived token of an identity, asked for by the admin; bound to its Secret, or not."""
    spec: Document = {"audiences": list(audiences), "expirationSeconds": lifetime_seconds}
    if bound:
        spec["boundObjectRef"] = identity.bound_object_ref
    return Secret(admin.create(identity.token_path, {"spec": spec})["status"]["token"])


def make_pod(admin: Admin, namespace: str, name: str, *, service_account: str) -> str:
    """A Pod, which nothing ever runs; its UID."""
    spec = {
        "serviceAccountName": service_account, "automountServiceAccountToken": False,
        "containers": [{"name": "main", "image": "none"}],
    }  # fmt: skip
    document = {"metadata": {"name": name}, "spec": spec}
    pod = admin.create(f"/api/v1/namespaces/{namespace}/pods", document)
    return str(pod["metadata"]["uid"])


def _ensure(admin: Admin, collection: str, document: Document) -> Document:
    try:
        return admin.create(collection, document)
    except AdminError as error:
        if error.answer.code != 409:
            raise
        return admin.get(f"{collection}/{document['metadata']['name']}")
