"""From a request's body to an object: media type, syntax, types, unknown and duplicate fields.

Everything has a limit: bytes, nesting, the size of YAML.
"""

from __future__ import annotations

import binascii
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml

from daypass.local.apiserver import errors
from daypass.local.apiserver.errors import quote

BODY_LIMIT_BYTES = 3 * 1024 * 1024
YAML_LIMIT_BYTES = 64 * 1024
DEPTH_LIMIT = 200
WARNINGS_LIMIT = 100
JSON, YAML, MERGE_PATCH, APPLY_PATCH = (
    "application/json", "application/yaml", "application/merge-patch+json",
    "application/apply-patch+yaml",
)  # fmt: skip
ANY, BYTES = object, bytes


@dataclass(frozen=True, slots=True)
class MapOf:
    """An object with any keys and values of one shape."""

    item: Shape


Shape: TypeAlias = "type | list[Any] | MapOf | dict[str, Any]"
"""A scalar's type, ANY, `[item]`, a MapOf, or an object's fields by name."""


class ShapeError(Exception):
    """A body that cannot be read, or a value of the wrong type."""


class Pairs(list[tuple[str, Any]]):
    """A JSON object as it was sent: a key may occur twice."""


def media_type(content_type: str) -> str:
    """Return the media type of a body; the default is JSON. Raises the 415."""
    name = content_type.partition(";")[0].strip().lower()
    if not name and not content_type:
        return JSON
    if name in (JSON, YAML):
        return name
    hint = " (the embedded API server reads no protobuf: send JSON)" if "protobuf" in name else ""
    raise errors.unsupported_media_type(
        "the body of the request was in an unknown format - accepted media types include: "
        f"{JSON}, {YAML}, application/vnd.kubernetes.protobuf{hint}"
    )


def parse(body: bytes, media: str) -> Any:
    """Parse JSON or YAML, with objects of JSON as Pairs. Raises ShapeError, and the 413."""
    text = body.decode("utf-8", "replace")
    try:
        if media == JSON or text.lstrip()[:1] == "{":
            return json.loads(
                text, object_pairs_hook=Pairs, parse_float=_finite, parse_constant=_finite
            )
        if len(body) > YAML_LIMIT_BYTES:
            raise errors.too_large(YAML_LIMIT_BYTES)
        return yaml.load(text, _YamlLoader)  # noqa: S506 - a SafeLoader without anchors
    except RecursionError:
        raise ShapeError(f"exceeded max depth {DEPTH_LIMIT}") from None
    except (ValueError, yaml.YAMLError) as error:
        raise ShapeError(f"{media.partition('/')[2]} parse error: {error}") from None


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is not a number of JSON")
    return number


class _YamlLoader(yaml.SafeLoader):
    """Refuses anchors, a few lines of which can stand for gigabytes; reads dates as strings."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("anchors are not supported")
        return super().compose_node(parent, index)


_YamlLoader.add_constructor("tag:yaml.org,2002:timestamp", lambda _, node: str(node.value))


def plain(value: Any, depth: int = 0) -> Any:
    """Return a parsed value with dicts for Pairs. Raises ShapeError."""
    if depth > DEPTH_LIMIT:
        raise ShapeError(f"exceeded max depth {DEPTH_LIMIT}")
    if isinstance(value, dict | Pairs):
        pairs = value.items() if isinstance(value, dict) else value
        return {str(key): plain(inner, depth + 1) for key, inner in pairs}
    if isinstance(value, list):
        return [plain(each, depth + 1) for each in value]
    return value


@dataclass(slots=True)
class ObjectReader:
    """Reads one object; `warnings` lists unknown and duplicate fields."""

    warnings: list[str] = field(default_factory=list)

    def read(self, value: Any, shape: Shape, path: str = "", depth: int = 0) -> Any:
        """Return the value without nulls and unknown fields. Raises ShapeError."""
        if depth > DEPTH_LIMIT:
            raise ShapeError(f"exceeded max depth {DEPTH_LIMIT}")
        if isinstance(value, dict | Pairs):
            pairs = value.items() if isinstance(value, dict) else value
            if shape is ANY or isinstance(shape, dict | MapOf):
                return self._read_object(pairs, shape, path, depth)
        elif isinstance(value, list):
            if shape is ANY or isinstance(shape, list):
                item = shape[0] if isinstance(shape, list) else ANY
                return [
                    _empty(item) if each is None else
                    self.read(each, item, f"{path}[{index}]", depth + 1)
                    for index, each in enumerate(value)
                ]  # fmt: skip
        elif (read := _read_scalar(value, shape, path)) is not None or value is None:
            return read
        raise ShapeError(f"cannot unmarshal {_type_name(value)} into {path or 'the object'}")

    def _read_object(
        self, pairs: Iterable[tuple[Any, Any]], shape: Shape, path: str, depth: int
    ) -> dict[str, Any]:
        read: dict[str, Any] = {}
        seen: set[str] = set()
        for raw, value in pairs:
            key = _well_formed(str(raw))
            below = f"{path}.{key}" if path else key
            inner = shape.get(key) if isinstance(shape, dict) else (
                shape.item if isinstance(shape, MapOf) else ANY
            )  # fmt: skip
            if inner is None:
                self._warn("unknown", below)
                continue
            if key in seen:
                self._warn("duplicate", below)
            seen.add(key)
            result = None if value is None else self.read(value, inner, below, depth + 1)
            read.pop(key, None)
            if result is not None:
                read[key] = result
        return read

    def _warn(self, what: str, path: str) -> None:
        warning = f"{what} field {quote(path)}"
        if len(self.warnings) < WARNINGS_LIMIT and warning not in self.warnings:
            self.warnings.append(warning)


def _empty(shape: Shape) -> Any:
    """Return what a null in a list stands for."""
    return {} if isinstance(shape, dict | MapOf) else None if shape is ANY else ""


def _read_scalar(value: Any, shape: Shape, path: str) -> Any:
    if isinstance(value, str):
        if shape is BYTES:
            try:
                binascii.a2b_base64(value.replace("\n", ""), strict_mode=True)
            except ValueError:
                raise ShapeError(f"illegal base64 data in {path}") from None
        return _well_formed(value) if shape in (str, BYTES, ANY) else None
    if isinstance(value, bool):
        return value if shape in (bool, ANY) else None
    if isinstance(value, int):
        return value if shape in (int, ANY) and -(2**63) <= value < 2**63 else None
    return value if shape is ANY and isinstance(value, float) and math.isfinite(value) else None


def _well_formed(text: str) -> str:
    """Return the text with U+FFFD for halves of surrogate pairs."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode(
        "utf-16", "replace"
    )  # fmt: skip


def _type_name(value: object) -> str:
    names: dict[type, str] = {str: "string", bool: "bool", Pairs: "object", dict: "object",
                              list: "array"}  # fmt: skip
    return names.get(type(value), "number")
