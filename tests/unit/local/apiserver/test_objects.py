"""Objects on the embedded API server: create, read, update, watch, delete."""

from __future__ import annotations

from typing import Any

import pytest

from daypass.kube.errors import NotFoundError
from daypass.kube.resources import CONFIG_MAPS, NAMESPACES, SERVICE_ACCOUNTS
from daypass.local.apiserver.handlers import Watch
from daypass.local.apiserver.requests import ApiRequest
from daypass.local.apiserver.store import REMEMBERED_EVENTS
from unit.local.apiserver.environment import TEAM, Env, config_map

MERGE = "application/merge-patch+json"
MAP = f"{TEAM}/configmaps/m"


def test_an_apply_removes_what_the_last_one_had_set_and_nothing_else(env: Env) -> None:
    env.cluster.apply(config_map("m", a="1", b="1"))
    env.request("PATCH", MAP, {"data": {"c": "1"}}, media=MERGE)
    assert env.cluster.apply(config_map("m", a="2"))["data"] == {"a": "2", "c": "1"}


def test_a_patch_of_another_version_conflicts(env: Env) -> None:
    made = env.cluster.create(config_map("m", a="1"))
    env.cluster.apply(config_map("m", a="2"))
    stale = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}}
    assert env.request("PATCH", MAP, stale, media=MERGE).code == 409


def test_lists_are_selected(env: Env) -> None:
    for index in range(5):
        labels = {"parity": str(index % 2)}
        made = config_map(f"m{index}")
        env.cluster.create({**made, "metadata": {**made["metadata"], "labels": labels}})

    def names(query: str) -> list[str]:
        reply = env.request("GET", f"{TEAM}/configmaps?{query}")
        assert reply.code == 200, reply.message
        return [item["metadata"]["name"] for item in reply.json["items"]]

    assert names("labelSelector=parity=1") == ["m1", "m3"]
    assert names("labelSelector=parity!=0,parity!=") == ["m1", "m3"]
    assert names("fieldSelector=metadata.name=m2") == ["m2"]
    assert env.request("GET", f"{TEAM}/configmaps?labelSelector=!a").code == 400


def _watch(env: Env, query: str) -> Watch:
    token = f"Bearer {env.admin_token.reveal()}"
    target = f"{TEAM}/configmaps?watch=1&{query}"
    answer = env.api.handle(
        ApiRequest(method="GET", target=target, headers=(("authorization", token),))
    )
    assert isinstance(answer, Watch)
    return answer


def test_a_watch_sends_existing_objects_and_then_events(env: Env) -> None:
    version = env.cluster.create(config_map("m", a="1"))["metadata"]["resourceVersion"]
    watch = _watch(env, "fieldSelector=metadata.name=m")
    assert [event["type"] for event in watch.first] == ["ADDED"]
    shown: list[Any] = []
    env.state.store.listeners.append(lambda event: shown.append(watch.show(event)))
    env.cluster.apply(config_map("m", a="2"))
    env.cluster.apply(config_map("other", a="2"))
    env.cluster.delete(CONFIG_MAPS, "m", "team")
    told = [event["type"] for event in shown if event]
    assert told == ["MODIFIED", "DELETED"]
    since = _watch(env, f"fieldSelector=metadata.name=m&resourceVersion={version}")
    assert [event["type"] for event in since.first] == told


def test_an_object_that_leaves_a_selector_is_deleted_for_its_watch(env: Env) -> None:
    made = config_map("m")
    made["metadata"]["labels"] = {"a": "1"}
    made = env.cluster.create(made)
    version = made["metadata"]["resourceVersion"]
    env.request("PATCH", MAP, {"metadata": {"labels": {"a": "2"}}}, media=MERGE)
    query = f"resourceVersion={version}&labelSelector=a%3D"
    assert [event["type"] for event in _watch(env, f"{query}1").first] == ["DELETED"]
    assert [event["type"] for event in _watch(env, f"{query}2").first] == ["ADDED"]


def test_a_watch_from_a_forgotten_version_gets_a_410(env: Env) -> None:
    for index in range(REMEMBERED_EVENTS + 1):
        env.cluster.apply(config_map("m", a=str(index)))
    (event,) = _watch(env, "resourceVersion=1").first
    assert event["type"] == "ERROR"
    assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")


def test_a_namespace_is_deleted_with_its_objects(env: Env) -> None:
    env.cluster.delete(NAMESPACES, "team")
    assert env.cluster.list(SERVICE_ACCOUNTS, "team") == []
    with pytest.raises(NotFoundError, match='namespaces "team" not found'):
        env.cluster.create(config_map("m"))
