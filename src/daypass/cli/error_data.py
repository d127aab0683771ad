"""Errors as data: what `-o json` and `-o yaml` make of them."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from daypass._core.errors import DaypassError


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
    from daypass.cli.output import ErrorFields, ErrorOutput, as_text

    described = ErrorFields(
        reason=error.reason, message=error.fact, hint=hint, exit_code=error.exit_code
    )
    text = as_text(ErrorOutput(error=described), output, indent=None)
    with suppress(AttributeError, OSError, ValueError):  # it is None if it was closed at the start
        sys.stderr.write(text)
    return True
