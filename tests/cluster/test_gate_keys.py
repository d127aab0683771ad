"""A signing key is replaced at a real API server: two keys for a while, then the new one alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from daypass._core.jwt import decode_unverified
from daypass._core.secret import Secret
from support.controlplane import ControlPlane
from support.identities import bound_cluster_wide
from support.up import running_up, up_config
from support.up_gate import AUDIENCE, calling


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[ControlPlane]:
    """One whose keys anybody may read: who reads them here has no token that outlives its key."""
    with ControlPlane.start(tmp_path / "plane") as plane:
        role = "system:service-account-issuer-discovery"
        anybody = {
            "apiGroup": "rbac.authorization.k8s.io", "kind": "Group",
            "name": "system:unauthenticated",
        }  # fmt: skip
        with bound_cluster_wide(plane.admin, role, anybody):
            yield plane


@pytest.mark.parametrize("check", ["jwt", "both"])
def test_tokens_of_either_key_pass_for_as_long_as_the_api_server_takes_them(
    plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory, check: str
) -> None:
    config = up_config(
        plane,
        local="{door: '127.0.0.1:0', gate: '127.0.0.1:0', apiServer: external}",
        gate=f"{{audience: {AUDIENCE}, engine: envoy, check: {check}, hosts: [localhost],"
        " remember: 1s}",
    )
    arguments = ["--kubeconfig", str(plane.kubeconfig)]
    # A short name: the path of a socket is limited.
    with running_up(tmp_path_factory.mktemp("up"), config, arguments=arguments) as up:
        assert up.ready, up.words
        identity = plane.make_identity()
        with calling(up, plane, identity) as old:
            old.becomes(200)
            plane.sign_with("next", verified=["next", "sa"])
            with calling(up, plane, identity) as new:
                assert _key_of(new.token) != _key_of(old.token)
                new.becomes(200)
                assert old.ask().code == 200
                plane.sign_with("next", verified=["next"])
                assert old.becomes(401).json["reason"] == "Unauthorized"
                new.becomes(200)


def _key_of(token: Secret) -> str:
    return str(decode_unverified(token.reveal())[0]["kid"])
