"""The API server behind door and gate on one machine, embedded or external."""

import base64
import json
import os
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from daypass._core.clock import Clock
from daypass._core.errors import DaypassError, UsageError
from daypass._core.files import write_private
from daypass._core.hints import kubectl
from daypass._core.kubernetes.syntax import PROBE_PATH
from daypass._core.tls import read_authority
from daypass.config import Address, Config
from daypass.deploy.certificate_authority import Authority
from daypass.kube.cluster import Cluster
from daypass.kube.connection import ConnectionConfig
from daypass.kube.errors import ClusterUnreachableError, ForbiddenError, UnauthorizedError
from daypass.kube.kubeconfig import DOOR_EXTENSION, find_connection_config
from daypass.local.apiserver import ApiServer
from daypass.local.apiserver.server import HOST
from daypass.render.envoy.settings import Upstream

SERVER_NAME = "kubernetes.default.svc"
RIGHTS = (
    "--kubeconfig FILE, of a user who may list and watch Namespaces and ServiceAccounts, the "
    "ConfigMap daypass-denied, and Secrets in the namespaces of identities; read the signing keys "
    "(ClusterRole system:service-account-issuer-discovery); and create tokenreviews, if the gate "
    "has check: review"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiBackend:
    """The API server behind door and gate.

    `connection`: of the gate's user there, who has the rights of RIGHTS; None is enough for a door.
    """

    upstream: Upstream
    connection: ConnectionConfig | None


def external_api_server(config: Config, kubeconfig: str) -> ApiBackend:
    """Return the API server in the config, as the user of a kubeconfig reaches it; "" for none.

    Raises UsageError, KubeconfigError.
    """
    upstream, connection = upstream_of(config), None
    if kubeconfig:
        user = find_connection_config(os.environ, kubeconfig=kubeconfig)
        connection = replace(user, **_reached(upstream))
    return ApiBackend(upstream=upstream, connection=connection)


def _reached(upstream: Upstream) -> dict[str, Any]:
    return {
        "server": f"https://{upstream.address}",
        "authority": read_authority(upstream.authority_file),
        "tls_server_name": upstream.server_name,
    }


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

    @property
    def backend(self) -> ApiBackend:
        """How door and gate reach it: the gate is its administrator."""
        upstream = Upstream(
            address=Address(host=HOST, port=self.server.port),
            authority_file=str(self._authority_file),
            server_name=SERVER_NAME,
        )
        return ApiBackend(upstream=upstream, connection=self.connection())

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
    """Send the API server the door's request without a token, and return its refusal as text.

    Raises DaypassError if it cannot be reached, is not trusted, or is not an API server.
    """
    nobody = ConnectionConfig(namespace="default", origin="the config", **_reached(upstream))
    with closing(Cluster(nobody)) as cluster:
        try:
            cluster.request("GET", PROBE_PATH, what="send a request without a token")
        except (ForbiddenError, UnauthorizedError) as error:
            return f"{error.status.code} {error.status.message}"
        except ClusterUnreachableError as error:
            hint = "check cluster.server, cluster.certificateAuthority and cluster.serverName"
            raise DaypassError(error.fact, hint) from None
    raise DaypassError(f"{nobody.server} does not refuse a request without a token")
