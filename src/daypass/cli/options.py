"""Options that several commands share, each declared once."""

from __future__ import annotations

from argparse import ArgumentParser, BooleanOptionalAction, Namespace
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from daypass._core.clock import parse_seconds
from daypass._core.errors import UsageError
from daypass._core.hints import command
from daypass.cli.console import log, warn
from daypass.cli.fast_path import parse_lifetime

if TYPE_CHECKING:
    from daypass.config import Config
    from daypass.gate.publication import GateWait
    from daypass.identity.accounts import IdentityName
    from daypass.identity.create import DoorOptions
    from daypass.kube.cluster import Cluster

DEFAULT_CONFIG = Path("daypass.yaml")


# The cluster


def add_cluster(parser: ArgumentParser) -> None:
    """Add --kubeconfig, --context and --namespace, as kubectl has them."""
    group = parser.add_argument_group("cluster")
    group.add_argument("--kubeconfig", metavar="FILE", help="instead of what KUBECONFIG names")
    group.add_argument("--context", metavar="CONTEXT", help="a context of the kubeconfig")
    group.add_argument(
        "-n", "--namespace", metavar="NS", help="default: the namespace of the context"
    )


def connect(args: Namespace) -> Cluster:
    """Return a client of the cluster that the options name; the caller closes it.

    With --dry-run, it changes nothing. Raises KubeconfigError.
    """
    from daypass.kube.cluster import Cluster

    return Cluster.open(
        kubeconfig=args.kubeconfig,
        context=args.context,
        namespace=args.namespace,
        dry_run=getattr(args, "dry_run", None),
    )


def open_cluster(args: Namespace) -> closing[Cluster]:
    """Connect to the cluster that the options name, for one block. Raises KubeconfigError."""
    return closing(connect(args))


def again(args: Namespace, option: str) -> str:
    """Return the line that runs this command again with one more option, for a hint."""
    name, arguments = args.words
    return command(*name.split(), option, *arguments)


# Identities


def add_identity(parser: ArgumentParser, summary: str = "the identity") -> None:
    parser.add_argument("name", metavar="NAME", help=summary)


def add_deletion(parser: ArgumentParser) -> None:
    """Add what `identity delete` and `identity revoke` take."""
    add_dry_run(parser)
    add_yes(parser)
    add_gate_wait(parser)
    add_output(parser)
    add_cluster(parser)


@contextmanager
def open_identity(args: Namespace) -> Iterator[tuple[Cluster, IdentityName]]:
    """Connect to the cluster for one block, with the name of the identity in its namespace.

    If the block fails without that namespace, the hint names --create-namespace, if the command has
    it. Raises KubeconfigError, BadNameError.
    """
    with open_cluster(args) as cluster:
        from daypass.identity.accounts import IdentityName
        from daypass.kube.errors import NotFoundError, missing_namespace

        name = IdentityName.parse(cluster.namespace, args.name)
        try:
            yield cluster, name
        except NotFoundError as error:
            if not hasattr(args, "create_namespace") or missing_namespace(error) != name.namespace:
                raise
            hint = f"create it too: {again(args, '--create-namespace')}"
            raise NotFoundError(error.status, error.fact, hint) from None


def check_output(args: Namespace) -> None:
    """Raise UsageError if objects are to be printed in place of what would be written."""
    if args.output != "text" and not args.dry_run:
        fact = f"-o {args.output} prints objects, and needs --dry-run=client"
        raise UsageError(fact, f"write: {again(args, '--dry-run=client')}")


def add_creation(parser: ArgumentParser) -> None:
    """Add what `identity create` and `identity federate` take."""
    parser.add_argument("--adopt", action="store_true", help="adopt an existing ServiceAccount")
    parser.add_argument(
        "--expires",
        type=_seconds_until_expiry,
        metavar="TIME",
        help="when it expires, such as 90d; or never",
    )
    parser.add_argument(
        "--create-namespace", action="store_true", help="create a missing namespace too"
    )
    add_dry_run(parser)
    add_gate_wait(parser)


def create_namespace(args: Namespace, cluster: Cluster, namespace: str) -> bool:
    """With --create-namespace, create the namespace if it is missing.

    Return whether a dry run found it missing, and so can check nothing in it.
    """
    from daypass.identity.enforcement import create

    if not args.create_namespace or not create(cluster, namespace):
        return False
    log(f"{'would create' if cluster.dry_run else 'created'} namespace {namespace}")
    if cluster.dry_run:
        warn("nothing in the namespace can be checked before it exists")
    return bool(cluster.dry_run)


# The config and the rendered files


def add_config(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        type=Path,
        default=DEFAULT_CONFIG,
        metavar="FILE",
        help="default: daypass.yaml",
    )


def load_config(path: Path | str) -> Config:
    """Return a config. Raises ConfigError."""
    from daypass.config import load

    return load(path)


def find_config(path: Path | str | None) -> Config | None:
    """Return the named config or (None) that of this folder, or None. Raises ConfigError."""
    if path is None and not DEFAULT_CONFIG.exists():
        return None
    return load_config(path or DEFAULT_CONFIG)


def add_directory(parser: ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument(
        "--directory",
        type=Path,
        metavar="DIR",
        help="the rendered files (default: deploy/ next to the config)",
    )


def tree_folder(args: Namespace) -> Path:
    folder: Path | None = args.directory
    return folder or Path(args.config).parent / "deploy"


# Output, dry runs and waiting


def add_output(
    parser: ArgumentParser,
    summary: str = "default: text",
    *,
    choices: Sequence[str] = ("text", "json", "yaml"),
    has_default: bool = True,
) -> None:
    """Add -o and --output with these formats, the first one by default."""
    default = choices[0] if has_default else None
    parser.add_argument("-o", "--output", choices=choices, default=default, help=summary)


def add_yes(parser: ArgumentParser, summary: str = "don't ask for confirmation") -> None:
    parser.add_argument("--yes", action="store_true", help=summary)


def add_dry_run(parser: ArgumentParser, *, server: bool = True) -> None:
    """Add --dry-run, whose value is client, server or (without the option) None.

    `server`: whether the API server can check what the command changes.
    """
    choices = ("client", "server") if server else ("client",)
    summary = "show what would be written"
    if server:
        summary = (
            "show what would change, and change nothing; server: the API server checks it too"
            " (default: client)"
        )
    parser.add_argument(
        "--dry-run",
        nargs="?",
        const="client",
        choices=choices,
        metavar="|".join(choices),
        help=summary,
    )


def add_wait(
    parser: ArgumentParser, summary: str, *, default: bool = True, timeout: str = "5m"
) -> None:
    """Add --wait, --no-wait and --timeout."""
    parser.add_argument("--wait", action=BooleanOptionalAction, help=summary)
    parser.set_defaults(wait=default)
    parser.add_argument(
        "--timeout",
        type=parse_seconds,
        default=timeout,
        metavar="TIME",
        help=f"wait no longer (default: {timeout})",
    )


def add_gate_wait(parser: ArgumentParser) -> None:
    """Add --wait, --no-wait and --timeout for what gates have to publish."""
    add_wait(parser, "wait until each gate has published it, which is the default", timeout="5s")


def gate_wait(args: Namespace, cluster: Cluster, home: str | None = None) -> GateWait:
    """Return what waits for gates as the options say. `home`: a gate's namespace, if known."""
    from daypass.gate.publication import GateWait

    return GateWait(cluster, args.timeout if args.wait else 0, warn, gate_namespace=home)


def _seconds_until_expiry(text: str) -> int:
    """Return the seconds until an identity expires; 0 for never. Raises UsageError."""
    if text == "never":
        return 0
    from daypass.identity.accounts import LONGEST_SECONDS

    seconds = parse_seconds(text)
    if not 0 < seconds <= LONGEST_SECONDS:
        raise UsageError(f"an identity cannot expire after {text}", "try 90d, or never")
    return seconds


def deadline(args: Namespace, cluster: Cluster) -> str | None:
    """Return the deadline of --expires as an IdentitySpec has it, by the API server's clock."""
    from daypass._core.clock import rfc3339, utc

    if args.expires is None:
        return None
    return rfc3339(utc(cluster.server_unix() + args.expires)) if args.expires else ""


def add_check(parser: ArgumentParser) -> None:
    parser.add_argument("--check", action="store_true", help="exit with 3 if there is a problem")


# Tokens


def add_token_request(parser: ArgumentParser, *, audience: str = "the token's audience") -> None:
    """Add --audience, --lifetime and --credentials."""
    parser.add_argument("--audience", metavar="A", help=audience)
    parser.add_argument(
        "--lifetime", metavar="TIME", help="such as 3600, 90m, 1h30m; it may be granted less"
    )
    add_credentials(parser)


def add_credentials(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--credentials", metavar="FILE", help="instead of what DAYPASS_CREDENTIALS names"
    )


def add_credentials_out(
    parser: ArgumentParser,
    summary: str = "default: NAME.json; - for stdout",
    *,
    required: bool = False,
) -> None:
    """Add --credentials-out and --force."""
    parser.add_argument("--credentials-out", metavar="FILE", required=required, help=summary)
    parser.add_argument("--force", action="store_true", help="replace an existing FILE")


# The door and the tokens of an identity


def add_door(parser: ArgumentParser) -> None:
    """Add the options of `door_options`."""
    group = parser.add_argument_group("the door and its tokens")
    group.add_argument("--config", metavar="FILE", help="default: daypass.yaml")
    group.add_argument("--domain", metavar="DOMAIN", help="a domain of the config")
    group.add_argument("--door", metavar="URL", help="instead of a domain's URL")
    group.add_argument(
        "--certificate-authority",
        metavar="FILE",
        help="PEM of the door's private certificate authority",
    )
    group.add_argument("--gate", metavar="GATE", help="the gate of the config that tokens are for")
    group.add_argument("--audience", metavar="A", help="instead of the audience of a gate")
    group.add_argument("--lifetime", metavar="TIME", help="of the tokens (default: 1h)")


def door_options(args: Namespace, *, is_federated: bool = False) -> DoorOptions:
    """Return the options of `add_door`, with the config: `--config`, or the one that is here.

    Raises UsageError, ConfigError.
    """
    from daypass._core.tls import read_authority
    from daypass.identity.create import DoorOptions
    from daypass.identity.credentials_file import CredentialsOptions

    for one, other in (("door", "domain"), ("audience", "gate")):
        if getattr(args, one) is not None and getattr(args, other) is not None:
            raise UsageError(f"--{one} and --{other} are both named", "leave one out")
    config = find_config(args.config)
    if config is None and (args.domain is not None or args.gate is not None):
        raise UsageError("there is no daypass.yaml here", "name it with --config FILE")
    if config is not None and args.domain is not None:
        config.find_domain(args.domain)
    if config is not None and args.gate is not None:
        config.find_gate(args.gate)
    file: str | None = args.certificate_authority
    named = CredentialsOptions(
        door=args.door,
        domain=args.domain,
        gate=args.gate,
        authority=None if file is None else read_authority(file),
        audience=args.audience,
        lifetime_seconds=parse_lifetime(args.lifetime),
        is_federated=is_federated,
    )
    return DoorOptions(named=named, config=config, machine_authority=authority_file(args))


def authority_file(args: Namespace) -> Path:
    """Return where `daypass up` without --state stores its certificate authority."""
    from daypass.local.state import state_folder

    return state_folder(Path(args.config or DEFAULT_CONFIG)) / "authority.crt"
