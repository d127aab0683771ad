"""The control plane that the other tests stand on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tools.controlplane.build import BuildError

from support.admin import Document
from support.controlplane import ADMIN_USER, ControlPlane
from support.deadline import eventually
from support.tokens import ISSUER


def test_its_kubeconfig_is_an_administrators(control_plane: ControlPlane, tmp_path: Path) -> None:
    asked = subprocess.run(
        [
            *(str(Path(sys.executable).with_name("kubectl")), "--cache-dir", str(tmp_path)),
            *("--kubeconfig", str(control_plane.kubeconfig), "auth", "whoami", "-o", "name"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.returncode == 0, asked.stderr
    can = control_plane.admin.create(
        "/apis/authentication.k8s.io/v1/selfsubjectreviews", {"metadata": {}}
    )
    assert can["status"]["userInfo"]["username"] == ADMIN_USER
    assert "system:masters" in can["status"]["userInfo"]["groups"]


def test_an_identity_has_a_long_lived_token_and_may_ask_for_its_own(
    control_plane: ControlPlane,
) -> None:
    bot = control_plane.make_identity()
    assert bot.secret_name.startswith("bot-daypass-")
    answer = control_plane.client(bot.token).request("POST", bot.token_path, {})
    assert answer.code == 201
    assert answer.json["spec"]["audiences"] == [ISSUER]


def test_the_audit_log_holds_user_and_request(control_plane: ControlPlane) -> None:
    bot = control_plane.make_identity()
    position = control_plane.audit_position()
    control_plane.client(bot.token).request("POST", bot.token_path, {})
    control_plane.client().request("GET", "/x/../y")

    def events() -> list[Document] | None:
        found = control_plane.audit_events(since=position)
        return found if len(found) == 2 else None

    first, second = eventually("two events", events)
    assert first["user"]["username"] == bot.user
    assert (first["objectRef"]["subresource"], first["responseStatus"]["code"]) == ("token", 201)
    assert second["user"]["username"] == "system:anonymous"
    assert (second["requestURI"], second["responseStatus"]["code"]) == ("/x/../y", 403)


def test_missing_programs_are_reported_with_the_command_that_builds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(BuildError, match="run: make controlplane"):
        ControlPlane.start(tmp_path / "plane")


def test_a_program_that_exits_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"kube-apiserver ended with 1; .*\n.*no-such-flag"):
        ControlPlane.start(tmp_path, extra_apiserver_args=["--no-such-flag"])


def test_the_admin_applies_an_object_and_finds_it_until_it_is_deleted(
    control_plane: ControlPlane,
) -> None:
    path = f"/api/v1/namespaces/{control_plane.make_namespace()}/configmaps/settings"
    document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}}
    for value in ("one", "two"):
        control_plane.admin.apply(path, {**document, "data": {"key": value}})
        assert control_plane.admin.get(path)["data"] == {"key": value}
    control_plane.admin.delete(path)
    assert control_plane.admin.find(path) is None
    control_plane.admin.delete(path)
