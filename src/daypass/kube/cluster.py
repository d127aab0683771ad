"""A client for one API server. Objects are plain dictionaries."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias, TypeVar

import httpx2

from daypass._core.clock import SYSTEM_CLOCK, Backoff, Clock, format_duration
from daypass._core.errors import DaypassError
from daypass._core.kubernetes.objects import Object, name_of
from daypass._core.kubernetes.status import Status, parse_retry_after
from daypass.kube.answers import METADATA, Answer, Pages, Selection, clock_ahead_seconds
from daypass.kube.connection import (
    CONNECT_SECONDS,
    Authenticator,
    ConnectionConfig,
    explain_transport,
    is_stale,
)
from daypass.kube.errors import ForbiddenError, NotFoundError, TooLargeError
from daypass.kube.kubeconfig import find_connection_config
from daypass.kube.resources import (
    AGGREGATED,
    KNOWN,
    Resource,
    ServedKinds,
    kinds_of_group,
    served_kinds,
)

FIELD_MANAGER = "daypass"
CONNECTIONS = 16
TIMEOUT = httpx2.Timeout(60.0, connect=CONNECT_SECONDS)
TRIES = 5
LONGEST_PAUSE_SECONDS = 10.0
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
JSON = "application/json"
POLL = Backoff(first_seconds=0.01, longest_seconds=1.0)

T = TypeVar("T")

DryRun: TypeAlias = Literal["client", "server"]
"""client: no change is sent. server: the API server checks each change, and stores none."""


class Cluster:
    """A connection to one API server. Every method raises the errors of `daypass.kube.errors`.

    Safe to share between threads. `close` closes its connections. `dry_run`: it only tries changes;
    by the client, they return what they were given, and nothing is sent. `transport` replaces the
    network, for tests.
    `clock_ahead_seconds`: how far the clock is ahead of the API server's, by its last response.
    """

    clock_ahead_seconds = 0.0

    def __init__(
        self,
        connection: ConnectionConfig,
        *,
        transport: httpx2.BaseTransport | None = None,
        clock: Clock = SYSTEM_CLOCK,
        sleep: Callable[[float], None] = time.sleep,
        dry_run: DryRun | None = None,
    ) -> None:
        self.connection = connection
        self.dry_run = dry_run
        self.clock = clock
        self.sleep = sleep
        authenticator = Authenticator(connection, clock)
        self._client = httpx2.Client(
            base_url=connection.server,
            auth=authenticator,
            headers=authenticator.headers,
            trust_env=False,
            transport=transport or authenticator.transport(httpx2.HTTPTransport, CONNECTIONS),
            timeout=TIMEOUT,
            follow_redirects=False,
        )
        self._groups: dict[str, dict[str, Resource]] = {}
        self._kinds: ServedKinds | None = None

    @classmethod
    def open(
        cls,
        *,
        kubeconfig: str | None = None,
        context: str | None = None,
        namespace: str | None = None,
        dry_run: DryRun | None = None,
    ) -> Cluster:
        """Return the cluster that kubectl would use.

        No request is sent, but a credential plugin runs: it may have a client certificate.
        """
        connection = find_connection_config(
            os.environ, kubeconfig=kubeconfig, context=context, namespace=namespace
        )
        return cls(connection, dry_run=dry_run)

    @property
    def namespace(self) -> str:
        """The namespace of objects that name none."""
        return self.connection.namespace

    def server_unix(self) -> float:
        """Return the time by the API server's clock, as far as its last answer tells."""
        return self.clock.unix() - self.clock_ahead_seconds

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
        selection = Selection(
            resource=resource,
            namespace=namespace,
            labels=labels,
            fields=fields,
            metadata_only=metadata_only,
        )
        headers = selection.accept(is_list=True)
        pages, found = Pages(selection, self.clock), list[Object]()
        while not pages.is_complete:
            try:
                answer = self._send(
                    "GET", selection.path, f"list {selection}", params=pages.params, headers=headers
                )
                found += pages.take(answer)
            except TooLargeError as error:
                pages.shrink(error)
        return found

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

    def resource(self, document: Object) -> Resource:
        """Return where objects such as this one are. Raises NotFoundError for an unknown kind."""
        api_version, kind = str(document["apiVersion"]), str(document["kind"])
        found = KNOWN.get((api_version, kind)) or self._served(api_version, kind)
        if found is None:
            fact = f"the cluster does not serve {kind} in {api_version}"
            status = Status({"kind": "Status", "code": 404, "reason": "NotFound", "message": fact})
            raise NotFoundError(
                status, fact, "check that its CustomResourceDefinition is installed"
            )
        return found

    def serves(self, resource: Resource) -> bool:
        """Return whether the API server serves this kind in this version, or hides that."""
        try:
            return self._served(resource.api_version, resource.kind) is not None
        except ForbiddenError:
            return True  # the request that needs it finds out

    def kinds(self, *, refresh: bool = False) -> ServedKinds:
        """Return all kinds that the API server serves, cached unless `refresh`.

        Raises DaypassError if it cannot list them at once.
        """
        if self._kinds is None or refresh:
            from daypass._core.threads import in_parallel  # most commands need no discovery

            answers = in_parallel(self._discover, ("/api", "/apis"))
            if any(answer.get("kind") != "APIGroupDiscoveryList" for answer in answers):
                raise DaypassError(
                    f"the API server {self.connection.server} does not list all its kinds at once,"
                    " as Kubernetes 1.30 and later do",
                    "name another cluster: --kubeconfig FILE",
                )
            self._kinds = served_kinds([g for each in answers for g in each.get("items") or ()])
        return self._kinds

    def _discover(self, path: str) -> Object:
        what = "discover what the API serves"
        return self.request("GET", path, headers={"Accept": AGGREGATED}, what=what)

    def _served(self, api_version: str, kind: str) -> Resource | None:
        """Return a kind, or None if the API server does not serve it."""
        if self._kinds is not None:
            return self._kinds.resources.get((api_version, kind))
        if api_version not in self._groups:
            path = f"/{'apis' if '/' in api_version else 'api'}/{api_version}"
            try:
                answer = self.request("GET", path, what=f"discover {api_version}")
            except NotFoundError:
                answer = {}
            self._groups[api_version] = kinds_of_group(api_version, answer)
        return self._groups[api_version].get(kind)

    def find_kind(self, group: str, kind: str) -> Resource | None:
        """Return a kind in its preferred version, or None. Raises as `kinds`."""
        return self.kinds().find(group, kind)

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
        headers, content = dict(headers or {}), None
        if body is not None:
            headers, content = {"Content-Type": content_type, **headers}, json.dumps(body).encode()
        answer = self._send(method, path, what, content=content, headers=headers, params=params)
        return answer.document()

    def _send(self, method: str, path: str, what: str, **request: Any) -> Answer:
        """Send a request, and again while an overloaded API server asks to."""
        attempt = 0
        while True:
            attempt += 1
            answer = self._exchange(method, path, what, **request)
            pause = _pause(answer.response)
            if pause is None or attempt == TRIES:
                return answer
            self.sleep(pause)

    def _exchange(
        self, method: str, path: str, what: str, *, again: bool = True, **request: Any
    ) -> Answer:
        began = self.clock.unix()
        try:
            with self._client.stream(method, path, **request) as response:
                self._compare_clocks(began, response)
                answer = Answer(response, what, self.connection, self.clock)
                for chunk in response.iter_bytes():
                    answer.add(chunk)
                return answer
        except httpx2.RequestError as error:
            if again and is_stale(error):
                return self._exchange(method, path, what, again=False, **request)
            raise explain_transport(error, self.connection) from None

    def _compare_clocks(self, began_unix: float, response: httpx2.Response) -> None:
        ahead = clock_ahead_seconds(response, began_unix, self.clock.unix())
        if ahead is not None:
            self.clock_ahead_seconds = ahead


class NotReadyError(DaypassError):
    """What was waited for is not there yet."""

    heals_by_itself = True


def timed_out(what: str, seconds: float, missing: str) -> str:
    """Return what was waited for, for how long, and what is still missing."""
    return f"waited {format_duration(int(seconds))} for {what}: {missing}"


class Waiter:
    """Waits until a deadline, by the cluster's clock; `show` gets what is waited for."""

    def __init__(
        self, cluster: Cluster, seconds: float, show: Callable[[str], object] = lambda text: None
    ) -> None:
        self.cluster = cluster
        self.show = show
        self._ends = cluster.clock.monotonic() + seconds
        self._seconds = seconds

    def left(self) -> float:
        """Return the seconds that are left, at least 0."""
        return max(0.0, self._ends - self.cluster.clock.monotonic())

    def wait(self, what: str, check: Callable[[], T | str], hint: str) -> T:
        """Return the first result that is not a string: a string says what is missing.

        Shows each new string. Raises NotReadyError with the last one and `hint` after the deadline.
        """
        shown, polls = "", 0
        while isinstance(result := check(), str):
            if result != shown:
                self.show(f"{what}: {result}")
                shown = result
            if not self.left():
                raise NotReadyError(timed_out(what, self._seconds, result), hint)
            polls += 1
            self.cluster.sleep(POLL.seconds(polls))
        return result


def _pause(response: httpx2.Response) -> float | None:
    """Return how long an overloaded API server asks to wait, or None; as client-go."""
    if response.status_code not in (429, 503):
        return None
    seconds = parse_retry_after(response.headers.get("Retry-After", ""))
    return None if seconds is None else min(seconds, LONGEST_PAUSE_SECONDS)
