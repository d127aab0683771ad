"""What happens to an object between its sender and the store: defaults, checks, admission.

Only what daypass meets; for the rest `kinds.ONLY_IN_A_CLUSTER` says that it is not looked at.
"""

from __future__ import annotations

import base64
import json
import re
from typing import Any

from daypass.local.apiserver import errors
from daypass.local.apiserver.cluster import ServerContext
from daypass.local.apiserver.errors import (
    Cause,
    StatusError,
    invalid_value,
    quote,
    quote_list,
    required,
    unsupported,
)
from daypass.local.apiserver.kinds import (
    CLUSTER_ROLE,
    CLUSTER_ROLE_BINDING,
    CONFIG_MAP,
    NAMESPACE,
    POD,
    RBAC,
    ROLE,
    ROLE_BINDING,
    SECRET,
    SERVICE_ACCOUNT,
    Kind,
)
from daypass.local.apiserver.names import WRONG_CONFIG_KEY, metadata_causes, subdomain_faults
from daypass.local.apiserver.rbac import Attributes, Rule, authorize, missing, role_rules, rules_of
from daypass.local.apiserver.store import Object
from daypass.local.apiserver.users import MASTERS, User

ACCOUNT_ANNOTATION = "kubernetes.io/service-account.name"
TOKEN_TYPE = "kubernetes.io/service-account-token"  # noqa: S105
_REQUIRED_DATA = {
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
}
_SUBJECTS = ("ServiceAccount", "User", "Group")


def defaulted(kind: Kind, obj: Object) -> Object:
    """The object with what its sender may leave out."""
    obj = dict(obj)
    if kind is NAMESPACE:
        labels = obj["metadata"].get("labels", {})
        named = {**labels, "kubernetes.io/metadata.name": obj["metadata"].get("name", "")}
        obj["metadata"] = {**obj["metadata"], "labels": named}
        obj["spec"] = {"finalizers": ["kubernetes"], **obj.get("spec", {})}
        obj["status"] = {"phase": "Active"}
    elif kind is SECRET:
        given = obj.pop("stringData", {})
        encoded = {key: base64.b64encode(text.encode()).decode() for key, text in given.items()}
        obj["data"] = {**obj.get("data", {}), **encoded}
        obj["type"] = obj.get("type") or "Opaque"
    elif kind is POD:
        spec = obj.get("spec", {})
        if isinstance(spec, dict):
            obj["spec"] = {**spec, "serviceAccountName": spec.get("serviceAccountName", "default")}
        obj.setdefault("status", {"phase": "Pending"})
    elif kind in (ROLE, CLUSTER_ROLE):
        obj["rules"] = obj.get("rules") or None
    elif kind in (ROLE_BINDING, CLUSTER_ROLE_BINDING):
        obj["roleRef"] = {"apiGroup": RBAC, **obj.get("roleRef", {})}
        subjects = [_subject(subject) for subject in obj.get("subjects", [])]
        obj["subjects"] = subjects
    return obj if kind.custom else _without_empty(obj)


def _subject(subject: Object) -> Object:
    known = {"kind": subject.get("kind", ""), "apiGroup": RBAC}
    if subject.get("kind") not in ("User", "Group"):
        known.pop("apiGroup")
    return {**known, **subject}


def _without_empty(obj: Object) -> Object:
    kept = {key: value for key, value in obj.items() if value not in ({}, []) or key == "metadata"}
    metadata = {key: value for key, value in obj["metadata"].items() if value not in ({}, [])}
    return {**kept, "metadata": metadata}


def check(kind: Kind, obj: Object, before: Object | None) -> None:
    """Raise the 422 for an object that its kind does not allow. `before`: as it was."""
    causes = metadata_causes(kind, obj["metadata"])
    if kind in (SECRET, CONFIG_MAP):
        causes += _data_causes(obj, before)
    if kind is SECRET:
        causes += _secret_causes(obj, before)
    elif kind in (ROLE, CLUSTER_ROLE):
        for index, rule in enumerate(obj["rules"] or []):
            causes += _rule_causes(rule, f"rules[{index}]", namespaced=kind is ROLE)
    elif kind in (ROLE_BINDING, CLUSTER_ROLE_BINDING):
        causes += _binding_causes(kind, obj, before)
    elif kind is POD and not _spec(obj).get("containers"):
        causes.append(required("spec.containers"))
    if causes:
        raise errors.invalid(kind.group, kind.kind, obj["metadata"].get("name", ""), causes)


def _data_causes(obj: Object, before: Object | None) -> list[Cause]:
    causes = []
    for part in ("data", "binaryData"):
        for key in obj.get(part, {}):
            if key in (".", "..") or not re.fullmatch(r"[-._a-zA-Z0-9]+", key):
                why = f"must not be '{key}'" if key in (".", "..") else WRONG_CONFIG_KEY
                causes.append(invalid_value(f"{part}[{key}]", quote(key), why))
        for key in {**obj.get("data", {})} if part == "binaryData" else ():
            if key in obj.get(part, {}):
                why = "duplicate of key present in binaryData"
                causes.append(invalid_value(f"data[{key}]", quote(key), why))
    for part in ("immutable", "data", "binaryData") if before and before.get("immutable") else ():
        if before and obj.get(part) != before.get(part):
            fixed = "Forbidden: field is immutable when `immutable` is set"
            causes.append(Cause(field=part, message=fixed, reason="FieldValueForbidden"))
            break
    return causes


def _secret_causes(obj: Object, before: Object | None) -> list[Cause]:
    kind = obj["type"]
    causes = [
        required(f"data[{key}]")
        for key in _REQUIRED_DATA.get(kind, ())
        if key not in obj.get("data", {})
    ]
    if kind == TOKEN_TYPE and not obj["metadata"].get("annotations", {}).get(ACCOUNT_ANNOTATION):
        causes.append(required(f"metadata.annotations[{ACCOUNT_ANNOTATION}]"))
    if before is not None and before["type"] != kind:
        causes.append(invalid_value("type", quote(kind), "field is immutable"))
    return causes


def _rule_causes(rule: Rule, place: str, *, namespaced: bool) -> list[Cause]:
    if not rule.get("verbs"):
        return [required(f"{place}.verbs")]
    if urls := rule.get("nonResourceURLs"):
        shown, faults = json.dumps(urls, separators=(",", ":")), []
        if namespaced:
            faults.append("namespaced rules cannot apply to non-resource URLs")
        if any(rule.get(key) for key in ("apiGroups", "resources", "resourceNames")):
            faults.append("rules cannot apply to both regular resources and non-resource URLs")
        return [invalid_value(f"{place}.nonResourceURLs", shown, why) for why in faults]
    wanted = (("apiGroups", "api group"), ("resources", "resource"))
    return [
        required(f"{place}.{key}", f"resource rules must supply at least one {word}")
        for key, word in wanted
        if not rule.get(key)
    ]


def _binding_causes(kind: Kind, obj: Object, before: Object | None) -> list[Cause]:
    role, causes = obj["roleRef"], []
    kinds = ("ClusterRole",) if kind is CLUSTER_ROLE_BINDING else ("Role", "ClusterRole")
    if role["apiGroup"] != RBAC:
        causes.append(unsupported("roleRef.apiGroup", quote(role["apiGroup"]), (RBAC,)))
    if role.get("kind", "") not in kinds:
        causes.append(unsupported("roleRef.kind", quote(role.get("kind", "")), kinds))
    if not role.get("name"):
        causes.append(required("roleRef.name"))
    for index, subject in enumerate(obj.get("subjects", [])):
        causes += _subject_causes(subject, f"subjects[{index}]", cluster=len(kinds) == 1)
    if before is not None and before["roleRef"] != role:
        go = {"APIGroup": role["apiGroup"], "Kind": role.get("kind"), "Name": role.get("name")}
        shown = json.dumps(go, separators=(",", ":"))
        causes.append(invalid_value("roleRef", shown, "field is immutable"))
    return causes


def _subject_causes(subject: Object, place: str, *, cluster: bool) -> list[Cause]:
    causes = []
    kind, group = subject["kind"], subject.get("apiGroup", "")
    if kind not in _SUBJECTS:
        causes.append(unsupported(f"{place}.kind", quote(kind), _SUBJECTS))
    elif kind == "ServiceAccount":
        if group:
            causes.append(unsupported(f"{place}.apiGroup", quote(group), ("",)))
        if cluster and not subject.get("namespace"):
            causes.append(required(f"{place}.namespace"))
    elif group != RBAC:
        causes.append(unsupported(f"{place}.apiGroup", quote(group), (RBAC,)))
    name = subject.get("name", "")
    if not name:
        causes.append(required(f"{place}.name"))
    elif kind == "ServiceAccount":
        causes += [
            invalid_value(f"{place}.name", quote(name), why) for why in subdomain_faults(name)
        ]
    return causes


def _spec(obj: Object) -> dict[str, Any]:
    spec = obj.get("spec")
    return spec if isinstance(spec, dict) else {}


def admit(cluster: ServerContext, user: User, kind: Kind, obj: Object, *, create: bool) -> None:
    """Raise what the API server's admission and its guards against escalation answer."""
    metadata = obj["metadata"]
    namespace = metadata.get("namespace", "")
    if create and kind.namespaced:
        require_namespace(cluster, namespace)
    if kind is POD and create:
        account = str(_spec(obj).get("serviceAccountName", "default"))
        if cluster.store.get(SERVICE_ACCOUNT, namespace, account) is None:
            why = (
                f"error looking up service account {namespace}/{account}: "
                f"serviceaccount {quote(account)} not found"
            )
            raise errors.forbidden("", "pods", metadata.get("name", ""), why)
    if MASTERS in user.groups:
        return
    if kind in (ROLE, CLUSTER_ROLE):
        guard = _attributes(kind, user, "escalate", namespace, metadata.get("name", ""))
        _no_escalation(cluster, guard, kind, obj, obj.get("rules") or [])
    elif kind in (ROLE_BINDING, CLUSTER_ROLE_BINDING):
        role = obj.get("roleRef", {})
        target = CLUSTER_ROLE if role.get("kind") == "ClusterRole" else ROLE
        guard = _attributes(target, user, "bind", namespace, role.get("name", ""))
        rules = role_rules(cluster.store, role, namespace)
        if rules is None and not authorize(cluster.store, guard).allowed:
            raise errors.not_found(kind.group, kind.plural, role.get("name", ""))
        _no_escalation(cluster, guard, kind, obj, rules or [])


def require_namespace(cluster: ServerContext, namespace: str) -> None:
    """Raise the 404 for a namespace that is not there."""
    if cluster.store.get(NAMESPACE, "", namespace) is None:
        raise errors.not_found("", "namespaces", namespace)


def _attributes(kind: Kind, user: User, verb: str, namespace: str, name: str) -> Attributes:
    return Attributes(
        user=user, verb=verb, group=kind.group, resource=kind.plural, namespace=namespace, name=name
    )


def _no_escalation(
    cluster: ServerContext, guard: Attributes, kind: Kind, obj: Object, wanted: list[Rule]
) -> None:
    """Nobody grants what they have not, unless they may `escalate` or `bind` (rbac/escalation)."""
    if authorize(cluster.store, guard).allowed:
        return
    lacking = missing(rules_of(cluster.store, guard.user, guard.namespace), wanted)
    if lacking:
        shown = "\n".join(_rule_texts(lacking))
        why = (
            f"user {quote(guard.user.name)} (groups={quote_list(guard.user.groups)}) is attempting "
            f"to grant RBAC permissions not currently held:\n{shown}"
        )
        raise errors.forbidden(kind.group, kind.plural, obj["metadata"].get("name", ""), why)


def _rule_texts(rules: list[Rule]) -> list[str]:
    """Rules as Go prints them, verbs of the same things together."""
    words = {"apiGroups": "APIGroups", "resources": "Resources", "resourceNames": "ResourceNames",
             "nonResourceURLs": "NonResourceURLs"}  # fmt: skip
    verbs: dict[str, list[str]] = {}
    for rule in rules:
        parts = [f"{word}:{quote_list(rule[key])}" for key, word in words.items() if key in rule]
        verbs.setdefault(", ".join(parts), []).extend(rule["verbs"])
    return sorted(f"{{{parts}, Verbs:{quote_list(done)}}}" for parts, done in verbs.items())


def protected(kind: Kind, name: str) -> StatusError | None:
    """The 403 for what must not be deleted."""
    if kind is NAMESPACE and name in ("default", "kube-system", "kube-public"):
        return errors.forbidden("", kind.plural, name, "this namespace may not be deleted")
    return None
