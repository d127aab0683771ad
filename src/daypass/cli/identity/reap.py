"""`daypass identity reap`: revoke identities and tokens whose time is over."""

from argparse import ArgumentParser, Namespace

from daypass._core.errors import UsageError
from daypass.cli import log, options, warn
from daypass.cli.output import did, write_objects, write_result
from daypass.cli.progress import progress

SUMMARY = "revoke identities after their deadline, and rotated-out tokens"
EPILOG = """examples:
  daypass identity reap -n team --dry-run
  daypass identity reap --all-namespaces
  daypass identity reap --all-namespaces --render \\
    --image registry.example.com/daypass:0.1.0 |
    kubectl apply --server-side -f -

An identity after its deadline loses its tokens and grants, and is still listed. --render prints a
CronJob that does this every ten minutes, with its RBAC objects.
"""
HOME = "daypass"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("-A", "--all-namespaces", action="store_true", help="in all namespaces")
    options.add_dry_run(parser)
    options.add_gate_wait(parser)
    options.add_output(parser)
    render = parser.add_argument_group("render a CronJob instead")
    render.add_argument(
        "--render",
        action="store_true",
        help="for one namespace (-n), in it; or for all (-A), in namespace daypass",
    )
    render.add_argument("--image", metavar="IMAGE", help="the image of the Containerfile")
    options.add_cluster(parser)


def run(args: Namespace) -> int:
    if args.namespace and args.all_namespaces:
        raise UsageError("-n and -A are both named", "leave one out")
    if args.render:
        return _render(args)
    with options.open_cluster(args) as cluster:
        from daypass.identity.reap import reap
        from daypass.kube.resources import SECRETS

        namespace = None if args.all_namespaces else cluster.namespace
        with progress(args, "reading identities") as status:
            reaped = reap(cluster, namespace, warn=warn, show=status.show)
            gates = options.gate_wait(args, cluster)
            gates.wait_removed(each.uid for each in reaped.deleted if each.resource is SECRETS)
    done, deleted = did(args.dry_run, "delete", "deleted"), [it.display for it in reaped.deleted]
    write_result(
        args,
        {
            "dryRun": args.dry_run,
            "ended": reaped.expired,
            "deleted": deleted,
            "errors": [error.fact for error in reaped.errors],
        },
        "".join(f"{done} {each}\n" for each in deleted),
    )
    for key in reaped.expired:
        log(f"identity {key} has expired: {done} its tokens and grants")
    if gates.at_gates:
        log(gates.at_gates)
    if not (reaped.expired or deleted or reaped.errors):
        log("nothing has expired")
    for error in reaped.errors:
        log(error.fact, error.hint)
    return 1 if reaped.errors else gates.exit_code


def _render(args: Namespace) -> int:
    if not args.image:
        raise UsageError(
            "no image of daypass is published",
            "name your own: --image (--help shows how to build it)",
        )
    if not args.namespace and not args.all_namespaces:
        raise UsageError("no namespace is named", "name it with -n, or all of them with -A")
    from daypass.identity.reap import reaper_objects

    documents = reaper_objects(
        home=args.namespace or HOME, namespace=args.namespace, image=args.image
    )
    write_objects(documents, args.output)
    return 0
