"""`daypass identity create`: an identity and its credentials file."""

from __future__ import annotations

import json
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

from daypass._core import labels
from daypass._core.duration import parse_seconds
from daypass._core.errors import UsageError
from daypass._core.hints import command, kubectl
from daypass.cli import log, warn, write
from daypass.cli.options import (
    add_cluster,
    add_door,
    as_words,
    credentials_options,
    credentials_settings,
    load_door_config,
    open_cluster,
)

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from daypass._core.clock import Clock
    from daypass.config import Config
    from daypass.identity.create import CreatedIdentity, IdentitySpec
    from daypass.identity.credentials_file import CredentialsOptions
    from daypass.identity.model import Account, IdentityName
    from daypass.kube.cluster import Cluster

EXTRA = "admin"
SUMMARY = "create an identity and write its credentials file"
EPILOG = """examples:
  daypass identity create bot -n team                            at the door of ./daypass.yaml
  daypass identity create bot -n team --domain serving --expires 90d -o bot.json
  daypass identity create bot -n team --door https://ekf.example.com/kubernetes --audience gate
  daypass identity create bot -n team --output yaml > bot.yaml   for GitOps: nothing is created

It can be run again at any time: it creates what is missing and keeps what exists.
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("name", metavar="NAME", help="the ServiceAccount's name")
    parser.add_argument(
        "-o", "--credentials", metavar="FILE",
        help="the credentials file to write (default: NAME.json); - for stdout",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace an existing FILE")
    parser.add_argument(
        "--expires", metavar="TIME",
        help="expire after this time, such as 90d (see `daypass identity reap`); or never",
    )  # fmt: skip
    parser.add_argument("--adopt", action="store_true", help="adopt an existing ServiceAccount")
    parser.add_argument(
        "--create-namespace", action="store_true", help="create the namespace too, if it is missing"
    )
    parser.add_argument(
        "--dry-run", choices=("client", "server"), help="create nothing, show what would be created"
    )
    parser.add_argument(
        "--output", choices=("yaml", "json"),
        help="create nothing, print the objects (without any token)",
    )  # fmt: skip
    add_door(parser)
    add_cluster(parser)


def run(args: Namespace) -> int:
    """Create the identity, or print its objects."""
    if args.credentials is not None and (args.output or args.dry_run):
        raise UsageError("no credentials are made with --output and --dry-run", "leave -o out")
    if args.create_namespace and (args.output or args.dry_run):
        raise UsageError("nothing is created with --output and --dry-run", "leave one out")
    _seconds(args.expires)  # before any request
    config = load_door_config(args)
    said = credentials_options(args, config), config
    if args.output or args.dry_run:
        return _show(args, said)
    with open_cluster(args) as cluster:
        from daypass.identity.create import create
        from daypass.identity.credentials_file import check_file, write_file
        from daypass.identity.model import IdentityName, find_account
        from daypass.kube.errors import NotFoundError, missing_namespace

        name = IdentityName.parse(cluster.namespace, args.name)
        path = args.credentials or f"{args.name}.json"
        if path != "-":
            check_file(path, name, now_unix=cluster.clock.unix(), force=args.force)
        account = find_account(cluster, name)
        spec = _spec(args, name, said, account, cluster.clock)
        if args.create_namespace:
            _create_namespace(cluster, name.namespace)
        try:
            created = create(cluster, account, spec, warn=warn)
        except NotFoundError as error:
            if missing_namespace(error) != name.namespace:
                raise
            again = command(
                "identity", "create", args.name, "-n", name.namespace, "--create-namespace",
                *_given(args),
            )  # fmt: skip
            raise NotFoundError(error.status, error.fact, f"create it too: {again}") from None
        embedded = cluster.is_embedded()
    content = spec.credentials.file_content(created.token)
    if path == "-":
        write(content.decode())
    else:
        write_file(path, content)
    _report(created, spec, path, embedded=embedded)
    return 0


def _create_namespace(cluster: Cluster, namespace: str) -> None:
    from daypass.kube.errors import AlreadyExistsError

    with suppress(AlreadyExistsError):
        cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        log(f"created namespace {namespace}")


def _given(args: Namespace) -> list[str]:
    """Return the options of this command line, for a hint that repeats it."""
    values = {
        "-o": args.credentials, "--expires": args.expires, "--config": args.config,
        "--domain": args.domain, "--door": args.door, "--audience": args.audience,
        "--certificate-authority": args.certificate_authority, "--lifetime": args.lifetime,
        "--kubeconfig": args.kubeconfig, "--context": args.context,
    }  # fmt: skip
    return as_words(values) + (["--force"] if args.force else [])


def _seconds(text: str | None) -> int | None:
    """Return the seconds until it expires; 0 for never, None without --expires."""
    if text is None or text == "never":
        return None if text is None else 0
    from daypass.identity.model import LONGEST_SECONDS

    seconds = parse_seconds(text)
    if not 0 < seconds <= LONGEST_SECONDS:
        raise UsageError(f"an identity cannot expire after {text}", "try 90d, or never")
    return seconds


def _spec(
    args: Namespace,
    name: IdentityName,
    said: tuple[CredentialsOptions, Config | None],
    account: Account | None,
    clock: Clock,
) -> IdentitySpec:
    from daypass.identity.create import NEVER, IdentitySpec
    from daypass.identity.model import time_in

    seconds = _seconds(args.expires)
    deadline = time_in(clock, seconds) if seconds else NEVER if seconds == 0 else None
    settings = credentials_settings(args, *said, account)
    return IdentitySpec(
        name=name, credentials=settings, deadline=deadline, adopt=args.adopt,
        watcher_namespace=_watcher_namespace(said[1]),
    )  # fmt: skip


def _watcher_namespace(config: Config | None) -> str | None:
    is_in_cluster = config is not None and config.gate and config.gate.engine != "envoy"
    return config.door.namespace if config is not None and is_in_cluster else None


def _show(args: Namespace, said: tuple[CredentialsOptions, Config | None]) -> int:
    """Print the objects, or log what would be created."""
    from daypass._core.clock import SYSTEM_CLOCK
    from daypass.identity.create import dry_run, plan
    from daypass.render.rbac import namespace_rights

    with ExitStack() as stack:
        cluster, name, account, secret_name = _look(args, stack)
        clock = SYSTEM_CLOCK if cluster is None else cluster.clock
        spec = _spec(args, name, said, account, clock)
        documents = plan(spec, account, secret_name, clock=clock)
        last = documents[-1]["metadata"]["name"]
        if args.dry_run == "server" and cluster is not None:
            documents = dry_run(cluster, documents)
        embedded = cluster is not None and cluster.is_embedded()
        if args.output is None and cluster is not None and not embedded:
            _say_label(cluster, name.namespace)
        if spec.watcher_namespace is not None:
            documents = [*namespace_rights(name.namespace, spec.watcher_namespace), *documents]
    if args.output is None:
        for document in documents:
            metadata = document["metadata"]
            log(f"would apply {document['kind']} {metadata['namespace']}/{metadata['name']}")
        return 0
    if secret_name is None:
        log(
            f"the Secret has a new name, {last}",
            "once it is in the cluster, the same command prints the same objects",
        )
    write(_written(documents, args.output))
    if not embedded:
        log(
            "the objects do not include the label for the policy",
            kubectl(
                "label", "namespace", name.namespace, f"{labels.POLICY}={labels.POLICY_ENFORCED}"
            ),
        )
    return 0


def _say_label(cluster: Cluster, namespace: str) -> None:
    from daypass.identity.namespaces import enforces_policy
    from daypass.kube.errors import ForbiddenError

    with suppress(ForbiddenError):  # who may not read the namespace may not label it either
        if not enforces_policy(cluster, namespace):
            log(
                f"would label Namespace {namespace}: {labels.POLICY}={labels.POLICY_ENFORCED}",
                "the policy is then enforced there, for other tokens too",
            )


def _look(
    args: Namespace, stack: ExitStack
) -> tuple[Cluster | None, IdentityName, Account | None, str | None]:
    """Return what exists in the cluster. Objects can be printed without a cluster too."""
    from daypass._core.errors import DaypassError
    from daypass.identity.model import IdentityName
    from daypass.kube.errors import ApiError, ClusterUnreachableError, KubeconfigError

    cluster: Cluster | None = None
    try:
        cluster = stack.enter_context(open_cluster(args))
        name = IdentityName.parse(cluster.namespace, args.name)
        return cluster, name, *_found(cluster, name)
    except (ApiError, ClusterUnreachableError, KubeconfigError) as error:
        if args.dry_run == "server" or not args.output:
            raise
        reason: DaypassError = error
    warn(f"what exists in the cluster is not known: {reason.fact}", reason.hint)
    namespace = args.namespace or (cluster.namespace if cluster else "default")
    return None, IdentityName.parse(namespace, args.name), None, None


def _found(cluster: Cluster, name: IdentityName) -> tuple[Account | None, str | None]:
    from daypass.identity.create import reusable_secret
    from daypass.identity.model import find_account

    account = find_account(cluster, name)
    return account, reusable_secret(cluster, account, warn)


def _written(documents: list[dict[str, Any]], form: str) -> str:
    for document in documents:
        document["metadata"].pop("managedFields", None)
    if form == "json":
        whole = {"apiVersion": "v1", "kind": "List", "items": documents}
        return json.dumps(whole, indent=2) + "\n"
    from daypass.render.yaml import stream

    return stream(documents)


def _report(created: CreatedIdentity, spec: IdentitySpec, path: str, *, embedded: bool) -> None:
    from daypass.identity.create import NEVER
    from daypass.identity.credentials_file import exchange_instructions

    whence = "newly created" if created.is_new else "as before"
    log(f"identity {created.name} is ready: Secret {created.secret_name}, {whence}")
    if embedded:
        log("note: the embedded API server enforces no policy; a cluster does")
    if spec.deadline and spec.deadline != NEVER:
        log(f"it expires at {spec.deadline}", f"once `{command('identity', 'reap')}` runs then")
    file = f"{created.name.name}.json" if path == "-" else path
    if path != "-":
        log(f"credentials: {path} (mode 0600)", "hand it over, and delete it here")
    log(
        f"the client sets DAYPASS_CREDENTIALS to its path, and runs `{command('token')}`; without"
        " daypass, run next to the file:",
        exchange_instructions(
            created.name, created.secret_name, spec.credentials, file, by_kubectl=not embedded
        ),
    )
