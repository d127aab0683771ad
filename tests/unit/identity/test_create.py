"""Creating identities: the objects, the refusals, and a second run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from daypass._core import labels
from daypass.identity.create import NEVER, IdentitySpec, create, plan
from daypass.identity.model import (
    ForeignAccountError,
    InactiveIdentityError,
    find_account,
    identity_objects,
)
from daypass.identity.tokens import wait_for_token
from daypass.kube.cluster import Cluster
from daypass.kube.errors import ForbiddenError, NotFoundError
from daypass.kube.resources import ROLES, SERVICE_ACCOUNTS, Object
from support.authority import Authority
from support.embedded import EmbeddedCluster
from support.lifecycle import BOT, SETTINGS, Warnings, exchange, foreign_account, make, own_secrets
from support.messages import check, raises


def account(cluster: Cluster) -> Object:
    return cluster.get(SERVICE_ACCOUNTS, "bot", "team")


def namespace_admin(world: EmbeddedCluster) -> Cluster:
    """A client with the ClusterRole `admin` in `team` and no other rights."""
    for document in identity_objects("far", "somebody", "somebody-daypass-" + "0" * 20):
        world.cluster.apply(document)
    group = "rbac.authorization.k8s.io"
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "somebody", "namespace": "team"},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "somebody", "namespace": "far"}],
    }
    world.cluster.create(binding)
    token = wait_for_token(world.cluster, "far", "somebody-daypass-" + "0" * 20)
    return world.as_holder_of(token)


def test_a_new_identity_can_request_tokens_for_itself_only(world: EmbeddedCluster) -> None:
    other = replace(BOT, name="other")
    make(world.cluster, other)
    created = make(world.cluster)
    holder = world.as_holder_of(created.token)
    assert not isinstance(exchange(holder, BOT, bound_to=created.secret_name), Exception)
    assert isinstance(exchange(holder, other, bound_to=None), ForbiddenError)
    assert account(world.cluster).get("secrets") is None


def test_a_second_run_keeps_the_secret_and_its_token(world: EmbeddedCluster) -> None:
    first, second = make(world.cluster), make(world.cluster)
    assert (first.is_new, second.is_new) == (True, False)
    assert (first.secret_name, first.token) == (second.secret_name, second.token)
    assert len(own_secrets(world.cluster)) == 1


def test_a_second_run_restores_a_deleted_role(world: EmbeddedCluster) -> None:
    created = make(world.cluster)
    world.cluster.delete(ROLES, "bot-daypass-token", "team")
    make(world.cluster)
    holder = world.as_holder_of(created.token)
    assert not isinstance(exchange(holder, BOT, bound_to=created.secret_name), Exception)


@pytest.mark.parametrize(
    "present", [{}, {labels.MANAGED_BY: labels.MANAGER}], ids=["unlabelled", "labelled"]
)
def test_a_foreign_account_is_refused_without_adopt(
    world: EmbeddedCluster, present: dict[str, str]
) -> None:
    foreign_account(world.cluster, **present)
    before = account(world.cluster)
    with raises(ForeignAccountError, match="(?s)team/bot.*--adopt"):
        make(world.cluster)
    assert account(world.cluster) == before
    assert own_secrets(world.cluster) == []
    make(world.cluster, adopt=True)
    assert account(world.cluster)["metadata"]["annotations"][labels.ADOPTED] == "true"
    make(world.cluster)  # it is an identity by now
    assert account(world.cluster)["metadata"]["annotations"][labels.ADOPTED] == "true"


def test_an_account_managed_by_another_tool_is_not_adopted(world: EmbeddedCluster) -> None:
    foreign_account(world.cluster, **{labels.MANAGED_BY: "Helm"})
    with raises(ForeignAccountError, match="team/bot.*Helm"):
        make(world.cluster, adopt=True)


def test_a_deadline_stays_until_another_one_is_set(world: EmbeddedCluster) -> None:
    def deadline() -> object:
        return account(world.cluster)["metadata"]["annotations"].get(labels.DEADLINE)

    make(world.cluster, deadline="2027-02-01T00:00:00Z")
    make(world.cluster)
    assert deadline() == "2027-02-01T00:00:00Z"
    world.clock.advance(60 * 86_400)
    with raises(InactiveIdentityError, match="2027-02-01T00:00:00Z"):
        make(world.cluster)
    make(world.cluster, deadline="2028-02-01T00:00:00Z")
    assert deadline() == "2028-02-01T00:00:00Z"
    make(world.cluster, deadline=NEVER)
    assert deadline() is None


def test_the_credentials_options_are_stored_as_annotations(world: EmbeddedCluster) -> None:
    settings = replace(SETTINGS, authority=Authority().pem, lifetime_seconds=900)
    make(world.cluster, credentials=settings)
    found = find_account(world.cluster, BOT)
    assert found is not None
    assert type(SETTINGS).of(found) == settings


def test_a_missing_namespace_is_an_error_before_anything_is_created(world: EmbeddedCluster) -> None:
    with raises(NotFoundError, match="kubectl create namespace nowhere$"):
        make(world.cluster, replace(BOT, namespace="nowhere"))


def test_a_namespace_admin_creates_identities_with_a_warning_about_the_label(
    world: EmbeddedCluster,
) -> None:
    warnings = Warnings()
    spec = IdentitySpec(name=BOT, credentials=SETTINGS)
    create(namespace_admin(world), None, spec, warn=warnings)
    (warning,) = warnings
    assert "kubectl label namespace team daypass.dev/policy=enforced" in warning
    check(warning, reason="warning")
    assert len(own_secrets(world.cluster)) == 1


def test_a_plan_names_the_live_secret_and_changes_nothing(world: EmbeddedCluster) -> None:
    spec: Any = IdentitySpec(name=BOT, credentials=SETTINGS)
    one, other = (plan(spec, None, None, clock=world.clock)[-1] for _ in range(2))
    assert one["metadata"]["name"] != other["metadata"]["name"]
    assert find_account(world.cluster, BOT) is None
    created = make(world.cluster)
    documents = plan(spec, find_account(world.cluster, BOT), created.secret_name, clock=world.clock)
    assert documents[-1]["metadata"]["name"] == created.secret_name
    assert "data" not in documents[-1]
