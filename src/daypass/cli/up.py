"""`daypass up`: door and gate on this machine."""

import argparse
import contextlib
import gc
import json
import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from daypass._core.duration import parse_seconds
from daypass._core.errors import DaypassError, MissingExtraError, UsageError
from daypass.cli import log

if TYPE_CHECKING:
    from daypass._core.secret import Secret
    from daypass.local.api_backend import ApiBackend
    from daypass.local.supervisor import Supervisor

SHORTEST_CLOSE_AFTER_SECONDS = 6
"""A list is renewed at half of it, and rests on a sign of life that may be a quarter of it old."""

SUMMARY = "run the door (and the gate) on this machine, in front of an API server"
EPILOG = """\
examples:
  daypass up                                  the door of ./daypass.yaml
  daypass up --config doors/lab.yaml          of another file
  daypass up --output json | read -r line     where it listens, as soon as it does

The file is followed: a change is in force a moment later and drops no connection; a change that
makes no sense is refused, and everything runs on as it was. Ctrl-C ends it.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `daypass up`."""
    parser.add_argument(
        "--config", type=Path, default=Path("daypass.yaml"), metavar="FILE",
        help="the config file (default: daypass.yaml)",
    )  # fmt: skip
    parser.add_argument(
        "--credentials", metavar="FILE",
        help="with a gate before an external API server: the credentials file of any identity, "
        "whose token the signing keys are read with (default: as whom --kubeconfig names, or as "
        "anonymous)",
    )  # fmt: skip
    parser.add_argument(
        "--kubeconfig", default="", metavar="FILE",
        help="with a gate before an external API server: of somebody who may list and watch "
        "Secrets, ServiceAccounts and ConfigMaps, so that the gate sees what is revoked; signing "
        "keys are read so as well, unless --credentials says as whom",
    )  # fmt: skip
    parser.add_argument(
        "--close-after", type=_close_after_seconds, metavar="T",
        help="how long the gate may hear nothing of what is revoked before it refuses every token "
        "(default: gate.closeAfter, which is 10m)",
    )  # fmt: skip
    parser.add_argument(
        "--state", type=Path, metavar="DIR",
        help="where the certificate authority is kept "
        "(default: a folder of $XDG_STATE_HOME/daypass for each config file)",
    )  # fmt: skip
    parser.add_argument(
        "--output", choices=("text", "json"), default="text",
        help="json: one line on stdout once all takes connections",
    )  # fmt: skip


def _close_after_seconds(text: str) -> int:
    seconds = parse_seconds(text)
    if seconds < SHORTEST_CLOSE_AFTER_SECONDS:
        raise UsageError(
            f"a gate that closes after {seconds} s of silence would close all the time",
            f"name {SHORTEST_CLOSE_AFTER_SECONDS} s or more",
        )
    return seconds


def run(args: argparse.Namespace) -> int:
    """Bring everything up and keep it up until a signal; 0 at an ordered end."""
    try:
        from daypass._core.clock import SYSTEM_CLOCK
        from daypass._core.process import allow_many_files
        from daypass.config import load
        from daypass.kube.certificates import Authority
        from daypass.local.api_backend import EmbeddedApiServer, ExternalApiServer
        from daypass.local.envoy import verify_free
        from daypass.local.settings import listens_of
        from daypass.local.state import Folders, state_folder
        from daypass.local.supervisor import Supervisor
    except ModuleNotFoundError as error:
        raise MissingExtraError("daypass up", "local") from error

    allow_many_files()
    stop, reload = threading.Event(), threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: _close(stop))
    signal.signal(signal.SIGHUP, lambda *_: reload.set())

    config = load(args.config)
    state = args.state or state_folder(args.config)
    if not state.exists():  # none is left behind by a start that cannot succeed
        for address in listens_of(config):
            verify_free(address)
    with Folders(state) as folders:
        authority = Authority.load_or_create(folders.state, "daypass on this machine", SYSTEM_CLOCK)
        behind: ApiBackend
        kubeconfig: Path | None = None
        # Nobody knows what another API server than a new one of our own has issued before.
        is_first_start = False
        if config.local.api_server == "embedded":
            remembered = folders.state / "api-server.json"
            is_first_start = not remembered.exists()
            behind = embedded = EmbeddedApiServer(
                authority, folders.runtime, SYSTEM_CLOCK, remembered
            )
            kubeconfig = folders.state / "admin.kubeconfig"
            embedded.write_kubeconfig(kubeconfig)
        else:
            behind = ExternalApiServer(_token_source(args.credentials), args.kubeconfig)
        try:
            supervisor = Supervisor(
                args.config,
                behind,
                authority,
                folders.runtime,
                SYSTEM_CLOCK,
                _say,
                state=folders.state,
                is_first_start=is_first_start,
                close_after_seconds=args.close_after,
            )
            folders.is_started = True
            try:
                trusted = folders.state / "authority.crt"
                _tell(supervisor, trusted, kubeconfig, as_json=args.output == "json")
                supervisor.run(stop, reload)
            finally:
                supervisor.stop()
        finally:
            behind.stop()
    _say("all is closed")
    gc.freeze()  # or the interpreter looks at every object of every library before it ends
    return 0


def _close(stop: threading.Event) -> None:
    """Set `stop`, and report it at once: what is under way may take seconds more."""
    if not stop.is_set():
        stop.set()
        if sys.stderr is not None:  # as it is where stderr was closed by whoever started this
            with contextlib.suppress(OSError):
                # Not by sys.stderr: a signal within a write to it may not write there, too.
                os.write(sys.stderr.fileno(), b"daypass: closing\n")


def _token_source(credentials: str | None) -> "Callable[[], Secret | None]":
    if credentials is None:
        return lambda: None
    from daypass._core.clock import SYSTEM_CLOCK
    from daypass.client.config import parse_source, read_source

    return lambda: parse_source(read_source({}, credentials), SYSTEM_CLOCK.unix()).token


def _tell(
    supervisor: "Supervisor", authority: Path, kubeconfig: Path | None, *, as_json: bool
) -> None:
    from daypass.config.exposure import bracketed
    from daypass.local.api_backend import check

    edge = supervisor.edge
    door, gate = edge.settings.door, edge.settings.gate
    prefix = door.exposure.prefix
    ports = edge.ports
    doors = [f"https://{bracketed(each)}:{ports['door']}{prefix}" for each in door.exposure.hosts]
    gates = [f"https://{bracketed(each)}:{ports['gate']}" for each in gate.hosts] if gate else []
    if as_json:
        listens = edge.settings.listens
        listen = {name: str(replace(listens[name], port=ports[name])) for name in listens}
        ready: dict[str, object] = {
            "doors": doors,
            "gates": gates,
            "listen": listen,
            "certificateAuthority": str(authority),
        }
        if kubeconfig is not None:
            ready["kubeconfig"] = str(kubeconfig)
        print(json.dumps(ready), flush=True)
    for url in doors:
        _say(f"door        {url}")
    for url in gates:
        _say(f"gate        {url}")
    _say(f"trusted by  {authority}")
    _say(f"log         {edge.folder / 'envoy.log'}")
    try:
        _say(f"API server  {check(door.upstream)}")
    except DaypassError as error:
        _say(f"API server  {error}")
    if kubeconfig is not None:
        _say(f"admin       export KUBECONFIG={shlex.quote(str(kubeconfig))}")
    _say("Ctrl-C ends it")


def _say(lines: str) -> None:
    fact, _, hint = lines.partition("\n")
    log(fact, hint)
