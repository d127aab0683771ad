"""What is replaced while the gate runs: the API server's keys, and the list of the revoked.

Each is an EnvoyFilter that holds the config of one filter. istiod sends it to the gateway by ECDS,
so that open connections obey it as well. An empty part of the list is published, too: what is not
there is not known, and the gate then refuses.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import replace

from daypass.render.envoy.revocation import Revoked, revocation
from daypass.render.istio.authentication import authentication
from daypass.render.istio.filters import SHARDS, revoked_names
from daypass.render.istio.objects import envoy_filter, extension_config
from daypass.render.istio.settings import IstioGate
from daypass.render.names import GATE_KEYS
from daypass.render.objects import Object
from daypass.spec import Config

_TOGETHER = 500
"""Entries that are kept in one part. The larger it is, the longer a new entry is on its way."""

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
    few = sum(len(getattr(revoked, name)) for name in _LISTS) <= _TOGETHER
    for number in range(SHARDS):
        entries = {
            name: {value for value in getattr(revoked, name) if _part_of(value, few) == number}
            for name in _LISTS
        }
        # One of them is enough to ask how old a token is, and whether anything is known.
        first = number == 0
        yield replace(
            revoked,
            **entries,
            issued_after_unix=revoked.issued_after_unix if first else 0,
            closed=revoked.closed and first,
            closed_after_unix=revoked.closed_after_unix if first else 0,
            followed=revoked.followed if first else None,
        )


def _part_of(value: str, few: bool) -> int:
    # By its own digest, so that one entry more changes one object.
    return 0 if few else hashlib.sha256(value.encode()).digest()[0] % SHARDS
