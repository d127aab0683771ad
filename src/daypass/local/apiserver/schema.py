"""The shape of a kind: what its JSON may hold, and in Go's words what is wrong with it.

Kubernetes decodes into Go structs. A field of another type ends the request; a field that is not
there, or stands twice, is a warning or (fieldValidation=Strict) an error, in the order in which
they come (sigs.k8s.io/json). Values that nothing is known of are `ANY`.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from daypass.local.apiserver.errors import quote, type_name

STRING, BOOL, INT64, BYTES, TIME, ANY = "string", "bool", "int64", "[]uint8", "Time", "any"
_INT64_LIMIT = 2**63
STRICT_LIMIT = 100
"""How many unknown and duplicate fields are told of (sigs.k8s.io/json)."""
_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[-+]\d\d:\d\d)"


class Pairs(list[tuple[str, Any]]):
    """A JSON object as it came: pairs in their order, a key perhaps twice."""


class Real(str):
    """A JSON number with a fraction, an exponent or very many digits, as it was written."""

    __slots__ = ()


def well_formed(text: str) -> str:
    """Half of a surrogate pair becomes U+FFFD, as it does in Go."""
    return text if text.isascii() else re.sub("[\ud800-\udfff]", "\ufffd", text)


class ShapeError(Exception):
    """A value of a type that does not fit; the message is encoding/json's."""


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of one type."""

    item: Shape


@dataclass(frozen=True, slots=True)
class MapOf:
    """An object of any keys and one type of value."""

    item: Shape


@dataclass(frozen=True, slots=True)
class Struct:
    """An object of known fields; `go` is the name of its type there."""

    go: str
    fields: Mapping[str, Shape]


Shape: TypeAlias = str | ListOf | MapOf | Struct


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldPath:
    """Where in an object a value stands."""

    struct: str
    path: str = ""
    exact: str = ""

    def below(self, struct: str, key: str) -> FieldPath:
        """The place of a field or key."""
        return FieldPath(
            struct=struct,
            path=f"{self.path}.{key}" if self.path else key,
            exact=f"{self.exact}.{key}" if self.exact else key,
        )

    def at(self, index: int) -> FieldPath:
        """The place of a list's element, which has an index only in strict errors."""
        return FieldPath(struct=self.struct, path=self.path, exact=f"{self.exact}[{index}]")


@dataclass(slots=True)
class Reader:
    """Reads one value; `strict` gathers unknown and duplicate fields."""

    strict: list[str] = field(default_factory=list)

    def read(self, value: Any, shape: Shape, place: FieldPath) -> Any:
        """The value in plain types, nulls and unknown fields left out. Raises ShapeError."""
        if value is None or shape == ANY:
            return self._plain(value, place)
        if isinstance(shape, Struct | MapOf):
            if isinstance(value, Pairs):
                return self._object(value, shape, place)
        elif isinstance(shape, ListOf):
            if isinstance(value, list) and not isinstance(value, Pairs):
                items = [self.read(item, shape.item, place.at(i)) for i, item in enumerate(value)]
                return ["" if item is None else item for item in items]
        elif (read := _scalar(value, shape)) is not None:
            return read
        raise ShapeError(_mismatch(value, shape, place))

    def _complain(self, what: str, place: FieldPath) -> None:
        complaint = f"{what} field {quote(place.exact)}"
        if len(self.strict) < STRICT_LIMIT and complaint not in self.strict:
            self.strict.append(complaint)

    def _object(self, pairs: Pairs, shape: Struct | MapOf, place: FieldPath) -> dict[str, Any]:
        read: dict[str, Any] = {}
        seen: set[str] = set()
        struct = shape.go.rpartition(".")[2] if isinstance(shape, Struct) else place.struct
        for key, value in pairs:
            key = well_formed(key)
            where = place.below(struct, key)
            inner = shape.fields.get(key) if isinstance(shape, Struct) else shape.item
            if inner is None and key not in seen:
                self._complain("unknown", where)
            elif inner is not None and key in seen:
                self._complain("duplicate", where)
            seen.add(key)
            if inner is None:
                continue
            if isinstance(shape, MapOf):  # messages name the map, not its key
                where = FieldPath(struct=struct, path=place.path, exact=where.exact)
            result = self.read(value, inner, where)
            read.pop(key, None)
            if result is not None:
                read[key] = result
        return read

    def _plain(self, value: Any, place: FieldPath) -> Any:
        if isinstance(value, Pairs):
            plain = {}
            for key, inner in value:
                key = well_formed(key)
                where = place.below(place.struct, key)
                if key in plain:
                    self._complain("duplicate", where)
                plain[key] = self._plain(inner, where)
            return plain
        if isinstance(value, list):
            return [self._plain(item, place.at(i)) for i, item in enumerate(value)]
        if isinstance(value, Real):
            return float(value)
        return well_formed(value) if isinstance(value, str) else value


def _scalar(value: Any, shape: str) -> Any:
    if shape == BOOL:
        return value if isinstance(value, bool) else None
    if shape == INT64:
        fits = type(value) is int and -_INT64_LIMIT <= value < _INT64_LIMIT
        return value if fits else None
    if not isinstance(value, str) or isinstance(value, Real):
        return None
    if shape == TIME and not re.fullmatch(_TIME, value):
        why = f"cannot parse {quote(value)} as " + quote("2006")
        raise ShapeError(f'parsing time {quote(value)} as "2006-01-02T15:04:05Z07:00": {why}')
    return _base64(value) if shape == BYTES else well_formed(value)


def _base64(text: str) -> str:
    try:
        binascii.a2b_base64(text.replace("\n", ""), strict_mode=True)
    except ValueError:
        good = re.match("[A-Za-z0-9+/]*", text)
        at = good.end() // 4 * 4 if good and good.end() == len(text) else good.end() if good else 0
        raise ShapeError(f"illegal base64 data at input byte {at}") from None
    return text


def _mismatch(value: Any, shape: Shape, place: FieldPath) -> str:
    found = type_name(value)
    if found == "number" and shape == INT64:
        found += f" {value}"
    into = f"struct field {place.struct}.{place.path}" if place.path else "value"
    return f"json: cannot unmarshal {found} into Go {into} of type {_go(shape)}"


def _go(shape: Shape) -> str:
    if isinstance(shape, Struct):
        return shape.go
    if isinstance(shape, ListOf):
        return f"[]{_go(shape.item)}"
    return f"map[string]{_go(shape.item)}" if isinstance(shape, MapOf) else shape


def plain(value: Any) -> Any:
    """Parsed values with objects as dicts."""
    return Reader().read(value, ANY, FieldPath(struct=""))


def as_pairs(value: Any) -> Any:
    """Plain values as if they had just been parsed."""
    if isinstance(value, dict):
        return Pairs((key, as_pairs(inner)) for key, inner in value.items())
    return [as_pairs(item) for item in value] if isinstance(value, list) else value
