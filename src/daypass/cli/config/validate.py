"""`daypass config validate`: whether the config file is valid, and each mistake in it."""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from daypass._core.findings import Problem
from daypass._core.hints import command
from daypass.cli import options
from daypass.cli.console import log
from daypass.cli.output import write_result

SUMMARY = "show each mistake in the config file, with file, line and column"
EPILOG = """examples:
  daypass config validate
  daypass config validate --config deployments/daypass.yaml -o json

It contacts no cluster. Exit code 2: the file is not valid.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Validated:
    """Whether a config is valid."""

    valid: Annotated[bool, "whether there is no mistake in the config file"]
    problems: Annotated[Sequence[Problem], "the mistakes, by line and column"] = ()


OUTPUT = Validated


def add_arguments(parser: ArgumentParser) -> None:
    options.add_config(parser)
    options.add_output(parser)


def run(args: Namespace) -> int:
    """Return 0 if it is valid, or 2; without -o, mistakes are an error."""
    from daypass.config import ConfigError

    try:
        left_open = _judge(args.config)
    except ConfigError as error:
        if args.output == "text":
            raise
        write_result(args, Validated(valid=False, problems=error.problems))
        return error.exit_code
    write_result(args, Validated(valid=True))
    if args.output == "text":
        log(f"{args.config} is valid", left_open)
    return 0


def _judge(file: Path) -> str:
    """Return what of `daypass render` only a cluster can answer. Raises ConfigError."""
    from daypass.config import ConfigError
    from daypass.config.key_set import KeySetError
    from daypass.deploy.facts import read_facts
    from daypass.render import RenderError
    from daypass.render.manifests import render_objects

    config = options.load_config(file)
    try:
        facts = read_facts(config)
        if not config.cluster_domains:
            return ""  # there is nothing to render: it is for one machine
        try:
            render_objects(config, facts)
        except RenderError:  # the same, unless the issuer is all that it lacks
            render_objects(config, replace(facts, issuer="https://issuer.invalid"))
            return (
                "the cluster knows the issuer of its tokens:\n"
                f"`{command('apply')}` reads it there, `{command('render')}` needs cluster.issuer"
            )
    except (RenderError, KeySetError) as error:
        problem = Problem(file=str(file), line=0, column=0, message=error.fact, hint=error.hint)
        raise ConfigError([problem]) from None
    return ""
