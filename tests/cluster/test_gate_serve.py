"""`daypass gate serve` as a process before a real API server, with the rights that are rendered."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cluster.authorizer_serving import NAME, Publishing, Serving, authorizer_kubeconfig
from daypass.config import Config
from daypass.render.envoy.authorizer_filters import AUTHORIZER
from daypass.render.envoy.upstream import certificate_names, verified_tls
from daypass.rules.published import CLUSTER_SHARDS, DENIALS, shard_name, shard_of
from daypass.rules.reasons import Reason
from support import raw
from support.authority import Authority
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.gate_differences import assert_passed_as, reason_in
from support.gates import RunningGate, running_gate
from support.identities import Identity
from support.messages import check
from support.programs import DAYPASS, run
from support.publishing import published
from support.serving import gate_serve_over_tls
from support.tokens import ISSUER

AUDIENCE, HOST = "gate.example.com", "ekf.example.com"


@contextmanager
def serving(folder: Path, kubeconfig: Path, home: str) -> Iterator[Serving]:
    authority = Authority()
    config = (
        f"version: 1\ndomains: {{ekf: {{host: {HOST}, front: envoy}}}}\n"
        f"door: {{namespace: {home}}}\n"
        f"gates: {{default: {{audience: {AUDIENCE}, engine: envoy, check: review}}}}\n"
    )
    arguments = ("--kubeconfig", str(kubeconfig), "--drain", "1s")
    with gate_serve_over_tls(folder, config, authority.server(NAME), *arguments) as served:
        yield Serving(served=served, authority=authority, home=home)


@pytest.fixture(scope="module")
def home(control_plane: ControlPlane) -> str:
    return control_plane.make_namespace("gate")


@pytest.fixture(scope="module")
def kubeconfig(
    control_plane: ControlPlane, home: str, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return made_kubeconfig(control_plane, home, tmp_path_factory.mktemp("gate") / "kubeconfig")


def made_kubeconfig(plane: ControlPlane, home: str, file: Path) -> Path:
    """Of the authorizer of a gate on Envoy Gateway, in a namespace."""
    gate = {"audience": AUDIENCE, "engine": "envoy-gateway", "gateway": "infra/public"}
    domains = {"a": {"host": "a.example.com", "front": "istio", "tls": "outside"}}
    where = {"version": 1, "domains": domains, "door": {"namespace": home}}
    config = Config.model_validate({**where, "gates": {"default": gate}})
    return authorizer_kubeconfig(plane, config, file)


def shard_with(identity: Identity) -> str:
    """The name of the part with its credential."""
    return shard_name(shard_of(identity.secret_uid, CLUSTER_SHARDS))


@pytest.fixture
def publishing(control_plane: ControlPlane, home: str) -> Iterator[Publishing]:
    """Nothing is published, before and after."""
    made = Publishing(plane=control_plane, home=home)
    yield made
    made.delete()


@pytest.fixture
def serve(
    publishing: Publishing, identity: Identity, home: str, kubeconfig: Path, tmp_path: Path
) -> Iterator[Serving]:
    """One that knows the credential of `identity`."""
    publishing.create(identity)
    with serving(tmp_path, kubeconfig, home) as running:
        eventually("it is ready", lambda: running.get("/readyz")[0] == 200)
        yield running


def bearer(plane: ControlPlane, identity: Identity) -> str:
    return raw.bearer(plane.make_token(identity, audiences=[AUDIENCE]))


def ask_over_tls(files: dict[str, Any], *, port: int, authority_pem: str, name: str) -> None:
    """Make the gate's Envoy ask at a port of loopback, where this authority and name must be."""
    clusters = files["envoy.json"]["static_resources"]["clusters"]
    (cluster,) = (each for each in clusters if each["name"] == AUTHORIZER)
    where = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"] = where
    authority = {"trusted_ca": {"inline_string": authority_pem}}
    trust = {"validation_context": {**authority, **certificate_names(name)}}
    cluster["transport_socket"] = verified_tls(name, trust)


@contextmanager
def gate_asking(
    serve: Serving, identity: Identity, plane: ControlPlane, folders: pytest.TempPathFactory,
) -> Iterator[RunningGate]:  # fmt: skip
    """An Envoy that knows the credential of `identity`, and asks this authorizer over TLS."""

    def ask_from(files: dict[str, Any]) -> None:
        ask_over_tls(files, port=serve.served.port, authority_pem=serve.authority.pem, name=NAME)

    jwks = json.dumps(plane.admin.get("/openid/v1/jwks"))
    with running_gate(
        folders.mktemp("g"), jwks, check="review", change=ask_from,
        published=published([identity.credential]),
    ) as gate:  # fmt: skip
        yield gate


def test_it_answers_envoy_over_tls(
    serve: Serving, control_plane: ControlPlane, identity: Identity, publishing: Publishing,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:  # fmt: skip
    with gate_asking(serve, identity, control_plane, tmp_path_factory) as gate:
        line = bearer(control_plane, identity)
        for _ in range(2):
            assert_passed_as(gate.send([line, "kubeflow-userid: admin"]), identity.user)
        refused = gate.send([])
        assert (refused.code, refused.json["code"]) == (401, 401)
        assert reason_in(refused) is Reason.NO_TOKEN
        assert gate.send([line, line]).code == 401
        assert gate.send([f"{line} x"]).code == 401
        assert identity.user in serve.printed()
        assert line.rpartition(".")[2] not in serve.printed()
        publishing.change(shard_with(identity), identity, seconds=-1)
        closed = eventually(
            "it is closed", lambda: answer if (answer := gate.send([line])).code != 200 else None
        )
        assert (closed.code, closed.headers["retry-after"]) == (503, "1")
        assert closed.json["reason"] == "ServiceUnavailable"


def test_a_stopped_or_killed_authorizer_closes_the_gate(
    serve: Serving, control_plane: ControlPlane, identity: Identity,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:  # fmt: skip
    with gate_asking(serve, identity, control_plane, tmp_path_factory) as gate:
        line = bearer(control_plane, identity)
        eventually("it passes", lambda: gate.send([line]).code == 200)
        with serve.served.child.suspended():
            assert gate.send([line]).code == 503
        eventually("it passes again", lambda: gate.send([line]).code == 200)
        serve.served.child.stop()
        assert gate.send([line]).code == 503


def test_a_change_of_what_is_published_is_in_force_at_once(
    serve: Serving, control_plane: ControlPlane, identity: Identity, publishing: Publishing
) -> None:
    line = bearer(control_plane, identity)

    def becomes(reason: Reason) -> None:
        eventually(f"it is {reason}", lambda: serve.reason(line) is reason)

    becomes(Reason.ALLOWED)
    publishing.change(shard_with(identity))
    becomes(Reason.UNKNOWN_CREDENTIAL)
    publishing.change(shard_with(identity), identity)
    becomes(Reason.ALLOWED)
    publishing.deny(objects=[identity.service_account_uid])
    becomes(Reason.DENIED)
    publishing.deny()
    becomes(Reason.ALLOWED)
    code, text = serve.get("/metrics")
    assert code == 200
    assert "daypass_gate_credentials 1" in text
    assert "daypass_gate_closed_shards 0" in text


def test_a_part_that_is_out_of_date_or_deleted_refuses_its_tokens_and_no_others(
    serve: Serving, control_plane: ControlPlane, identity: Identity, publishing: Publishing
) -> None:
    line, name = bearer(control_plane, identity), shard_with(identity)
    other = control_plane.make_identity()
    while shard_with(other) == name:
        other = control_plane.make_identity()
    publishing.change(shard_with(other), other)
    bystander = bearer(control_plane, other)

    def become(reason: Reason, bystanders: Reason) -> None:
        expected = (reason, bystanders)
        eventually(
            f"they are {expected}",
            lambda: (serve.reason(line), serve.reason(bystander)) == expected,
        )

    become(Reason.ALLOWED, Reason.ALLOWED)
    publishing.change(name, identity, seconds=2)
    become(Reason.UNKNOWN, Reason.ALLOWED)
    publishing.change(name, identity)
    become(Reason.ALLOWED, Reason.ALLOWED)
    publishing.delete(name)
    become(Reason.UNKNOWN, Reason.ALLOWED)
    message = eventually("it says why", lambda: serve.message(name))
    check(message, reason="missing", hide=f"{serve.home}|{name}")
    assert serve.get("/readyz")[0] == 200
    publishing.delete(DENIALS)
    become(Reason.UNKNOWN, Reason.UNKNOWN)


@pytest.mark.parametrize("missing", [None, DENIALS, shard_name(63)])
def test_before_everything_is_published_the_authorizer_is_not_ready_and_refuses_all(
    control_plane: ControlPlane, kubeconfig: Path, home: str, identity: Identity, tmp_path: Path,
    publishing: Publishing, missing: str | None,
) -> None:  # fmt: skip
    if missing is not None:
        publishing.create(identity)
        publishing.delete(missing)
    with serving(tmp_path, kubeconfig, home) as running:
        assert running.ask(bearer(control_plane, identity)).json["code"] == 503
        code, why = running.get("/readyz")
        assert code == 503
        check(why, reason="not-ready")
        assert running.get("/healthz")[0] == 200
        message = eventually("it says why", lambda: running.message("`daypass gate watch`"))
        check(message, missing or "", reason="missing", hide=home)


def test_the_authorizer_drains_before_it_exits(
    serve: Serving, control_plane: ControlPlane, identity: Identity
) -> None:
    line = bearer(control_plane, identity)
    assert serve.ask(line).code == 200
    child = serve.served.child
    os.kill(child.pid, signal.SIGTERM)
    eventually("it is not ready", lambda: "shutting down" in serve.get("/readyz")[1])
    answer = serve.ask(line)
    assert (answer.code, answer.closes) == (200, True)
    eventually("it has ended", lambda: child.exit_code() is not None)
    assert child.exit_code() == 0


def test_it_needs_no_anonymous_access(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("closed")
    with ControlPlane.start(folder / "plane", anonymous=False) as plane:
        home, identity = plane.make_namespace("gate"), plane.make_identity()
        Publishing(plane=plane, home=home).create(identity)
        kubeconfig = made_kubeconfig(plane, home, folder / "kubeconfig")
        with serving(folder, kubeconfig, home) as running:
            eventually("it is ready", lambda: running.get("/readyz")[0] == 200)
            assert running.ask(bearer(plane, identity)).code == 200


@pytest.mark.parametrize(
    ("more", "value"),
    [
        (["--listen", "0.0.0.0:0"], "0.0.0.0:0"),
        (["--listen", "127.0.0.1:0", "--key", "x"], "--certificate"),
        (["--listen", "127.0.0.1"], "'127.0.0.1'"),
        (["--certificate", "none", "--key", "none"], "none"),
    ],
    ids=["in the clear", "half a pair", "address", "certificate"],
)
def test_unsafe_options_are_refused_before_the_authorizer_listens(
    tmp_path: Path, kubeconfig: Path, more: list[str], value: str
) -> None:
    (tmp_path / "daypass.yaml").write_text(
        f"version: 1\ncluster: {{issuer: '{ISSUER}'}}\n"
        f"domains: {{ekf: {{host: {HOST}, front: envoy}}}}\n"
        f"gates: {{default: {{audience: {AUDIENCE}, engine: envoy, check: review}}}}\n"
    )
    done = run(
        *DAYPASS, "gate", "serve", "--without-watch", "--status", "127.0.0.1:0",
        "--kubeconfig", kubeconfig, *more, folder=tmp_path,
    )  # fmt: skip
    assert done.returncode in (1, 2)
    check(done.stderr, value, reason="refused")
