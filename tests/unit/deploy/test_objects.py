"""Whether an apply would change nothing, from the object's managedFields; and diffs as printed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from daypass.deploy.objects import ObjectRef, is_applied, object_diff
from support.messages import check

DOCUMENT: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "door", "namespace": "daypass", "labels": {"a": "b"}},
    "spec": {
        "ports": [{"name": "https", "port": 443}],
        "selector": {"app": "door"},
        "args": ["x", "y"],
        "finalizers": ["one", "two"],
        "empty": {},
    },
}
FIELDS: dict[str, Any] = {
    "f:metadata": {"f:labels": {"f:a": {}}},
    "f:spec": {
        "f:ports": {'k:{"port":443,"protocol":"TCP"}': {".": {}, "f:name": {}, "f:port": {}}},
        "f:selector": {},
        "f:args": {},
        "f:finalizers": {".": {}, 'v:"one"': {}, 'v:"two"': {}},
        "f:empty": {},
    },
}


def live() -> dict[str, Any]:
    """The object in the API server, with defaults and with fields of other managers."""
    document = copy.deepcopy(DOCUMENT)
    document["metadata"] |= {"uid": "u", "resourceVersion": "7", "annotations": {"theirs": "x"}}
    document["metadata"]["labels"]["theirs"] = "x"
    document["spec"]["ports"][0]["protocol"] = "TCP"
    document["spec"]["clusterIP"] = "10.0.0.1"
    entry = {"manager": "daypass", "operation": "Apply", "apiVersion": "v1", "fieldsV1": FIELDS}
    theirs = {**entry, "manager": "theirs", "fieldsV1": {"f:spec": {"f:clusterIP": {}}}}
    document["metadata"]["managedFields"] = [theirs, copy.deepcopy(entry)]
    return document


def is_applied_after(change: Callable[[dict[str, Any], dict[str, Any]], object]) -> bool:
    document, there = copy.deepcopy(DOCUMENT), live()
    change(document, there)
    return is_applied(document, there)


def ours(there: dict[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = there["metadata"]["managedFields"][1]
    return entry


def test_an_unchanged_object_counts_as_applied() -> None:
    assert is_applied_after(lambda document, there: None)


DIFFERENCES: dict[str, Callable[[dict[str, Any], dict[str, Any]], object]] = {
    "another value": lambda d, t: d["spec"]["ports"][0].update(name="other"),
    "another value there": lambda d, t: t["spec"]["ports"][0].update(name="other"),
    "one field more": lambda d, t: d["spec"].update(clusterIP="10.0.0.1"),
    "one field fewer": lambda d, t: d["spec"].pop("empty"),
    "an item more": lambda d, t: d["spec"]["ports"].append({"name": "b", "port": 444}),
    "another key of an item": lambda d, t: d["spec"]["ports"][0].update(port=444),
    "the item is gone there": lambda d, t: t["spec"].update(ports=[]),
    "an item twice": lambda d, t: d["spec"]["ports"].append(d["spec"]["ports"][0]),
    "an atomic map changed by others": lambda d, t: t["spec"]["selector"].update(b="c"),
    "another order of an atomic list": lambda d, t: d["spec"].update(args=["y", "x"]),
    "another value of a set": lambda d, t: d["spec"].update(finalizers=["one", "three"]),
    "a value gone from a set there": lambda d, t: t["spec"].update(finalizers=["one"]),
    "a label": lambda d, t: d["metadata"]["labels"].update(a="c"),
    "a label is gone there": lambda d, t: t["metadata"].pop("labels"),
    "a field owned by another manager": lambda d, t: ours(t)["fieldsV1"]["f:spec"].pop("f:args"),
    "a field still owned by daypass": lambda d, t: ours(t)["fieldsV1"]["f:spec"].update(
        {"f:x": {}}
    ),
    "never applied": lambda d, t: t["metadata"].pop("managedFields"),
    "updated, not applied": lambda d, t: ours(t).update(operation="Update"),
    "another version": lambda d, t: ours(t).update(apiVersion="v1beta1"),
    "another version of the object": lambda d, t: t.update(apiVersion="v2"),
    "another kind of key": lambda d, t: ours(t)["fieldsV1"]["f:spec"].update(
        {"f:finalizers": {"i:0": {}, "i:1": {}}}
    ),
    "another type": lambda d, t: d["spec"].update(empty=[]),
}


@pytest.mark.parametrize("change", DIFFERENCES.values(), ids=DIFFERENCES)
def test_any_difference_is_left_to_the_api_server(
    change: Callable[[dict[str, Any], dict[str, Any]], object],
) -> None:
    assert not is_applied_after(change)


SECRET = ObjectRef(group="", kind="Secret", namespace="daypass", name="pair")


def secret(**data: str) -> dict[str, Any]:
    metadata = {"name": "pair", "namespace": "daypass"}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}


def test_a_secret_diff_shows_which_keys_differ_and_no_value() -> None:
    text = object_diff(
        SECRET, secret(same="c2FtZQ==", other="b2xk"), secret(same="c2FtZQ==", other="bmV3")
    )
    changed = [line for line in text.splitlines()[2:] if line[:1] in "+-"]
    assert [line.partition(":")[0] for line in changed] == ["-  other", "+  other"]
    check(text, "\n   same: ", reason="diff")
    for value in ("c2FtZQ==", "b2xk", "bmV3"):
        assert value not in text
