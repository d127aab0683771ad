"""The revocation list as a ConfigMap: what a publisher writes, and what authorizers read.

`heardAt` is the time at which the publisher last knew everything that is revoked. It is renewed at
least every HEARTBEAT_SECONDS; a reader refuses everything once it is too old. The list is
compressed, since 20,000 UIDs nearly fill a ConfigMap.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from daypass._core.clock import utc
from daypass._core.errors import DaypassError
from daypass._core.hints import command
from daypass.gate.revocation.compressed_json import compress, decompress
from daypass.kube.resources import Object
from daypass.render.envoy.filters import RevocationSnapshot
from daypass.render.objects import GATE_REVOKED

HEARTBEAT_SECONDS = 20.0
FORMAT = 1
LIMIT_BYTES = 16 * 1024 * 1024
LIMIT_NAMES = 200_000
LIMIT_NAME = 253
_LIST, _HEARD = "revoked.json.gz", "heardAt"


class RevocationListError(DaypassError):
    """The ConfigMap has no readable revocation list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedRevocations:
    """A revocation list, and its last heartbeat (seconds, UTC)."""

    revoked: RevocationSnapshot
    heard_unix: float


def revocation_config_map(listed: PublishedRevocations, namespace: str) -> Object:
    """Return the ConfigMap; the same list gives the same bytes."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": GATE_REVOKED, "namespace": namespace},
        **heartbeat(listed.heard_unix),
        "binaryData": {_LIST: compress(_document(listed.revoked))},
    }


def heartbeat(heard_unix: float) -> Object:
    """Return the heartbeat as a merge patch of the ConfigMap."""
    return {"data": {_HEARD: f"{utc(heard_unix):%Y-%m-%dT%H:%M:%SZ}"}}


def read_revocation_list(config_map: Object) -> PublishedRevocations:
    """Return the list in a ConfigMap. Raises RevocationListError; what is read is bounded."""
    try:
        heard = datetime.fromisoformat(config_map["data"][_HEARD])
        document = decompress(config_map["binaryData"][_LIST], LIMIT_BYTES)
        if document["format"] != FORMAT:
            raise ValueError("format")
        if not isinstance(document["closed"], bool):
            raise TypeError("closed")
        revoked = RevocationSnapshot(
            secrets=_names(document["secrets"]),
            service_accounts=_names(document["serviceAccounts"]),
            tokens=_names(document["tokens"]),
            namespaces=_names(document["namespaces"]),
            issued_after_unix=int(document["issuedAfter"]),
            closed=document["closed"],
        )
        return PublishedRevocations(revoked=revoked, heard_unix=heard.timestamp())
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise RevocationListError(
            f"ConfigMap {GATE_REVOKED} has no readable revocation list ({type(error).__name__})",
            f"`{command('gate', 'watch')}` of the same version writes it again",
        ) from None


def _document(revoked: RevocationSnapshot) -> Object:
    return {
        "format": FORMAT,
        "secrets": sorted(revoked.secrets),
        "serviceAccounts": sorted(revoked.service_accounts),
        "tokens": sorted(revoked.tokens),
        "namespaces": sorted(revoked.namespaces),
        "issuedAfter": revoked.issued_after_unix,
        "closed": revoked.closed,
    }


def _names(listed: Any) -> frozenset[str]:
    if not isinstance(listed, list) or len(listed) > LIMIT_NAMES:
        raise ValueError("names")
    if not all(isinstance(name, str) and len(name) <= LIMIT_NAME for name in listed):
        raise ValueError("name")
    return frozenset(listed)
