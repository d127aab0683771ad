"""What is deleted after a deadline, and what stays."""

from __future__ import annotations

import pytest

from daypass._core.errors import DaypassError
from daypass._core.kubernetes import labels
from daypass.identity.delete import delete_expired
from daypass.identity.model import find_account
from daypass.kube.resources import AUTHORIZATION_POLICIES, ROLE_BINDINGS
from support.embedded import EmbeddedCluster
from support.lifecycle import (
    BOT,
    DISGUISES,
    disguise,
    dry_run,
    exchange,
    grant,
    make,
    own_secrets,
    renew,
    silent,
)

DAY = 86_400


def test_an_expired_identity_loses_tokens_and_grants_and_is_still_listed(
    embedded: EmbeddedCluster,
) -> None:
    created = make(embedded.cluster, deadline="2027-02-01T00:00:00Z")
    grant(embedded.cluster)
    assert delete_expired(embedded.cluster, None, warn=silent).identities == []
    embedded.clock.advance(60 * DAY)
    with dry_run(embedded.cluster) as cluster:
        planned = delete_expired(cluster, None, warn=silent)
    assert len(own_secrets(embedded.cluster)) == 1
    reaped = delete_expired(embedded.cluster, None, warn=silent)
    assert planned == reaped
    assert reaped.identities == [BOT]
    assert isinstance(
        exchange(embedded.as_holder_of(created.token), BOT, bound_to=None), DaypassError
    )
    assert embedded.cluster.list(ROLE_BINDINGS, labels=labels.SELECTOR) == []
    assert embedded.cluster.list(AUTHORIZATION_POLICIES, labels=labels.SELECTOR) == []
    account = find_account(embedded.cluster, BOT)
    assert account is not None
    assert account.has_expired(embedded.clock.unix())
    assert delete_expired(embedded.cluster, None, warn=silent).identities == []


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


def test_an_expired_identity_of_another_namespace_is_not_reaped(embedded: EmbeddedCluster) -> None:
    make(embedded.cluster, deadline="2027-02-01T00:00:00Z")
    embedded.clock.advance(60 * DAY)
    reaped = delete_expired(embedded.cluster, "far", warn=silent)
    assert (reaped.identities, reaped.deleted) == ([], [])
    assert len(own_secrets(embedded.cluster)) == 1
