"""The schema of outputs describes each command completely."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, get_args, get_type_hints

import jsonschema
import pytest
from tools.reference.commands import command_parsers
from tools.reference.output import make_schema, output_types

from daypass._core.findings import Level, ok
from daypass._core.secret import Secret
from daypass.cli.output import as_data

SCHEMA: dict[str, Any] = make_schema()
TYPES = {name: each for name, each in SCHEMA["$defs"].items() if name[0].isupper()}


def test_the_schema_is_valid_2020_12() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_every_command_with_data_has_a_schema() -> None:
    with_data = {
        " ".join(path)
        for path, parser in command_parsers().items()
        for action in parser._actions
        if "--output" in action.option_strings
    }
    assert set(SCHEMA["$defs"]) - set(TYPES) == with_data | {"error"}


def test_every_type_is_closed_and_every_field_described() -> None:
    for name, each in TYPES.items():
        assert each["additionalProperties"] is False
        for field, schema in each["properties"].items():
            assert schema.get("description"), f"{name}.{field}"


def _reached(kind: Any) -> Iterator[Any]:
    yield kind
    for each in get_args(kind) or get_type_hints(kind).values():
        if not isinstance(each, str):
            yield from _reached(each)


def test_no_output_reaches_a_secret() -> None:
    for name, kind in output_types().items():
        assert Secret not in {*_reached(kind)}, name


@dataclass
class Inner:
    read_at: datetime
    seen: tuple[Level, ...]


@dataclass
class Outer:
    inner_one: Inner
    by_name: dict[str, object]


def test_data_has_fields_in_camel_case_and_times_in_rfc_3339() -> None:
    inner = Inner(datetime(2026, 11, 24, 16, tzinfo=UTC), (Level.OK,))
    read = {"readAt": "2026-11-24T16:00:00Z", "seen": ["ok"]}
    assert as_data(Outer(inner, {"a_b": ok("dns", "well")})) == {
        "innerOne": read,
        "byName": {"a_b": {"check": "dns", "level": "ok", "fact": "well", "hint": ""}},
    }


@pytest.mark.parametrize("value", [Secret("hush"), object(), Outer])
def test_what_is_no_data_is_not_printed(value: object) -> None:
    with pytest.raises(TypeError, match="is no data"):
        as_data({"field": [value]})
