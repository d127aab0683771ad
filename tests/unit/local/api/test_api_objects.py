"""Objects on the embedded API server: made, read, changed, watched, deleted."""

from __future__ import annotations

import json
from typing import Any

import pytest

from daypass.local.api.errors import ApiError
from daypass.local.api.reading import Watch
from daypass.local.api.requests import Request
from daypass.local.api.store import REMEMBERED_EVENTS
from unit.local.api.asking import RBAC, TEAM, World, config_map, token_secret

MERGE, JSON_PATCH = "application/merge-patch+json", "application/json-patch+json"
APPLY = "application/apply-patch+yaml"
MAP = f"{TEAM}/configmaps/m"


def apply(world: World, manager: str, query: str = "", **data: str) -> Any:
    """Server-side apply of ConfigMap `m` by a manager."""
    target = f"{MAP}?fieldManager={manager}{query}"
    return world.ask("PATCH", target, config_map("m", **data), media=APPLY)


def test_a_second_manager_conflicts_unless_it_forces(world: World) -> None:
    assert apply(world, "one", a="1", b="1").code == 201
    refused = apply(world, "two", a="2", b="2")
    assert refused.code == 409
    assert refused.message == (
        'Apply failed with 2 conflicts: conflicts with "one":\n- .data.a\n- .data.b'
    )
    assert apply(world, "two", "&force=true", a="2").code == 200
    entries = world.admin.get("ConfigMap", "m", "team")["metadata"]["managedFields"]
    owned = {entry["manager"]: entry["fieldsV1"] for entry in entries}
    assert owned == {"one": {"f:data": {"f:b": {}}}, "two": {"f:data": {"f:a": {}}}}


def test_what_a_manager_no_longer_applies_goes_unless_another_has_it(world: World) -> None:
    apply(world, "one", a="1", b="1")
    apply(world, "two", b="1", c="1")
    assert apply(world, "one", a="1").document["data"] == {"a": "1", "b": "1", "c": "1"}
    assert apply(world, "two", c="1").document["data"] == {"a": "1", "c": "1"}


def test_the_same_apply_twice_changes_nothing(world: World) -> None:
    first = apply(world, "one", a="1").document
    world.clock.advance(100)
    assert apply(world, "one", a="1").document == first


def test_an_update_takes_fields_over(world: World) -> None:
    apply(world, "one", a="1")
    world.ask("PUT", f"{MAP}?fieldManager=two", config_map("m", a="2"))
    refused = apply(world, "one", a="1")
    assert refused.message == (
        'Apply failed with 1 conflict: conflict with "two" using v1: .data.a'
    )


def test_an_update_of_another_version_conflicts(world: World) -> None:
    made = world.admin.create(config_map("m", a="1"))
    world.admin.apply(config_map("m", a="2"))
    stale = {**made, "data": {"a": "3"}}
    assert world.ask("PUT", MAP, stale).code == 409
    assert world.ask("PUT", MAP, config_map("m", a="3")).code == 200


def test_a_patch_cannot_make_another_kind_of_an_object(world: World) -> None:
    world.admin.create(config_map("m", a="1"))
    asked = world.ask("PATCH", MAP, {"kind": "Secret"}, media=MERGE)
    assert asked.code == 422
    assert world.admin.get("ConfigMap", "m", "team")["kind"] == "ConfigMap"


def test_a_json_patch_is_done_whole_or_not_at_all(world: World) -> None:
    world.admin.create(config_map("m", a="1"))
    steps = [
        {"op": "test", "path": "/data/a", "value": "1"},
        {"op": "move", "from": "/data/a", "path": "/data/b"},
        {"op": "copy", "from": "/data/b", "path": "/data/c"},
    ]
    assert world.ask("PATCH", MAP, steps, media=JSON_PATCH).document["data"] == {
        "b": "1",
        "c": "1",
    }
    bad = [{"op": "remove", "path": "/data/b"}, {"op": "remove", "path": "/data/nothing"}]
    assert world.ask("PATCH", MAP, bad, media=JSON_PATCH).code == 422
    assert world.admin.get("ConfigMap", "m", "team")["data"] == {"b": "1", "c": "1"}


def test_a_json_patch_that_doubles_itself_is_stopped(world: World) -> None:
    world.admin.create(config_map("m", a="x" * 1000))
    double = [{"op": "copy", "from": "", "path": f"/data/x{index}"} for index in range(40)]
    assert world.ask("PATCH", MAP, double, media=JSON_PATCH).code == 422
    deepen = [{"op": "copy", "from": "", "path": "/metadata/x"}] * 400
    assert world.ask("PATCH", MAP, deepen, media=JSON_PATCH).code == 422


def test_a_dry_run_keeps_nothing(world: World) -> None:
    world.ask("POST", f"{TEAM}/configmaps?dryRun=All", config_map("m", a="1"))
    with pytest.raises(ApiError, match='configmaps "m" not found'):
        world.admin.get("ConfigMap", "m", "team")


def test_a_name_is_held_to_kubernetes_rules_in_its_words(world: World) -> None:
    with pytest.raises(ApiError) as caught:
        world.admin.create(config_map("Bad_Name"))
    assert caught.value.code == 422
    assert "a lowercase RFC 1123 subdomain must consist of" in caught.value.message


def test_lists_are_selected_and_paged(world: World) -> None:
    for index in range(5):
        labels = {"parity": str(index % 2)}
        made = config_map(f"m{index}")
        world.admin.create({**made, "metadata": {**made["metadata"], "labels": labels}})

    def names(query: str) -> list[str]:
        asked = world.ask("GET", f"{TEAM}/configmaps?{query}")
        assert asked.code == 200, asked.message
        return [item["metadata"]["name"] for item in asked.document["items"]]

    assert names("labelSelector=parity=1") == ["m1", "m3"]
    assert names("labelSelector=parity%20in%20(0,2),parity") == ["m0", "m2", "m4"]
    assert names("labelSelector=!parity") == ["kube-root-ca.crt"]
    assert names("fieldSelector=metadata.name=m2") == ["m2"]
    first = world.ask("GET", f"{TEAM}/configmaps?limit=4").document
    rest = names(f"limit=4&continue={first['metadata']['continue']}")
    assert first["metadata"]["remainingItemCount"] == len(rest) == 2


def test_a_selector_of_blanks_and_an_object_of_faults_cost_no_more_than_their_size(
    world: World,
) -> None:
    asked = world.ask("GET", f"{TEAM}/configmaps?labelSelector={'%20' * 40_000}!")
    assert asked.code == 400
    labels = {f"a b{index}": "b c" for index in range(5_000)}
    made = {"metadata": {"name": "m", "labels": labels}}
    asked = world.ask("POST", f"{TEAM}/configmaps", made)
    assert (asked.code, len(asked.document["details"]["causes"])) == (422, 100)


def _watch(world: World, query: str) -> Watch:
    token = f"Bearer {world.admin_token.reveal()}"
    target = f"{TEAM}/configmaps?watch=1&{query}"
    answer = world.handle(Request(method="GET", target=target, headers=(("authorization", token),)))
    assert isinstance(answer, Watch)
    return answer


def test_a_watch_tells_what_is_there_and_then_what_happens(world: World) -> None:
    version = world.admin.create(config_map("m", a="1"))["metadata"]["resourceVersion"]
    watch = _watch(world, "fieldSelector=metadata.name=m")
    assert [event["type"] for event in watch.first] == ["ADDED"]
    lines: list[bytes] = []
    world.api.cluster.store.listeners.append(lambda event: lines.append(watch.line(event)))
    world.admin.apply(config_map("m", a="2"))
    world.admin.apply(config_map("other", a="2"))
    world.admin.delete("ConfigMap", "m", "team")
    told = [json.loads(line)["type"] for line in lines if line]
    assert told == ["MODIFIED", "DELETED"]
    since = _watch(world, f"fieldSelector=metadata.name=m&resourceVersion={version}")
    assert [event["type"] for event in since.first] == told


def test_what_a_selector_no_longer_finds_is_deleted_for_its_watcher(world: World) -> None:
    made = config_map("m")
    made["metadata"]["labels"] = {"a": "1"}
    made = world.admin.create(made)
    version = made["metadata"]["resourceVersion"]
    world.ask("PATCH", MAP, {"metadata": {"labels": {"a": "2"}}}, media=MERGE)
    query = f"resourceVersion={version}&labelSelector=a%3D"
    assert [event["type"] for event in _watch(world, f"{query}1").first] == ["DELETED"]
    assert [event["type"] for event in _watch(world, f"{query}2").first] == ["ADDED"]


def test_a_watch_from_too_long_ago_begins_with_a_410(world: World) -> None:
    for index in range(REMEMBERED_EVENTS + 1):
        world.admin.apply(config_map("m", a=str(index)))
    (event,) = _watch(world, "resourceVersion=1").first
    assert event["type"] == "ERROR"
    assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")


def test_initial_events_end_with_a_bookmark_that_says_so(world: World) -> None:
    query = "sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan"
    last = _watch(world, query).first[-1]
    assert last["type"] == "BOOKMARK"
    assert last["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


def test_a_token_secret_is_filled_and_ends_with_its_account(world: World) -> None:
    secret = world.admin.get("Secret", "bot-token", "team")
    assert set(secret["data"]) == {"token", "ca.crt", "namespace"}
    uid = world.admin.get("ServiceAccount", "bot", "team")["metadata"]["uid"]
    assert secret["metadata"]["annotations"]["kubernetes.io/service-account.uid"] == uid
    world.admin.delete("ServiceAccount", "bot", "team")
    assert world.admin.list("Secret", "team") == []


def test_a_token_secret_of_nobody_is_never_filled(world: World) -> None:
    made = world.admin.create(token_secret("lost", "nobody"))
    assert "data" not in made
    assert [s["metadata"]["name"] for s in world.admin.list("Secret", "team")] == ["bot-token"]


def test_a_namespace_takes_everything_with_it_and_some_cannot_go(world: World) -> None:
    world.admin.delete("Namespace", "team")
    assert world.admin.list("ServiceAccount", "team") == []
    with pytest.raises(ApiError, match='namespaces "team" not found'):
        world.admin.create(config_map("m"))
    with pytest.raises(ApiError, match="this namespace may not be deleted"):
        world.admin.delete("Namespace", "kube-system")


def test_nobody_grants_what_they_have_not(world: World) -> None:
    rule = {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"], "verbs": ["*"]}
    world.grant({**rule, "verbs": ["create"]}, name="maker")
    role = {
        "metadata": {"name": "wide"},
        "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}],
    }
    token = f"Bearer {world.legacy}"
    path = f"{RBAC}/namespaces/team/roles"
    refused = world.ask("POST", path, role, authorization=token)
    assert refused.code == 403
    assert refused.message.endswith(
        "is attempting to grant RBAC permissions not currently held:\n"
        '{APIGroups:[""], Resources:["secrets"], Verbs:["get"]}'
    )
    world.grant({"resources": ["secrets"], "verbs": ["get"]}, name="reader")
    assert world.ask("POST", path, role, authorization=token).code == 201


@pytest.mark.parametrize(
    "path",
    [
        "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
        "/openapi/v3",
        "/metrics",
    ],
)
def test_what_only_a_cluster_has_is_not_there(world: World, path: str) -> None:
    assert world.ask("GET", path).code == 404
