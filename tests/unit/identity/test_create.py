"""Creating identities: the objects, the refusals, and a second run."""

from __future__ import annotations

from dataclasses import replace

from daypass._core.kubernetes import labels
from daypass._core.kubernetes.objects import Object
from daypass.identity.accounts import ForeignAccountError, InactiveIdentityError
from daypass.kube.cluster import Cluster
from daypass.kube.errors import ForbiddenError
from daypass.kube.resources import SERVICE_ACCOUNTS
from support.embedded import EmbeddedCluster
from support.lifecycle import BOT, exchange, foreign_account, make, own_secrets
from support.messages import raises


def account(cluster: Cluster) -> Object:
    return cluster.get(SERVICE_ACCOUNTS, "bot", "team")


def test_a_new_identity_can_request_tokens_for_itself_only(embedded: EmbeddedCluster) -> None:
    other = replace(BOT, name="other")
    make(embedded.cluster, other)
    created = make(embedded.cluster)
    holder = embedded.as_holder_of(created.token)
    assert not isinstance(exchange(holder, BOT, bound_to=created.secret.name), Exception)
    assert isinstance(exchange(holder, other, bound_to=None), ForbiddenError)
    assert account(embedded.cluster).get("secrets") is None


def test_a_foreign_account_is_refused_without_adopt(embedded: EmbeddedCluster) -> None:
    foreign_account(embedded.cluster)
    before = account(embedded.cluster)
    with raises(ForeignAccountError, match="(?s)team/bot.*--adopt"):
        make(embedded.cluster)
    assert account(embedded.cluster) == before
    assert own_secrets(embedded.cluster) == []
    make(embedded.cluster, adopt=True)
    assert account(embedded.cluster)["metadata"]["annotations"][labels.ADOPTED] == "true"
    make(embedded.cluster)  # it is an identity by now
    assert account(embedded.cluster)["metadata"]["annotations"][labels.ADOPTED] == "true"


def test_an_account_managed_by_another_tool_is_not_adopted(embedded: EmbeddedCluster) -> None:
    foreign_account(embedded.cluster, **{labels.MANAGED_BY: "Helm"})
    with raises(ForeignAccountError, match="team/bot.*Helm"):
        make(embedded.cluster, adopt=True)


def test_a_deadline_stays_until_another_one_is_set(embedded: EmbeddedCluster) -> None:
    def deadline() -> object:
        return account(embedded.cluster)["metadata"]["annotations"].get(labels.DEADLINE)

    make(embedded.cluster, deadline="2027-02-01T00:00:00Z")
    make(embedded.cluster)
    assert deadline() == "2027-02-01T00:00:00Z"
    embedded.clock.advance(60 * 86_400)
    with raises(InactiveIdentityError, match="2027-02-01T00:00:00Z"):
        make(embedded.cluster)
    make(embedded.cluster, deadline="2028-02-01T00:00:00Z")
    assert deadline() == "2028-02-01T00:00:00Z"
    make(embedded.cluster, deadline="")
    assert deadline() is None
