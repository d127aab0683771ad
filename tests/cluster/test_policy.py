"""`daypass policy` against a real API server: applied, checked, and not to be got around."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest

from cluster.protobuf import PROTOBUF, bound_to, field, wrapped
from daypass._core.errors import DaypassError
from daypass._core.jwt import decode_unverified
from daypass._core.kubernetes import labels
from daypass._core.secret import Secret
from daypass.config.settings import Policy
from daypass.kube.cluster import Cluster
from daypass.kube.errors import ForbiddenError
from daypass.kube.resources import (
    NAMESPACES,
    VALIDATING_ADMISSION_POLICIES,
    VALIDATING_ADMISSION_POLICY_BINDINGS,
)
from daypass.render.policy import policy_objects
from support import identities, policies
from support.admin import Answer
from support.admin_shell import AdminShell
from support.clusters import cluster_as
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.identities import Identity
from support.lifecycle import exchange, make
from support.messages import check, message_with, raises
from support.policies import policy_namespace

GATE = "gate.example.com"
POLICY = Policy(audiences=(GATE,), longest_lifetime_seconds=12 * 3600)


def prepare_plane(plane: ControlPlane) -> None:
    """Its policy changes."""


def is_as_written(cluster: Cluster, policy: Policy) -> bool:
    """Whether the policy and its binding are there with these fields."""
    found = [
        cluster.find(resource, labels.POLICY_NAME)
        for resource in (VALIDATING_ADMISSION_POLICIES, VALIDATING_ADMISSION_POLICY_BINDINGS)
    ]
    wanted = policy_objects(policy)
    return all(a and a["spec"] == b["spec"] for a, b in zip(found, wanted, strict=True))


@pytest.fixture
def cluster(plane: ControlPlane, cluster: Cluster) -> Cluster:
    """With POLICY in force, whatever another test has put there."""
    if not is_as_written(cluster, POLICY):
        for resource in (VALIDATING_ADMISSION_POLICY_BINDINGS, VALIDATING_ADMISSION_POLICIES):
            cluster.delete(resource, labels.POLICY_NAME)
        policies.apply(plane, cluster, POLICY)
    return cluster


@dataclass(frozen=True, slots=True, kw_only=True)
class Bot:
    """An identity in a namespace that is held to the policy."""

    plane: ControlPlane
    identity: Identity

    @property
    def namespace(self) -> str:
        return self.identity.namespace

    def ask(self, account: str = "bot", **spec: Any) -> Answer:
        """A real request for a token, by its long-lived token."""
        spec = {"audiences": [GATE], "expirationSeconds": 600, **spec}
        path = identities.token_path(self.namespace, account)
        return self.plane.client(self.identity.token).request("POST", path, {"spec": spec})


@pytest.fixture
def bot(plane: ControlPlane, cluster: Cluster) -> Bot:
    return Bot(plane=plane, identity=plane.make_identity(policy_namespace(plane)))


def test_a_protobuf_body_is_held_to_the_policy(bot: Bot) -> None:
    own, audience, lifetime = bot.identity.secret_name, field(1, GATE), field(4, 600)
    good = audience + lifetime + bound_to(own)
    other, pod = bound_to("other"), bound_to(own, kind="Pod")
    specs = {
        "nothing": (b"", "audiences"),
        "unbound": (audience + lifetime, "binding"),
        "bound to another": (audience + lifetime + other, "binding"),
        "bound to a Pod": (audience + lifetime + pod, "binding"),
        "bound, then to another": (good + other, "binding"),
        "bound, then to a Pod": (good + pod, "binding"),
        "bound, then to nothing": (good + bound_to("", kind=""), "binding"),
        "a longer name": (audience + lifetime + bound_to(f"{own}x"), "binding"),
        "another audience too": (good + field(1, "https://kubernetes.default.svc"), "audiences"),
        "an empty audience too": (good + field(1, ""), "audiences"),
        "a later lifetime": (good + field(4, 10**6), "lifetime"),
    }

    def ask(spec: bytes) -> Answer:
        path = identities.token_path(bot.namespace, "bot")
        body = wrapped(field(2, spec))
        headers = {"Content-Type": PROTOBUF}
        return bot.plane.client(bot.identity.token).request("POST", path, body, headers=headers)

    assert ask(good).code == 201
    for name, (spec, rule) in specs.items():
        answer = ask(spec)
        assert (answer.code, f" {rule}: " in answer.message) == (403, True), (name, answer)


def override(bot: Bot, annotations: dict[str, str]) -> None:
    path = f"/api/v1/namespaces/{bot.namespace}"
    bot.plane.admin.patch(path, {"metadata": {"annotations": annotations}})


def _own(message: str) -> str:
    """What the policy says, without what the API server puts before it."""
    return message.partition(" denied request: ")[2]


def _made(answer: Answer) -> str | None:
    return str(answer.json["status"]["token"]) if answer.code == 201 else None


def test_a_dry_run_is_held_to_the_policy_since_it_issues_a_real_token(bot: Bot) -> None:
    body = {"spec": {"audiences": [GATE], "expirationSeconds": 600}}
    target = f"{bot.identity.token_path}?dryRun=All"
    assert bot.plane.client(bot.identity.token).request("POST", target, body).code == 403


def test_a_huge_list_of_audiences_does_not_keep_the_api_server_busy(bot: Bot) -> None:
    """It did for half a minute, which is longer than this client waits, while it looked at each."""
    assert bot.ask(audiences=[GATE] * 100_000).code == 403


def test_a_pods_token_does_not_live_for_a_year_where_less_is_allowed(bot: Bot) -> None:
    """Kubernetes extends one of 3607 s for the API server itself, and for nobody else."""
    admin, server = bot.plane.admin, "https://kubernetes.default.svc"
    identities.make_pod(admin, bot.namespace, "pod", service_account="bot")
    reference = {"apiVersion": "v1", "kind": "Pod", "name": "pod"}
    free = {labels.POLICY_BINDING: "optional", labels.POLICY_AUDIENCES: f"{server} {GATE}"}

    def lifetime(seconds: int, *audiences: str) -> int | str:
        answer = bot.ask(
            audiences=audiences or [server], expirationSeconds=seconds, boundObjectRef=reference
        )
        if (token := _made(answer)) is None:
            return _own(answer.message)
        claims = decode_unverified(token)[1]
        return int(claims["exp"] - claims["iat"])

    override(bot, free)
    assert eventually("it counts", lambda: lifetime(3608) == 3608)
    assert (lifetime(3606), lifetime(600)) == (3606, 600)
    refused = str(lifetime(3607))
    check(refused, "43200", reason="lifetime")
    override(bot, {**free, labels.POLICY_LONGEST_LIFETIME: "365d"})
    eventually("it counts", lambda: lifetime(3607) == 365 * 86_400)
    assert lifetime(3607, GATE) == 3607


NOT_DENIED: dict[str, Callable[[Cluster, str], object]] = {
    "none": lambda cluster, namespace: cluster.delete(
        VALIDATING_ADMISSION_POLICY_BINDINGS, labels.POLICY_NAME
    ),
    "no label": lambda cluster, namespace: cluster.patch(
        NAMESPACES, namespace, {"metadata": {"labels": {labels.POLICY: None}}}
    ),
    "optional": lambda cluster, namespace: cluster.patch(
        NAMESPACES, namespace, {"metadata": {"annotations": {labels.POLICY_BINDING: "optional"}}}
    ),
}


@pytest.mark.parametrize("state", ["denied", *NOT_DENIED])
def test_a_revocation_says_whether_unbound_tokens_are_denied(
    cluster: Cluster, shell: AdminShell, state: str
) -> None:
    """What the API server says to the identity itself decides."""
    made = make(cluster, shell.bot)

    def unbound() -> bool:
        with closing(cluster_as(shell.plane, made.token)) as holder:
            return isinstance(exchange(holder, shell.bot, bound_to=None), Secret)

    if state == "denied":
        eventually("the policy denies", lambda: not unbound())
    else:
        NOT_DENIED[state](cluster, shell.namespace)
        eventually("the policy does not deny", unbound)
    out, err = shell.identity("revoke", "-o", "json", code=0 if state == "denied" else 3)
    assert json.loads(out)["unboundDenied"] is (state == "denied")
    end = f"daypass identity delete bot -n {shell.namespace}"
    assert (end in err) == (state != "denied")
    if state != "denied":
        check(message_with(err, end), reason="warning")


@pytest.mark.parametrize("state", ["denied", "no label", "another token Secret"])
def test_a_deletion_says_whether_an_adopted_account_keeps_tokens(
    cluster: Cluster, shell: AdminShell, state: str
) -> None:
    admin, namespace = shell.plane.admin, shell.namespace
    identities.ensure_service_account(admin, namespace, "bot")
    make(cluster, shell.bot, adopt=True)
    if state == "another token Secret":
        identities.make_token_secret(admin, namespace, "bot", name="by-hand")
    elif state != "denied":
        NOT_DENIED[state](cluster, namespace)
    _, err = shell.identity("delete", "--yes", code=0 if state == "denied" else 3)
    end = f"kubectl delete serviceaccount bot -n {namespace}"
    assert (end in err) == (state in NOT_DENIED)


def test_in_mode_audit_the_violation_is_only_in_the_audit_log(cluster: Cluster, bot: Bot) -> None:
    policies.put(cluster, POLICY.model_copy(update={"mode": "audit"}))
    eventually("it is in force", lambda: bot.ask().code == 201)
    position = bot.plane.audit_position()
    answer = bot.ask()
    assert (answer.code, answer.warnings) == (201, [])
    key = "validation.policy.admission.k8s.io/validation_failure"

    def told() -> list[str]:
        events = bot.plane.audit_events(since=position)
        return [event["annotations"][key] for event in events if key in event["annotations"]]

    assert "binding: " in eventually("the audit log tells", told)[0]


@pytest.fixture
def editor(bot: Bot) -> Iterator[Cluster]:
    """The bot as somebody gave it Kubernetes' own `edit`, next to a ServiceAccount `other`."""
    admin = bot.plane.admin
    identities.ensure_service_account(admin, bot.namespace, "other")
    until = {"verb": "impersonate", "resource": "serviceaccounts"}
    identities.bind(admin, bot.namespace, "bot", role="edit", until=until)
    opened = cluster_as(bot.plane, bot.identity.token)
    yield opened
    opened.close()


@pytest.mark.usefixtures("editor")
def test_the_edit_role_cannot_bypass_the_policy_with_other_service_accounts(bot: Bot) -> None:
    own = bot.identity.bound_object_ref
    for reference in (own, {}):
        assert "binding: " in bot.ask("other", boundObjectRef=reference).message
    named = {**own, "name": f"other-daypass-{'a' * 20}"}
    assert bot.ask("other", boundObjectRef=named, expirationSeconds=43_201).code == 403
    assert bot.ask("other", boundObjectRef=named, audiences=["x"]).code == 403


@pytest.mark.usefixtures("editor")
def test_the_edit_role_cannot_bypass_the_policy_by_impersonation(bot: Bot) -> None:
    def ask_as(user: str) -> Answer:
        body = {"spec": {"audiences": [GATE], "expirationSeconds": 600}}
        return bot.plane.client(bot.identity.token).request(
            "POST", identities.token_path(bot.namespace, "other"), body,
            headers={"Impersonate-User": user},
        )  # fmt: skip

    def allowed() -> Answer | None:
        answer = ask_as(f"system:serviceaccount:{bot.namespace}:other")
        return None if "cannot create" in answer.message else answer

    identities.bind(bot.plane.admin, bot.namespace, "other", role="edit")
    assert "binding: " in eventually("other may ask", allowed).message
    answer = ask_as("system:serviceaccount:kube-system:default")
    assert "cannot impersonate" in answer.message


@pytest.mark.parametrize("role", ["edit", "admin"])
def test_no_role_in_a_namespace_can_change_what_the_policy_reads(
    bot: Bot, editor: Cluster, role: str
) -> None:
    until = {"verb": "get", "resource": "namespaces"}
    identities.bind(bot.plane.admin, bot.namespace, "bot", role=role, until=until)
    for change in (
        {"annotations": {labels.POLICY_BINDING: "optional"}},
        {"labels": {labels.POLICY: None}},
    ):
        with pytest.raises(ForbiddenError):
            editor.patch(NAMESPACES, bot.namespace, {"metadata": change})
    for resource in (VALIDATING_ADMISSION_POLICIES, VALIDATING_ADMISSION_POLICY_BINDINGS):
        with pytest.raises(ForbiddenError):
            editor.delete(resource, labels.POLICY_NAME)


def test_the_edit_role_can_bind_a_token_to_a_secret_that_it_creates(
    bot: Bot, editor: Cluster
) -> None:
    """What the policy cannot see, as docs/how-to/policy.md says: a Secret is known by its name."""
    metadata = {"name": f"other-daypass-{'z' * 20}", "namespace": bot.namespace}
    made = editor.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata})
    uid = made["metadata"]["uid"]
    reference = {"apiVersion": "v1", "kind": "Secret", "name": metadata["name"], "uid": uid}
    assert bot.ask("other", boundObjectRef=reference).code == 201


def test_an_added_match_condition_is_refused(plane: ControlPlane, cluster: Cluster) -> None:
    found = cluster.get(VALIDATING_ADMISSION_POLICIES, labels.POLICY_NAME)
    # A condition of somebody else outlives server-side apply, and could let all requests pass.
    conditions = [*found["spec"]["matchConditions"], {"name": "hole", "expression": "false"}]
    path = VALIDATING_ADMISSION_POLICIES.path(None, labels.POLICY_NAME)
    plane.admin.patch(path, {"spec": {"matchConditions": conditions}})
    with raises(DaypassError, match=r"spec\.matchConditions"):
        policies.apply(plane, cluster, POLICY)
