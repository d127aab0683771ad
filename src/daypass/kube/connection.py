"""An HTTP client for one API server: TLS, proxy, and who asks."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Generator
from pathlib import Path
from tempfile import NamedTemporaryFile

import httpx2

from daypass._core.clock import SYSTEM_CLOCK, Clock
from daypass._core.secret import Secret
from daypass._core.tls import client_context
from daypass._core.version import VERSION
from daypass.kube.access import Access
from daypass.kube.errors import KubeconfigError
from daypass.kube.plugin import PluginCredentials

TIMEOUT = httpx2.Timeout(60.0, connect=10.0)
LIMITS = httpx2.Limits(max_connections=16, max_keepalive_connections=16, keepalive_expiry=30.0)


def connect(
    access: Access, *, transport: httpx2.BaseTransport | None = None, clock: Clock = SYSTEM_CLOCK
) -> httpx2.Client:
    """A client whose requests go to the access's server as its user. Raises KubeconfigError.

    `transport` stands in for the network, for tests. Safe to share between threads.
    """
    plugin = PluginCredentials(access.plugin, access, clock) if access.plugin else None
    return httpx2.Client(
        base_url=access.server,
        auth=_Caller(access, plugin),
        headers=_headers(access),
        verify=_context(access, plugin),
        proxy=access.proxy,
        transport=transport,
        timeout=TIMEOUT,
        limits=LIMITS,
        follow_redirects=False,
        event_hooks={"request": [_name_setter(access.tls_server_name)]},
    )


def _headers(access: Access) -> dict[str, str]:
    headers = {"User-Agent": f"daypass/{VERSION}", "Accept": "application/json"}
    if access.impersonate:
        headers["Impersonate-User"] = access.impersonate
    return headers


def _name_setter(server_name: str | None) -> Callable[[httpx2.Request], None]:
    def set_name(request: httpx2.Request) -> None:
        if server_name:  # what the certificate has to name, and SNI
            request.extensions = {**request.extensions, "sni_hostname": server_name}

    return set_name


class _Caller(httpx2.Auth):
    """The Authorization header of every request; asks for another one once after a 401."""

    def __init__(self, access: Access, plugin: PluginCredentials | None) -> None:
        self._access = access
        self._plugin = plugin

    def auth_flow(
        self, request: httpx2.Request
    ) -> Generator[httpx2.Request, httpx2.Response, None]:
        self._authorize(request)
        response = yield request
        if response.status_code == 401 and self._plugin is not None:
            self._plugin.forget()
            self._authorize(request)
            yield request

    def _authorize(self, request: httpx2.Request) -> None:
        access = self._access
        token = access.token
        if access.token_file is not None:  # counts more than `token`, as in client-go
            token = _read_token(access.token_file)
        elif self._plugin is not None:
            token = self._plugin.token()
        if token is not None:
            request.headers["Authorization"] = f"Bearer {token.reveal()}"
        elif access.basic is not None:
            name, password = access.basic
            basic = httpx2.BasicAuth(name, password.reveal())
            next(basic.auth_flow(request))


def _read_token(path: str) -> Secret:
    try:
        return Secret(Path(path).read_text().strip())
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise KubeconfigError(f"the token's file {path} cannot be read: {reason}", "") from None


def _context(access: Access, plugin: PluginCredentials | None) -> ssl.SSLContext:
    context = client_context(access.authority)
    pair = None
    if access.certificate is not None and access.key is not None:
        pair = (access.certificate, access.key)
    elif plugin is not None:
        pair = plugin.certificate()
    if pair is not None:
        _load(context, *pair, access.origin)
    return context


def _load(context: ssl.SSLContext, certificate: str, key: Secret, origin: str) -> None:
    # OpenSSL's only way in is a path: a file of mode 0600 that is gone in the next moment.
    with NamedTemporaryFile("w") as file:
        file.write(f"{certificate}\n{key.reveal()}\n")
        file.flush()
        try:
            context.load_cert_chain(file.name)
        except ssl.SSLError:
            raise KubeconfigError(
                f"the client certificate and the key of {origin} do not fit", "log in again"
            ) from None
