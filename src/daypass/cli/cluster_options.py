"""The options of every command that talks to a cluster as an admin, as kubectl has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

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
