"""The API server behind a local door: where it is, and whether the way to it is open.

The API server's signing keys, fetched so that the gate can follow them.

What stands behind door and gate on one machine: an API server, embedded or external.
"""

import base64
import http.client
import json
import os
import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from daypass._core.clock import Clock
from daypass._core.errors import DaypassError, UsageError
from daypass._core.files import write_private
from daypass._core.hints import kubectl
from daypass._core.redact import redact_answer
from daypass._core.secret import Secret
from daypass._core.status import Status, excerpt
from daypass._core.tls import client_context, read_authority
from daypass.config import Config
from daypass.config.exposure import bracketed
from daypass.gate.explain import KeySetError, key_set
from daypass.kube.certificates import Authority
from daypass.kube.connection import Authenticator, ConnectionConfig
from daypass.kube.kubeconfig import find_connection_config
from daypass.local.apiserver import ApiServer
from daypass.render.envoy.settings import SocketAddress, Upstream

CHECK_TIMEOUT_SECONDS = 5.0
PROBE_PATH = "/api/v1/namespaces/default/serviceaccounts/default/token"


class UpstreamError(DaypassError):
    """The API server cannot be reached, or is not who the config says."""


def upstream_of(config: Config) -> Upstream:
    """The API server of a config as the door's upstream.

    Raises UsageError where the config names no file of its authority, or none that can be used.
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
        address=SocketAddress(host=cluster.server_host, port=cluster.server_port),
        authority_file=str(cluster.certificate_authority),
        server_name=cluster.server_name,
    )


class UpstreamConnection(http.client.HTTPSConnection):
    """A connection to one address that wants to see another name in the certificate."""

    def __init__(self, upstream: Upstream, context: ssl.SSLContext) -> None:
        address = upstream.address
        super().__init__(address.host, address.port, timeout=CHECK_TIMEOUT_SECONDS, context=context)
        self._tls = context
        self._server_name = upstream.server_name

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        self.sock = self._tls.wrap_socket(self.sock, server_hostname=self._server_name)


def check(upstream: Upstream) -> str:
    """Ask the API server what the door would ask it, without a token.

    Gives back what it answered, for a person. Raises UpstreamError with the reason and the next
    step where it cannot be reached, is not trusted, or is no API server.
    """
    where = f"the API server at {upstream.address}"
    try:
        code, body = _ask(upstream, client_context(read_authority(upstream.authority_file)))
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
    status = Status.parse(body)
    if status is None or code not in (401, 403):
        raise UpstreamError(
            f"{where} answered {code}, not as an API server does: {excerpt(body)}",
            "cluster.server is the API server itself, without a path",
        )
    return f"{code} {status.message}"


def _ask(upstream: Upstream, context: ssl.SSLContext) -> tuple[int, bytes]:
    connection = UpstreamConnection(upstream, context)
    try:
        connection.request("GET", PROBE_PATH, headers={"Host": bracketed(upstream.server_name)})
        answer = connection.getresponse()
        return answer.status, answer.read(64 * 1024)
    finally:
        connection.close()


JWKS_PATH = "/openid/v1/jwks"
DISCOVERY_PATH = "/.well-known/openid-configuration"
LIMIT_BYTES = 1024 * 1024


class KeysError(DaypassError):
    """The API server did not give its keys."""


def fetch_keys(upstream: Upstream, asker: Authenticator) -> str:
    """The API server's JSON Web Key Set (RFC 7517), as text, its keys in a stable order.

    `asker`: who asks; nobody in particular is anonymous, whom most API servers refuse. Any
    ServiceAccount may ask (ClusterRole system:service-account-issuer-discovery). Raises KeysError,
    and KubeconfigError where who asks cannot be found out.
    """
    try:
        code, body = _get(upstream, asker, JWKS_PATH)
    except (OSError, http.client.HTTPException) as error:
        raise KeysError(f"the API server's signing keys cannot be fetched: {error}") from None
    if code != 200:
        status = Status.parse(body)
        raise KeysError(
            f"the API server does not give its signing keys: {code} "
            f"{status.message if status else excerpt(body)}",
            "any ServiceAccount may read them (ClusterRole system:service-account-issuer-discovery)"
            ": --credentials FILE, or --kubeconfig FILE",
        )
    try:
        return key_set(body)
    except KeySetError as error:
        raise KeysError(str(error)) from None


def fetch_issuer(upstream: Upstream, asker: Authenticator) -> str:
    """The `iss` of the API server's short-lived tokens, from its discovery document.

    Raises as `fetch_keys`.
    """
    try:
        code, body = _get(upstream, asker, DISCOVERY_PATH)
        issuer = json.loads(body)["issuer"] if code == 200 else None
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        issuer = None
    if not isinstance(issuer, str):
        raise KeysError(
            "the API server does not tell its issuer",
            "write it to cluster.issuer; it is `iss` of any short-lived token",
        )
    return issuer


def _get(upstream: Upstream, asker: Authenticator, path: str) -> tuple[int, bytes]:
    authorization = asker.authorization(renew=False)
    code, body = _get_as(authorization, upstream, asker, path)
    if code == 401 and (another := asker.authorization(renew=True)) != authorization:
        return _get_as(another, upstream, asker, path)
    return code, body


def _get_as(
    authorization: str, upstream: Upstream, asker: Authenticator, path: str
) -> tuple[int, bytes]:
    connection = UpstreamConnection(upstream, asker.tls)
    try:
        headers = {"Authorization": authorization} if authorization else {}
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        body = answer.read(LIMIT_BYTES)
        if answer.status != 200:  # Only then is anything of it shown.
            body = redact_answer(body, Secret(authorization.rpartition(" ")[2]))
        return answer.status, body
    finally:
        connection.close()


SERVER_NAME = "kubernetes.default.svc"


class ApiBackend(Protocol):
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

    def access(self) -> ConnectionConfig | None:
        """How to ask it as somebody who may watch what tokens hang on, and review them; None where
        nobody is named.
        """

    def stop(self) -> None:
        """End what was started for it."""


class ExternalApiServer:
    """The API server that the config names.

    `kubeconfig`: of somebody who may watch Secrets and ServiceAccounts there; "" for nobody.
    `token`: what its keys are asked for with; None: as whom the kubeconfig names, or anonymous.
    """

    serves_metadata = True

    def __init__(self, token: Callable[[], Secret | None], kubeconfig: str = "") -> None:
        self._token = token
        self._kubeconfig = kubeconfig
        self._asking: tuple[ConnectionConfig, Authenticator] | None = None

    def upstream(self, config: Config) -> Upstream:
        """Where it is, and how it is known."""
        return upstream_of(config)

    def issuer(self, config: Config) -> str:
        """The config's issuer, or the one that the API server tells."""
        return config.cluster.issuer or fetch_issuer(upstream_of(config), self._asker(config))

    def keys(self, config: Config) -> str:
        """Its JSON Web Key Set; raises KeysError."""
        return fetch_keys(upstream_of(config), self._asker(config))

    def access(self) -> ConnectionConfig | None:
        """Whom the kubeconfig names."""
        return (
            find_connection_config(os.environ, kubeconfig=self._kubeconfig)
            if self._kubeconfig
            else None
        )

    def _asker(self, config: Config) -> Authenticator:
        """Who asks the config's API server, verified by the config's authority: whatever server a
        kubeconfig names, its keys are not the ones that are wanted. The same one as long as nothing
        has changed, so that a credential plugin is not started for each question.
        """
        upstream, token = upstream_of(config), self._token()
        named = self.access() if token is None else None
        access = named or ConnectionConfig(
            server=config.cluster.server, namespace="default", origin="daypass up", token=token
        )
        access = replace(access, authority=read_authority(upstream.authority_file))
        if self._asking is None or self._asking[0] != access:
            self._asking = access, Authenticator(access)
        return self._asking[1]

    def stop(self) -> None:
        """Nothing was started."""


class EmbeddedApiServer:
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
            address=SocketAddress(host=self.server.host, port=self.server.port),
            authority_file=str(self._authority_file),
            server_name=SERVER_NAME,
        )

    def issuer(self, config: Config) -> str:
        """Its issuer."""
        return self.server.issuer

    def keys(self, config: Config) -> str:
        """Its JSON Web Key Set."""
        return fetch_keys(self.upstream(config), Authenticator(self.access()))

    def access(self) -> ConnectionConfig:
        """Its admin."""
        return ConnectionConfig(
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
