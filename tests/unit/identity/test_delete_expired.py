"""What is deleted after a deadline, and what stays."""

from __future__ import annotations

import pytest

from daypass._core.kubernetes import labels
from daypass.identity.delete import delete_expired
from daypass.kube.resources import ROLE_BINDINGS
from support.embedded import EmbeddedCluster
from support.lifecycle import (
    BOT,
    DISGUISES,
    disguise,
    make,
    own_secrets,
    renew,
    silent,
)

DAY = 86_400


@pytest.mark.parametrize("kind", [kind for kind in DISGUISES if kind.startswith("Secret")])
def test_a_disguised_secret_is_deleted_after_its_time(embedded: EmbeddedCluster, kind: str) -> None:
    old = make(embedded.cluster)
    renew(embedded.cluster, overlap_seconds=DAY)
    disguise(embedded.cluster, kind, BOT, old.secret.name)
    embedded.clock.advance(DAY)
    deleted = delete_expired(embedded.cluster, "team", warn=silent).deleted
    assert [each.name for each in deleted] == [old.secret.name]


@pytest.mark.parametrize("kind", [kind for kind in DISGUISES if kind.startswith("account")])
def test_an_identity_whose_account_lost_its_mark_still_expires(
    embedded: EmbeddedCluster, kind: str
) -> None:
    created = make(embedded.cluster, deadline="2027-02-01T00:00:00Z")
    disguise(embedded.cluster, kind, BOT, created.secret.name)
    assert delete_expired(embedded.cluster, "team", warn=silent).identities == []
    embedded.clock.advance(60 * DAY)
    assert delete_expired(embedded.cluster, "team", warn=silent).identities == [BOT]
    assert own_secrets(embedded.cluster) == []
    assert embedded.cluster.list(ROLE_BINDINGS, "team", labels=labels.SELECTOR) == []
