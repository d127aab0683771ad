"""`daypass gate watch`: publish at a cluster's gate which credentials exist."""

from __future__ import annotations

import os
import secrets
import socket
import threading
from argparse import ArgumentParser, Namespace
from contextlib import closing
from typing import TYPE_CHECKING

from daypass._core.clock import SYSTEM_CLOCK
from daypass._core.errors import DaypassError, UsageError
from daypass._core.hints import command
from daypass._core.net import HostPort
from daypass._core.server import JsonLog, handle_end_signals, write_stdout
from daypass.cli import options
from daypass.cli.console import log
from daypass.cli.gate import listen_address, load_gates

if TYPE_CHECKING:
    from daypass._core.clock import Clock
    from daypass.config import Config
    from daypass.gate.watch.controller import Controller, LogEvent
    from daypass.kube.cluster import Cluster

EXTRA = "gate"
SUMMARY = "watch which credentials exist, and publish them at the gate"
EPILOG = """examples:
  daypass gate watch                                   in a Pod, by its ServiceAccount
  daypass gate watch --once                            for cron and CI
  daypass gate watch --listen '*:9004'                 for probes and Prometheus

Of several replicas one publishes, and the others stand by. What --once publishes is valid for
watch.closeAfter: repeat it before.
"""
DEFAULT_LISTEN = "127.0.0.1:9004"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--once", action="store_true", help="list and publish once, then exit")
    parser.add_argument(
        "--listen",
        default=DEFAULT_LISTEN,
        metavar="HOST:PORT",
        help=f"/healthz, /readyz, /status, /metrics; *: all addresses (default: {DEFAULT_LISTEN})",
    )
    options.add_config(parser)
    options.add_cluster(parser)


def run(args: Namespace) -> int:
    """Watch until a signal; return 0 after an orderly end.

    With --once: 0 if all is published, or another watch publishes; 3 if namespaces are left out.
    """
    config = load_gates(args.config)
    if not config.cluster_gates:
        raise UsageError(
            f"{args.config} has a gate on one machine", f"`{command('up')}` watches for it"
        )
    listen = listen_address("--listen", args.listen)
    from daypass.kube.cluster import Cluster

    cluster = Cluster.open(kubeconfig=args.kubeconfig, context=args.context)
    log_event = JsonLog(write_stdout, SYSTEM_CLOCK).event
    controller = cluster_controller(cluster, config, SYSTEM_CLOCK, log_event)
    if args.once:
        with closing(cluster):
            return _once(controller, cluster)
    # The keys' thread may use its connections until the process exits, so it is not closed.
    return _keep(controller, listen)


def _keep(controller: Controller, listen: tuple[str, int]) -> int:
    from daypass._core.server import StatusServer
    from daypass.gate.watch.controller import WatchStatus

    stop = threading.Event()
    handle_end_signals(stop.set)
    routes = WatchStatus(controller, SYSTEM_CLOCK).routes
    with StatusServer(listen, routes, "name another with --listen") as endpoints:
        log(f"the watch runs; its health is at {HostPort(*endpoints.address)}")
        controller.run(stop)
    log("the watch has ended")
    return 0


def _once(controller: Controller, cluster: Cluster) -> int:
    lease = controller.publisher.lease
    assert lease is not None  # noqa: S101 - in a cluster
    try:
        if not lease.acquire():
            if lease.last_error:
                raise DaypassError("the gate's Lease cannot be written", lease.last_error)
            log(f"{lease.holder} publishes: there is nothing to do here")
            return 0
        if "clock" in controller.problems():
            raise DaypassError(
                "the clock of this machine differs from the API server's by "
                f"{abs(cluster.clock_ahead_seconds):.0f} s",
                "set it: the gate would close too early or too late",
            )
        controller.observer.sync()
        is_done = controller.publish_once()
    finally:
        lease.stop()
    problems = controller.problems()
    unwatched = problems.pop("namespaces", "")
    if not is_done:
        raise DaypassError("the credentials could not be published", "\n".join(problems.values()))
    if unwatched:
        log(*unwatched.split("\n", 1))
    return 3 if unwatched else 0


def cluster_controller(
    cluster: Cluster, config: Config, clock: Clock, log_event: LogEvent
) -> Controller:
    """Return the controller of the gates in a cluster."""
    from daypass.gate.watch.cluster_publisher import ClusterPublisher
    from daypass.gate.watch.controller import Controller
    from daypass.gate.watch.observer import CredentialObserver
    from daypass.kube.lease import Lease
    from daypass.render.engines import engines_of
    from daypass.render.names import GATE_WATCH

    gate_namespace, watch = config.door.namespace, config.watch
    me = f"{socket.gethostname()[:200]}-{os.getpid()}-{secrets.token_hex(4)}"
    lease = Lease(cluster, namespace=gate_namespace, name=GATE_WATCH, me=me)
    observer = CredentialObserver(
        cluster.connection,
        clock,
        gate_namespace=gate_namespace,
        per_namespace=watch.credentials_per_namespace,
        accounts_too=config.accepts_unbound,
        close_after_seconds=watch.close_after_seconds,
    )
    publisher = ClusterPublisher(cluster, engines_of(config), lease)
    return Controller(observer, publisher, clock, log_event, watch.close_after_seconds)
