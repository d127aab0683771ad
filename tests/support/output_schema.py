"""The JSON Schema of what commands print with `-o json` and `-o yaml`, and outputs held to it."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from daypass import cli
from daypass.cli.error_data import data_format

FILE = Path(__file__).parents[2] / "docs/reference/output.schema.json"
OPEN = "KubernetesObject"
"""The type with fields that are not listed: Kubernetes describes them."""

FILES = {"render": "--directory", "kubeconfig": "--kubeconfig-out"}
"""Options next to which -o names the format of files. Nothing goes to stdout, or a diff."""

SIMPLE = {str: "string", int: "integer", bool: "boolean", type(None): "null"}


def make_schema() -> dict[str, Any]:
    """The schema, made from the types of `daypass.cli.output_data`."""
    from daypass.cli.output_data import OUTPUTS

    types_: dict[str, Any] = {}
    commands = {name: _schema(kind, types_) for name, kind in OUTPUTS.items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What the commands of daypass print with -o json and -o yaml",
        "description": "$defs has the output of each command by its name, such as `identity show`,"
        " and the types that these refer to, which begin with a capital letter.",
        "$defs": {**commands, **dict(sorted(types_.items()))},
    }


def _schema(kind: Any, found: dict[str, Any]) -> dict[str, Any]:
    """The schema of a type; those of classes that it refers to are added to `found`."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return {"description": arguments[1], **_schema(arguments[0], found)}
    if origin is NotRequired:
        return _schema(arguments[0], found)
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (Union, types.UnionType):
        return {"anyOf": [_schema(each, found) for each in arguments]}
    if origin in (list, tuple):
        return {"type": "array", "items": _schema(arguments[0], found)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _schema(arguments[1], found)}
    if kind in SIMPLE:
        return {"type": SIMPLE[kind]}
    if issubclass(kind, StrEnum):
        return {"enum": [str(each) for each in kind]}
    assert is_typeddict(kind) or is_dataclass(kind), kind
    if kind.__name__ not in found:
        found[kind.__name__] = {}  # it may refer to itself
        found[kind.__name__] = _object(kind, found)
    return {"$ref": f"#/$defs/{kind.__name__}"}


def _object(kind: Any, found: dict[str, Any]) -> dict[str, Any]:
    hints = get_type_hints(kind, include_extras=True)
    described = {"description": " ".join(kind.__doc__.split())} if kind.__doc__ else {}
    return {
        **described,
        "type": "object",
        "additionalProperties": kind.__name__ == OPEN,
        "required": [name for name, hint in hints.items() if get_origin(hint) is not NotRequired],
        "properties": {name: _schema(hint, found) for name, hint in hints.items()},
    }


def mistakes_in(words: Sequence[str], code: int | None, out: str) -> str:
    """Why stdout of a command line with -o json or yaml is not as the schema says; else empty.

    `code`: its exit code; None where it goes on.
    """
    output, command = data_format(words), schema_name(words)
    if command is None or "--help" in words or not output:
        return ""
    options = {word.partition("=")[0] for word in words}
    if FILES.get(command) in options and not (output == "json" and "--check" in options):
        return ""
    if not out:
        return f"{command}: it printed nothing" if code in (0, 3) else ""
    return _mistake(command, output, out, many="--watch" in words)


def error_mistakes_in(words: Sequence[str], err: str) -> str:
    """Why an error is not as the schema says; empty where it is."""
    return _mistake("error", data_format(words), err, many=False)


def schema_name(words: Sequence[str]) -> str | None:
    """The name of the output of a command line in the schema, if it has one."""
    names = (" ".join(words[:2]), *words[:1])
    return next((name for name in names if name in _committed()["$defs"]), None)


def line_mistakes_in(name: str, lines: str) -> str:
    """Why lines of JSON are not as the schema says; empty where they are."""
    return _mistake(name, "json", lines, many=True)


def _mistake(name: str, output: str, text: str, *, many: bool) -> str:
    import jsonschema
    import yaml

    schema = {**_committed(), "$ref": f"#/$defs/{name.replace(' ', '%20')}"}
    try:
        documents = (
            list(yaml.safe_load_all(text))
            if output == "yaml"
            else [json.loads(line) for line in (text.splitlines() if many else [text])]
        )
    except (ValueError, yaml.YAMLError) as error:
        return f"{name}: not one document: {error}"
    if output == "yaml" and text.startswith("---\n") and not many:  # objects for kubectl
        documents = [{"apiVersion": "v1", "kind": "List", "items": documents}]
    for document in documents:
        for wrong in jsonschema.Draft202012Validator(schema).iter_errors(document):
            return f"{name}: {wrong.message} at {wrong.json_path}: {str(document)[:2000]}"
    return "" if len(documents) == 1 or many else f"{name}: several documents"


@cache
def _committed() -> Mapping[str, Any]:
    schema: dict[str, Any] = json.loads(FILE.read_text())
    return schema


class OutputRecorder:
    """What is wrong with the outputs of commands in this process."""

    def __init__(self) -> None:
        self.mistakes: list[str] = []

    def install(self) -> None:
        """Look from now on at each output and each error with -o json or yaml."""
        run, report = cli._run, cli._report

        def recorded_run(arguments: list[str]) -> int:
            if not data_format(arguments) or sys.stdout is None:
                return run(arguments)
            code = None
            with Tee("stdout") as tee:
                try:
                    code = run(arguments)
                finally:
                    self._add(mistakes_in(arguments, code, tee.text))
            return code

        def recorded_report(error: Exception, words: list[str]) -> int:
            if not data_format(words) or sys.stderr is None:
                return report(error, words)
            with Tee("stderr") as tee:
                code = report(error, words)
            self._add(error_mistakes_in(words, tee.text))
            return code

        cli._run, cli._report = recorded_run, recorded_report

    def _add(self, mistake: str) -> None:
        if mistake:
            self.mistakes.append(mistake)


class Tee:
    """Stands for a stream of `sys` in a block, and keeps what is written to it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._stream = getattr(sys, name)
        self.text = ""

    def __enter__(self) -> Tee:
        setattr(sys, self._name, self)
        return self

    def __exit__(self, *_: object) -> None:
        setattr(sys, self._name, self._stream)

    def write(self, text: str) -> int:
        written: int = self._stream.write(text)
        self.text += text
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
