"""`daypass config validate`: whether the config file is valid, and each mistake in it."""

from argparse import ArgumentParser, Namespace
from dataclasses import replace
from pathlib import Path

from daypass._core.findings import Problem
from daypass._core.hints import command
from daypass.cli import options
from daypass.cli.console import log

SUMMARY = "show each mistake in the config file, with file, line and column"
EPILOG = """examples:
  daypass config validate
  daypass config validate --config deployments/daypass.yaml

It contacts no cluster. Exit code 2: the file is not valid.
"""


def add_arguments(parser: ArgumentParser) -> None:
    options.add_config(parser)


def run(args: Namespace) -> int:
    left_open = _judge(args.config)
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
