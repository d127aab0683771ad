"""`daypass identity delete`: delete everything that was created for an identity."""

from argparse import Namespace

from daypass._core.hints import kubectl
from daypass.cli import log, options, warn
from daypass.cli.output import confirm, did, write_result
from daypass.cli.progress import progress

SUMMARY = "delete an identity, with its tokens and grants everywhere"
EPILOG = """examples:
  daypass identity delete bot -n team --dry-run
  daypass identity delete bot -n team --yes            without a terminal

An adopted ServiceAccount stays. If it was interrupted, run it again. Exit code 3: a gate has not
published the deletion in time, or a ServiceAccount stays without daypass's label, or with tokens.
"""
add_arguments = options.add_deletion


def run(args: Namespace) -> int:
    with options.open_identity(args) as (cluster, name):
        from daypass.identity.delete import delete

        there = f"{name} at {cluster.connection.server}"
        confirm(args, f"delete identity {there}, its tokens and its grants in every namespace?")
        with progress(args, f"reading what is part of {name}") as status:
            gates = options.gate_wait(args, cluster)
            deleted = delete(cluster, name, warn=warn, wait=gates.wait_removed, show=status.show)
            gates.wait_removed([deleted.account_uid] if deleted.account_uid else [])
    done = did(args.dry_run, "delete", "deleted")
    write_result(
        args,
        {
            "namespace": name.namespace,
            "name": name.name,
            "dryRun": args.dry_run,
            "deleted": deleted.deleted,
            "left": deleted.left,
        },
        "".join(f"{done} {each}\n" for each in deleted.deleted),
    )
    log(f"{done} identity {there}: {len(deleted.deleted)} objects", gates.at_gates)
    for each in deleted.left:
        log(f"{each} stays: it is not marked as created by daypass")
    if deleted.is_unmarked:
        end = kubectl("delete", "serviceaccount", name.name, "-n", name.namespace)
        warn(
            "somebody who removed its label could create its Secrets again",
            f"delete it: {end}",
        )
    return 3 if deleted.is_unmarked or not deleted.has_ended else gates.exit_code
