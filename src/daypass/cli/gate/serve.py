"""`daypass gate serve`: the authorizer, which asks the API server about tokens and their users."""

from __future__ import annotations

import asyncio
import signal
from argparse import ArgumentParser, Namespace
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from daypass._core.clock import SYSTEM_CLOCK, parse_seconds
from daypass._core.errors import UsageError
from daypass._core.server import allow_many_files, write_stdout
from daypass.cli import options
from daypass.cli.console import log
from daypass.cli.gate import listen_address, load_gates

if TYPE_CHECKING:
    from daypass.gate.authorizer.followers import PublishedFollower
    from daypass.gate.authorizer.service import Listen, Service

EXTRA = "gate"
SUMMARY = "answer ext_authz requests of gateways by asking the API server"
EPILOG = """examples:
  daypass gate serve                                    in a Pod, by its ServiceAccount
  daypass gate serve --listen '*:9443' --certificate tls.crt --key tls.key
  daypass gate serve --kubeconfig gate.kubeconfig --without-watch \\
    --listen unix:/run/gate.sock

It answers for every gate with check: review, at the path /gate/NAME/ and what the client asks for.
Its user needs the ClusterRoles system:auth-delegator and system:service-account-issuer-discovery
and, with authorize, the right to list and watch models. It listens with a certificate, on a Unix
socket, or on loopback.
"""
DEFAULT_LISTEN = "127.0.0.1:9002"
DEFAULT_STATUS = "127.0.0.1:9003"
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--listen",
        default=DEFAULT_LISTEN,
        metavar="HOST:PORT|unix:PATH",
        help=f"where the gateway connects; *: all addresses (default: {DEFAULT_LISTEN})",
    )
    parser.add_argument(
        "--certificate",
        metavar="FILE",
        help="the server's certificate (PEM), which may change",
    )
    parser.add_argument("--key", metavar="FILE", help="the certificate's key (PEM)")
    parser.add_argument(
        "--status",
        default=DEFAULT_STATUS,
        metavar="HOST:PORT",
        help=f"/healthz, /readyz and /metrics (default: {DEFAULT_STATUS})",
    )
    parser.add_argument(
        "--without-watch",
        action="store_true",
        help="without `daypass gate watch`: revocations take effect when a cached answer expires",
    )
    parser.add_argument(
        "--drain",
        type=parse_seconds,
        default=5,
        metavar="T",
        help="serve this long after SIGTERM (default: 5s)",
    )
    options.add_config(parser)
    options.add_cluster(parser)


def run(args: Namespace) -> int:
    """Serve until a signal; return 0 after an orderly end."""
    import uvloop

    from daypass.gate.authorizer.followers import PublishedFollower
    from daypass.gate.authorizer.served_gate import ServedGate
    from daypass.gate.authorizer.service import Service
    from daypass.gate.signing_keys import TokenVerifier, issuer_for, keys_for
    from daypass.render.engines import engines_of

    allow_many_files()
    config = load_gates(args.config)
    reviewed = {name: gate for name, gate in config.gates.items() if gate.asks_authorizer}
    if not reviewed:
        raise UsageError("no gate of the config asks an authorizer", "write check: review")
    listen = _listen(args)
    status = listen_address("--status", args.status)
    cluster = options.connect(args)
    issuer = issuer_for(config, cluster)
    unverified = {each.name for each in engines_of(config) if each.published_as is None}
    gates = [
        ServedGate(name, gate, config.rules_of(gate, issuer), is_verified=name not in unverified)
        for name, gate in reviewed.items()
    ]
    verifier = None
    if unverified:
        verifier = TokenVerifier(partial(keys_for, config, cluster), SYSTEM_CLOCK)
    service = Service(
        gates,
        cluster.connection,
        SYSTEM_CLOCK,
        write_stdout,
        checks_credentials=not args.without_watch,
        verifier=verifier,
        close_after_seconds=config.watch.close_after_seconds,
    )
    follower = None
    if not args.without_watch:
        follower = PublishedFollower(
            cluster.connection,
            config.door.namespace,
            service.authorizer.take_published,
            SYSTEM_CLOCK,
            close_after_seconds=config.watch.close_after_seconds,
        )
    uvloop.run(_serve(service, listen, status, follower, args.drain))
    return 0


async def _serve(
    service: Service,
    listen: Listen,
    status: tuple[str, int],
    follower: PublishedFollower | None,
    drain_seconds: int,
) -> None:
    from daypass._core.server import StatusServer
    from daypass.gate.authorizer.service import Listen

    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    background: list[asyncio.Task[None]] = []
    hint = "choose another address with --status"
    try:
        with StatusServer(status, service.routes, hint) as status_server:
            if follower is not None:
                background.append(asyncio.create_task(follower.run()))
            async with service.serving(listen) as port:
                health = Listen(host=status[0], port=status_server.address[1])
                where = replace(listen, port=port)
                log(f"the authorizer listens at {where}, its health at {health}")
                background.append(asyncio.create_task(_report_problems(service, follower)))
                await ended.wait()
                log("the authorizer stops after the requests in progress")
                await service.drain(drain_seconds)
    finally:
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)


async def _report_problems(service: Service, follower: PublishedFollower | None) -> None:
    reported = ""
    while True:
        lines = (service.last_error, "" if follower is None else follower.last_error)
        problems = "\n".join(line for line in lines if line)
        if problems != reported:
            reported = problems
            log("there are no more problems" if not problems else "there are problems:", problems)
        await asyncio.sleep(1.0)


def _listen(args: Namespace) -> Listen:
    from daypass.gate.authorizer.service import Listen, ReloadingCertificate

    if (args.certificate is None) != (args.key is None):
        raise UsageError("a certificate needs its key", "name both: --certificate and --key")
    where: str = args.listen
    if where.startswith("unix:"):
        return Listen(path=where.removeprefix("unix:"))  # needs no TLS
    host, port = listen_address("--listen", where)
    if args.certificate is not None:
        certificate = ReloadingCertificate(args.certificate, args.key)
        return Listen(host=host, port=port, certificate=certificate)
    if host not in LOOPBACK:
        raise UsageError(
            f"tokens would be sent to {where} unencrypted",
            "name a certificate (--certificate, --key), or listen on loopback",
        )
    return Listen(host=host, port=port)
