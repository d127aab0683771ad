"""`daypass config schema`: the JSON Schema of the config file."""

from argparse import ArgumentParser, Namespace

from daypass.cli.console import write

SUMMARY = "print the JSON Schema of daypass.yaml, for editors"
EPILOG = """examples:
  daypass config schema > daypass.schema.json

Editors with a YAML language server read it for a file that begins with:
  # yaml-language-server: $schema=daypass.schema.json
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add no options."""


def run(args: Namespace) -> int:
    import json

    from daypass.config import json_schema

    write(json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n")
    return 0
