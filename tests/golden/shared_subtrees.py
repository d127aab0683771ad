"""Rendered files as one YAML document that has each large subtree once.

A subtree that occurs again is an alias, named by a hash of its content: a change of it shows where
it is, and at each place that refers to it. What fits on a line is on one. A string that is Envoy's
config is a subtree with the tag `!json`. Nothing is lost: a text that is not exactly what its value
serializes to is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import yaml

from daypass.render.envoy.bootstrap import to_json
from daypass.render.manifests import MARK
from daypass.render.objects import document, stream
from support.fast_yaml import load_all

ONE_LINE = 90
"""Characters that are written on one line, and not again as an alias."""


class JsonText(dict[str, Any]):
    """The value of a string that is JSON."""


def shared(files: Mapping[str, str]) -> str:
    """Return files, which are JSON or YAML by their names, as one document."""
    subtrees: dict[str, Any] = {}
    root = {name: _shared(_value(name, text), subtrees) for name, text in files.items()}

    class Dumper(_Dumper):
        names = {id(value): _name(key) for key, value in subtrees.items()}  # noqa: RUF012

    return str(yaml.dump(root, Dumper=Dumper, sort_keys=False, width=2**20, allow_unicode=True))


def _name(key: str) -> str:
    return f"s{hashlib.sha256(key.encode()).hexdigest()[:8]}"


def _value(name: str, text: str) -> Any:
    """Return what a text is made from; fails unless that gives the same bytes."""
    if name.endswith(".json"):
        value = json.loads(text)
        assert to_json(value) == text, name
        return value
    values = load_all(text)
    if text.startswith(MARK):
        assert text == MARK + document(values[0]), name
        return values[0]
    assert text == stream(values), name
    return values


def _shared(value: Any, subtrees: dict[str, Any]) -> Any:
    """Return a value in which equal large subtrees are the same object."""
    if isinstance(value, str) and value.startswith("{\n"):
        parsed = json.loads(value)
        if to_json(parsed) == value:
            value = JsonText(parsed)
    if isinstance(value, dict):
        value = type(value)({key: _shared(each, subtrees) for key, each in value.items()})
    elif isinstance(value, list):
        value = [_shared(each, subtrees) for each in value]
    else:
        return value
    key = f"{type(value).__name__} {json.dumps(value)}"
    return value if len(key) < ONE_LINE else subtrees.setdefault(key, value)


class _Dumper(yaml.SafeDumper):
    names: Mapping[int, str] = {}
    """Of shared subtrees, by their identity."""

    def ignore_aliases(self, data: Any) -> bool:
        return id(data) not in self.names

    def represent_data(self, data: Any) -> yaml.Node:
        node = super().represent_data(data)
        if isinstance(node, yaml.CollectionNode):
            node.flow_style = len(json.dumps(data)) < ONE_LINE
        elif isinstance(node, yaml.ScalarNode) and "\n" in node.value:
            node.style = "|"
        return node

    def generate_anchor(self, node: yaml.Node) -> str:
        (identity,) = (key for key, each in self.represented_objects.items() if each is node)
        return self.names[identity]


_Dumper.add_representer(
    JsonText, lambda dumper, data: dumper.represent_mapping("!json", dict(data))
)
