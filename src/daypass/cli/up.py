"""`daypass up`: door and gate on this machine."""

import argparse
import gc
import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

from daypass._core.clock import SYSTEM_CLOCK
from daypass._core.errors import DaypassError, UsageError
from daypass._core.hints import command, path_with_daypass
from daypass.cli import options
from daypass.cli.console import log
from daypass.cli.output import write_result

if TYPE_CHECKING:
    from daypass.local.supervisor import Supervisor

_is_started = threading.Event()
EXTRA = "local"
SUMMARY = "run the door, and the gate, in front of an API server"
EPILOG = """\
examples:
  daypass up                            ./daypass.yaml, or else the defaults
  daypass up -o json | read -r line     where it listens, as soon as it listens

A change of the file takes effect at the next start.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """Where door and gate listen on this machine."""

    doors: Annotated[Sequence[str], "the URLs of the door, one for each host"]
    gates: Annotated[Sequence[str], "the URLs of the gate; empty: there is none"]
    listen: Annotated[Mapping[str, str], "HOST:PORT of each, by `door`, `gate` and `metrics`"]
    certificate_authority: Annotated[str, "the PEM file of the authority that signs certificates"]
    kubeconfig: Annotated[str | None, "an administrator's, with the embedded API server"]


OUTPUT = Listening


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_config(parser)
    parser.set_defaults(config=None)  # without daypass.yaml, only a named file is an error
    parser.add_argument(
        "--kubeconfig",
        default="",
        metavar="FILE",
        help="required with a gate for an external API server: a user who may read the signing "
        "keys, and list and watch Namespaces, ServiceAccounts, Secrets and ConfigMaps",
    )
    parser.add_argument(
        "--state",
        type=Path,
        metavar="DIR",
        help="of the certificate authority (default: in $XDG_STATE_HOME/daypass)",
    )
    options.add_output(parser, "default: text; json, yaml: where it listens, once it does")


def run(args: argparse.Namespace) -> int:
    """Run door and gate until a signal; return 0 after an orderly end."""
    from daypass._core.files import write_private
    from daypass._core.server import allow_many_files, handle_end_signals
    from daypass.config import parse
    from daypass.deploy.certificate_authority import Authority
    from daypass.local.api_backend import EmbeddedApiServer, external_api_server
    from daypass.local.stack import stack_config
    from daypass.local.state import locked_folders, state_folder
    from daypass.local.supervisor import Supervisor

    allow_many_files()
    stop = threading.Event()
    handle_end_signals(lambda: _close(stop))

    # A cluster that is named is meant to be used: the defaults are for the embedded API server.
    needs_file = args.config or args.kubeconfig or os.path.lexists(options.DEFAULT_CONFIG)
    args.config = args.config or options.DEFAULT_CONFIG
    state = args.state or state_folder(args.config)
    defaults = stack_config(door_port=8443, gate_port=8444).encode()
    if needs_file:
        config = options.load_config(args.config)
    else:
        args.config = state / "defaults.yaml"
        config = parse(defaults, name=str(args.config), folder=state)
    if args.kubeconfig and config.local.api_server == "embedded":
        raise UsageError(
            "--kubeconfig is for an external API server, and this config's is embedded",
            f"leave it out, or write `local: {{apiServer: external}}` in {args.config}",
        )
    with ExitStack() as running:
        folders = running.enter_context(locked_folders(state))
        if not needs_file:
            write_private(str(args.config), defaults)
            log(f"there is no daypass.yaml here: it starts with the defaults, {args.config}")
        authority = Authority.load_or_create(folders.state, "daypass on this machine", SYSTEM_CLOCK)
        kubeconfig: Path | None = None
        if config.local.api_server == "embedded":
            embedded = EmbeddedApiServer(
                authority, folders.runtime, SYSTEM_CLOCK, folders.state / "api-server.json"
            )
            running.callback(embedded.stop)
            kubeconfig = folders.state / "admin.kubeconfig"
            embedded.write_kubeconfig(kubeconfig)
            backend = embedded.backend
        else:
            backend = external_api_server(config, args.kubeconfig)
        supervisor = Supervisor(config, backend, authority, folders.runtime, SYSTEM_CLOCK, _log)
        running.callback(supervisor.stop)
        _report(args, supervisor, folders.state / "authority.crt", kubeconfig)
        supervisor.run(stop)
    log(f"{_time()} everything is closed")
    gc.freeze()  # or the interpreter visits every object of every library at exit
    return 0


def _log(text: str) -> None:
    """Log what happens, with the time of day once the start is over."""
    log(f"{_time()} {text}" if _is_started.is_set() else text)


def _time() -> str:
    return time.strftime("%H:%M:%S", time.localtime(SYSTEM_CLOCK.unix()))


def _close(stop: threading.Event) -> None:
    """Set `stop`, and report it immediately: work in progress may take some seconds."""
    if not stop.is_set():
        stop.set()
        if sys.stderr is not None:  # it is None if it was closed before the start
            with suppress(OSError):
                start = "\r" if sys.stderr.isatty() else ""  # over the ^C that a terminal shows
                os.write(sys.stderr.fileno(), f"{start}daypass: {_time()} closing\n".encode())


def _report(
    args: argparse.Namespace, supervisor: "Supervisor", authority: Path, kubeconfig: Path | None
) -> None:
    from daypass._core.net import bracketed
    from daypass.local.api_backend import check
    from daypass.render.envoy.bootstrap import METRICS, PATH

    envoy = supervisor.envoy
    door, gate = envoy.settings.door, envoy.settings.gate
    prefix = door.exposure.prefix
    ports = envoy.ports
    doors = [f"https://{bracketed(each)}:{ports['door']}{prefix}" for each in door.exposure.hosts]
    guarded = gate.gate.named_hosts if gate else ()
    gates = [f"https://{bracketed(each)}:{ports['gate']}" for each in guarded]
    listens = envoy.settings.listens.items()
    write_result(
        args,
        Listening(
            doors=doors,
            gates=gates,
            listen={name: str(replace(listen, port=ports[name])) for name, listen in listens},
            certificate_authority=str(authority),
            kubeconfig=None if kubeconfig is None else str(kubeconfig),
        ),
        indent=None,
    )
    for url in doors:
        log(f"door        {url}")
    for url in gates:
        log(f"gate        {url}")
    if door.metrics is not None:
        log(f"metrics     http://{replace(door.metrics, port=ports[METRICS])}{PATH}")
    log(f"trusted by  {authority}")
    log(f"log         {envoy.folder / 'envoy.log'}")
    try:
        log(f"API server  refuses a request without a token, as it should: {check(door.upstream)}")
    except DaypassError as error:
        log(f"API server  {error}")
    if kubeconfig is not None:
        config = () if args.config == options.DEFAULT_CONFIG else ("--config", str(args.config))
        create = command("identity", "create", "bot", *config)
        for_admin = f"export {path_with_daypass()} KUBECONFIG={quote(str(kubeconfig.absolute()))}"
        log("API server  enforces no policy; a cluster does")
        trusted = quote(str(authority.absolute()))
        for_client = f"export GATE={gates[0]} AUTHORITY={trusted}\n" if gates else ""
        log("for another terminal:", f"{for_admin}\n{for_client}{create}")
    log("Ctrl-C stops it")
    _is_started.set()
