"""The user with whom `daypass up` reads the keys of an external API server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from daypass._core.clock import SYSTEM_CLOCK
from daypass.config import Config
from daypass.config.key_set import KeySetError, key_set
from daypass.deploy.certificate_authority import Authority
from daypass.gate.signing_keys import issuer_for, keys_for
from daypass.kube.cluster import Cluster
from daypass.kube.errors import ClusterUnreachableError
from daypass.local.api_backend import SERVER_NAME, EmbeddedApiServer, external_api_server
from support.messages import raises
from support.rendered import config_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Env:
    """An API server that the config names, and a folder for kubeconfigs."""

    embedded: EmbeddedApiServer
    config: Config
    folder: Path

    def keys(self, user: dict[str, Any]) -> str:
        """The keys, as a kubeconfig's user reads them; its cluster is another one."""
        document = {
            "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:9"}}],
            "users": [{"name": "u", "user": user}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        file = self.folder / "kubeconfig"
        file.write_text(json.dumps(document))
        backend = external_api_server(self.config, str(file))
        assert backend.connection is not None
        with closing(Cluster(backend.connection)) as cluster:
            assert issuer_for(self.config, cluster) == self.embedded.server.issuer
            return keys_for(self.config, cluster)


@pytest.fixture
def env(tmp_path: Path) -> Iterator[Env]:
    authority = Authority.load_or_create(tmp_path, "tests", SYSTEM_CLOCK)
    embedded = EmbeddedApiServer(authority, tmp_path, SYSTEM_CLOCK)
    ca = tmp_path / "ca.crt"
    ca.write_text(authority.pem)
    cluster = f"server: {embedded.server.url}, certificateAuthority: {ca}"
    config = config_of(
        f"version: 1\ncluster: {{{cluster}, serverName: {SERVER_NAME}}}\n"
        "domains: {x: {host: localhost, front: envoy}}\n"
    )
    try:
        yield Env(embedded=embedded, config=config, folder=tmp_path)
    finally:
        embedded.stop()


def test_keys_are_read_as_the_kubeconfigs_user_from_the_configs_api_server(env: Env) -> None:
    server = env.embedded.server
    keys = env.keys({"token": server.admin_token.reveal()})
    assert keys == key_set(json.dumps(server.key_set))


def test_a_user_who_may_not_read_the_keys_is_named_as_the_cause(env: Env) -> None:
    config = env.config
    named = config.model_copy(update={"cluster": config.cluster.model_copy(
        update={"issuer": env.embedded.server.issuer}
    )})  # fmt: skip
    with raises(KeySetError, match="nonResourceURLs"):
        Env(embedded=env.embedded, config=named, folder=env.folder).keys({})


def test_only_the_configs_certificate_authority_is_trusted(env: Env) -> None:
    stranger = env.folder / "stranger"
    stranger.mkdir()
    other = Authority.load_or_create(stranger, "others", SYSTEM_CLOCK)
    (env.folder / "ca.crt").write_text(other.pem)
    with raises(ClusterUnreachableError, match="cannot be verified"):
        env.keys({"token": env.embedded.server.admin_token.reveal()})
