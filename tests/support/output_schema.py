"""What commands print with `-o json` and `-o yaml`, held to its JSON Schema."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from typing import Any

from daypass.cli import data_format

FILES = {"render": "--directory"}
"""Options next to which -o names the format of files. Nothing goes to stdout, or a diff."""


def mistakes_in(words: Sequence[str], code: int | None, out: str) -> str:
    """Why stdout of a command line with -o json or yaml is not as the schema says; else empty.

    `code`: its exit code; None where it goes on.
    """
    output, command = data_format(words), schema_name(words)
    if command is None or "--help" in words or not output:
        return ""
    options = {word.partition("=")[0] for word in words}
    if FILES.get(command) in options:
        return ""
    if not out:
        return f"{command}: it printed nothing" if code in (0, 3) else ""
    return _mistake(command, output, out)


def schema_name(words: Sequence[str]) -> str | None:
    """The name of the output of a command line in the schema, if it has one."""
    names = (" ".join(words[:2]), *words[:1])
    return next((name for name in names if name in _schema()["$defs"]), None)


def _mistake(name: str, output: str, text: str) -> str:
    import jsonschema
    import yaml

    schema = {**_schema(), "$ref": f"#/$defs/{name.replace(' ', '%20')}"}
    try:
        documents = list(yaml.safe_load_all(text)) if output == "yaml" else [json.loads(text)]
    except (ValueError, yaml.YAMLError) as error:
        return f"{name}: not one document: {error}"
    if output == "yaml" and text.startswith("---\n"):  # objects for kubectl
        documents = [{"apiVersion": "v1", "kind": "List", "items": documents}]
    for document in documents:
        for wrong in jsonschema.Draft202012Validator(schema).iter_errors(document):
            return f"{name}: {wrong.message} at {wrong.json_path}: {str(document)[:2000]}"
    return "" if len(documents) == 1 else f"{name}: several documents"


@cache
def _schema() -> dict[str, Any]:
    from tools.reference.output import make_schema  # it imports most of daypass

    return make_schema()
