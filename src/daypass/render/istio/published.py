"""What is replaced while the gate runs: the API server's keys, and the list of the revoked.

Each is an EnvoyFilter that holds the config of one filter. istiod sends it to the gateway by ECDS,
so that open connections obey it as well. An empty part of the list is published, too: what is not
there is not known, and the gate then refuses.

What istiod converts and Envoy builds anew for an entry is the part that it stands in. So the first
part has what changes, and the entries that came lately: it is small. The others have the rest, and
change rarely. An entry that moves there is in both for a while.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from daypass.render.envoy.revocation import Revoked, revocation
from daypass.render.istio.authentication import authentication
from daypass.render.istio.filters import SHARDS, revoked_names
from daypass.render.istio.objects import envoy_filter, extension_config
from daypass.render.istio.settings import IstioGate
from daypass.render.names import GATE_KEYS
from daypass.render.objects import Object
from daypass.spec import Config

_FIRST_LIMIT = 7000
"""Entries of the first part; beyond it none is there. More come by hand alone."""

_LISTS = ("secrets", "service_accounts", "tokens", "namespaces")


def keys_object(config: Config, issuer: str, keys: str) -> Object:
    """The object that holds the API server's JSON Web Key Set, which `keys` is as text.

    `issuer`: the `iss` of its short-lived tokens.
    """
    settings = IstioGate.of(config, issuer)
    return envoy_filter(
        settings, GATE_KEYS, [extension_config(GATE_KEYS, authentication(settings, keys))]
    )


def revoked_objects(config: Config, revoked: Revoked) -> list[Object]:
    """The objects that hold the list, always as many."""
    settings = IstioGate.of(config, issuer="")
    return [
        envoy_filter(settings, name, [extension_config(name, revocation(part))])
        for name, part in zip(revoked_names(), _parts(revoked), strict=True)
    ]


def _parts(revoked: Revoked) -> Iterator[Revoked]:
    entries = {name: getattr(revoked, name) for name in _LISTS}
    fresh = {name: values - revoked.settled for name, values in entries.items()}
    rest = revoked.settled | revoked.settling
    others = {name: values & rest for name, values in entries.items()}
    if sum(map(len, fresh.values())) > _FIRST_LIMIT:
        fresh, others = {name: frozenset() for name in _LISTS}, entries
    yield replace(revoked, **fresh)
    # The first one is enough to ask how old a token is, and whether anything is known.
    for number in range(1, SHARDS):
        here: dict[str, Any] = {
            name: {value for value in values if _part_of(value) == number}
            for name, values in others.items()
        }
        yield Revoked(**here)


def _part_of(value: str) -> int:
    # By its own digest, so that one entry more changes one object.
    first, second, *_ = hashlib.sha256(value.encode()).digest()
    return first % SHARDS or 1 + second % (SHARDS - 1)
