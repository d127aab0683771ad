"""`daypass version`: which daypass this is."""

import platform
from argparse import ArgumentParser, Namespace

from daypass._core import VERSION
from daypass.cli import options, write
from daypass.cli.error_data import flat_yaml
from daypass.cli.output import as_text

EXTRA = None
SUMMARY = "print the version"
EPILOG = """examples:
  daypass version -o json
"""


def add_arguments(parser: ArgumentParser) -> None:
    options.add_output(parser)


def run(args: Namespace) -> int:
    """Print the version of daypass, and with json and yaml that of Python."""
    versions = {"version": VERSION, "python": platform.python_version()}
    if args.output == "text":
        write(f"daypass {VERSION}\n")
    elif args.output == "json":
        write(as_text(versions, "json"))
    else:
        write(flat_yaml(versions))
    return 0
