"""`daypass config validate`: whether the config file is valid, and each mistake in it."""

from argparse import ArgumentParser, Namespace

from daypass.cli import log, options
from daypass.cli.output import write_result

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

    try:
        options.load_config(args.config)
    except ConfigError as error:
        if args.output == "text":
            raise
        problems = list(error.problems)
        write_result(args, {"valid": False, "problems": problems, "omitted": error.omitted})
        return error.exit_code
    write_result(args, {"valid": True, "problems": [], "omitted": 0})
    if args.output == "text":
        log(f"{args.config} is valid")
    return 0
