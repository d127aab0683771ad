"""`daypass identity revoke`: delete what the tokens of an identity are bound to."""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated

from daypass._core.hints import command, kubectl
from daypass.cli import options
from daypass.cli.console import log, warn
from daypass.cli.output import confirm, did, write_result

SUMMARY = "revoke an identity's long-lived and short-lived tokens"
EPILOG = """examples:
  daypass identity revoke bot -n team
  daypass identity create bot -n team --credentials-out bot.json     a new token

A federated identity gets no more tokens until `federate` is run again. The identity and its grants
stay; `delete` removes them. Exit code 3: another Secret holds a token of it, no policy is seen to
deny tokens that are bound to nothing, or a gate has not published the revocation in time.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoked:
    """What was revoked."""

    namespace: Annotated[str, "the namespace of the identity"]
    name: Annotated[str, "its name"]
    deleted: Annotated[Sequence[str], "the Secrets that were deleted"]
    left: Annotated[Sequence[str], "Secrets with a token of it that daypass did not create"]
    unbound_denied: Annotated[
        bool | None, "whether the policy denies it tokens that no revocation ends; null: a dry run"
    ]


OUTPUT = Revoked


def add_arguments(parser: ArgumentParser) -> None:
    options.add_identity(parser)
    options.add_deletion(parser)


def run(args: Namespace) -> int:
    with options.open_identity(args) as (cluster, name):
        from daypass.identity.accounts import get_identity
        from daypass.identity.create import federated_users
        from daypass.identity.credential_secrets import secrets_of
        from daypass.identity.delete import REMEMBERED_SECONDS, revoke
        from daypass.identity.enforcement import denies_unbound_tokens
        from daypass.kube.errors import ForbiddenError

        has_tokens = any(secret.is_ours for secret in secrets_of(cluster, name))
        account = get_identity(cluster, name, has_tokens=has_tokens)
        there = f"{name} at {cluster.connection.server}"
        confirm(args, f"revoke all tokens of identity {there} now?", ends_access=True)
        revoked, left = revoke(cluster, name)
        gates = options.gate_wait(args, cluster)
        gates.wait_removed(secret.uid for secret in revoked)
        denied = users = None
        with suppress(ForbiddenError):
            users = federated_users(cluster, name)
        if not args.dry_run:
            end = command("identity", "delete", name.name, "-n", name.namespace)
            denied = denies_unbound_tokens(cluster, account, users, end, warn)
    deleted = [secret.name for secret in revoked]
    write_result(
        args,
        Revoked(
            namespace=name.namespace,
            name=name.name,
            deleted=deleted,
            left=left,
            unbound_denied=denied,
        ),
    )
    if deleted:
        done = did(args.dry_run, "revoke", "revoked")
        at_gates = gates.at_gates or "at a gate of daypass within 1 s"
        log(
            f"{done} identity {there}: {', '.join(deleted)}",
            ""
            if args.dry_run
            else f"what is bound to it stops working: {at_gates},\n"
            f"at the API server within {REMEMBERED_SECONDS} s,\n"
            "at services that only check signatures when they expire",
        )
    else:
        log(f"identity {name} has no token from daypass: nothing to revoke")
    for secret in left:
        log(
            f"Secret {secret} holds a token of it too, and daypass did not create it",
            "delete it too: " + kubectl("delete", "secret", secret, "-n", name.namespace),
        )
    return 3 if left or denied is False else gates.exit_code
