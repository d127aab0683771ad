"""Editing the host in a patch: nothing else changes."""

from __future__ import annotations

import re

import pytest

from daypass.deploy.ekf import LayoutError, PatchError, load_kustomization, read_patch
from support.ekf import LONG_PATCH, PLACEHOLDER, SHORT_PATCH
from support.messages import raises

OLD, NEW = "old.example.com", "ekf.example.com"
TEST = '{"op": "test", "path": "/spec/rules/0/host", "value": "base.example.com"}'
OPERATION = f'{{"op": "replace", "path": "/spec/rules/0/host", "value": "{OLD}"}}'
PATCHES = {
    "long": LONG_PATCH.replace(PLACEHOLDER, OLD),
    "short": SHORT_PATCH.replace("arrikto-cluster-serving.serving.example.com", OLD),
    "tabs": LONG_PATCH.replace(PLACEHOLDER, OLD).replace("    ", "\t"),
    "several operations, beyond ASCII, no line end": (
        f'[{{"op": "add", "path": "/metadata/labels/a", "value": "é"}},\n {OPERATION}]'
    ),
    "another order, and add": (
        f'[{{"value": "{OLD}", "path": "/spec/rules/0/host", "op": "add"}}]'
    ),
    "YAML with comments": (
        f"# of this cluster\n- op: replace\n  path: /spec/rules/0/host\n  value: {OLD}  # mine\n"
    ),
    "single quotes": f"- {{op: replace, path: /spec/rules/0/host, value: '{OLD}'}}",
    "a strategic merge patch": (
        f"kind: Ingress\nspec:\n  rules:\n  - host: {OLD}\n    http: {{}}\n"
    ),
    "a test of what the base has": f"[{TEST}, {OPERATION}]",
}


@pytest.mark.parametrize("text", PATCHES.values(), ids=PATCHES)
def test_only_the_host_changes(text: str) -> None:
    expected = text.replace(OLD, NEW)
    assert read_patch(text, "p").host == OLD
    assert read_patch(text, "p").with_host(NEW) == expected
    assert read_patch(expected, "p").host == NEW


REFUSED = {
    "empty": ("", []),
    "neither JSON nor YAML": ("[", ["line 1"]),
    "an object": ("{}", []),
    "a Service": ("kind: Service\n", []),
    "no operation": ("[]", ["/spec/rules/0/host"]),
    "an operation that is a string": ('["replace"]', ["operation 1"]),
    "two operations": (f"[{OPERATION}, {OPERATION}]", ["2 operations", "/spec/rules/0/host"]),
    "another path": (
        '[{"op": "replace", "path": "/spec", "value": {}}]', ["operation 1", "`replace`", "/spec"],
    ),
    "another operation": (
        '[{"op": "remove", "path": "/spec/rules/0/host"}]',
        ["operation 1", "`remove`", "/spec/rules/0/host"],
    ),
    "a second operation removes it": (
        f'[{OPERATION}, {{"op": "remove", "path": "/spec/rules/0"}}]',
        ["operation 2", "`remove`", "/spec/rules/0"],
    ),
    "a number": (
        '[{"op": "replace", "path": "/spec/rules/0/host", "value": 7}]', ["/spec/rules/0/host"],
    ),
    "no value": ('[{"op": "replace", "path": "/spec/rules/0/host"}]', ["/spec/rules/0/host"]),
    "an Ingress without rules": (
        "kind: Ingress\nspec: {rules: []}\n", ["/spec/rules/0/host"],
    ),
    "a tag of Python": ("a: !!python/object:os.system {}\n", []),
}  # fmt: skip
"""A patch, and what the fact of its refusal names."""


@pytest.mark.parametrize(("text", "values"), REFUSED.values(), ids=REFUSED)
def test_a_patch_of_another_form_is_refused(text: str, values: list[str]) -> None:
    with raises(PatchError, match="ingress_host.json") as caught:
        read_patch(text, "ingress_host.json")
    assert all(value in caught.value.fact for value in values)
    assert caught.value.hint


def test_a_host_shared_through_an_anchor_is_not_edited() -> None:
    text = (
        "- {op: add, path: /spec/tls/0/hosts/0, value: &host old.example.com}\n"
        "- {op: replace, path: /spec/rules/0/host, value: *host}\n"
    )
    with raises(PatchError, match=rf"p: (?s:.)*{re.escape(NEW)}"):
        read_patch(text, "p").with_host(NEW)


def test_other_places_with_the_same_host_are_listed() -> None:
    tls = '{"op": "add", "path": "/spec/tls", "value": [{"hosts": ["old.example.com"]}]}'
    assert read_patch(f"[{tls}, {OPERATION}]", "p").mentions() == ["/0/value/0/hosts/0"]
    assert read_patch(LONG_PATCH, "p").mentions() == []


UNFIT = ['!!int ""', "!!float ''", "!!timestamp x", "!!bool x"]


@pytest.mark.parametrize("value", UNFIT)
def test_a_value_that_does_not_fit_its_yaml_tag_is_refused(value: str) -> None:
    text = f'[{{"op": "replace", "path": "/spec/rules/0/host", "value": {value}}}]'
    with raises(PatchError, match="patches/ingress_host.json"):
        read_patch(text, "patches/ingress_host.json")
    with raises(LayoutError, match="kustomization.yaml"):
        load_kustomization(f"namePrefix: {value}\n", "kustomization.yaml")
