"""Asks the API server whether it accepts a token, and for which audiences, by a TokenReview; and
whether a user may use a model, by a SubjectAccessReview. Both are created: the answer is a 201.

A refused token is an answer too, with `status.error`; the caller checks which audiences hold
(k8s.io/api/authentication/v1). About an access, it is asked what RBAC reads: user, groups, and the
object (k8s.io/api/authorization/v1). The user's UID and extra fields are left out, since they
differ between the tokens of one user.

The HTTP client is its own, since a general one costs more CPU than everything else in a review.
What it reads is bounded; TLS verifies the API server by the CA of the kubeconfig or the Pod.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import urllib.parse
from collections import deque
from functools import lru_cache, partial
from typing import cast

from daypass._core import VERSION
from daypass._core.clock import Clock, random_fraction
from daypass._core.kubernetes.objects import Object
from daypass._core.kubernetes.status import Status, parse_retry_after
from daypass._core.secret import Secret, redact_response
from daypass.kube.connection import Authenticator, ConnectionConfig
from daypass.kube.errors import KubeconfigError
from daypass.rules.claims import CallerIdentity
from daypass.rules.decision import TokenReview
from daypass.rules.models import Access

TOKEN_REVIEWS, ACCESS_REVIEWS = "TokenReviews", "SubjectAccessReviews"
TOKEN_PATH = "/apis/authentication.k8s.io/v1/tokenreviews"  # noqa: S105 - a path
ACCESS_PATH = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
LIMIT_AUDIENCES = 100
_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What reading an answer raises that is no review."""


@lru_cache(maxsize=100)
def token_review(audience: str) -> tuple[bytes, bytes]:
    """Return the request's body before and after the token, which JSON need not escape."""
    review = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"audiences": [audience], "token": ""},
    }
    before, quote, after = json.dumps(review).encode().rpartition(b'"')
    return before, quote + after


def access_review(identity: CallerIdentity, access: Access) -> Object:
    """Return the object to create, to ask about an access."""
    resource, namespace, name = access.model
    plural, _, group = resource.partition(".")
    attributes = {"group": group, "version": "*", "resource": plural, "verb": access.verb,
                  "namespace": namespace, "name": name}  # fmt: skip
    spec = {
        "user": identity.user,
        "groups": list(identity.groups),
        "resourceAttributes": attributes,
    }
    version, kind = "authorization.k8s.io/v1", "SubjectAccessReview"
    return {"apiVersion": version, "kind": kind, "spec": spec}


def read_token_review(body: bytes) -> TokenReview | None:
    """Return the result in an answer; None if it is no TokenReview."""
    try:
        status = json.loads(body)["status"]
        user = status.get("user") or {}
        audiences = status.get("audiences") or []
        return TokenReview(
            authenticated=status.get("authenticated") is True,
            user=str(user.get("username", "")),
            audiences=tuple(str(each) for each in audiences[:LIMIT_AUDIENCES]),
        )
    except _UNREADABLE:
        return None


def read_access_review(body: bytes) -> bool | None:
    """Return the result in an answer; None if it is no SubjectAccessReview."""
    try:
        return is_allowed(json.loads(body))
    except _UNREADABLE:
        return None


def is_allowed(answer: object) -> bool | None:
    """Return the result in an answer; None if it is no review. `denied` takes precedence over
    `allowed`. An `evaluationError` may come with either (k8s.io/api/authorization/v1/types.go).
    """
    status = answer.get("status") if isinstance(answer, dict) else None
    if not isinstance(status, dict):
        return None
    allowed, denied = status.get("allowed"), status.get("denied", False)
    if not isinstance(allowed, bool) or not isinstance(denied, bool):
        return None
    return allowed and not denied


LIMIT_BYTES = 256 * 1024
CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 5.0
LIVES_SECONDS = 300.0
"""Connections are closed then, so that all API servers behind one address get some."""
AUTHORIZED_SECONDS = 10.0
"""How long credentials are cached; the kubelet replaces them well before they expire."""
_ABOUT_REQUEST = (400, 413, 414, 422)


class NoAnswerError(Exception):
    """The API server gave no result. `why` is for people, and holds no token.

    `about_request`: it failed because of what was asked, or is slow, and others may work.
    """

    def __init__(
        self, why: str, *, about_request: bool = False, retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(why)
        self.why = why
        self.about_request = about_request
        self.retry_after_seconds = retry_after_seconds


def failure_of(
    kind: str, code: int, retry_after: str, body: bytes, *secrets: Secret
) -> NoAnswerError:
    """Return the failure that an answer is. `kind`: what was created, such as TokenReviews.
    `retry_after`: that header, or "". `secrets`: what was sent.
    """
    status = Status.parse(redact_response(body, *secrets))
    message = status.message if status is not None else ""
    if code in (401, 403):
        return NoAnswerError(
            f"the gate may not create {kind}: {code} {message[:256]}; bind "
            "ClusterRole system:auth-delegator to its ServiceAccount"
        )
    return NoAnswerError(
        f"the API server answered {code} {message[:256]}",
        retry_after_seconds=parse_retry_after(retry_after) if code in (429, 503) else None,
        about_request=code in _ABOUT_REQUEST,
    )


class ApiServerClient:
    """Asks the API server; many questions at once, in one event loop. Raises NoAnswerError.

    Raises KubeconfigError if the connection can't be used.
    """

    def __init__(self, connection: ConnectionConfig, clock: Clock) -> None:
        if connection.proxy:
            raise KubeconfigError("the gate asks the API server directly, and not by a proxy", "")
        url = urllib.parse.urlsplit(connection.server)
        self._clock = clock
        self._authenticator = Authenticator(connection, clock)
        self._host = url.hostname or ""
        self._port = url.port or (443 if url.scheme == "https" else 80)
        self._name = connection.tls_server_name or self._host
        self._tls = self._authenticator.tls if url.scheme == "https" else None
        self._base = url.path.rstrip("/")
        self._head = _head(url, connection)
        self._idle: list[_Connection] = []
        self._authorization = b""
        self._authorized_at: float | None = None

    async def review_token(self, token: str, audience: str) -> TokenReview:
        """Return the API server's result for a token. `audience`: for what it is asked."""
        before, after = token_review(audience)
        body = b"".join((before, token.encode(), after))
        answer = await self._create(TOKEN_REVIEWS, TOKEN_PATH, body, Secret(token))
        if (review := read_token_review(answer)) is None:
            raise NoAnswerError("the API server's response is not a TokenReview")
        return review

    async def review_access(self, identity: CallerIdentity, access: Access) -> bool:
        """Return whether the API server allows an access."""
        body = json.dumps(access_review(identity, access)).encode()
        result = read_access_review(await self._create(ACCESS_REVIEWS, ACCESS_PATH, body))
        if result is None:
            raise NoAnswerError("the API server's response is not a SubjectAccessReview")
        return result

    async def _create(self, kind: str, path: str, body: bytes, *secrets: Secret) -> bytes:
        """Return the API server's answer to a review. `kind`: its plural, for messages. `path`: of
        its resource. `secrets`: what no message may quote of the body.
        """
        code, retry_after, content = await self._answer(path, body, renew=False)
        if code == 401:  # its own credentials may have expired
            code, retry_after, content = await self._answer(path, body, renew=True)
        if code in (200, 201):
            return content
        own = self._authorization.decode("latin-1").strip().rpartition(" ")[2]
        raise failure_of(kind, code, retry_after, content, *secrets, Secret(own))

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop().close()

    async def _authorized(self, *, renew: bool) -> bytes:
        now = self._clock.monotonic()
        at = self._authorized_at
        if renew or at is None or now - at > AUTHORIZED_SECONDS:
            self._authorized_at = now
            # On another thread: it may read a file or start a program.
            loop = asyncio.get_running_loop()
            read = partial(self._authenticator.authorization, renew=renew)
            self._authorization = (await loop.run_in_executor(None, read)).encode("ascii")
        return self._authorization

    async def _answer(self, path: str, body: bytes, *, renew: bool) -> tuple[int, str, bytes]:
        authorization = await self._authorized(renew=renew)
        line = b"authorization: %b\r\n" % authorization if authorization else b""
        start = f"POST {self._base}{path} HTTP/1.1\r\n".encode("ascii")
        end = b"content-length: %d\r\n\r\n" % len(body)
        request = b"".join((start, self._head, line, end, body))
        try:
            while True:
                connection = self._pooled()
                is_reused = connection is not None
                if connection is None:
                    connection = await self._connect()
                try:
                    answer = await connection.exchange(request, ANSWER_SECONDS)
                except ConnectionError:
                    if is_reused:  # it may be closed already; repeating a review is harmless
                        continue
                    raise
                if connection.is_reusable:
                    self._idle.append(connection)
                else:
                    connection.close()
                return answer
        except TimeoutError:
            # It took the request: a webhook may be slow about this one.
            why = "the API server does not answer in time"
            raise NoAnswerError(why, about_request=True) from None
        except ssl.SSLCertVerificationError as error:
            why = f"the API server is not trusted: {error.verify_message}"
            raise NoAnswerError(why) from None
        except OSError as error:
            raise NoAnswerError(f"the API server cannot be reached: {error}") from None

    def _pooled(self) -> _Connection | None:
        now = asyncio.get_running_loop().time()
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed and now < connection.lives_until:
                return connection
            connection.close()
        return None

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, connection = await loop.create_connection(
                    _Connection,
                    self._host,
                    self._port,
                    ssl=self._tls,
                    server_hostname=self._name if self._tls else None,
                )
        except TimeoutError:
            raise ConnectionRefusedError("it does not accept a connection in time") from None
        return connection


class _Connection(asyncio.Protocol):
    """One connection, with at most one request in flight."""

    def __init__(self) -> None:
        # Here, since `gate explain` needs the bodies of reviews, and not the extra `gate`.
        import httptools

        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.WriteTransport | None = None
        self._answered: asyncio.Future[tuple[int, str, bytes]] | None = None
        self._received = 0
        self.is_closed = False
        self.is_reusable = False
        self.lives_until = self._loop.time() + LIVES_SECONDS * (0.8 + 0.4 * random_fraction())
        self._parser = httptools.HttpResponseParser(self)
        self._malformed = (httptools.HttpParserError, httptools.HttpParserUpgrade)
        self._retry_after = b""
        self._body: deque[bytes] = deque()

    async def exchange(self, request: bytes, seconds: float) -> tuple[int, str, bytes]:
        """Return the whole response. Raises TimeoutError and OSError."""
        self._answered = answered = self._loop.create_future()
        self._received, self.is_reusable, self._retry_after = 0, False, b""
        self._body.clear()
        timer = self._loop.call_later(seconds, self._end, TimeoutError())
        try:
            if self.is_closed or self._transport is None:
                raise ConnectionError("it was closed")
            self._transport.write(request)
            result: tuple[int, str, bytes] = await answered
            return result
        except BaseException:
            self.close()
            raise
        finally:
            timer.cancel()

    def close(self) -> None:
        """Close it."""
        self.is_closed = True
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's is no subclass

    def connection_lost(self, error: Exception | None) -> None:
        self.is_closed = True
        self._end(ConnectionError("the connection broke"))

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        if self._received > LIMIT_BYTES or self._answered is None:
            self._end(ConnectionError("the answer is too large"))
            self.close()
            return
        try:
            self._parser.feed_data(data)
        except self._malformed as error:
            self._end(ConnectionError(f"the answer is not HTTP: {type(error).__name__}"))
            self.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"retry-after":
            self._retry_after = value

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        self.is_reusable = self._parser.should_keep_alive()
        answered, self._answered = self._answered, None
        if answered is not None and not answered.done():
            code = self._parser.get_status_code()
            answered.set_result((code, self._retry_after.decode("latin-1"), b"".join(self._body)))

    def _end(self, error: Exception) -> None:
        answered, self._answered = self._answered, None
        if answered is not None and not answered.done():
            answered.set_exception(error)


def _head(url: urllib.parse.SplitResult, connection: ConnectionConfig) -> bytes:
    lines = [
        f"host: {url.netloc}",
        f"user-agent: daypass-gate/{VERSION}",
        "accept: application/json",
        "content-type: application/json",
        *(f"{name}: {value}" for name, value in connection.impersonate),
    ]
    return "".join(f"{line}\r\n" for line in lines).encode("ascii")
