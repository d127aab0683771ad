"""The schema of outputs describes each command completely."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from tools.reference.commands import command_parsers
from tools.reference.output import OPEN, make_schema

from daypass.cli import main
from support.output_schema import OutputRecorder, mistakes_in

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
    assert set(SCHEMA["$defs"]) - set(TYPES) == with_data | {"gate serve", "error"}


def test_every_type_is_closed_and_every_field_described() -> None:
    for name, each in TYPES.items():
        assert each["additionalProperties"] is (name == OPEN)
        for field, schema in each["properties"].items():
            assert schema.get("description"), f"{name}.{field}"


VERSION = '{"version": "1", "python": "3"}'


@pytest.mark.parametrize(
    ("line", "code", "out", "mistake"),
    [
        ("version -o json", 0, VERSION, ""),
        ("version -o yaml", 0, "version: '1'\npython: '3'\n", ""),
        ("version", 0, "daypass 1\n", ""),
        ("version -o json --help", 0, "usage", ""),
        ("version -o json", 0, VERSION.replace("}", ', "more": 1}'), "'more' was unexpected"),
        ("version -o json", 0, '{"version": "1"}', "'python' is a required property"),
        ("version -o json", 0, VERSION.replace('"3"', "3"), "is not of type 'string'"),
        ("version -o json", 0, VERSION * 2, "not one document"),
        ("version -o json", 0, "daypass 1\n" + VERSION, "not one document"),
        ("version -o yaml", 0, f"{VERSION}\n---\n{VERSION}\n", "several documents"),
        ("version -o json", 0, "", "printed nothing"),
        ("version -o json", 2, "", ""),
        ("identity list -o json --watch", None, '{"identities": []}\n' * 2, ""),
        ("identity list -o yaml --watch", None, "---\nidentities: []\n" * 2, ""),
        ("identity list -o json", 0, '{"identities": []}\n' * 2, "not one document"),
        ("policy render -o yaml", 0, "---\napiVersion: v1\nkind: X\n" * 2, ""),
        ("policy render -o yaml", 0, "---\nkind: X\n", "'apiVersion' is a required property"),
    ],
)
def test_an_output_that_is_not_as_documented_is_found(
    line: str, code: int | None, out: str, mistake: str
) -> None:
    found = mistakes_in(line.split(), code, out)
    assert mistake in found
    assert bool(mistake) is bool(found)


@pytest.mark.parametrize("line", ["version -o json", "version -o zzz -o json"])
def test_the_commands_of_all_tests_are_held_to_it(
    line: str, monkeypatch: pytest.MonkeyPatch, output_recorder: OutputRecorder
) -> None:
    monkeypatch.setattr("platform.python_version", lambda: 3)
    monkeypatch.setattr("daypass._core.errors.UsageError.reason", 7, raising=False)
    main(line.split())
    (mistake,) = output_recorder.mistakes
    assert "is not of type 'string'" in mistake
    output_recorder.mistakes.clear()
