"""A client for one API server. Objects are plain dictionaries."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Literal, TypeAlias

import httpx2

from daypass._core.clock import SYSTEM_CLOCK, Clock
from daypass._core.errors import DaypassError
from daypass._core.hints import command
from daypass._core.secret import Secret, redact_response
from daypass._core.status import excerpt, parse_retry_after
from daypass.kube.connection import (
    CONNECTIONS,
    ConnectionConfig,
    connect,
    explain_transport,
    is_stale,
)
from daypass.kube.errors import (
    ApiError,
    BrokenResponseError,
    NotFoundError,
    explain,
    missing_namespace,
)
from daypass.kube.kubeconfig import find_connection_config
from daypass.kube.resources import EMBEDDED, Discovery, Object, Resource, ServedKinds, name_of

FIELD_MANAGER = "daypass"
TRIES = 5
LONGEST_PAUSE_SECONDS = 10.0
QUIET_SECONDS = 30.0
"""How long a watch may be silent beyond its timeout."""
LIMIT_BYTES = 64 * 1024 * 1024
"""Of one answer, decoded: the metadata of 50,000 token Secrets."""
LIMIT_VALUES = LIMIT_BYTES // 12
"""Of one answer. In memory, a value takes up to 100 bytes; in Kubernetes's JSON, 14 or more."""
LIMIT_LINE_BYTES = 16 * 1024 * 1024
"""Of one event of a watch: by default, etcd takes objects of 1.5 MiB."""
LIMIT_SECONDS = 300.0
"""For the body of one answer, however slowly it arrives."""

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
JSON = "application/json"
METADATA = "application/json;as=PartialObjectMetadata{};g=meta.k8s.io;v=v1"

DryRun: TypeAlias = Literal["client", "server"]
"""client: no change is sent. server: the API server checks each change, and stores none."""


class Cluster:
    """A connection to one API server. Every method raises the errors of `daypass.kube.errors`.

    Safe to share between threads. `close` closes its connections. `dry_run`, to be set before any
    request: by the client, changes return what they were given, and nothing is sent.
    """

    dry_run: DryRun | None = None

    def __init__(
        self,
        connection: ConnectionConfig,
        *,
        transport: httpx2.BaseTransport | None = None,
        clock: Clock = SYSTEM_CLOCK,
        sleep: Callable[[float], None] = time.sleep,
        connections: int = CONNECTIONS,
    ) -> None:
        self.connection = connection
        self.clock = clock
        self.sleep = sleep
        self._client = connect(
            connection, transport=transport, clock=clock, connections=connections
        )
        self._discovery = Discovery(partial(self.request, "GET"))

    @classmethod
    def open(
        cls,
        *,
        kubeconfig: str | None = None,
        context: str | None = None,
        namespace: str | None = None,
        environ: Mapping[str, str] | None = None,
        connections: int = CONNECTIONS,
    ) -> Cluster:
        """Return the cluster that kubectl would use.

        No request is sent, but a credential plugin runs: it may have a client certificate.
        `connections`: the maximum at a time.
        """
        found = find_connection_config(
            os.environ if environ is None else environ,
            kubeconfig=kubeconfig,
            context=context,
            namespace=namespace,
        )
        return cls(found, connections=connections)

    @property
    def namespace(self) -> str:
        """The namespace of objects that name none."""
        return self.connection.namespace

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def get(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        metadata_only: bool = False,
    ) -> Object:
        """Return an object. Raises NotFoundError."""
        return self.request(
            "GET",
            resource.path(namespace, name),
            headers={"Accept": METADATA.format("")} if metadata_only else {},
            what=f"get {resource.named(namespace, name)}",
        )

    def find(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        metadata_only: bool = False,
    ) -> Object | None:
        """Return an object, or None."""
        try:
            return self.get(resource, name, namespace, metadata_only=metadata_only)
        except NotFoundError:
            return None

    def snapshot(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        labels: str | None = None,
        fields: str | None = None,
        metadata_only: bool = False,
    ) -> tuple[list[Object], str]:
        """Return what `list` returns, and the resourceVersion from which to `watch`.

        All in one answer, which the API server has in memory; pages would come from etcd.
        """
        answer = self.request(
            "GET",
            resource.path(namespace),
            params=_selection(labels, fields),
            headers={"Accept": METADATA.format("List")} if metadata_only else {},
            what=f"list {resource.plural}" + (f" in {namespace}" if namespace else ""),
        )
        return answer.get("items") or [], str(answer["metadata"]["resourceVersion"])

    def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        labels: str | None = None,
        fields: str | None = None,
        metadata_only: bool = False,
    ) -> list[Object]:
        """Return all objects of a kind in a namespace, or in all of them.

        `labels` and `fields` are selectors. `metadata_only`: no Secret's data leaves the API
        server.
        """
        return self.snapshot(
            resource, namespace, labels=labels, fields=fields, metadata_only=metadata_only
        )[0]

    def create(self, document: Object) -> Object:
        """Create an object and return it. Raises AlreadyExistsError."""
        resource = self.resource(document)
        namespace = document["metadata"].get("namespace")
        what = f"create {resource.named(namespace, document['metadata'].get('name', ''))}"
        return self._change("POST", resource.path(namespace), document, what=what)

    def apply(
        self, document: Object, *, dry_run: bool = False, force: bool = False, strict: bool = False
    ) -> Object:
        """Server-side apply as field manager `daypass`: create an object, or change it to this.

        Raises ConflictError where another manager owns a field with another value, unless `force`.
        `strict`: refuse fields that the API server does not know, instead of dropping them.
        `dry_run`: let the API server check it, and store nothing.
        """
        resource = self.resource(document)
        namespace, name = document["metadata"].get("namespace"), name_of(document)
        return self._change(
            "PATCH",
            resource.path(namespace, name),
            document,
            content_type=APPLY,
            params={
                "fieldManager": FIELD_MANAGER,
                "force": str(force).lower(),
                **({"fieldValidation": "Strict"} if strict else {}),
            },
            dry_run=dry_run,
            what=f"apply {resource.named(namespace, name)}",
        )

    def patch(
        self, resource: Resource, name: str, change: Object, namespace: str | None = None
    ) -> Object:
        """Apply a JSON merge patch; with a `resourceVersion`, only if that is still current."""
        return self._change(
            "PATCH",
            resource.path(namespace, name),
            change,
            content_type=MERGE,
            params={"fieldManager": FIELD_MANAGER},
            what=f"patch {resource.named(namespace, name)}",
        )

    def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        uid: str | None = None,
    ) -> bool:
        """Delete an object; return False if there was none.

        `uid`: delete only this object, never a newer one of that name (ConflictError).
        """
        options: Object = {"kind": "DeleteOptions", "apiVersion": "v1"}
        options |= {"preconditions": {"uid": uid}} if uid else {}
        try:
            self._change(
                "DELETE",
                resource.path(namespace, name),
                options,
                what=f"delete {resource.named(namespace, name)}",
            )
        except NotFoundError:
            return False
        return True

    def watch(
        self,
        resource: Resource,
        namespace: str | None,
        since: str,
        *,
        labels: str | None = None,
        fields: str | None = None,
        metadata_only: bool = False,
        timeout_seconds: int = 300,
    ) -> Iterator[tuple[str, Object]]:
        """Yield the changes of the objects of a kind from resourceVersion `since` on.

        Pairs of ADDED, MODIFIED, DELETED or BOOKMARK and the object, until the API server ends
        the watch after `timeout_seconds`. Raises ApiError, with code 410 if `since` is too old.
        """
        what = f"watch {resource.plural}"
        params = {
            "watch": "true",
            "resourceVersion": since,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(timeout_seconds),
            **_selection(labels, fields),
        }
        # With initial events, Kubernetes 1.37 sends each burst as a gzip member of its own;
        # decoders of one member would stop after the first.
        headers = {"Accept-Encoding": "identity"}
        if metadata_only:
            headers["Accept"] = METADATA.format("")
        timeout = httpx2.Timeout(10.0, read=timeout_seconds + QUIET_SECONDS)
        try:
            with self._client.stream(
                "GET", resource.path(namespace), params=params, headers=headers, timeout=timeout
            ) as response:
                secrets = self._sent(response.request)
                if response.status_code >= 300:
                    raise explain(response.status_code, self._body(response), what, *secrets)
                for line in _lines(response.iter_bytes(), self.connection.server):
                    event = self._object(line, response.request)
                    kind, document = event.get("type"), event.get("object")
                    if not isinstance(kind, str) or not isinstance(document, dict):
                        fact = f"{self.connection.server} sent something other than watch events"
                        raise BrokenResponseError(fact)
                    if kind == "ERROR":  # a Status
                        code = document.get("code")
                        raise explain(
                            code if isinstance(code, int) else 0,
                            json.dumps(document).encode(),
                            what,
                            *secrets,
                        )
                    yield kind, document
        except httpx2.DecodingError:
            raise BrokenResponseError(f"{self.connection.server} sent invalid gzip") from None
        except httpx2.TransportError as error:
            secrets = self._sent(error.request)
            raise explain_transport(error, self.connection.server, *secrets) from None

    def resource(self, document: Object) -> Resource:
        """Return where objects such as this one are. Raises NotFoundError for an unknown kind."""
        return self._discovery.resource(str(document["apiVersion"]), str(document["kind"]))

    def serves(self, resource: Resource) -> bool:
        """Return whether the API server serves this kind in this version."""
        try:
            self._discovery.served(resource.api_version, resource.kind)
        except NotFoundError:
            return False
        return True

    def kinds(self, *, refresh: bool = False, hint: str = "") -> ServedKinds:
        """Return all kinds that the API server serves, cached unless `refresh`.

        Raises DaypassError if it is the embedded one; or too old, with `hint`.
        """
        kinds = self._discovery.all(refresh=refresh)
        if kinds is None:
            self.refuse_embedded()
            fact = f"the API server {self.connection.server} is older than Kubernetes 1.30"
            raise DaypassError(fact, hint)
        return kinds

    def find_kind(self, group: str, kind: str) -> Resource | None:
        """Return a kind in its preferred version, or None. Raises as `kinds`."""
        return self.kinds().find(group, kind)

    def is_embedded(self) -> bool:
        """Return whether this is the embedded API server of `daypass up`, by its /version."""
        try:
            version = self.request("GET", "/version", what="get the version")
        except ApiError:
            return False
        return str(version.get("gitVersion")).endswith(f"+{EMBEDDED}")

    def refuse_embedded(self) -> None:
        """Raise DaypassError if this is the embedded API server."""
        if self.is_embedded():
            raise DaypassError(
                f"{self.connection.server} is the embedded API server of `daypass up`: "
                "nothing can be deployed to it, and it enforces no policy",
                "name the kubeconfig of a cluster: --kubeconfig FILE; "
                f"`{command('render')}` shows the manifests without one",
            )

    def _change(self, method: str, path: str, body: Object, *, what: str, **more: Any) -> Object:
        if self.dry_run == "client" and not more.get("dry_run"):
            return body
        return self.request(method, path, body, what=what, **more)

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        what: str,
        content_type: str = JSON,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        dry_run: bool = False,
    ) -> Object:
        """Send a request and return the answer; `what` names the attempt in errors.

        `dry_run`: the API server only checks it. In a dry run, that is so for each request but GET;
        by the client, RuntimeError is raised for others: a command has forgotten its dry run.
        """
        if method != "GET" and (dry_run or self.dry_run):
            if not dry_run and self.dry_run == "client":
                raise RuntimeError(f"a dry run does not {what}")
            if method == "DELETE":  # the API server ignores it in the URL
                body = {**(body or {}), "dryRun": ["All"]}
            else:
                params = {**(params or {}), "dryRun": "All"}
        request = self._client.build_request(
            method,
            path,
            content=None if body is None else json.dumps(body).encode(),
            headers={**({} if body is None else {"Content-Type": content_type}), **(headers or {})},
            params=params,
        )
        response, content = self._send(request)
        if response.status_code >= 300:
            error = explain(response.status_code, content, what, *self._sent(request))
            if missing_namespace(error) and self.is_embedded():  # `kubectl create` fails there
                raise NotFoundError(error.status, error.fact, "check its name")
            raise error
        return self._object(content, request)

    def _send(self, request: httpx2.Request) -> tuple[httpx2.Response, bytes]:
        attempt = 0
        while True:
            attempt += 1
            response, content = self._exchange(request)
            pause = _pause(response)
            if pause is None or attempt == TRIES:
                return response, content
            self.sleep(pause)

    def _exchange(
        self, request: httpx2.Request, *, again: bool = True
    ) -> tuple[httpx2.Response, bytes]:
        try:
            response = self._client.send(request, stream=True)
            try:
                return response, self._body(response)
            finally:
                response.close()
        except httpx2.TransportError as error:
            if again and is_stale(error, request.method):
                return self._exchange(request, again=False)
            secrets = self._sent(request)
            raise explain_transport(error, self.connection.server, *secrets) from None
        except httpx2.DecodingError:
            raise BrokenResponseError(f"{self.connection.server} sent invalid gzip") from None

    def _body(self, response: httpx2.Response) -> bytes:
        """Return the whole body, decoded, within LIMIT_BYTES and LIMIT_SECONDS."""
        ends, body = self.clock.monotonic() + LIMIT_SECONDS, bytearray()
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > LIMIT_BYTES:
                raise _too_much(f"of more than {LIMIT_BYTES >> 20} MiB", response.request)
            if self.clock.monotonic() > ends:
                raise _too_much(f"for more than {LIMIT_SECONDS:.0f} s", response.request)
        return bytes(body)

    def _object(self, body: bytes, request: httpx2.Request) -> Object:
        if sum(map(body.count, (b"[", b"{", b","))) > LIMIT_VALUES:
            raise _too_much(f"of more than {LIMIT_VALUES} values", request)
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            shown = excerpt(redact_response(body, *self._sent(request)))
            raise BrokenResponseError(
                f"{self.connection.server} does not respond like an API server: {shown}",
                "check the URL; a proxy or a login page may have responded instead",
            )
        return document

    def _sent(self, request: httpx2.Request) -> tuple[Secret, ...]:
        """Return the credentials of a request, which an answer may quote."""
        _, _, sent = request.headers.get("Authorization", "").partition(" ")
        basic = self.connection.basic
        return (Secret(sent), basic[1]) if basic else (Secret(sent),)


def _too_much(what: str, request: httpx2.Request) -> BrokenResponseError:
    fact = f"{request.url.host} sent a response {what}"
    return BrokenResponseError(fact, "check that it is an API server")


def _lines(chunks: Iterable[bytes], server: str) -> Iterator[bytes]:
    """Split at line feeds alone: `str.splitlines` also splits at characters that annotations may
    contain (U+0085). Raises BrokenResponseError beyond LIMIT_LINE_BYTES.
    """
    begun: list[bytes] = []
    length = 0
    for chunk in chunks:
        *whole, rest = chunk.split(b"\n")
        for line in whole:
            yield b"".join((*begun, line))
            begun.clear()
            length = 0
        begun.append(rest)
        length += len(rest)
        if length > LIMIT_LINE_BYTES:
            raise BrokenResponseError(f"{server} sent an event of more than 16 MiB")
    if any(begun):  # the last line is incomplete
        yield b"".join(begun)


def _selection(labels: str | None, fields: str | None) -> dict[str, str]:
    selection = {"labelSelector": labels, "fieldSelector": fields}
    return {name: value for name, value in selection.items() if value}


def _pause(response: httpx2.Response) -> float | None:
    """Return how long an overloaded API server asks to wait, or None; as client-go."""
    if response.status_code not in (429, 503):
        return None
    seconds = parse_retry_after(response.headers.get("Retry-After", ""))
    return None if seconds is None else min(seconds, LONGEST_PAUSE_SECONDS)
