"""Errors as data: what `-o json` and `-o yaml` make of them, and YAML without PyYAML."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from textwrap import indent as indented
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from daypass._core.errors import DaypassError


def flat_yaml(fields: Mapping[str, object]) -> str:
    """Return fields as YAML with JSON values, without PyYAML, which the base package lacks."""
    return "".join(f"{name}: {json.dumps(value)}\n" for name, value in fields.items())


def data_format(words: Sequence[str]) -> str:
    """Return `json` or `yaml` if a command line names it as its output, or else nothing."""
    end = words.index("--") if "--" in words else len(words)
    joined = "\0".join(("", *words[:end]))  # no word contains NUL
    *_, output = re.findall(r"\0(?:-o[\0=]?|--output[\0=])([^\0]+)", joined) or ("",)
    return output if output in ("json", "yaml") else ""


def write_error(words: Sequence[str], error: DaypassError, hint: str) -> bool:
    """Write an error to stderr if a command line names `json` or `yaml`; return whether it does.

    Errors of stderr itself are ignored.
    """
    output = data_format(words)
    if not output:
        return False
    fields = {
        "reason": error.reason,
        "message": error.fact,
        "hint": hint,
        "exitCode": error.exit_code,
    }
    as_json = json.dumps({"error": fields}) + "\n"
    text = as_json if output == "json" else "error:\n" + indented(flat_yaml(fields), "  ")
    with suppress(AttributeError, OSError, ValueError):  # it is None if it was closed at the start
        sys.stderr.write(text)
    return True
