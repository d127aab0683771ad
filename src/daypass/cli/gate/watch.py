"""`daypass gate watch`: publish revocations in a cluster at its gate."""

from __future__ import annotations

import signal
import threading
from argparse import ArgumentParser, Namespace
from contextlib import closing
from typing import TYPE_CHECKING

from daypass._core.clock import SYSTEM_CLOCK
from daypass._core.errors import DaypassError, UsageError
from daypass._core.hints import command
from daypass._core.jsonlog import JsonLog, write_stdout
from daypass._core.net import HostPort, parse_listen
from daypass.cli import log, options
from daypass.cli.gate import load_gate

if TYPE_CHECKING:
    from daypass.gate.revocation.controller import RevocationController

EXTRA = "gate"
SUMMARY = "watch for revocations in a cluster, and publish them at its gate"
EPILOG = """examples:
  daypass gate watch                                   in a Pod, by its ServiceAccount
  daypass gate watch --once                            read and publish once, for cron and CI
  daypass gate watch --listen '*:9004'                 for probes and Prometheus

Any number of replicas may run: one publishes, the others stand by. Audit events are lines of JSON
on stdout. `daypass render` includes its Deployment and RBAC objects.
"""
DEFAULT_LISTEN = "127.0.0.1:9004"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--once", action="store_true", help="read and publish once, then exit")
    parser.add_argument(
        "--listen", default=DEFAULT_LISTEN, metavar="HOST:PORT",
        help=f"/healthz, /readyz, /status, /metrics; *: all addresses (default: {DEFAULT_LISTEN})",
    )  # fmt: skip
    options.add_config(parser)
    options.add_cluster(parser)


def run(args: Namespace) -> int:
    """Watch until a signal; return 0 after an orderly end. With --once: 0 if all is published."""
    config, gate = load_gate(args.config)
    if gate.engine == "envoy":
        raise UsageError(
            f"{args.config} has a gate on one machine", f"`{command('up')}` watches for it"
        )
    listen = parse_listen(args.listen)
    if listen is None:
        raise UsageError(f"{args.listen[:60]!r} is not HOST:PORT", "such as 0.0.0.0:9004")
    from daypass.gate.revocation.controller import revocation_controller
    from daypass.gate.revocation.watcher import LIMIT_INFORMERS
    from daypass.kube.cluster import Cluster

    cluster = Cluster.open(
        kubeconfig=args.kubeconfig, context=args.context, connections=LIMIT_INFORMERS + 32
    )
    controller = revocation_controller(
        cluster, config, gate, SYSTEM_CLOCK, JsonLog(write_stdout, SYSTEM_CLOCK).event,
    )  # fmt: skip
    if args.once:
        with closing(cluster):
            return _once(controller)
    # The watches use its connections until the process exits, so it is not closed.
    return _keep(controller, listen)


def _keep(controller: RevocationController, listen: tuple[str, int]) -> int:
    from daypass._core.status_server import StatusServer
    from daypass.gate.revocation.controller_status import ControllerStatus

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    routes = ControllerStatus(controller, SYSTEM_CLOCK).routes
    with StatusServer(listen, routes, "name another with --listen") as endpoints:
        log(f"the watch runs; its health is at {HostPort(*endpoints.address)}")
        controller.run(stop)
    log("the watch has ended")
    return 0


def _once(controller: RevocationController) -> int:
    controller.sync()
    try:
        if controller.other_leader:
            log(f"{controller.other_leader} publishes: there is nothing to do here")
            return 0
        is_done = controller.reconcile(wait=True)
    finally:
        controller.release()
    problems = controller.problems()
    if not is_done or "keys" in problems:
        why = "\n".join(dict.fromkeys(problems.values()))
        raise DaypassError("the revocations could not be published", why)
    watcher = controller.watcher
    failed = {each.namespace for each in watcher.informers if each.error and each.namespace}
    if unwatched := ", ".join(sorted(failed | watcher.unwatched_namespaces)):
        log(f"tokens of these namespaces are refused: {unwatched}", watcher.last_error)
    return 3 if unwatched else 0
