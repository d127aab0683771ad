"""`daypass config validate`: whether the config file is valid, and each mistake in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daypass.cli import log, options
from daypass.cli.output import write_data

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from daypass.cli.output_data import Validated

EXTRA = "admin"
SUMMARY = "show each mistake in the config file, with file, line and column"
EPILOG = """examples:
  daypass config validate
  daypass config validate --config deployments/daypass.yaml -o json

It reads this one file and contacts no cluster. Exit code 2: the file is not valid.
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's options."""
    options.add_config(parser)
    options.add_output(parser)


def run(args: Namespace) -> int:
    """Return 0 if it is valid, or 2; without -o, mistakes are an error."""
    from daypass.config import ConfigError

    code = 0
    document: Validated = {"valid": True, "problems": [], "omitted": 0}
    try:
        options.load_config(args.config)
    except ConfigError as error:
        if args.output == "text":
            raise
        code = error.exit_code
        document = {"valid": False, "problems": [*error.problems], "omitted": error.omitted}
    if args.output == "text":
        log(f"{args.config} is valid")
    else:
        write_data(document, args.output)
    return code
