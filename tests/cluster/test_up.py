"""`daypass up` in front of a real API server, and what is reported."""

from __future__ import annotations

from pathlib import Path

from support.authority import Authority
from support.controlplane import ControlPlane
from support.doors import CHECK
from support.messages import check, message_with
from support.raw import get
from support.up import HOST, Up, up_config

CHECKING = get(host=HOST, path=CHECK)


def test_up_reports_the_doors_url_and_reaches_the_api_server(up: Up) -> None:
    up.wait_for_words("Ctrl-C")
    assert up.door == f"https://localhost:{up.port}/kubernetes"
    assert 'User "system:anonymous" cannot get resource' in up.words
    assert up.send(CHECKING).code == 403


def test_a_second_up_of_the_same_config_names_the_first(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    config = up_config(control_plane)
    with Up(tmp_path, config) as first, Up(tmp_path, config) as second:
        assert second.wait() == 1
        assert f"pid {first.process.pid}" in second.words
        check(second.words, reason="locked", hide=r"(?<=pid )\d+|(?<=/daypass/)[0-9a-f]{12}")


def test_an_api_server_of_another_authority_is_reported_and_not_used(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    (tmp_path / "other.crt").write_text(Authority().pem)
    cluster = f"{{server: {control_plane.url}, certificateAuthority: other.crt}}"
    with Up(tmp_path, up_config(control_plane, cluster=cluster)) as up:
        up.wait_for_words("Ctrl-C")
        message = message_with(up.words, "cannot be verified")
        check(message, control_plane.url.removeprefix("https://"), reason="untrusted")
        answer = up.send(CHECKING)
    assert (answer.code, answer.json["reason"]) == (503, "ServiceUnavailable")


def test_a_missing_config_is_reported(tmp_path: Path) -> None:
    with Up(tmp_path, "") as up:
        assert up.wait() == 2
    assert "daypass.yaml" in up.words
    assert "Traceback" not in up.words
    check(up.words, reason="no-config")
