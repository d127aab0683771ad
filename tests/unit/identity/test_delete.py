"""Revocation and deletion: what stops working, and what stays."""

from __future__ import annotations

from dataclasses import replace

from daypass._core.errors import DaypassError
from daypass.identity.accounts import ForeignAccountError, IdentityNotFoundError
from daypass.identity.delete import delete, revoke
from daypass.kube.resources import CONFIG_MAPS, SERVICE_ACCOUNTS
from support.embedded import EmbeddedCluster
from support.lifecycle import (
    BOT,
    Warnings,
    dry_run,
    exchange,
    foreign_account,
    grant,
    make,
    own_secrets,
    silent,
)
from support.messages import check, raises


def test_a_secret_without_a_token_that_has_the_name_of_one_is_revoked_and_never_handed_out(
    embedded: EmbeddedCluster,
) -> None:
    created = make(embedded.cluster)
    embedded.clock.advance(1)
    look_alike = f"bot-daypass-{'0' * 20}"
    metadata = {"name": look_alike, "namespace": "team"}
    embedded.cluster.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata})
    assert make(embedded.cluster).secret.name == created.secret.name
    assert look_alike in {each.name for each in revoke(embedded.cluster, BOT)[0]}


def test_a_deletion_removes_all_annotated_objects_and_nothing_else(
    embedded: EmbeddedCluster,
) -> None:
    other = replace(BOT, name="bot-daypass")
    kept = make(embedded.cluster, other)
    make(embedded.cluster)
    grant(embedded.cluster)
    metadata = {"name": "bot-daypass-token", "namespace": "far"}
    embedded.cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    warnings = Warnings()
    with dry_run(embedded.cluster) as cluster:
        planned = delete(cluster, BOT, warn=silent)
    assert len(own_secrets(embedded.cluster)) == 1
    deleted = delete(embedded.cluster, BOT, warn=warnings)
    assert planned == deleted
    assert deleted.left == []
    assert [each.partition("/")[0] for each in deleted.deleted] == [
        "rolebindings", "secrets", "rolebindings", "authorizationpolicies", "roles",
        "serviceaccounts",
    ]  # fmt: skip
    assert deleted.deleted[0] == "rolebindings/bot-daypass-token in team"
    (warning,) = warnings
    assert warning.startswith("far ")
    check(warning, reason="warning")
    assert not isinstance(
        exchange(embedded.as_holder_of(kept.token), other, bound_to=kept.secret.name), DaypassError
    )
    assert embedded.cluster.find(CONFIG_MAPS, "bot-daypass-token", "far") is not None
    with raises(IdentityNotFoundError, match="team/bot"):
        delete(embedded.cluster, BOT, warn=silent)


def test_an_adopted_account_stays_without_labels_or_annotations_of_daypass(
    embedded: EmbeddedCluster,
) -> None:
    foreign_account(embedded.cluster, app="x")
    created = make(embedded.cluster, adopt=True, deadline="2027-02-01T00:00:00Z")
    deleted = delete(embedded.cluster, BOT, warn=silent)
    assert deleted.left == ["serviceaccounts/bot in team"]
    left = embedded.cluster.get(SERVICE_ACCOUNTS, "bot", "team")["metadata"]
    assert left["labels"] == {"app": "x"}
    assert left.get("annotations", {}) == {}
    assert isinstance(
        exchange(embedded.as_holder_of(created.token), BOT, bound_to=None), DaypassError
    )
    with raises(ForeignAccountError, match="daypass identity list -n team"):
        delete(embedded.cluster, BOT, warn=silent)
