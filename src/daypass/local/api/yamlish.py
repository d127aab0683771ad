"""The part of YAML that is JSON with fewer quotes.

Read by the pure Python parser, whose recursion ends in an error and not in a crash, and from a
bounded text. Anchors are refused: ten lines of them make a gigabyte.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from daypass.local.api.schema import Pairs, Real

LIMIT_BYTES = 64 * 1024
_TAG = "tag:yaml.org,2002:"


def parse(text: str) -> Any:
    """The first document of a text as Kubernetes' YAML reader takes it, objects as Pairs.

    Raises yaml.YAMLError, RecursionError, ValueError.
    """
    loader = yaml.SafeLoader(text)
    try:
        return _value(loader.get_node(), set()) if loader.check_node() else None
    finally:
        loader.dispose()


def _value(node: yaml.Node | None, seen: set[int]) -> Any:
    if node is None:
        return None
    if not isinstance(node, yaml.ScalarNode):
        if id(node) in seen:
            raise yaml.YAMLError("anchors are not read here")
        seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        return Pairs((_key(key), _value(inner, seen)) for key, inner in node.value)
    if isinstance(node, yaml.SequenceNode):
        return [_value(inner, seen) for inner in node.value]
    return _scalar(node.tag.removeprefix(_TAG), node.value)


def _key(node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise yaml.YAMLError("a key is no scalar")
    return str(node.value)


def _scalar(tag: str, text: str) -> Any:
    if tag in ("str", "timestamp", "value", "merge"):
        return text
    if tag == "null":
        return None
    if tag == "bool":
        return text.lower() in ("y", "yes", "true", "on")
    if tag == "int" and re.fullmatch("[-+]?[0-9a-fxA-FX_]+", text) and len(text) <= 40:
        return _integer(text.replace("_", ""))
    return Real(text) if tag in ("int", "float") else _refuse(tag)


def _integer(text: str) -> int:
    octal = re.fullmatch("[-+]?0[0-7]+", text)
    return int(text, 8) if octal else int(text, 0)


def _refuse(tag: str) -> Any:
    raise yaml.YAMLError(f"{tag} is not read here")
