"""The API server behind door and gate on one machine, embedded or external.

It says where it is and how it is trusted, and gives its issuer and its signing keys to the gate.
"""

import base64
import http.client
import json
import os
import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from daypass._core.clock import Clock
from daypass._core.errors import DaypassError, UsageError
from daypass._core.files import write_private
from daypass._core.hints import kubectl
from daypass._core.kubernetes.status import Status, excerpt
from daypass._core.kubernetes.syntax import PROBE_PATH
from daypass._core.net import bracketed
from daypass._core.tls import client_context, read_authority
from daypass.config import Address, Config
from daypass.config.key_set import key_set
from daypass.deploy.certificate_authority import Authority
from daypass.gate.signing_keys import issuer_for, keys_for
from daypass.kube.cluster import Cluster
from daypass.kube.connection import ConnectionConfig
from daypass.kube.kubeconfig import DOOR_EXTENSION, find_connection_config
from daypass.local.apiserver import ApiServer
from daypass.local.apiserver.server import HOST
from daypass.render.envoy.settings import Upstream

SERVER_NAME = "kubernetes.default.svc"
CHECK_TIMEOUT_SECONDS = 5.0
LIMIT_BYTES = 1024 * 1024
RIGHTS = (
    "--kubeconfig FILE, of a user who may list and watch Namespaces and ServiceAccounts, the "
    "ConfigMap daypass-denied, and Secrets in the namespaces of identities; read the signing keys "
    "(ClusterRole system:service-account-issuer-discovery); and create tokenreviews, if gate.check "
    "is review"
)


class UpstreamError(DaypassError):
    """The API server cannot be reached, or is not the one in the config."""


class ExternalApiServer:
    """The API server in the config.

    `kubeconfig`: of the gate's user there, who has the rights of RIGHTS; "" for none, which is
    enough for a door.
    """

    def __init__(self, kubeconfig: str) -> None:
        self._kubeconfig = kubeconfig
        self._cluster: Cluster | None = None

    def upstream(self, config: Config) -> Upstream:
        """Return its address, and how it is trusted."""
        return upstream_of(config)

    def issuer(self, config: Config) -> str:
        """Return the config's issuer, or else the API server's own. Raises DaypassError."""
        return self._ask(config, issuer_for)

    def keys(self, config: Config) -> str:
        """Return its JSON Web Key Set, its keys in a stable order. Raises DaypassError."""
        return self._ask(config, keys_for)

    def connection(self) -> ConnectionConfig:
        """Return the kubeconfig's connection. Raises UsageError, KubeconfigError."""
        if not self._kubeconfig:
            raise UsageError("the gate needs a user of the API server, and none is named", RIGHTS)
        return find_connection_config(os.environ, kubeconfig=self._kubeconfig)

    def _ask(self, config: Config, ask: Callable[[Config, Cluster], str]) -> str:
        """Ask the config's API server, whatever the kubeconfig names.

        The client stays the same while nothing changes, so that a credential plugin is not started
        for each request.
        """
        upstream = upstream_of(config)
        connection = replace(
            self.connection(),
            server=f"https://{upstream.address}",
            authority=read_authority(upstream.authority_file),
            tls_server_name=upstream.server_name,
        )
        if self._cluster is None or self._cluster.connection != connection:
            cluster = Cluster(connection)
            self.stop()
            self._cluster = cluster
        return ask(config, self._cluster)

    def stop(self) -> None:
        if self._cluster is not None:
            self._cluster.close()


class EmbeddedApiServer:
    """An embedded API server on a free port, with a certificate from `authority`.

    `folder`: where its certificate is written. `state_file`: what it keeps between runs, or None.
    `clock` is for the certificate, `server_clock` for tokens and their cache.
    """

    def __init__(
        self,
        authority: Authority,
        folder: Path,
        clock: Clock,
        state_file: Path | None = None,
        server_clock: Clock | None = None,
    ) -> None:
        chain, key = authority.issue([SERVER_NAME, "localhost", "127.0.0.1"], clock)
        self._authority = authority
        self._authority_file = folder / "api-server-authority.crt"
        certificate_file, key_file = folder / "api-server.crt", folder / "api-server.key"
        write_private(str(self._authority_file), authority.pem.encode())
        write_private(str(key_file), key)
        write_private(str(certificate_file), chain)
        self.server = ApiServer(
            certificate_file=certificate_file,
            key_file=key_file,
            certificate_authority=authority.pem,
            clock=server_clock or clock,
            state_file=state_file,
        )

    def upstream(self, config: Config) -> Upstream:
        return Upstream(
            address=Address(host=HOST, port=self.server.port),
            authority_file=str(self._authority_file),
            server_name=SERVER_NAME,
        )

    def issuer(self, config: Config) -> str:
        return self.server.issuer

    def keys(self, config: Config) -> str:
        return key_set(json.dumps(self.server.key_set))

    def connection(self) -> ConnectionConfig:
        """Return its administrator's connection."""
        return ConnectionConfig(
            server=self.server.url,
            namespace="default",
            origin="the embedded API server",
            authority=self._authority.pem,
            token=self.server.admin_token,
        )

    def write_kubeconfig(self, file: Path) -> None:
        """Write its administrator's kubeconfig (mode 0600)."""
        trust = {
            "certificate-authority-data": base64.b64encode(self._authority.pem.encode()).decode()
        }
        door = {"name": DOOR_EXTENSION, "extension": trust}  # it has issued the door's certificate
        cluster = {"server": self.server.url, **trust, "extensions": [door]}
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
        self.server.stop()


ApiBackend: TypeAlias = ExternalApiServer | EmbeddedApiServer


def upstream_of(config: Config) -> Upstream:
    """Return the API server of a config as the door's upstream.

    Raises UsageError if the config names no usable certificate authority.
    """
    cluster = config.cluster
    if cluster.certificate_authority is None:
        raise UsageError(
            "outside a cluster the API server's certificate authority has to be named",
            "set cluster.certificateAuthority to a PEM file; this shows it: "
            + kubectl("config", "view", "--raw"),
        )
    read_authority(cluster.certificate_authority)
    return Upstream(
        address=Address(host=cluster.server_host, port=cluster.server_port),
        authority_file=str(cluster.certificate_authority),
        server_name=cluster.server_name,
    )


def check(upstream: Upstream) -> str:
    """Send the API server the door's request without a token, and return its answer as text.

    Raises UpstreamError if it cannot be reached, is not trusted, or is not an API server.
    """
    address = upstream.address
    where = f"the API server at {address}"
    context = client_context(read_authority(upstream.authority_file))
    connection = http.client.HTTPConnection(
        address.host, address.port, timeout=CHECK_TIMEOUT_SECONDS
    )
    try:
        connection.connect()
        # The certificate is for another name than the address.
        connection.sock = context.wrap_socket(connection.sock, server_hostname=upstream.server_name)
        connection.request("GET", PROBE_PATH, headers={"Host": bracketed(upstream.server_name)})
        answer = connection.getresponse()
        code, body = answer.status, answer.read(LIMIT_BYTES)
    except ssl.SSLCertVerificationError as error:
        raise UpstreamError(
            f"{where} is not trusted: {error.verify_message}",
            f"its certificate must be signed by {upstream.authority_file} (cluster."
            f"certificateAuthority) and name {upstream.server_name} (cluster.serverName)",
        ) from None
    except (OSError, http.client.HTTPException) as error:
        raise UpstreamError(
            f"{where} cannot be reached: {error}", "is cluster.server right, and is it up?"
        ) from None
    finally:
        connection.close()
    status = Status.parse(body)
    if status is None or code not in (401, 403):
        raise UpstreamError(
            f"{where} answered {code}, not as an API server does: {excerpt(body)}",
            "cluster.server is the API server itself, without a path",
        )
    return f"{code} {status.message}"
