"""What has to be there beside the manifests, and `apply` brings: a pair, copies of authorities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from daypass._core.errors import DaypassError
from daypass._core.hints import kubectl
from daypass.deploy.identifier import Identifier
from daypass.deploy.pair import authority_in, authority_object, is_due, make_pair
from daypass.deploy.target import Target, each
from daypass.kube.resources import Object
from daypass.render.names import API_SERVER_NAMESPACE, CLUSTER_AUTHORITY, DOOR_PAIR, GATE_PAIR
from daypass.render.needs import Content, Need

_COPIED: dict[Content, str] = {"door-authority": DOOR_PAIR, "gate-authority": GATE_PAIR}
"""The Secret, in the door's namespace, whose `ca.crt` is copied."""


@dataclass(slots=True, kw_only=True)
class Brought:
    """`objects`: to be applied. `kept`: the metadata of what is there and stays. `waiting`: copies
    of what cert-manager has yet to make. `missing`: what somebody else brings, and has not.
    """

    objects: list[Object] = field(default_factory=list)
    kept: dict[Identifier, Object] = field(default_factory=dict)
    waiting: list[Need] = field(default_factory=list)
    missing: list[Need] = field(default_factory=list)


def bring(target: Target, needs: Sequence[Need], namespace: str) -> Brought:
    """What is to be done about needs; asks, and changes nothing. `namespace`: the door's.

    Raises DaypassError where what is to be copied holds no certificate.
    """
    brought = Brought()
    named = {_identifier(need.kind, need.namespace, need.name): need for need in needs}
    there = dict(zip(named, each(target.find_metadata, named), strict=True))
    authorities: dict[str, str | None] = {}
    for identifier, need in named.items():
        found = there[identifier]
        if need.content == "public-pair" and found is None:
            brought.missing.append(need)
        elif need.content in ("door-pair", "gate-pair"):
            authorities[need.name] = _bring_pair(target, identifier, need, found, brought)
        elif need.content == "api-server-authority":
            source = _identifier("ConfigMap", API_SERVER_NAMESPACE, CLUSTER_AUTHORITY)
            brought.objects.append(_copy(need, _authority(target, source) or ""))
    for need in needs:
        pair = _COPIED.get(need.content)
        if pair is None:
            continue
        if not authorities.get(pair):
            authorities[pair] = _authority(target, _identifier("Secret", namespace, pair))
        authority = authorities[pair]
        if authority is None:
            brought.waiting.append(need)
        else:
            brought.objects.append(_copy(need, authority))
    return brought


def _bring_pair(
    target: Target, identifier: Identifier, need: Need, found: Object | None, brought: Brought
) -> str | None:
    """See to the door's pair; the authority of it if it is a new one."""
    clock = target.cluster.clock
    if found is not None and not is_due(found["metadata"], clock):
        brought.kept[identifier] = found
        return None
    trusted = (_authority(target, identifier) or "") if found is not None else ""
    made = make_pair(need.namespace, need.name, need.host, clock, trusted)
    brought.objects.append(made)
    return authority_in(made)


def _authority(target: Target, identifier: Identifier) -> str | None:
    document = target.find(identifier)
    if document is None:
        return None
    found = authority_in(document)
    if not found:
        raise DaypassError(
            f"{identifier} has no certificate in `ca.crt`, which it is to be trusted by",
            "delete it, and apply makes another: "
            + kubectl(
                "delete", identifier.kind.lower(), identifier.name, "-n", identifier.namespace
            ),
        )
    return found


def _copy(need: Need, pem: str) -> Object:
    return authority_object(need.kind, need.namespace, need.name, pem)


def _identifier(kind: str, namespace: str, name: str) -> Identifier:
    return Identifier(group="", kind=kind, namespace=namespace, name=name)
