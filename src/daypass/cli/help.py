"""`daypass help`: the commands, or one of them."""

from argparse import ArgumentParser, Namespace

from daypass import cli

SUMMARY = "describe the commands, or one of them"
EPILOG = """examples:
  daypass help token
  daypass help identity create
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("command", nargs="*", metavar="COMMAND", help="such as `identity create`")


def run(args: Namespace) -> int:
    """Print the help text."""
    from daypass.cli.parser import help_text

    cli.write(help_text(args.command, cli.COMMANDS))
    return 0
