"""What the door costs: against a real API server, and against the same Envoy as a plain proxy."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from bench.loads import Target, build, fire, stub
from bench.rounds import compare
from daypass.local.envoy import Envoy
from daypass.render.envoy.bootstrap import static_files
from daypass.render.envoy.settings import Address, Upstream
from daypass.render.envoy.typed import Json, extension
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
    place = folder / "real-door"
    place.mkdir()
    with running_door(place, plane.port, upstream_authority_pem=plane.ca_pem) as door:
        path = identity.token_path
        ours = _target(door, place, f"/kubernetes{path}", headers, body)
        theirs = Target(
            port=plane.port, authority_file=plane.ca_path, name=SERVER, path=path,
            header_file=headers, body_file=body,
        )  # fmt: skip
        _throughput(
            "door | API server, 8 connections", program, ours, theirs, rounds, seconds, ">= 0.95"
        )
        added = compare(
            "door | API server, one connection, median",
            lambda: fire(program, ours, connections=1, seconds=seconds)["p50_us"] / 1000,
            lambda: fire(program, theirs, connections=1, seconds=seconds)["p50_us"] / 1000,
            rounds=rounds, unit="ms", bar="added <= 1.2 ms",
        )  # fmt: skip
        differences = sorted(a - b for a, b in zip(added.ours, added.theirs, strict=True))
        print(
            f"  added at the median: {differences[len(differences) // 2]:.2f} ms "
            f"({differences[0]:.2f}-{differences[-1]:.2f})"
        )
        print(f"  memory of the door's Envoy: {_resident_mib(door.envoy.pid):.0f} MiB (bar < 100)")


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
    place, plain = folder / "door", folder / "plain"
    place.mkdir()
    plain.mkdir()
    with (
        stub(program, folder / "stub.crt", folder / "stub.key", folder / "answer") as port,
        running_door(place, port, upstream_authority_pem=authority.pem) as door,
    ):
        upstream = Upstream(
            address=Address(host="127.0.0.1", port=port),
            authority_file=str(folder / "stub-ca.crt"),
            server_name=SERVER,
        )
        proxy_authority = Authority()
        files = _plain_proxy(plain, proxy_authority, upstream)
        for name, content in files.items():
            (plain / name).write_text(json.dumps(content))
        (plain / "authority").write_text(proxy_authority.pem)
        proxy = Envoy.start(plain, "envoy.json", concurrency=1)
        try:
            headers, body = folder / "headers", folder / "body"
            ours = _target(door, place, PATH, headers, body)
            theirs = Target(
                port=proxy.port(), authority_file=plain / "authority", name=EKF, path=PATH,
                header_file=headers, body_file=body,
            )  # fmt: skip
            _throughput("door | plain Envoy, fast stub, 8 connections", program, ours, theirs,
                        rounds, seconds, ">= 0.9")  # fmt: skip
        finally:
            proxy.stop()


def _plain_proxy(folder: Path, authority: Authority, upstream: Upstream) -> dict[str, Json]:
    """The same listener, TLS and cluster, with a connection manager that only routes."""
    settings = door_settings(folder, authority, upstream)
    files = static_files(settings, str(folder), admin_socket="admin.sock")
    resources = files["envoy.json"]["static_resources"]
    files["envoy.json"].pop("overload_manager")
    host = {"name": "all", "domains": ["*"]}
    routes = [{"match": {"prefix": "/"}, "route": {"cluster": "api-server"}}]
    manager = extension(
        "envoy.filters.network.http_connection_manager",
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="plain",
        route_config={"virtual_hosts": [{**host, "routes": routes}]},
        http_filters=[
            extension("envoy.filters.http.router", "extensions.filters.http.router.v3.Router")
        ],
    )
    for chain in resources["listeners"][0]["filter_chains"]:
        chain["filters"] = [manager]
    for options in resources["clusters"][0]["typed_extension_protocol_options"].values():
        options.pop("http_filters")
    return files


def _target(door: Door, place: Path, path: str, headers: Path, body: Path) -> Target:
    (place / "authority").write_text(door.authority.pem)
    return Target(
        port=door.port, authority_file=place / "authority", name=EKF, path=path,
        header_file=headers, body_file=body,
    )  # fmt: skip


def _throughput(
    name: str, program: Path, ours: Target, theirs: Target, rounds: int, seconds: float, bar: str
) -> None:
    compare(
        name,
        lambda: float(fire(program, ours, connections=8, seconds=seconds)["per_second"]),
        lambda: float(fire(program, theirs, connections=8, seconds=seconds)["per_second"]),
        rounds=rounds, unit="1/s", bar=bar,
    )  # fmt: skip


def _resident_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"process {pid} has no VmRSS")
