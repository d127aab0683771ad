"""`daypass help`: the commands, or one of them."""

from argparse import ArgumentParser, Namespace

from daypass.cli import write

EXTRA = None
SUMMARY = "describe the commands, or one of them"
EPILOG = """examples:
  daypass help token
  daypass help identity create
"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("command", nargs="*", metavar="COMMAND", help="such as `identity create`")


def run(args: Namespace) -> int:
    from daypass.cli.parser import help_text

    write(help_text(args.command))
    return 0
