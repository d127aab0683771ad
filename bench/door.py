"""What the door costs: against a real API server, and against the same Envoy as a plain proxy.

The bars are rates at saturation. With the fast stub, the CPU time of Envoy for a request is
reported too, since it does not depend on what else runs on this machine.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bench.loads import Target, build, cpu_seconds, fire, stub
from bench.report import figure, spread
from bench.rounds import compare
from daypass.config import Address
from daypass.local.envoy import Envoy
from daypass.render.envoy.bootstrap import envoy_files
from daypass.render.envoy.settings import Upstream
from daypass.render.envoy.xds import extension
from support.authority import Authority
from support.controlplane import ControlPlane
from support.doors import BODY, EKF, JWT, PATH, Door, door_settings, running_door

SERVER = "kubernetes.default.svc"


def run(*, quick: bool) -> None:
    """Both comparisons; `quick` takes fewer and shorter rounds."""
    program = build()
    rounds, seconds = (3, 1.0) if quick else (9, 3.0)
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        folder = Path(scratch)
        with ControlPlane.start(folder / "control-plane") as plane:
            _real(program, folder, plane, rounds, seconds)
        _stub(program, folder, rounds, seconds)


def _real(program: Path, folder: Path, plane: ControlPlane, rounds: int, seconds: float) -> None:
    identity = plane.make_identity()
    headers, body = folder / "real-headers", folder / "real-body"
    headers.touch(0o600)
    headers.write_text(
        f"Authorization: Bearer {identity.token.reveal()}\nContent-Type: application/json\n"
    )
    reference = identity.bound_object_ref
    body.write_text(json.dumps({"spec": {"audiences": ["gate"], "boundObjectRef": reference}}))
    place, plain = folder / "real-door", folder / "real-plain"
    place.mkdir()
    plain.mkdir()
    upstream = Upstream(
        address=Address(host="127.0.0.1", port=plane.port),
        authority_file=str(plane.ca_path),
        server_name=SERVER,
    )
    with (
        _door(place, plane.port, plane.ca_pem) as door,
        _plain_proxy(plain, upstream, cut="/kubernetes") as proxy_envoy,
    ):
        published = f"/kubernetes{identity.token_path}"
        ours = _target(door.port, place, published, headers, body)
        proxy = _target(proxy_envoy.port("door"), plain, published, headers, body)
        theirs = Target(
            port=plane.port, authority_file=plane.ca_path, name=SERVER, path=identity.token_path,
            header_file=headers, body_file=body,
        )  # fmt: skip
        for name, other, bar in (
            ("door | API server, 8 connections", ours, ">= 0.95"),
            ("plain Envoy | API server, 8 connections", proxy, ""),
        ):
            _throughput(name, program, other, theirs, rounds, seconds, bar)
        _throughput(
            "door | plain Envoy, API server, 8 connections", program, ours, proxy,
            rounds, seconds, "",
        )  # fmt: skip
        _added(program, ours, theirs, rounds, seconds)
        memory = _resident_mib(door.envoy.pid)
        figure("memory of the door's Envoy", f"{memory:.0f} MiB", bar="< 100 MiB")


def _added(program: Path, ours: Target, theirs: Target, rounds: int, seconds: float) -> None:
    added = compare(
        "door | API server, one connection, median",
        lambda: fire(program, ours, connections=1, seconds=seconds)["p50_us"] / 1000,
        lambda: fire(program, theirs, connections=1, seconds=seconds)["p50_us"] / 1000,
        rounds=rounds, unit="ms", bar="",
    )  # fmt: skip
    differences = [a - b for a, b in zip(added.ours, added.theirs, strict=True)]
    figure("what the door adds to it", spread(differences, 2, "ms"), bar="<= 1.2 ms")


def _stub(program: Path, folder: Path, rounds: int, seconds: float) -> None:
    authority = Authority()
    pair = authority.server(SERVER)
    for name, text in (
        ("stub.crt", pair.certificate_pem),
        ("stub.key", pair.key_pem),
        ("stub-ca.crt", authority.pem),
        ("answer", "x" * 1500),
        ("body", BODY.decode()),
        ("headers", f"Authorization: Bearer {JWT}{'a' * 800}\nContent-Type: application/json\n"),
    ):
        (folder / name).write_text(text)
    place, plain, logging = folder / "door", folder / "plain", folder / "logging"
    for made in (place, plain, logging):
        made.mkdir()
    headers, body = folder / "headers", folder / "body"
    with stub(program, folder / "stub.crt", folder / "stub.key", folder / "answer") as port:
        upstream = Upstream(
            address=Address(host="127.0.0.1", port=port),
            authority_file=str(folder / "stub-ca.crt"),
            server_name=SERVER,
        )
        with (
            _door(place, port, authority.pem) as door,
            _plain_proxy(plain, upstream) as proxy,
            _plain_proxy(logging, upstream, log=True) as logger,
        ):
            ours = _target(door.port, place, PATH, headers, body)
            for name, envoy, where, bar in (
                ("door | plain Envoy, fast stub, 8 connections", proxy, plain, ">= 0.9"),
                ("door | plain Envoy with the door's log", logger, logging, ""),
            ):
                theirs = _target(envoy.port("door"), where, PATH, headers, body)
                _throughput(name, program, ours, theirs, rounds, seconds, bar)
                compare(
                    "the same, for a second of Envoy's CPU time",
                    partial(_per_cpu_second, program, ours, door.envoy, seconds),
                    partial(_per_cpu_second, program, theirs, envoy, seconds),
                    rounds=rounds, unit="/s", bar="",
                )  # fmt: skip


def _per_cpu_second(program: Path, target: Target, envoy: Envoy, seconds: float) -> float:
    """How many requests Envoy answers for a second of CPU time."""
    before = cpu_seconds(envoy.pid)
    answered = fire(program, target, connections=8, seconds=seconds)["requests"]
    return float(answered) / (cpu_seconds(envoy.pid) - before)


@contextmanager
def _door(place: Path, port: int, authority_pem: str) -> Iterator[Door]:
    """A door without rate limits, its authority written beside it."""
    with running_door(place, port, upstream_authority_pem=authority_pem) as door:
        (place / "authority.crt").write_text(door.authority.pem)
        yield door


@contextmanager
def _plain_proxy(
    folder: Path, upstream: Upstream, *, cut: str = "", log: bool = False
) -> Iterator[Envoy]:
    """The same Envoy with the same listener, TLS and cluster, and a connection manager that only
    routes (takes the prefix `cut` off, writes the door's `log` where that is asked).
    """
    authority = Authority()
    (folder / "authority.crt").write_text(authority.pem)
    settings = door_settings(folder, authority, upstream)
    files = envoy_files(settings, str(folder), admin_socket="admin.sock")
    resources = files["envoy.json"]["static_resources"]
    files["envoy.json"].pop("overload_manager")
    action = {"cluster": "api-server", **({"prefix_rewrite": "/"} if cut else {})}
    routes = [{"match": {"prefix": f"{cut}/"}, "route": action}]
    chains = resources["listeners"][0]["filter_chains"]
    access_log = chains[0]["filters"][-1]["typed_config"]["access_log"] if log else []
    manager = extension(
        "envoy.filters.network.http_connection_manager",
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="plain",
        route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        http_filters=[
            extension("envoy.filters.http.router", "extensions.filters.http.router.v3.Router")
        ],
        access_log=access_log,
    )
    for chain in chains:
        chain["filters"] = [manager]
    for options in resources["clusters"][0]["typed_extension_protocol_options"].values():
        options.pop("http_filters")
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    proxy = Envoy.start(folder, "envoy.json", concurrency=1)
    try:
        yield proxy
    finally:
        proxy.stop()


def _target(port: int, place: Path, path: str, headers: Path, body: Path) -> Target:
    return Target(
        port=port, authority_file=place / "authority.crt", name=EKF, path=path,
        header_file=headers, body_file=body,
    )  # fmt: skip


def _throughput(
    name: str, program: Path, ours: Target, theirs: Target, rounds: int, seconds: float, bar: str
) -> None:
    compare(
        name,
        lambda: float(fire(program, ours, connections=8, seconds=seconds)["per_second"]),
        lambda: float(fire(program, theirs, connections=8, seconds=seconds)["per_second"]),
        rounds=rounds, unit="/s", bar=bar,
    )  # fmt: skip


def _resident_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"process {pid} has no VmRSS")
