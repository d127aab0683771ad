"""Who may bind a token to what, at a real API server with the policy: every pair."""

from __future__ import annotations

from typing import Any

import pytest

from daypass._core.jwt import decode_unverified
from daypass._core.kubernetes import labels
from daypass.config.settings import Policy
from daypass.render.policy import Requester
from support import policies
from support.admin import Admin, Answer
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.identities import Identity, make_anchor, make_look_alike, make_pod
from support.messages import check

GATE, API = "gate.example.com", "https://kubernetes.default.svc"
POLICY = Policy(audiences=(GATE, API))

# 201: a token is made, which is bound to that object. A word: 403, by this rule of the policy.
# 404, 409: the policy lets the request pass, and the API server finds no such object.
TABLE = """
bound to                         long-lived  short-lived  federated  administrator  node
its token Secret                 201         successors   binding    201            201
its anchor                       binding     binding      201        binding        201
its anchor, which was deleted    binding     binding      404        binding        404
its anchor, by another UID       binding     binding      409        binding        409
its token Secret, by another UID 409         successors   binding    409            409
another's token Secret           binding     binding      binding    binding        201
another's anchor                 binding     binding      binding    binding        201
an Opaque Secret, token's name   201         successors   binding    201            201
an Opaque Secret, anchor's name  binding     binding      201        binding        201
an Opaque Secret, other name     binding     binding      binding    binding        201
its Pod                          binding     binding      binding    binding        201
nothing                          binding     binding      binding    binding        201
"""
FEDERATED = Requester(user="federated:issuer.example#repo:org/app:ref:refs/heads/main")
NODE = Requester(user="system:node:n1", groups=("system:nodes",))
OTHER_UID = "00000000-0000-4000-8000-000000000000"
_head, *_lines = TABLE.strip("\n").splitlines()
COLUMNS = {name: _head.index(f" {name}") + 1 for name in _head.split()[2:]}
EXPECTED = {
    (line[: min(COLUMNS.values())].strip(), who): line[column:].split()[0]
    for line in _lines
    for who, column in COLUMNS.items()
}
BOUND = sorted({bound for bound, _ in EXPECTED})


def prepare_plane(plane: ControlPlane) -> None:
    policies.prepare(plane, POLICY)


@pytest.fixture(scope="module")
def own(plane: ControlPlane) -> Identity:
    """In a namespace with another identity."""
    return plane.make_identity(plane.make_namespace(labels={labels.POLICY: "enforced"}))


@pytest.fixture(scope="module")
def requesters(plane: ControlPlane, own: Identity) -> dict[str, tuple[Admin, dict[str, str]]]:
    """The clients, and further headers of their requests."""
    short_lived = plane.make_token(own, audiences=[API])
    return {
        "long-lived": (plane.client(own.token), {}),
        "short-lived": (plane.client(short_lived), {}),
        "federated": (plane.admin, policies.impersonation_headers(FEDERATED)),
        "administrator": (plane.admin, {}),
        "node": (plane.admin, policies.impersonation_headers(NODE)),
    }


@pytest.fixture(scope="module")
def objects(plane: ControlPlane, own: Identity) -> dict[str, dict[str, str]]:
    """`boundObjectRef`, by the first column of TABLE."""
    admin, namespace = plane.admin, own.namespace
    other = plane.make_identity(namespace, "other")
    anchor, gone = make_anchor(admin, own), make_anchor(admin, own)
    admin.delete(gone.secret_path)
    pod = make_pod(admin, namespace, "job", service_account=own.service_account)
    found = {
        "its token Secret": own,
        "its anchor": anchor,
        "its anchor, which was deleted": gone,
        "another's token Secret": other,
        "another's anchor": make_anchor(admin, other),
        "an Opaque Secret, token's name": make_look_alike(admin, own),
        "an Opaque Secret, anchor's name": make_look_alike(admin, own, infix=labels.ANCHOR_INFIX),
        "an Opaque Secret, other name": make_look_alike(admin, own, infix="-other-"),
    }
    return {
        **{name: each.bound_object_ref for name, each in found.items()},
        "its anchor, by another UID": {**anchor.bound_object_ref, "uid": OTHER_UID},
        "its token Secret, by another UID": {**own.bound_object_ref, "uid": OTHER_UID},
        "its Pod": {"apiVersion": "v1", "kind": "Pod", "name": "job", "uid": pod},
    }


@pytest.mark.parametrize("bound", BOUND)
@pytest.mark.parametrize("who", COLUMNS)
def test_a_requester_may_bind_a_token_to_an_object(
    own: Identity,
    requesters: dict[str, tuple[Admin, dict[str, str]]],
    objects: dict[str, dict[str, str]],
    who: str,
    bound: str,
) -> None:
    client, headers = requesters[who]
    reference = objects.get(bound)
    spec: dict[str, Any] = {"audiences": [GATE], "expirationSeconds": 600}
    if reference is not None:
        spec["boundObjectRef"] = reference
    answer = client.request("POST", own.token_path, {"spec": spec}, headers=headers)
    outcome = str(answer.code)
    if outcome == "403":
        refused = answer.message.partition(" denied request: ")[2]
        outcome = refused.partition(":")[0]
        check(refused, reason=outcome)
    assert outcome == EXPECTED[bound, who], answer
    if outcome == "201":
        claims = decode_unverified(answer.json["status"]["token"])[1]["kubernetes.io"]
        made = claims.get((reference or {}).get("kind", "").lower(), {})
        assert made.get("uid") == (reference or {}).get("uid")


@pytest.mark.parametrize("version", [{}, {"apiVersion": ""}, {"apiVersion": "v2"}])
@pytest.mark.parametrize("bound", ["its token Secret", "another's token Secret"])
def test_where_binding_is_optional_no_federated_user_outlives_its_anchor(
    plane: ControlPlane,
    own: Identity,
    objects: dict[str, dict[str, str]],
    bound: str,
    version: dict[str, str],
) -> None:
    """A token that is bound to a Secret that exists would pass a gate."""
    names = objects[bound]
    spec: dict[str, Any] = {"audiences": [GATE], "expirationSeconds": 600}
    override = {labels.POLICY_BINDING: "optional"}
    path = f"/api/v1/namespaces/{own.namespace}"
    plane.admin.patch(path, {"metadata": {"annotations": override}})

    def ask() -> Answer:
        headers = policies.impersonation_headers(FEDERATED)
        return plane.admin.request("POST", own.token_path, {"spec": spec}, headers=headers)

    try:
        eventually("the annotation is read", lambda: ask().code == 201)
        for reference in (names, {"kind": names["kind"], "name": names["name"], **version}):
            spec["boundObjectRef"] = reference
            refused = ask()
            assert refused.code == 403
            assert "binding: " in refused.message
        spec["boundObjectRef"] = objects["an Opaque Secret, other name"]
        assert ask().code == 201
    finally:
        plane.admin.patch(path, {"metadata": {"annotations": dict.fromkeys(override)}})
        spec.pop("boundObjectRef", None)
        eventually("it is read again", lambda: ask().code == 403)
