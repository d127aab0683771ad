"""An HTTP client for one API server: TLS, proxy, credentials, and errors of the connection.

Credentials are those of a kubeconfig, or come from its client-go credential plugin, and are cached
until they expire.
"""

from __future__ import annotations

import json
import os
import re
import ssl
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, TypeVar

import httpx2

from daypass._core import VERSION
from daypass._core.clock import SYSTEM_CLOCK, Clock
from daypass._core.secret import Secret, redact
from daypass._core.text import printable
from daypass._core.tls import BadCertificateAuthorityError, client_context
from daypass.kube.errors import BrokenResponseError, ClusterUnreachableError, KubeconfigError

CONNECT_SECONDS = 10.0
_IDLE_SECONDS = 30.0
_IDLE_CONNECTIONS = 16
PLUGIN_SECONDS = 120.0
_LOGIN_SECONDS = 900.0
"""On a terminal, where the user may be logging in by a browser."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecPlugin:
    """A client-go credential plugin (client.authentication.k8s.io).

    `cluster`: the cluster information that it gets; None without `provideClusterInfo`.
    """

    api_version: str
    command: str
    arguments: tuple[str, ...] = field(default=(), repr=False)
    environment: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    install_hint: str = ""
    interactive: bool = True
    cluster: dict[str, object] | None = field(default=None, repr=False)


class ExecPluginCredentials:
    """A plugin's token, client certificate, or both; the plugin runs again when they expire.

    Safe to share between threads. Every method raises KubeconfigError if the plugin fails.
    """

    def __init__(self, plugin: ExecPlugin, origin: str, clock: Clock) -> None:
        self._plugin = plugin
        self._origin = origin
        self._clock = clock
        self._lock = threading.Lock()
        self._status: dict[str, Any] | None = None
        self._expires_at: float | None = None

    def certificate(self) -> tuple[str, Secret] | None:
        """Return the plugin's client certificate and key, PEM, or None."""
        status = self._current()
        certificate, key = status.get("clientCertificateData"), status.get("clientKeyData")
        return (certificate, Secret(key)) if certificate and key else None

    def token(self) -> Secret | None:
        """Return the plugin's current bearer token, or None."""
        token = self._current().get("token")
        return Secret(token) if token else None

    def forget(self, token: Secret) -> None:
        """Run the plugin again next time: the API server refused this token."""
        with self._lock:
            if self._status is not None and Secret(self._status.get("token") or "") == token:
                self._status = None

    def _current(self) -> dict[str, Any]:
        with self._lock:
            has_expired = self._expires_at is not None and self._clock.unix() >= self._expires_at
            if self._status is None or has_expired:
                self._status = self._run()
                self._expires_at = _expiry(self._status)
            return self._status

    def _run(self) -> dict[str, Any]:
        plugin = self._plugin
        terminal = plugin.interactive and sys.stdin is not None and sys.stdin.isatty()
        environment = {
            **os.environ,
            **dict(plugin.environment),
            "KUBERNETES_EXEC_INFO": self._info(terminal),
        }
        try:
            done = subprocess.run(
                [plugin.command, *plugin.arguments],
                env=environment,
                stdin=None if terminal else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                timeout=_LOGIN_SECONDS if terminal else PLUGIN_SECONDS,
                check=True,
            )
        except FileNotFoundError:
            raise KubeconfigError(
                f"the credential plugin {plugin.command} is not installed",
                plugin.install_hint or f"{self._origin} uses it",
            ) from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "its command line is not valid"
            raise self._failed(f"cannot be started: {reason}") from None
        except subprocess.TimeoutExpired:
            raise self._failed("took too long") from None
        except subprocess.CalledProcessError as error:
            raise self._failed(f"exited with {error.returncode}") from None
        return self._parsed(done.stdout)

    def _failed(self, how: str) -> KubeconfigError:
        hint = self._plugin.install_hint or "run it in a terminal to see its output"
        return KubeconfigError(f"the credential plugin {self._plugin.command} {how}", hint)

    def _info(self, interactive: bool) -> str:
        spec: dict[str, object] = {"interactive": interactive}
        if self._plugin.cluster is not None:
            spec["cluster"] = self._plugin.cluster
        document = {"apiVersion": self._plugin.api_version, "kind": "ExecCredential", "spec": spec}
        return json.dumps(document, default=str)  # YAML has dates

    def _parsed(self, output: bytes) -> dict[str, Any]:
        names = ("token", "clientCertificateData", "clientKeyData", "expirationTimestamp")
        try:
            document = json.loads(output)
            status = {name: document["status"].get(name) or "" for name in names}
            version = document["apiVersion"]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            version, status = "", {}
        useful = status.get("token") or status.get("clientCertificateData")
        if (
            version != self._plugin.api_version
            or not useful
            or not all(isinstance(value, str) for value in status.values())
        ):
            version = printable(self._plugin.api_version)
            raise self._failed(f"did not print a {version} ExecCredential with a status")
        return status


def _expiry(status: dict[str, Any]) -> float | None:
    """Return when the credentials expire. A time without a zone counts, too, as local time."""
    try:
        return datetime.fromisoformat(status["expirationTimestamp"]).timestamp()
    except ValueError:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionConfig:
    """One context of a kubeconfig, or a Pod's own ServiceAccount.

    `authority`: PEM, or None for the system's own. `certificate` and `key`: PEM. `token_file` is
    read for each request, since the kubelet replaces it. `proxy`: a URL. `impersonate`: headers.
    `door_authority`: PEM of the authority of the cluster's door, if the kubeconfig has it.
    """

    server: str
    namespace: str
    origin: str
    authority: str | None = field(default=None, repr=False)
    door_authority: str | None = field(default=None, repr=False)
    tls_server_name: str | None = None
    proxy: str | None = field(default=None, repr=False)
    token: Secret | None = None
    token_file: str | None = None
    certificate: str | None = field(default=None, repr=False)
    key: Secret | None = None
    plugin: ExecPlugin | None = None
    impersonate: tuple[tuple[str, str], ...] = ()


def is_stale(error: httpx2.RequestError) -> bool:
    """Return whether an idle connection was closed, so that the request can be sent again."""
    return error.request.method != "POST" and isinstance(
        error, (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError)
    )


def sent_secrets(request: httpx2.Request) -> tuple[Secret, ...]:
    """Return the credentials of a request, which an answer may quote."""
    _, _, sent = request.headers.get("Authorization", "").partition(" ")
    return (Secret(sent),)


def explain_transport(
    error: httpx2.RequestError, config: ConnectionConfig
) -> ClusterUnreachableError:
    """Return the error for a failed request; the library's words may quote the answer."""
    server, secrets = config.server, sent_secrets(error.request)
    if isinstance(error, httpx2.DecodingError):
        return BrokenResponseError(f"{server} sent invalid gzip")
    cause = _certificate_error(error)
    if cause is not None:
        return ClusterUnreachableError(
            f"the certificate of {server} cannot be verified: {cause.verify_message}",
            "check certificate-authority and server (or tls-server-name) in the kubeconfig",
        )
    if isinstance(error, httpx2.ProxyError):
        return ClusterUnreachableError(
            f"the proxy for {server} refused: {_words(error, secrets)}", ""
        )
    is_connected = not isinstance(
        error, (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
    )
    kind = BrokenResponseError if is_connected else ClusterUnreachableError
    if isinstance(error, httpx2.TimeoutException):
        return kind(f"the API server {server} did not respond in time")
    words = _words(error, secrets)
    return kind(
        f"the API server {server} cannot be reached: {words}", "check that the cluster is up"
    )


def _certificate_error(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    for _ in range(10):
        if error is None or isinstance(error, ssl.SSLCertVerificationError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _words(error: Exception, secrets: tuple[Secret, ...]) -> str:
    said = re.sub(r"^\[Errno -?\d+\] ", "", str(error))
    return printable(redact(said, *secrets)) or type(error).__name__


class Authenticator(httpx2.Auth):
    """The TLS context, the credentials and the proxy of a connection, for an HTTP client.

    As `auth` of httpx2, it adds the Authorization header and the name for SNI and the certificate;
    after a 401, it gets a new token once. `headers`: for each request. Raises KubeconfigError.
    """

    def __init__(self, config: ConnectionConfig, clock: Clock = SYSTEM_CLOCK) -> None:
        self._config = config
        self._plugin: ExecPluginCredentials | None = None
        if config.plugin and not (config.token or config.token_file):
            # as kubectl: last
            self._plugin = ExecPluginCredentials(config.plugin, config.origin, clock)
        self.tls = self.context("http/1.1")
        for _, value in config.impersonate:
            _check_header(value, "the user to impersonate", config)
        self.headers = [
            ("User-Agent", f"daypass/{VERSION}"),
            ("Accept", "application/json"),
            *config.impersonate,
        ]

    def context(self, *protocols: str) -> ssl.SSLContext:
        """Return a TLS context that offers these protocols (ALPN), the preferred one first."""
        config, pair = self._config, None
        try:
            context = client_context(config.authority)
        except BadCertificateAuthorityError as error:
            raise KubeconfigError(f"{config.origin}: {error.fact}", error.hint) from None
        if config.certificate is not None and config.key is not None:
            pair = (config.certificate, config.key)
        elif self._plugin is not None:
            pair = self._plugin.certificate()
        if pair is not None:
            _load(context, *pair, config.origin)
        # httpcore2 sets this for every connection. OpenSSL frees the old value at once, while the
        # handshake of another thread may still read it, which breaks a ClientHello now and then.
        context.set_alpn_protocols(list(protocols))
        context.set_alpn_protocols = lambda alpn_protocols: None  # type: ignore[method-assign]
        return context

    def transport(self, of: Callable[..., T], connections: int) -> T:
        """Return a transport `of` httpx2 for HTTP/1.1, by the proxy. `connections`: at most."""
        config = self._config
        limits = httpx2.Limits(
            max_connections=connections,
            max_keepalive_connections=_IDLE_CONNECTIONS,
            keepalive_expiry=_IDLE_SECONDS,
        )
        try:
            return of(verify=self.tls, proxy=config.proxy, limits=limits, trust_env=False)
        except (ImportError, ValueError, httpx2.InvalidURL) as error:
            # Without the library's words: a proxy's URL may hold a password.
            hint = "pip install socksio" if isinstance(error, ImportError) else "http://HOST:PORT"
            fact = f"the proxy for {config.server} cannot be used"
            raise KubeconfigError(fact, hint) from None

    def authorization(self, *, renew: bool) -> str:
        """Return the Authorization header, or "" with a client certificate. May run a plugin.

        `renew`: the last header was refused. Raises KubeconfigError.
        """
        flow = self.auth_flow(httpx2.Request("POST", self._config.server))
        request = next(flow)
        if renew:
            with suppress(StopIteration):
                request = flow.send(httpx2.Response(401, request=request))
        return str(request.headers.get("Authorization", ""))

    def auth_flow(
        self, request: httpx2.Request
    ) -> Generator[httpx2.Request, httpx2.Response, None]:
        token = self._authorize(request)
        response = yield request
        if self._is_refused(response, token):
            # Otherwise the library would read all of this answer, however long.
            response.close()
            _empty(response)
            self._authorize(request)
            yield request

    async def async_auth_flow(
        self, request: httpx2.Request
    ) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        token = await self._authorize_async(request)
        response = yield request
        if self._is_refused(response, token):
            await response.aclose()
            _empty(response)
            await self._authorize_async(request)
            yield request

    def _is_refused(self, response: httpx2.Response, token: Secret | None) -> bool:
        """Return whether the plugin may have a better token than this one."""
        if response.status_code != 401 or self._plugin is None or token is None:
            return False
        self._plugin.forget(token)
        return True

    async def _authorize_async(self, request: httpx2.Request) -> Secret | None:
        if self._plugin is None:
            return self._authorize(request)
        import asyncio  # only where an event loop runs: it takes a tenth of a command's start

        return await asyncio.to_thread(self._authorize, request)  # it may run a program

    def _authorize(self, request: httpx2.Request) -> Secret | None:
        """Add the server's name and the credentials; return the token, if there is one."""
        config = self._config
        if config.tls_server_name:
            request.extensions = {**request.extensions, "sni_hostname": config.tls_server_name}
        token = config.token
        if config.token_file is not None:  # takes precedence over `token`
            token = _read_token(config.token_file)
        elif self._plugin is not None:
            token = self._plugin.token()
        if token is not None:
            _check_header(token.reveal(), "the token", config)
            request.headers["Authorization"] = f"Bearer {token.reveal()}"
        return token


def _check_header(value: str, what: str, config: ConnectionConfig) -> None:
    # Further down it would be refused by an error that quotes it.
    if not (value.isascii() and value.isprintable()):
        raise KubeconfigError(f"{what} of {config.origin} is not valid in a header")


def _empty(response: httpx2.Response) -> None:
    response.stream = httpx2.ByteStream(b"")
    response.is_closed = response.is_stream_consumed = False


def _read_token(path: str) -> Secret:
    try:
        return Secret(Path(path).read_text().strip())
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise KubeconfigError(f"the token file {path} cannot be read: {reason}") from None


def _load(context: ssl.SSLContext, certificate: str, key: Secret, origin: str) -> None:
    # OpenSSL takes only a path: a file of mode 0600 that is deleted at once.
    with NamedTemporaryFile("w") as file:
        file.write(f"{certificate}\n{key.reveal()}\n")
        file.flush()
        try:
            # With a password to try, OpenSSL does not ask for that of an encrypted key.
            context.load_cert_chain(file.name, password="")
        except (ssl.SSLError, ValueError):
            raise KubeconfigError(
                f"the client certificate of {origin} does not match its key", "log in again"
            ) from None
