"""What stands behind door and gate on one machine: an API server, embedded or external."""

import base64
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from daypass._core.clock import Clock
from daypass._core.files import write_private
from daypass._core.secret import Secret
from daypass._core.tls import read_authority
from daypass.kube.access import Access
from daypass.kube.connection import Asker
from daypass.kube.kubeconfig import find_access
from daypass.local.api import ApiServer
from daypass.local.certificates import Authority
from daypass.local.keys import fetch_issuer, fetch_keys
from daypass.local.upstream import upstream_of
from daypass.render.envoy.settings import Address, Upstream
from daypass.spec import Config

SERVER_NAME = "kubernetes.default.svc"


class Behind(Protocol):
    """An API server, as far as door and gate have to know it.

    `serves_metadata`: whether a watch can leave out all but the metadata of objects.
    """

    serves_metadata: bool

    def upstream(self, config: Config) -> Upstream:
        """Where it is, and how it is known."""

    def issuer(self, config: Config) -> str:
        """The `iss` of its short-lived tokens; raises KeysError where it cannot be found out."""

    def keys(self, config: Config) -> str:
        """Its JSON Web Key Set; raises KeysError."""

    def access(self) -> Access | None:
        """How to ask it as somebody who may watch what tokens hang on, and review them; None where
        nobody is named.
        """

    def stop(self) -> None:
        """End what was started for it."""


class External:
    """The API server that the config names.

    `kubeconfig`: of somebody who may watch Secrets and ServiceAccounts there; "" for nobody.
    `token`: what its keys are asked for with; None: as whom the kubeconfig names, or anonymous.
    """

    serves_metadata = True

    def __init__(self, token: Callable[[], Secret | None], kubeconfig: str = "") -> None:
        self._token = token
        self._kubeconfig = kubeconfig
        self._asking: tuple[Access, Asker] | None = None

    def upstream(self, config: Config) -> Upstream:
        """Where it is, and how it is known."""
        return upstream_of(config)

    def issuer(self, config: Config) -> str:
        """The config's issuer, or the one that the API server tells."""
        return config.cluster.issuer or fetch_issuer(upstream_of(config), self._asker(config))

    def keys(self, config: Config) -> str:
        """Its JSON Web Key Set; raises KeysError."""
        return fetch_keys(upstream_of(config), self._asker(config))

    def access(self) -> Access | None:
        """Whom the kubeconfig names."""
        return find_access(os.environ, kubeconfig=self._kubeconfig) if self._kubeconfig else None

    def _asker(self, config: Config) -> Asker:
        """Who asks the config's API server, verified by the config's authority: whatever server a
        kubeconfig names, its keys are not the ones that are wanted. The same one as long as nothing
        has changed, so that a credential plugin is not started for each question.
        """
        upstream, token = upstream_of(config), self._token()
        named = self.access() if token is None else None
        access = named or Access(
            server=config.cluster.server, namespace="default", origin="daypass up", token=token
        )
        access = replace(access, authority=read_authority(upstream.authority_file))
        if self._asking is None or self._asking[0] != access:
            self._asking = access, Asker(access)
        return self._asking[1]

    def stop(self) -> None:
        """Nothing was started."""


class Embedded:
    """An API server of our own, on a free port, with a certificate by `authority`.

    `folder`: where its certificate goes. `state_file`: what it remembers between runs, or None.
    `clock` is for the certificate, `server_clock` for tokens and what is remembered of them.
    """

    serves_metadata = False

    def __init__(
        self,
        authority: Authority,
        folder: Path,
        clock: Clock,
        state_file: Path | None = None,
        server_clock: Clock | None = None,
    ) -> None:
        chain, key = authority.issue([SERVER_NAME, "localhost", "127.0.0.1"], clock)
        self._authority_file = folder / "api-server-authority.crt"
        certificate_file, key_file = folder / "api-server.crt", folder / "api-server.key"
        write_private(str(self._authority_file), authority.pem.encode())
        write_private(str(key_file), key)
        write_private(str(certificate_file), chain)
        self.server = ApiServer.start(
            certificate_file=certificate_file,
            key_file=key_file,
            certificate_authority=authority.pem,
            clock=server_clock or clock,
            state_file=state_file,
        )
        self._authority = authority

    def upstream(self, config: Config) -> Upstream:
        """Where it is, and how it is known."""
        return Upstream(
            address=Address(host=self.server.host, port=self.server.port),
            authority_file=str(self._authority_file),
            server_name=SERVER_NAME,
        )

    def issuer(self, config: Config) -> str:
        """Its issuer."""
        return self.server.issuer

    def keys(self, config: Config) -> str:
        """Its JSON Web Key Set."""
        return fetch_keys(self.upstream(config), Asker(self.access()))

    def access(self) -> Access:
        """Its admin."""
        return Access(
            server=self.server.url,
            namespace="default",
            origin="the embedded API server",
            authority=self._authority.pem,
            token=self.server.admin_token,
        )

    def write_kubeconfig(self, file: Path) -> None:
        """A kubeconfig (mode 0600) with which kubectl and the like may do everything here."""
        cluster = {
            "server": self.server.url,
            "certificate-authority-data": base64.b64encode(self._authority.pem.encode()).decode(),
        }
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "daypass",
            "contexts": [{"name": "daypass", "context": {"cluster": "daypass", "user": "admin"}}],
            "clusters": [{"name": "daypass", "cluster": cluster}],
            "users": [{"name": "admin", "user": {"token": self.server.admin_token.reveal()}}],
        }
        write_private(str(file), json.dumps(document, indent=2).encode() + b"\n")

    def stop(self) -> None:
        """End it."""
        self.server.stop()
