"""The JSON Schema, and its agreement with the parser."""

import jsonschema

from daypass.config import json_schema


def test_the_schema_is_valid_and_describes_every_key() -> None:
    described = json_schema()
    jsonschema.Draft202012Validator.check_schema(described)
    for section in (described, *described["$defs"].values()):
        assert section["additionalProperties"] is False
        for key, field in section["properties"].items():
            assert field.get("description"), key
            rule = {"$defs": described["$defs"], **field}
            values = [
                *field.get("examples", []),
                *([field["default"]] if "default" in field else []),
            ]
            for value in values:
                jsonschema.Draft202012Validator(rule).validate(value)
