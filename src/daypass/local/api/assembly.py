"""The parts of an API server put together, as they were kept or anew."""

from __future__ import annotations

import secrets
from pathlib import Path

from daypass._core.clock import Clock
from daypass._core.secret import Secret
from daypass.local.api import snapshot
from daypass.local.api.api import Api
from daypass.local.api.authentication import Authenticator
from daypass.local.api.cluster import Cluster, Settings
from daypass.local.api.keys import KeyRing, SigningKey
from daypass.local.api.store import Store
from daypass.local.api.tokens import Issuer


def assemble(
    settings: Settings, clock: Clock, *, anonymous: bool = True, state_file: Path | None = None
) -> Api:
    """An Api without a socket. Raises SnapshotError, UnsafeFileError, OSError."""
    store = Store()
    known = None if state_file is None else snapshot.load(state_file)
    if known is None:
        token, keys = Secret(secrets.token_urlsafe(32)), [SigningKey.generate()]
    else:
        token, keys = known.admin_token, list(known.keys)
        known.fill(store)
    ring = KeyRing(keys)
    issuer = Issuer(
        store=store, keys=ring, clock=clock, name=settings.issuer, audiences=settings.audiences
    )
    cluster = Cluster(
        settings=settings,
        store=store,
        keys=ring,
        clock=clock,
        issuer=issuer,
        authenticator=Authenticator(
            issuer=issuer, clock=clock, admin_token=token, anonymous=anonymous
        ),
    )

    def save() -> None:
        if state_file is not None:
            snapshot.save(state_file, token, ring.keys, store)

    api = Api(cluster, save)
    if known is None:
        save()
    return api
