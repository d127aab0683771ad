"""`daypass identity revoke`: its long-lived tokens end now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daypass._core.hints import command, kubectl
from daypass.cli import log
from daypass.cli.identity.publish_revocation import publish_secrets
from daypass.cli.options import add_cluster, add_output, open_cluster
from daypass.cli.output import write_json

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

EXTRA = "admin"
SUMMARY = "end all long-lived tokens of an identity now, and what hangs on them"
EPILOG = """examples:
  daypass identity revoke bot -n team
  daypass identity create bot -n team -o bot.json        let it in again, with another token

The identity and its rights stay; `delete` removes them. Exit code 3: somebody else's Secret holds
a token of it, too, or the gate of the cluster could not be told.
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("name", metavar="NAME", help="the identity")
    add_output(parser, "the summary")
    add_cluster(parser)


def run(args: Namespace) -> int:
    """Delete its token Secrets."""
    with open_cluster(args) as cluster:
        from daypass.identity.delete import REMEMBERED_SECONDS, revoke
        from daypass.identity.model import IdentityName, get_identity

        name = IdentityName.parse(cluster.namespace, args.name)
        get_identity(cluster, name)
        revoked = revoke(cluster, name)
        by_hand = bool(revoked.left) and not cluster.is_embedded()
        is_told = publish_secrets(cluster, [(name.namespace, uid) for uid in revoked.uids])
    if args.output == "json":
        document = {
            "namespace": name.namespace,
            "name": name.name,
            "deleted": list(revoked.deleted),
            "left": list(revoked.left),
        }
        write_json(document)
    if revoked.deleted:
        log(
            f"identity {name} is revoked: {', '.join(revoked.deleted)}",
            f"its long-lived token ends at once, or within {REMEMBERED_SECONDS} s where the API"
            " server remembers it;\n"
            "so do the short-lived ones that hang on it, for whoever asks the API server"
            " (TokenReview);\n"
            "a gate on another machine that follows the cluster refuses them within a second, one"
            " that\ndoes not lets them pass until they expire",
        )
    else:
        log(
            f"identity {name} has no token of daypass': nothing to revoke",
            "if it is federated, this ends it: "
            + command("identity", "delete", name.name, "-n", name.namespace),
        )
    for secret in revoked.left:
        log(
            f"Secret {secret} holds a token of it, too, and daypass did not make it",
            "end that as well"
            + (": " + kubectl("delete", "secret", secret, "-n", name.namespace) if by_hand else ""),
        )
    return 3 if revoked.left or not is_told else 0
