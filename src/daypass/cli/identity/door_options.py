"""The options that say at which door an identity comes in, and what its tokens are for."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from daypass._core.duration import parse_seconds
from daypass._core.errors import MissingExtraError, UsageError
from daypass._core.hints import command

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from daypass.identity.account import Account
    from daypass.identity.door import Order
    from daypass.identity.handover import Handover
    from daypass.spec import Config

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
        from daypass.spec import load
    except ModuleNotFoundError:
        raise MissingExtraError("this command", "admin") from None
    return load(args.config or DEFAULT_CONFIG)


def read_order(args: Namespace, config: Config | None) -> Order:
    """What the options say; no cluster is asked. Raises UsageError and others."""
    from daypass._core.tls import read_authority

    try:
        from daypass.identity.door import Order, find_domain
    except ModuleNotFoundError:
        raise MissingExtraError("this command", "admin") from None
    file: str | None = args.certificate_authority
    order = Order(
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
    args: Namespace, order: Order, config: Config | None, account: Account | None
) -> Handover:
    """All of the credentials but the token; what is not said, the marks of `account` say.

    Raises UsageError and others.
    """
    from daypass.identity.door import complete, find_domain

    domain = find_domain(order, config, account) if config is not None else None
    if order.authority is None and domain is not None and domain.front == "envoy":
        order = replace(order, authority=_own_authority(args) if domain.tls is None else None)
    return complete(order, config, domain, account)


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
