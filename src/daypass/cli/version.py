"""`daypass version`: which daypass this is."""

import platform
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from typing import Annotated

from daypass._core import VERSION
from daypass.cli import options
from daypass.cli.output import write_result

EXTRA = None
SUMMARY = "print the version"
EPILOG = """examples:
  daypass version -o json
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """The version of daypass."""

    version: Annotated[str, "the version of daypass"]
    python: Annotated[str, "the version of Python"]


OUTPUT = Version


def add_arguments(parser: ArgumentParser) -> None:
    options.add_output(parser)


def run(args: Namespace) -> int:
    """Print the version of daypass, and with json and yaml that of Python."""
    versions = Version(version=VERSION, python=platform.python_version())
    write_result(args, versions, f"daypass {VERSION}\n")
    return 0
