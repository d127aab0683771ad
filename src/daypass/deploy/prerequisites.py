"""What the manifests need and `apply` provides: a serving certificate, copies of authorities."""

from __future__ import annotations

import base64
import datetime
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from daypass._core.clock import Clock, deadline_unix, rfc3339, utc
from daypass._core.errors import DaypassError
from daypass._core.hints import kubectl
from daypass._core.kubernetes.labels import RENEW_AFTER
from daypass._core.kubernetes.objects import Object, new_object
from daypass._core.threads import in_parallel
from daypass.deploy.facts import certificates_in
from daypass.deploy.objects import ObjectRef, find_object
from daypass.kube.cluster import Cluster
from daypass.render.prerequisites import Prerequisite

LIFETIME = datetime.timedelta(days=5 * 365)
RENEWED_BEFORE = datetime.timedelta(days=2 * 365)


def make_serving_certificate(
    namespace: str, name: str, host: str, clock: Clock, trusted: str = ""
) -> Object:
    """Return a Secret with a certificate for `host`, its key, and `ca.crt` to verify it.

    The authority's key is discarded, so that no other certificate can be made. `trusted`: PEM that
    `ca.crt` also holds, since doors and gateways do not load a new certificate at once.
    """
    from daypass.deploy.certificate_authority import Authority

    # A unique name: of two authorities with one name, OpenSSL tries only the first.
    name_of_authority = f"daypass door authority {secrets.token_hex(8)}"
    authority = Authority.create(name_of_authority, clock, lifetime=LIFETIME)
    chain, key = authority.issue([host], clock, common_name="daypass door", lifetime=LIFETIME)
    data = {
        "ca.crt": _base64((authority.pem + trusted).encode()),
        "tls.crt": _base64(chain),
        "tls.key": _base64(key),
    }
    due = utc(clock.unix()) + LIFETIME - RENEWED_BEFORE
    return new_object(
        "v1",
        "Secret",
        name,
        namespace,
        annotations={RENEW_AFTER: rfc3339(due)},
        type="kubernetes.io/tls",
        data=data,
    )


def is_due(metadata: Object, clock: Clock) -> bool:
    """Return whether a certificate is due for renewal; False if daypass did not make it."""
    return deadline_unix((metadata.get("annotations") or {}).get(RENEW_AFTER)) <= clock.unix()


def authority_in(document: Object) -> str:
    """Return the certificates of `ca.crt` in a Secret or a ConfigMap; empty if there are none."""
    text = (document.get("data") or {}).get("ca.crt") or ""
    if document.get("kind") == "Secret":
        try:
            text = base64.b64decode(text, validate=True).decode("ascii", "replace")
        except ValueError:
            return ""
    return certificates_in(text)


def authority_object(kind: str, namespace: str, name: str, pem: str) -> Object:
    """Return a Secret or a ConfigMap with `ca.crt` alone."""
    value = _base64(pem.encode()) if kind == "Secret" else pem
    return new_object("v1", kind, name, namespace, data={"ca.crt": value})


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


@dataclass(slots=True, kw_only=True)
class ProvidedPrerequisites:
    """`objects`: to be applied. `kept`: the metadata of existing objects that stay. `waiting`:
    copies of what cert-manager has yet to make. `missing`: what the user has to provide.
    """

    objects: list[Object] = field(default_factory=list)
    kept: dict[ObjectRef, Object] = field(default_factory=dict)
    waiting: list[Prerequisite] = field(default_factory=list)
    missing: list[Prerequisite] = field(default_factory=list)


def provide_prerequisites(
    cluster: Cluster, needs: Sequence[Prerequisite], namespace: str
) -> ProvidedPrerequisites:
    """Return what to apply for these needs; changes nothing. `namespace`: the door's.

    Raises DaypassError if an authority to copy holds no certificate.
    """
    provided = ProvidedPrerequisites()

    def copy(need: Prerequisite, pem: str) -> None:
        provided.objects.append(authority_object(need.kind, need.namespace, need.name, pem))

    named = {ObjectRef.core(need.kind, need.namespace, need.name): need for need in needs}
    look = partial(find_object, cluster, metadata_only=True)
    there = dict(zip(named, in_parallel(look, named), strict=True))
    authorities: dict[str, str | None] = {}
    for ref, need in named.items():
        found = there[ref]
        if need.content == "public-pair" and found is None:
            provided.missing.append(need)
        elif need.content == "pair":
            authorities[need.name] = _provide_certificate(cluster, ref, need, found, provided)
    for need in needs:
        if not (pair := need.pair):
            continue
        if not authorities.get(pair):
            authorities[pair] = _authority(cluster, ObjectRef.core("Secret", namespace, pair))
        authority = authorities[pair]
        if authority is None:
            provided.waiting.append(need)
        else:
            copy(need, authority)
    return provided


def _provide_certificate(
    cluster: Cluster,
    ref: ObjectRef,
    need: Prerequisite,
    found: Object | None,
    provided: ProvidedPrerequisites,
) -> str | None:
    """Keep or renew a serving certificate; return the authority of a new one."""
    clock = cluster.clock
    if found is not None and not is_due(found["metadata"], clock):
        provided.kept[ref] = found
        return None
    trusted = (_authority(cluster, ref) or "") if found is not None else ""
    made = make_serving_certificate(need.namespace, need.name, need.host, clock, trusted)
    provided.objects.append(made)
    return authority_in(made)


def _authority(cluster: Cluster, ref: ObjectRef) -> str | None:
    document = find_object(cluster, ref)
    if document is None:
        return None
    found = authority_in(document)
    if not found:
        raise DaypassError(
            f"{ref} has no certificate in `ca.crt`, which it is to be trusted by",
            "delete it, and apply makes another: "
            + kubectl("delete", ref.kind.lower(), ref.name, "-n", ref.namespace),
        )
    return found
