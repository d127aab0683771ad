"""The policy on a real API server, held to its own description in Python, rule by rule.

What is asked here names a bound object that cannot be good, so that no token is made and thousands
of questions are cheap: the API server looks at it after the policy.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daypass._core.kubernetes import labels
from daypass.config.settings import Policy
from daypass.kube.cluster import Cluster
from daypass.kube.errors import ApiError
from daypass.render.policy import (
    BoundObject,
    Requester,
    TokenRequestAttributes,
    broken_rules,
    is_exempt,
)
from support import identities, policies
from support.controlplane import ControlPlane
from support.policies import policy_namespace

T = TypeVar("T")
NO_UID = "00000000-0000-0000-0000-000000000000"
GATE, OTHER, FOREIGN = "gate.example.com", "kfp", "https://kubernetes.default.svc"
OPERATOR = "system:serviceaccount:vault:vault"
POLICY = Policy(audiences=(GATE, OTHER), exempt=(OPERATOR, "jane {ops}", "Jörg"), mode="deny")
SUFFIX = "0123456789abcdefghij"
LONG = "a-name-with012345678901234567890"
ACCOUNTS = ("bot", "bot-daypass", "bot-daypass-anchor", "b.t", LONG)

REQUESTERS = {
    "itself": Requester(user="system:serviceaccount:team:bot"),
    "its short-lived token": Requester(
        user="system:serviceaccount:team:bot", has_credential_id=True
    ),
    "a neighbour": Requester(user="system:serviceaccount:team:neighbour"),
    "a ServiceAccount beside kube-system": Requester(user="system:serviceaccount:kube-systemx:a"),
    "an admin": Requester(user="jane", groups=("system:masters",), has_credential_id=True),
    "a user called like a node": Requester(user="system:node:n1"),
    "a user in the group of nodes": Requester(user="jane", groups=("system:nodes",)),
    "a federated user": Requester(user="federated:issuer.example#repo:a/b"),
    "a federated user with a jti": Requester(user="federated:i#s", has_credential_id=True),
    "a user with federated in the name": Requester(user="not-federated:issuer#x"),
    "a node": Requester(user="system:node:n1", groups=("system:nodes",), has_credential_id=True),
    "the controller manager": Requester(user="system:kube-controller-manager"),
    "the scheduler": Requester(user="system:kube-scheduler"),
    "the API server": Requester(user="system:apiserver", groups=("system:masters",)),
    "a controller in kube-system": Requester(
        user="system:serviceaccount:kube-system:generic-garbage-collector", has_credential_id=True
    ),
    "an exempt person": Requester(user="jane {ops}"),
    "an exempt operator": Requester(user=OPERATOR, has_credential_id=True),
}
OVERRIDES: dict[str, dict[str, str]] = {
    "none": {},
    "foreign annotations": {"a": "b", f"{labels.DOMAIN}/policy-x": "y"},
    "an hour": {labels.POLICY_LONGEST_LIFETIME: "1h"},
    "two days": {labels.POLICY_LONGEST_LIFETIME: "1d23h59m60s"},
    "seconds": {labels.POLICY_LONGEST_LIFETIME: "7200"},
    "other audiences": {labels.POLICY_AUDIENCES: f"{OTHER} {FOREIGN}"},
    "free binding": {labels.POLICY_BINDING: "optional"},
    "a free year": {
        labels.POLICY_BINDING: "optional",
        labels.POLICY_LONGEST_LIFETIME: "365d",
    },
    "successors": {labels.POLICY_SUCCESSORS: "allowed"},
    "everything": {
        labels.POLICY_LONGEST_LIFETIME: "30d",
        labels.POLICY_AUDIENCES: "x",
        labels.POLICY_BINDING: "optional",
        labels.POLICY_SUCCESSORS: "allowed",
    },
    "no lifetime": {labels.POLICY_LONGEST_LIFETIME: ""},
    "no audience": {labels.POLICY_AUDIENCES: ""},
    "a typo": {f"{labels.OVERRIDES}longest-lifetme": "1h"},
    "a word": {labels.POLICY_BINDING: "Optional"},
}
LIFETIMES = (600, 3600, 3601, 7200, 7201, 86_400, 86_401, 172_800, 172_801, 2**32)
AUDIENCES = (
    (GATE,), (OTHER, GATE), (FOREIGN,), (GATE, FOREIGN), ("",), (f"{GATE} {OTHER}",),
    (GATE,) * 100, (GATE,) * 101,
)  # fmt: skip
POD = BoundObject(kind="Pod", name=f"bot-daypass-{SUFFIX}")
BOUND: tuple[BoundObject | None, ...] = (
    None,
    *(
        BoundObject(name=name)
        for name in (
            f"bot-daypass-{SUFFIX}",
            f"bot-daypass-anchor-{SUFFIX}",
            f"bot-daypass-daypass-{SUFFIX}",
            f"bot-daypass-daypass-anchor-{SUFFIX}",
            f"bot-daypass-anchor-daypass-{SUFFIX}",
            f"bot-daypass-anchor-daypass-anchor-{SUFFIX}",
            f"b.t-daypass-anchor-{SUFFIX}",
            f"bxt-daypass-anchor-{SUFFIX}",
            f"bot-daypass-anchor-{SUFFIX[1:]}",
            f"bot-daypass-anchor-{SUFFIX}a",
            f"bot-daypass-anchor{SUFFIX}",
            f"b.t-daypass-{SUFFIX}",
            f"bxt-daypass-{SUFFIX}",
            f"bot-daypass-{SUFFIX[1:]}",
            f"bot-daypass-{SUFFIX}a",
            f"bot-daypass-{SUFFIX[1:]}-",
            f"bot-daypass-{SUFFIX[1:]}A",
            f"bot-daypass-{SUFFIX[1:]}\n",
            f"xbot-daypass-{SUFFIX}",
            f"{LONG}-daypass-{SUFFIX}",
            f"{LONG}-daypass-anchor-{SUFFIX}",
            f"{LONG}-daypass-{'-' * len(SUFFIX)}",
        )
    ),
    POD,
    BoundObject(kind="Pod", name=f"bot-daypass-anchor-{SUFFIX}"),
    BoundObject(kind="Node", name=f"bot-daypass-{SUFFIX}"),
    BoundObject(api_version="apps/v1", name=f"bot-daypass-{SUFFIX}"),
    BoundObject(api_version="", name=f"bot-daypass-{SUFFIX}"),
    BoundObject(kind="secret", name=f"bot-daypass-{SUFFIX}"),
)


def broken_rule(cluster: Cluster, namespace: str, request: TokenRequestAttributes) -> str | None:
    """The first rule that the API server finds broken, or None where it finds none."""
    bound = request.bound
    reference = (
        {"apiVersion": bound.api_version, "kind": bound.kind, "name": bound.name, "uid": NO_UID}
        if bound
        else {}
    )
    spec = {
        "audiences": list(request.audiences),
        "expirationSeconds": request.lifetime_seconds,
        "boundObjectRef": reference,
    }
    path = identities.token_path(namespace, request.service_account)
    headers = policies.impersonation_headers(request.requester)
    try:
        cluster.request("POST", path, {"spec": spec}, what="ask", headers=headers)
    except ApiError as error:
        return _rule(error)
    raise AssertionError("a token was made")


PASSED = {
    400: "cannot bind token to object of type",
    404: "not found",
    409: "does not match the UID",
}


def _rule(error: ApiError) -> str | None:
    code, message = error.status.code, error.status.message
    if "ValidatingAdmissionPolicy 'daypass'" in message:
        assert (code, error.status.reason) == (403, "Forbidden"), message
        return message.split("denied request: ")[1].split(":")[0]
    assert PASSED.get(code, "\0") in message, (code, message)
    assert "serviceaccounts" not in message, message
    return None


def prepare_plane(plane: ControlPlane) -> None:
    policies.prepare(plane, POLICY)


@pytest.fixture(scope="module")
def namespaces(plane: ControlPlane) -> dict[str, str]:
    return {
        name: policy_namespace(plane, annotations, accounts=ACCOUNTS)
        for name, annotations in OVERRIDES.items()
    }


def request(
    who: str,
    override: str,
    account: str = "bot",
    seconds: int = 600,
    audiences: tuple[str, ...] = (GATE,),
    bound: BoundObject | None = BOUND[1],
) -> TokenRequestAttributes:
    return TokenRequestAttributes(
        requester=REQUESTERS[who],
        service_account=account,
        lifetime_seconds=seconds,
        audiences=audiences,
        bound=bound,
        annotations=OVERRIDES[override],
    )


def assert_as_described(cluster: Cluster, namespace: str, asked: TokenRequestAttributes) -> None:
    described = broken_rules(POLICY, asked)
    found = broken_rule(cluster, namespace, asked)
    assert found == next(iter(described), None), (asked, described)


def values_of_what_it_changes(override: str, who: str) -> Iterator[TokenRequestAttributes]:
    """For each dimension of a request that annotations change all its values beside good ones, and
    two values of each other one. `test_any_mixture_is_answered_as_described` mixes them."""
    annotations = OVERRIDES[override]

    def some(values: Sequence[T], *names: str) -> Sequence[T]:
        return values if not annotations or annotations.keys() & names else values[:2]

    for seconds in some(LIFETIMES, labels.POLICY_LONGEST_LIFETIME):
        yield request(who, override, seconds=seconds)
    for seconds in some((3606, 3607, 3608), labels.POLICY_LONGEST_LIFETIME):
        yield request(who, override, seconds=seconds, bound=POD)
    for audiences in some(AUDIENCES, labels.POLICY_AUDIENCES):
        yield request(who, override, audiences=audiences)
    for bound in some(BOUND, labels.POLICY_BINDING, labels.POLICY_SUCCESSORS):
        yield request(who, override, bound=bound)


@pytest.mark.parametrize("override", OVERRIDES)
def test_every_requester_is_held_to_every_rule_as_described(
    cluster: Cluster, namespaces: dict[str, str], override: str
) -> None:
    """Who is exempt asks for everything that is wrong at once."""
    for who, requester in REQUESTERS.items():
        if not is_exempt(POLICY, requester):
            for asked in values_of_what_it_changes(override, who):
                assert_as_described(cluster, namespaces[override], asked)
        wrong = request(who, override, "bot-daypass", 2**32, (FOREIGN,), None)
        assert_as_described(cluster, namespaces[override], wrong)


@pytest.mark.parametrize("account", ACCOUNTS)
@pytest.mark.parametrize(
    ("who", "infix"),
    [("itself", "-daypass-"), ("an admin", "-daypass-"), ("a federated user", "-daypass-anchor-")],
)
def test_every_service_account_has_its_own_secrets_and_its_own_anchors(
    cluster: Cluster, namespaces: dict[str, str], account: str, who: str, infix: str
) -> None:
    passing = []
    for bound in BOUND:
        asked = request(who, "none", account=account, bound=bound)
        assert_as_described(cluster, namespaces["none"], asked)
        passing += [bound.name] if bound and not broken_rules(POLICY, asked) else []
    assert passing == [f"{account}{infix}{SUFFIX}"]


@given(
    who=st.sampled_from(sorted(REQUESTERS)),
    override=st.sampled_from(sorted(OVERRIDES)),
    account=st.sampled_from(ACCOUNTS),
    seconds=st.one_of(st.sampled_from(LIFETIMES), st.integers(600, 2**32)),
    audiences=st.one_of(
        st.sampled_from(AUDIENCES),
        st.lists(st.sampled_from([GATE, OTHER, FOREIGN, "x"]), min_size=1, max_size=4).map(tuple),
    ),
    bound=st.sampled_from(BOUND),
)
@settings(max_examples=300, deadline=None, database=None)
def test_any_mixture_is_answered_as_described(
    cluster: Cluster,
    namespaces: dict[str, str],
    who: str,
    override: str,
    account: str,
    seconds: int,
    audiences: tuple[str, ...],
    bound: BoundObject | None,
) -> None:
    asked = request(who, override, account, seconds, audiences, bound)
    assert_as_described(cluster, namespaces[override], asked)


texts = st.one_of(
    st.text(max_size=40),
    st.from_regex(r"[0-9]{0,11}[dhms]?[0-9]{0,11}[dhms]?", fullmatch=True),
    st.lists(st.sampled_from([GATE, OTHER, "", "\n", "é"]), max_size=4).map(" ".join),
    st.sampled_from(["required", "optional", "allowed", "forbidden", "forbidden\n", " optional"]),
)


@given(
    st.dictionaries(
        st.sampled_from(
            [
                labels.POLICY_LONGEST_LIFETIME,
                labels.POLICY_AUDIENCES,
                labels.POLICY_BINDING,
                labels.POLICY_SUCCESSORS,
                f"{labels.OVERRIDES}x",
            ]
        ),
        texts,
        min_size=1,
    ),
    st.sampled_from(sorted(REQUESTERS)),
    st.integers(600, 10**6),
    st.booleans(),
)
@settings(max_examples=40, deadline=None, database=None)
def test_whatever_an_annotation_holds_is_read_as_described_or_refuses_every_token(
    plane: ControlPlane,
    cluster: Cluster,
    annotations: dict[str, str],
    who: str,
    seconds: int,
    bound: bool,
) -> None:
    namespace = policy_namespace(plane, annotations)
    asked = request(who, "none", seconds=seconds, bound=BOUND[1] if bound else None)
    assert_as_described(cluster, namespace, replace(asked, annotations=annotations))


def test_a_namespace_without_the_label_is_not_held_to_it(
    plane: ControlPlane, cluster: Cluster
) -> None:
    namespace = policy_namespace(plane, held=False)
    for who, seconds in itertools.product(REQUESTERS, (600, 2**32)):
        asked = request(who, "none", seconds=seconds, audiences=(FOREIGN,), bound=None)
        assert broken_rule(cluster, namespace, asked) is None
