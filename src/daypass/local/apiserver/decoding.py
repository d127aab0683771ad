"""The part of YAML that is JSON with fewer quotes.

Read by the pure Python parser, whose recursion ends in an error and not in a crash, and from a
bounded text. Anchors are refused: ten lines of them make a gigabyte.

From a request's body to an object of the kind that its path is for.

The order is the API server's: media type, syntax, apiVersion and kind, types, and what is unknown
or stands twice. Everything has a bound: bytes, nesting, digits.
"""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

from daypass.local.apiserver import errors
from daypass.local.apiserver.errors import StatusError, quote, summarize, syntax_error, type_name
from daypass.local.apiserver.kinds import BY_NAME, Kind
from daypass.local.apiserver.schema import FieldPath, Pairs, Reader, Real, ShapeError

LIMIT_BYTES = 64 * 1024
_TAG = "tag:yaml.org,2002:"


def parse_yaml_subset(text: str) -> Any:
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


BODY_LIMIT_BYTES = 3 * 1024 * 1024
DEPTH_LIMIT = 200
"""Kubernetes reads 10,000 levels; no object of its own has 20."""
DIGITS_LIMIT = 40
_TOO_DEEP = "json parse error: invalid character '[' exceeded max depth"

JSON, YAML = "application/json", "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
_UNREAD = (PROTOBUF, "application/cbor")
_HEADER = (
    'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; '
    'Kind string "json:\\"kind,omitempty\\"" }'
)


class SyntaxFault(Exception):
    """A text that cannot be read at all; the message is Kubernetes' own."""


def media_type(content_type: str) -> str:
    """The media type of a body; none at all is JSON. Raises the 415."""
    if not content_type:
        return JSON
    name, *parameters = (part.strip() for part in content_type.split(";"))
    known = name.lower() in (JSON, YAML)
    if parameters and not parameters[-1]:
        parameters.pop()
    if known and all("=" in parameter for parameter in parameters):
        return name.lower()
    message = (
        "the body of the request was in an unknown format - accepted media types include: "
        f"{JSON}, {YAML}"
    )
    if name.lower() in _UNREAD:
        message += f" (the embedded API server reads no {name.lower()}: send JSON)"
    else:
        message += f", {PROTOBUF}"
    raise StatusError(415, "UnsupportedMediaType", message)


def parse(body: bytes, media: str) -> Any:
    """JSON or YAML as plain values, objects as Pairs. Raises SyntaxFault."""
    text = body.decode("utf-8", "replace")
    try:
        value = _parse_json(text) if media == JSON else _parse_yaml(text)
    except RecursionError:
        raise SyntaxFault(_TOO_DEEP) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark is not None else ""
        raise SyntaxFault(f"yaml: {line}{getattr(error, 'problem', None) or error}") from None
    except ValueError as error:
        raise SyntaxFault(f"json parse error: {syntax_error(error)}") from None
    if too_deep(value):
        raise SyntaxFault(_TOO_DEEP)
    return value


def _parse_json(text: str) -> Any:
    def refuse(constant: str) -> Any:
        raise ValueError(constant)

    def whole(digits: str) -> int | Real:
        return int(digits) if len(digits) <= DIGITS_LIMIT else Real(digits)

    return json.loads(
        text,
        object_pairs_hook=Pairs,
        parse_int=whole,
        parse_float=Real,
        parse_constant=refuse,
    )


def _parse_yaml(text: str) -> Any:
    if text.lstrip()[:1] == "{":
        try:
            return _parse_json(text)
        except ValueError:
            pass
    if len(text) > LIMIT_BYTES:
        raise errors.too_large(LIMIT_BYTES)
    return parse_yaml_subset(text)


def too_deep(value: Any) -> bool:
    """Whether parsed or plain values are nested deeper than DEPTH_LIMIT."""
    level = [value]
    for _ in range(DEPTH_LIMIT):
        below: list[Any] = []
        for item in level:
            if isinstance(item, Pairs):
                below.extend(inner for _, inner in item if isinstance(inner, list))
            elif isinstance(item, dict | list):
                inners = item.values() if isinstance(item, dict) else item
                below.extend(inner for inner in inners if isinstance(inner, dict | list))
        if not below:
            return False
        level = below
    return True


def decode(
    body: bytes, content_type: str, kind: Kind, validation: str
) -> tuple[dict[str, Any], list[str]]:
    """The object in a body and the warnings for its sender. `validation` is `fieldValidation`."""
    media = media_type(content_type)
    try:
        value = parse(body, media)
        version, name = version_and_kind(value, kind)
    except SyntaxFault as fault:
        place = "couldn't get version/kind; " if str(fault).startswith("json") else ""
        raise errors.bad_request(
            f"the object provided is unrecognized (must be of type {kind.kind}): "
            f"{place}{fault} ({summarize(body)})"
        ) from None
    short = quote(version.rpartition("/")[2])
    said = f"{name} in version {short} cannot be handled as a {kind.kind}: "
    if (version, name) != (kind.group_version, kind.kind):
        raise errors.bad_request(said + wrong_kind(version, name, kind))
    try:
        read, strict = convert(value or Pairs(), kind)
    except ShapeError as error:
        raise errors.bad_request(said + str(error)) from None
    if strict and validation == "Strict":
        raise errors.bad_request(f"{said}strict decoding error: {', '.join(strict)}")
    return read, ([] if validation == "Ignore" else strict)


def convert(value: Any, kind: Kind) -> tuple[dict[str, Any], list[str]]:
    """Parsed values as an object of a kind, and what was unknown in it. Raises ShapeError."""
    reader = Reader()
    read = reader.read(value, kind.shape, FieldPath(struct=kind.kind))
    ordered = {"kind": kind.kind, "apiVersion": kind.group_version, "metadata": {}}
    return {**ordered, **read}, reader.strict


def version_and_kind(value: Any, kind: Kind) -> tuple[str, str]:
    """What a parsed body says it is; what it does not say is what is expected."""
    if value is None:
        value = Pairs()
    if not isinstance(value, Pairs):
        raise SyntaxFault(
            f"json parse error: json: cannot unmarshal {type_name(value)} into Go value of type "
            f"{_HEADER}"
        )
    head = dict(value)
    for key in ("apiVersion", "kind"):
        if type(head.get(key, "")) is not str and head[key] is not None:
            raise SyntaxFault(
                f"json parse error: json: cannot unmarshal {type_name(head[key])} into Go struct "
                f"field .{key} of type string"
            )
    version = head.get("apiVersion") or kind.group_version
    if version.count("/") > 1:
        raise SyntaxFault(f"unexpected GroupVersion string: {version}")
    return version, head.get("kind") or kind.kind


def wrong_kind(version: str, name: str, kind: Kind) -> str:
    """Why an object of one kind cannot be read as another."""
    if (other := BY_NAME.get((version, name))) is not None:
        package = kind.group.split(".")[0] or "core"
        return f"converting ({other.shape.go}) to ({package}.{kind.kind}): unknown conversion"
    return (
        f"no kind {quote(name)} is registered for version {quote(version)} "
        'in scheme "pkg/runtime/scheme.go:111"'
    )
