"""The user with whom `daypass up` reads the keys of an external API server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from daypass._core.clock import SYSTEM_CLOCK
from daypass._core.errors import UsageError
from daypass.config import Config
from daypass.config.key_set import KeySetError
from daypass.deploy.certificate_authority import Authority
from daypass.kube.errors import (
    ClusterUnreachableError,
    KubeconfigError,
    UnauthorizedError,
)
from daypass.local.api_backend import SERVER_NAME, EmbeddedApiServer, ExternalApiServer
from support.messages import raises
from support.rendered import config_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Env:
    """An API server that the config names, and a folder for kubeconfigs."""

    server: EmbeddedApiServer
    config: Config
    folder: Path
    end: ExitStack

    def kubeconfig(self, user: dict[str, Any], **cluster: str) -> str:
        """A kubeconfig of this user; its cluster is another one than the config's."""
        entry = {"server": "https://127.0.0.1:9", **cluster}
        document = {
            "clusters": [{"name": "c", "cluster": entry}],
            "users": [{"name": "u", "user": user}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        file = self.folder / "kubeconfig"
        file.write_text(json.dumps(document))
        return str(file)

    def asking(self, user: dict[str, Any], **cluster: str) -> ExternalApiServer:
        """The API server as that user reaches it."""
        found = ExternalApiServer(self.kubeconfig(user, **cluster))
        self.end.callback(found.stop)
        return found

    @property
    def admin(self) -> str:
        """A token that may read everything."""
        return self.server.server.admin_token.reveal()


@pytest.fixture
def env(tmp_path: Path) -> Iterator[Env]:
    authority = Authority.load_or_create(tmp_path, "tests", SYSTEM_CLOCK)
    with ExitStack() as end:
        server = EmbeddedApiServer(authority, tmp_path, SYSTEM_CLOCK)
        end.callback(server.stop)
        ca = tmp_path / "ca.crt"
        ca.write_text(authority.pem)
        cluster = f"server: {server.server.url}, certificateAuthority: {ca}"
        config = config_of(
            f"version: 1\ncluster: {{{cluster}, serverName: {SERVER_NAME}}}\n"
            "domains: {x: {host: localhost, front: envoy}}\n"
        )
        yield Env(server=server, config=config, folder=tmp_path, end=end)


def test_keys_are_read_as_the_kubeconfigs_user_from_the_configs_api_server(
    env: Env,
) -> None:
    keys = env.server.keys(env.config)
    asking = env.asking({"token": env.admin})
    assert asking.keys(env.config) == keys
    assert asking.issuer(env.config) == env.server.issuer(env.config)


def test_without_a_user_there_are_no_keys(env: Env) -> None:
    with raises(UsageError, match="--kubeconfig FILE"):
        ExternalApiServer("").keys(env.config)


def test_a_user_who_may_not_read_the_keys_is_named_as_the_cause(env: Env) -> None:
    with raises(KeySetError, match="nonResourceURLs"):
        env.asking({}).keys(env.config)


def test_a_changed_kubeconfig_is_reloaded(env: Env) -> None:
    asking = env.asking({"token": "old"})
    with raises(UnauthorizedError):
        asking.keys(env.config)
    env.kubeconfig({"token": env.admin})
    assert asking.keys(env.config)
    env.kubeconfig({"client-certificate-data": "bm9uZQ==", "client-key-data": "bm9uZQ=="})
    with pytest.raises(KubeconfigError):
        asking.keys(env.config)
    env.kubeconfig({"token": env.admin})
    assert asking.keys(env.config)


def test_an_exec_plugin_runs_again_only_if_its_token_is_refused(env: Env) -> None:
    plugin, told = env.folder / "plugin", env.folder / "told"
    version = "client.authentication.k8s.io/v1"

    def gives(token: str) -> None:
        status = {"apiVersion": version, "kind": "ExecCredential", "status": {"token": token}}
        plugin.write_text(f"#!/bin/sh\necho >> {told}\ncat <<'END'\n{json.dumps(status)}\nEND\n")
        plugin.chmod(0o700)

    run = {"apiVersion": version, "command": str(plugin), "interactiveMode": "Never"}
    asking = env.asking({"exec": run})
    gives(env.admin)
    assert asking.keys(env.config) == asking.keys(env.config)
    assert told.read_text() == "\n"
    gives("ended")
    other = env.asking({"exec": run})
    with raises(UnauthorizedError):
        other.keys(env.config)
    gives(env.admin)
    assert other.keys(env.config)


def test_the_configs_certificate_authority_replaces_the_kubeconfigs(env: Env) -> None:
    other = env.folder / "other.crt"
    stranger = env.folder / "stranger"
    stranger.mkdir()
    other.write_text(Authority.load_or_create(stranger, "others", SYSTEM_CLOCK).pem)
    trusting = {"certificate-authority": str(other)}
    asking = env.asking({"token": env.admin}, **trusting)
    assert asking.keys(env.config)
    (env.folder / "ca.crt").write_text(other.read_text())
    with raises(ClusterUnreachableError, match="cannot be verified"):
        asking.keys(env.config)
