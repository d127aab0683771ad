"""The API server as a running thing: a thread, a port, a certificate, and how it ends."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

from daypass._core.clock import Clock
from daypass._core.secret import Secret
from daypass.local.api.admin import Admin
from daypass.local.api.api import Api
from daypass.local.api.assembly import assemble
from daypass.local.api.cluster import Settings
from daypass.local.api.wire import Connection, server_context

ISSUER = "https://kubernetes.default.svc"
LONGEST_SECONDS = 24 * 3600
HANDSHAKE_SECONDS = 10.0
BACKLOG = 512
_log = logging.getLogger("daypass.local.api")


class ApiServer:
    """A running API server. Use `start`, and `stop` or a `with` statement.

    `admin_token` may do everything; `admin` does it in this process. Other attributes: `host`,
    `port`, `url`, `issuer`, `audiences`.
    """

    def __init__(
        self, api: Api, listening: socket.socket, certificate: tuple[Path, Path], host: str
    ) -> None:
        self.host = host
        self.port: int = listening.getsockname()[1]
        self.issuer = api.cluster.settings.issuer
        self.audiences = api.cluster.settings.audiences
        self.admin_token = api.cluster.authenticator.admin_token
        self.admin = Admin(api, self.admin_token)
        self._api = api
        self._listening = listening
        self._tls = server_context(str(certificate[0]), str(certificate[1]))
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
        self._ready = threading.Event()
        self._connections: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, name="daypass-api", daemon=True)

    @classmethod
    def start(
        cls,
        *,
        certificate_file: Path,
        key_file: Path,
        certificate_authority: str,
        clock: Clock,
        host: str = "127.0.0.1",
        port: int = 0,
        issuer: str = ISSUER,
        audiences: tuple[str, ...] = (),
        max_expiration_seconds: int = LONGEST_SECONDS,
        anonymous: bool = True,
        state_file: Path | None = None,
    ) -> ApiServer:
        """A server that takes connections, on a thread of its own.

        `certificate_authority`: PEM of what signed the certificate; clients get it in token Secrets
        and in kube-root-ca.crt. `audiences`: the API server's own, the issuer if left out.
        `anonymous`: whether requests without credentials are system:anonymous' (else 401).
        `state_file`: where objects, keys and the admin token are kept between runs. Raises OSError,
        ssl.SSLError, SnapshotError, UnsafeFileError.
        """
        listening = _listen(host, port)
        try:
            shown = f"[{host}]" if ":" in host else host
            settings = Settings(
                issuer=issuer,
                audiences=audiences or (issuer,),
                max_expiration_seconds=max_expiration_seconds,
                certificate_authority=certificate_authority,
                address=f"{shown}:{listening.getsockname()[1]}",
            )
            api = assemble(settings, clock, anonymous=anonymous, state_file=state_file)
            server = cls(api, listening, (certificate_file, key_file), host)
        except BaseException:
            listening.close()
            raise
        server._thread.start()
        server._ready.wait()
        return server

    @property
    def url(self) -> str:
        """`https://<host>:<port>`."""
        return f"https://{self._api.cluster.settings.address}"

    @property
    def signing_keys(self) -> tuple[str, ...]:
        """The key ids of all keys that tokens are believed by; the first one signs."""
        return tuple(key.kid for key in self._api.cluster.keys.keys)

    def rotate_signing_key(self) -> str:
        """Sign with a new key from now on. Gives its key id; older tokens stay good."""
        with self._api.lock:
            kid = self._api.cluster.keys.rotate()
            self._api.on_change()
        return kid

    def retire_signing_key(self, kid: str) -> None:
        """End every token that a key has signed. Raises UnknownKeyError."""
        with self._api.lock:
            self._api.cluster.keys.retire(kid)
            self._api.cluster.authenticator.forget()
            self._api.on_change()

    def unsafe_sign(self, claims: dict[str, Any]) -> Secret:
        """A JWT of any claims by the key that signs, for tests of what must be refused."""
        return Secret(self._api.cluster.keys.current.sign(claims))

    def stop(self) -> None:
        """End every connection and the thread. Twice is once."""
        if self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    def __enter__(self) -> ApiServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        finally:
            self._ready.set()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(_quiet)
        server = await asyncio.start_server(
            self._connected,
            sock=self._listening,
            ssl=self._tls,
            ssl_handshake_timeout=HANDSHAKE_SECONDS,
            backlog=BACKLOG,
        )
        self._ready.set()
        await self._stopping.wait()
        server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or self._stopping.is_set():
            writer.transport.abort()
            return
        self._connections.add(task)
        try:
            await Connection(self._api, self._api.cluster.clock, reader, writer).serve()
            writer.close()
        except asyncio.CancelledError:
            writer.transport.abort()
        except BaseException:
            writer.transport.abort()
            raise
        finally:
            self._connections.discard(task)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server((host, port), family=family)
    # What is accepted inherits it. asyncio sets it only where the protocol is named, and without it
    # each TLS handshake waits 40 ms for an acknowledgement that the other side delays.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def _quiet(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Clients that break off are nothing for a person to read about."""
    _log.debug("%s", context.get("message"), exc_info=context.get("exception"))
