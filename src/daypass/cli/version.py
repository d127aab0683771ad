"""`daypass version`: which daypass this is."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

from daypass._core import VERSION
from daypass.cli import options, write
from daypass.cli.error_data import flat_yaml
from daypass.cli.output import write_data

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from daypass.cli.output_data import Version

SUMMARY = "print the version"
EPILOG = """examples:
  daypass version
  daypass version -o json
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's options."""
    options.add_output(parser)


def run(args: Namespace) -> int:
    """Print the version of daypass, and with json and yaml that of Python."""
    versions: Version = {"version": VERSION, "python": platform.python_version()}
    if args.output == "text":
        write(f"daypass {VERSION}\n")
    elif args.output == "json":
        write_data(versions, "json")
    else:
        write(flat_yaml(versions))
    return 0
