"""`daypass identity create`: an identity and its credentials file."""

from __future__ import annotations

import shlex
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from daypass._core.hints import command, kubectl
from daypass._core.kubernetes import labels
from daypass.cli import options
from daypass.cli.console import log, warn
from daypass.cli.output import KubernetesList, warn_of_git, write_credentials, write_objects

if TYPE_CHECKING:
    from daypass.gate.publication import GateWait
    from daypass.identity.accounts import Account, IdentityName
    from daypass.identity.create import DoorOptions, IdentitySpec
    from daypass.identity.credential_secrets import FilledSecret
    from daypass.kube.cluster import Cluster

SUMMARY = "create an identity and write its credentials file"
EPILOG = """examples:
  daypass identity create bot -n team                            at the door of ./daypass.yaml
  daypass identity create bot -n team --expires 90d --credentials-out bot.json
  daypass identity create bot -n team --gate serving     for one of several gates
  daypass identity create bot -n team --audience gate \\
    --door https://kubeflow.example.com/kubernetes
  daypass identity create bot -n team --dry-run=client -o yaml > bot.yaml        for GitOps

Run again, it creates what is missing and keeps what exists. Exit code 3: a gate has not published
the credentials in time, and may refuse them at first.
"""
OUTPUT = KubernetesList


def add_arguments(parser: ArgumentParser) -> None:
    options.add_identity(parser, "the ServiceAccount's name")
    options.add_credentials_out(parser)
    options.add_creation(parser)
    options.add_output(parser, "with --dry-run: print the objects, without a token")
    options.add_door(parser)
    options.add_cluster(parser)


def run(args: Namespace) -> int:
    options.check_output(args)
    door = options.door_options(args)
    return _show(args, door) if args.dry_run else _create(args, door)


def _create(args: Namespace, door: DoorOptions) -> int:
    with options.open_identity(args) as (cluster, name):
        from daypass.identity.accounts import find_account
        from daypass.identity.create import create
        from daypass.identity.credentials_file import check_file

        path = args.credentials_out or f"{args.name}.json"
        if path != "-":
            check_file(path, name, now_unix=cluster.clock.unix(), force=args.force)
        account = find_account(cluster, name)
        spec = _spec(args, name, door, account, cluster)
        options.create_namespace(args, cluster, name.namespace)
        created = create(cluster, account, spec, warn=warn)
        gates = options.gate_wait(args, cluster, door.watcher_namespace)
        gates.wait_added([created.secret.uid])
        server = cluster.connection.server
    write_credentials(path, spec.credentials.file_content(created))
    warn_of_git(path)
    _report(created, spec, path, server, gates)
    return gates.exit_code


def _spec(
    args: Namespace,
    name: IdentityName,
    door: DoorOptions,
    account: Account | None,
    cluster: Cluster,
) -> IdentitySpec:
    from daypass.identity.create import IdentitySpec

    return IdentitySpec(
        name=name,
        credentials=door.settings(name, account, cluster),
        deadline=options.deadline(args, cluster),
        adopt=args.adopt,
        watcher_namespace=door.watcher_namespace,
    )


def _show(args: Namespace, door: DoorOptions) -> int:
    """Print the objects, or log what would be created."""
    from daypass.identity.accounts import find_account
    from daypass.identity.create import check, plan, reusable_secret
    from daypass.render.rbac import namespace_rights

    with options.open_identity(args) as (cluster, name):
        account = find_account(cluster, name)
        reused = reusable_secret(cluster, account, warn, federated=False)
        spec = _spec(args, name, door, account, cluster)
        documents = plan(spec, account, reused, clock=cluster.clock)
        last = documents[-1]["metadata"]["name"]
        if not options.create_namespace(args, cluster, name.namespace):
            documents = check(cluster, spec, documents, is_new=reused is None, warn=warn)
        if spec.watcher_namespace is not None:
            documents = [*namespace_rights(name.namespace, spec.watcher_namespace), *documents]
    if args.output == "text":
        for document in documents:
            metadata = document["metadata"]
            log(f"would apply {document['kind']} {metadata['namespace']}/{metadata['name']}")
        log(f"would write {args.credentials_out or f'{args.name}.json'}")
        return 0
    if reused is None:
        log(
            f"the Secret has a new name, {last}",
            "once it is in the cluster, the same command prints the same objects",
        )
    write_objects(documents, args.output)
    log(
        "the objects do not include the label for the policy",
        kubectl("label", "namespace", name.namespace, labels.POLICY_SELECTOR),
    )
    return 0


def _report(
    created: FilledSecret,
    spec: IdentitySpec,
    path: str,
    server: str,
    gates: GateWait,
) -> None:
    name, secret_name = spec.name, created.secret.name
    file = f"{name.name}.json" if path == "-" else path
    origin = "a new Secret" if created.is_new else "the Secret that it had"
    use = (
        f"for its owner: export DAYPASS_CREDENTIALS={shlex.quote(file)}, then `{command('token')}`"
    )
    if path != "-":
        use = f"its credentials are in {path}: hand them over, then delete it\n{use}"
    log(
        f"identity {name} is ready at {server}, with {origin}: {secret_name}",
        f"{gates.at_gates}\n{use}",
    )
    if spec.deadline:
        log(
            f"its deadline is {spec.deadline}: from then on gates refuse its tokens",
            "the API server accepts them until they are deleted:"
            f" {command('identity', 'delete', '--expired', '-n', name.namespace)}",
        )
