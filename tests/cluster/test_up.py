"""`daypass up` in front of a real API server: changes, crashes, shutdown, and what is reported."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

from support.controlplane import ControlPlane
from support.deadline import eventually
from support.doors import post
from support.messages import check, message_with
from support.raw import connect, exchange
from support.up import HOST, Up, running_up, up_config

CHECK = post(
    "/kubernetes/api/v1/namespaces/default/serviceaccounts/default/token",
    host=HOST, method="GET", headers=(), body=b"",
)  # fmt: skip
CHECK_ELSEWHERE = CHECK.replace(b"/kubernetes/", b"/kube/")


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_up_reports_the_doors_url_and_reaches_the_api_server(up: Up) -> None:
    up.wait_for_words("Ctrl-C")
    assert up.door == f"https://localhost:{up.port}/kubernetes"
    assert 'User "system:anonymous" cannot get resource' in up.words
    assert up.send(CHECK).code == 403


def test_a_change_is_applied_on_a_connection_that_stays_open(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    with running_up(tmp_path, up_config(control_plane)) as up:
        pem = up.authority_file.read_text()
        with connect(up.port, authority_pem=pem, name=HOST) as connection:
            assert exchange(connection, CHECK).code == 403
            lab, more = "host: localhost, front: envoy", "host: more.example.com, front: envoy"
            both = f"{{lab: {{{lab}}}, more: {{{more}}}}}"
            other = CHECK.replace(b"Host: localhost", b"Host: more.example.com")
            assert exchange(connection, other).code == 404
            up.config_file.write_text(up_config(control_plane, domains=both))
            up.wait_for_words("daypass.yaml has changed")
            assert exchange(connection, other).code == 403
            check(message_with(up.words, "daypass.yaml has changed"), reason="reloaded")
        with connect(up.port, authority_pem=pem, name="more.example.com") as connection:
            assert exchange(connection, other).code == 403


ABSENT = "{files: {certificate: absent.pem, key: b}}"


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ({"foo": "1"}, "'foo'"),
        ({"domains": "{lab: {host: LOCALHOST, front: envoy}}"}, "daypass.yaml:3:"),
        ({"cluster": "{server: https://127.0.0.1:1}"}, "cluster.certificateAuthority"),
        ({"domains": f"{{lab: {{host: localhost, front: envoy, tls: {ABSENT}}}}}"}, "absent.pem"),
    ],
    ids=["key", "host", "authority", "certificate"],
)
def test_an_invalid_change_is_refused_and_the_next_one_moves_the_door(
    control_plane: ControlPlane, tmp_path: Path, change: dict[str, str], value: str
) -> None:
    with running_up(tmp_path, up_config(control_plane)) as up:
        up.config_file.write_text(up_config(control_plane, **change))
        up.wait_for_words(value)
        assert up.send(CHECK).code == 403
        up.config_file.write_text(up_config(control_plane, prefix="/kube"))
        up.wait_for_words("daypass.yaml has changed")
        assert (up.send(CHECK_ELSEWHERE).code, up.send(CHECK).code) == (403, 404)
        check(message_with(up.words, value), reason="refused", hide=r"\S+/(?=absent)")


def test_an_envoy_that_dies_is_started_again_on_the_same_port(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    with running_up(tmp_path, up_config(control_plane)) as up:
        (pid,) = up.envoy_pids()
        os.kill(pid, signal.SIGKILL)
        eventually("another one runs", lambda: up.envoy_pids() not in ([], [pid]))
        up.wait_for_words("Envoy ")
        eventually("it serves", lambda: listens(up.port))
        assert up.send(CHECK).code == 403


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_leaves_no_process_port_or_secret(
    control_plane: ControlPlane, tmp_path: Path, number: int
) -> None:
    with running_up(tmp_path, up_config(control_plane)) as up:
        (pid,) = up.envoy_pids()
        assert list(up.runtime.iterdir())
        assert up.end(number) == 0
    assert not os.path.exists(f"/proc/{pid}")
    assert not listens(up.port)
    assert list(up.runtime.iterdir()) == []


def test_a_killed_up_takes_its_envoy_along(control_plane: ControlPlane, tmp_path: Path) -> None:
    with running_up(tmp_path, up_config(control_plane)) as up:
        assert listens(up.port)
        up.end(signal.SIGKILL)
    eventually("the port is free", lambda: not listens(up.port), seconds=60)


def test_a_port_in_use_is_reported_and_ends_up(control_plane: ControlPlane, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        local = f"{{door: '127.0.0.1:{port}', apiServer: external}}"
        with running_up(tmp_path, up_config(control_plane, local=local)) as up:
            assert up.wait() == 1
    message = message_with(up.words, "Address already in use")
    assert f"127.0.0.1:{port}" in message
    check(message, reason="address")


def test_a_missing_envoy_is_reported(control_plane: ControlPlane, tmp_path: Path) -> None:
    environment = {"DAYPASS_ENVOY": "/nowhere/envoy"}
    with running_up(tmp_path, up_config(control_plane), environment) as up:
        assert up.wait() == 1
    message = message_with(up.words, "/nowhere/envoy")
    assert "DAYPASS_ENVOY" in message
    check(message, reason="no-envoy")


def test_a_second_up_of_the_same_config_names_the_first(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    config = up_config(control_plane)
    with running_up(tmp_path, config) as first, running_up(tmp_path, config) as second:
        assert second.wait() == 1
        assert f"pid {first.process.pid}" in second.words
        check(second.words, reason="locked", hide=r"(?<=pid )\d+|(?<=/daypass/)[0-9a-f]{12}")


def test_an_api_server_of_another_authority_is_reported_and_not_used(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    from support.authority import Authority

    (tmp_path / "other.crt").write_text(Authority().pem)
    cluster = f"{{server: {control_plane.url}, certificateAuthority: other.crt}}"
    with running_up(tmp_path, up_config(control_plane, cluster=cluster)) as up:
        up.wait_for_words("(cluster.serverName)\n")
        message = message_with(up.words, "other.crt")
        assert control_plane.url.removeprefix("https://") in message
        assert "cluster.certificateAuthority" in message
        check(message, reason="untrusted")
        answer = up.send(CHECK)
    assert (answer.code, answer.json["reason"]) == (503, "ServiceUnavailable")


def test_a_missing_config_is_reported(tmp_path: Path) -> None:
    with running_up(tmp_path, "") as up:
        assert up.wait() == 2
    assert "daypass.yaml" in up.words
    assert "Traceback" not in up.words
    check(up.words, reason="no-config")
