"""The options of every command that talks to a cluster as an admin, as kubectl has them.

The options that say at which door an identity comes in, and what its tokens are for.

The options of every subcommand that looks at an identity's health.

Commands with commands below them: handing over to the one that is named.

The package of such a command has a module for each subcommand, imported when it is asked for, and
made as a command's own: `SUMMARY`, `EPILOG`, `add_arguments(parser)`, `run(args)`.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from daypass._core import hints
from daypass._core.duration import parse_seconds
from daypass._core.errors import MissingExtraError, UsageError
from daypass._core.hints import command
from daypass._core.text import suggest
from daypass.cli import log, make_parser, run_parsed, write

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Sequence

    from daypass.config import Config
    from daypass.identity.credentials_file import CredentialsOptions, CredentialsSettings
    from daypass.identity.model import Account
    from daypass.kube.cluster import Cluster


def add_cluster_options(parser: ArgumentParser) -> None:
    """--kubeconfig, --context and --namespace."""
    group = parser.add_argument_group("cluster")
    group.add_argument("--kubeconfig", metavar="FILE", help="instead of what KUBECONFIG names")
    group.add_argument("--context", metavar="NAME", help="a context of the kubeconfig")
    group.add_argument(
        "-n", "--namespace", metavar="NS", help="by default the namespace of the context"
    )


def open_cluster(args: Namespace) -> Cluster:
    """The cluster that these options name. Raises KubeconfigError, MissingExtraError."""
    from daypass._core.errors import MissingExtraError

    try:
        from daypass.kube.cluster import Cluster
    except ImportError:
        raise MissingExtraError("this command", "admin") from None
    return Cluster.open(kubeconfig=args.kubeconfig, context=args.context, namespace=args.namespace)


DEFAULT_CONFIG = "daypass.yaml"


def add_door_options(parser: ArgumentParser) -> None:
    """--config, --domain, --door, --certificate-authority, --audience and --lifetime."""
    group = parser.add_argument_group("the door, and what the tokens are for")
    group.add_argument(
        "--config", metavar="FILE", help="the config file (default: daypass.yaml, if it is there)"
    )
    group.add_argument("--domain", metavar="NAME", help="a domain of the config")
    group.add_argument("--door", metavar="URL", help="the door's URL, instead of a domain's")
    group.add_argument(
        "--certificate-authority", metavar="FILE",
        help="PEM of the door's authority, where it is a private one",
    )  # fmt: skip
    group.add_argument("--audience", metavar="A", help="whom the tokens are for")
    group.add_argument("--lifetime", metavar="TIME", help="of the tokens (default: 1h)")


def load_config(args: Namespace) -> Config | None:
    """The config that is named, or the one that is here, or None. Raises UsageError and others."""
    if args.door is not None and args.domain is not None:
        raise UsageError("--door and --domain are both named", "leave one out")
    if args.config is None and not os.path.exists(DEFAULT_CONFIG):
        if args.domain is not None:
            raise UsageError("there is no daypass.yaml here", "name it with --config FILE")
        return None
    try:
        from daypass.config import load
    except ModuleNotFoundError:
        raise MissingExtraError("this command", "admin") from None
    return load(args.config or DEFAULT_CONFIG)


def read_order(args: Namespace, config: Config | None) -> CredentialsOptions:
    """What the options say; no cluster is asked. Raises UsageError and others."""
    from daypass._core.tls import read_authority

    try:
        from daypass.identity.credentials_file import CredentialsOptions, find_domain
    except ModuleNotFoundError:
        raise MissingExtraError("this command", "admin") from None
    file: str | None = args.certificate_authority
    order = CredentialsOptions(
        door=args.door,
        domain=args.domain,
        authority=None if file is None else read_authority(file),
        audience=args.audience,
        lifetime_seconds=parse_seconds(args.lifetime) if args.lifetime else None,
    )
    if config is not None and order.domain is not None:
        find_domain(order, config, None)
    return order


def completed(
    args: Namespace, order: CredentialsOptions, config: Config | None, account: Account | None
) -> CredentialsSettings:
    """All of the credentials but the token; what is not said, the marks of `account` say.

    Raises UsageError and others.
    """
    from daypass.identity.credentials_file import find_domain, resolve_settings

    domain = find_domain(order, config, account) if config is not None else None
    if order.authority is None and domain is not None and domain.front == "envoy":
        order = replace(order, authority=_own_authority(args) if domain.tls is None else None)
    return resolve_settings(order, config, domain, account)


def _own_authority(args: Namespace) -> str:
    """PEM of the authority that `daypass up` makes for its machine."""
    from daypass._core.tls import read_authority
    from daypass.local.state import state_folder

    file = state_folder(Path(args.config or DEFAULT_CONFIG)) / "authority.crt"
    if not file.exists():
        raise UsageError(
            "this door's certificate is by an authority of its machine's own",
            f"name it with --certificate-authority FILE: `{command('up')}` says where it is",
        )
    return read_authority(file)


def add_health_options(parser: ArgumentParser) -> None:
    """--check and --unused-after."""
    parser.add_argument(
        "--check", action="store_true", help="exit with 3 where there is a problem (notes are none)"
    )
    parser.add_argument(
        "--unused-after", metavar="TIME", default="90d",
        help="a token that lies unused for so long is a problem (default: 90d)",
    )  # fmt: skip


def run_subcommand(package: str, commands: Sequence[str], argv: list[str]) -> int:
    """Run the subcommand that is named, or give help; 2 where it is none of `commands`."""
    command = package.rpartition(".")[2]
    first = argv[0] if argv else ""
    if first in ("-h", "--help"):
        write(make_parser(command, importlib.import_module(package)).format_help())
        return 0
    if first in commands:
        module = importlib.import_module(f"{package}.{first}")
        return run_parsed(f"{command} {first}", module, argv[1:])
    near = suggest(first, commands)
    what = "option" if first.startswith("-") else "command"
    hint = (
        f"there are: {', '.join(commands)}\n`{hints.command(command, '--help')}` says what they do"
    )
    log(
        f"`daypass {command}` has no {what} {first[:40]!r}" if first else "no command is named",
        f"did you mean `daypass {command} {near}`?" if near else hint,
    )
    return 2


def describe(parser: ArgumentParser, package: str, commands: Sequence[str]) -> None:
    """For --help: which subcommands there are, and what each does."""
    width = max(map(len, commands))
    summaries = [
        f"  {name:<{width}}  {importlib.import_module(f'{package}.{name}').SUMMARY}"
        for name in commands
    ]
    parser.add_argument("command", metavar="COMMAND", help="one of those above")
    parser.description = "\n".join([f"{parser.description}\n", *summaries])
