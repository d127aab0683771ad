"""The JSON Schema, and its agreement with the parser."""

import jsonschema

from daypass.config import json_schema


def test_the_schema_is_valid_2020_12() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())
    assert json_schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_every_key_has_a_title_or_reference_and_a_description() -> None:
    described = json_schema()
    for section in (described, *described["$defs"].values()):
        assert section["additionalProperties"] is False
        for key, field in section["properties"].items():
            assert field.get("description"), key
            assert "title" in field or "$ref" in field, key
            assert "\n" not in field["description"]


def test_every_example_and_default_in_the_schema_is_valid() -> None:
    described = json_schema()
    for section in (described, *described["$defs"].values()):
        for field in section["properties"].values():
            rule = {"$defs": described["$defs"], **field}
            values = list(field.get("examples", []))
            values += [field["default"]] if "default" in field else []
            for value in values:
                jsonschema.Draft202012Validator(rule).validate(value)
