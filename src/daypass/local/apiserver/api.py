"""The way of a request through the API server, in its order: who, may they, where, what.

No I/O: a request goes in whole, an answer (or a watch) comes out. Nothing raised in here reaches a
client but a Status.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from daypass.local.apiserver import (
    controllers,
    discovery,
    errors,
    impersonation,
    reading,
    reviews,
    token_request,
    writing,
)
from daypass.local.apiserver.call import Call
from daypass.local.apiserver.cluster import ServerContext
from daypass.local.apiserver.decoding import BODY_LIMIT_BYTES
from daypass.local.apiserver.errors import StatusError, quote
from daypass.local.apiserver.kinds import (
    BY_PATH,
    GROUP_VERSIONS,
    NAMESPACE,
    SERVICE_ACCOUNT,
    STORED,
    Kind,
)
from daypass.local.apiserver.names import path_segment_faults
from daypass.local.apiserver.rbac import Attributes, authorize
from daypass.local.apiserver.reading import Watch
from daypass.local.apiserver.requests import ApiRequest, ApiResponse, Query, dump, warning_headers
from daypass.local.apiserver.store import StoreEvent
from daypass.local.apiserver.tokens import InvalidTokenError
from daypass.local.apiserver.users import User

_log = logging.getLogger("daypass.local.apiserver")
Handler = Callable[[Call], ApiResponse | Watch]
_JSON_RANGES = ("application/json", "*/*")


class Api:
    """Answers requests, one at a time: everything happens under `lock`."""

    def __init__(
        self, cluster: ServerContext, on_change: Callable[[], None] = lambda: None
    ) -> None:
        self.cluster = cluster
        self.lock = threading.RLock()
        self.on_change = on_change
        self._pending: deque[StoreEvent] = deque()
        cluster.store.listeners.append(self._pending.append)
        with self.lock:
            controllers.start(cluster)
            self._settle()

    def handle(self, request: ApiRequest) -> ApiResponse | Watch:
        """The answer for a request. Raises nothing."""
        with self.lock:
            warnings: list[str] = []
            answer: ApiResponse | Watch
            try:
                try:
                    answer = self._answer(request, warnings)
                except StatusError as error:
                    answer = _refusal(error, warnings)
                self._settle()
            except Exception:
                _log.exception("a request that should not have: %s", request.method)
                answer = _refusal(StatusError(500, "InternalError", "Internal error occurred"), [])
        return answer

    def _settle(self) -> None:
        if self._pending:
            controllers.settle(self.cluster, self._pending)
            self.on_change()

    def _answer(self, request: ApiRequest, warnings: list[str]) -> ApiResponse | Watch:
        if not request.well_formed:
            refused = ApiResponse.of_text("400 Bad Request", 400)
            refused.headers = [("Connection", "close")]
            return refused
        # 1. Who sends it.
        try:
            found, told = self.cluster.authenticator.authenticate(
                request.header("authorization"), self.cluster.settings.audiences
            )
        except InvalidTokenError:
            found, told = None, []
        warnings += told
        if found is None:
            raise errors.unauthorized()
        user = self._acting(request, found[0])
        # 2. Whether they may.
        attributes = request.about(user)
        decision = authorize(self.cluster.store, attributes)
        if not decision.allowed:
            raise _forbidden(attributes, decision.reason)
        # 3. What it is for.
        call, handler = _route(self.cluster, request, user)
        if call is None or handler is None:
            return discovery.answer(self.cluster, request)
        call.warnings = warnings
        if not (handler is reading.list_or_watch and reading.serves_metadata(call)):
            _check_accept(request)
        if len(request.body) > BODY_LIMIT_BYTES:
            raise errors.too_large(BODY_LIMIT_BYTES)
        answer = handler(call)
        if isinstance(answer, ApiResponse):
            answer.headers = warning_headers(call.warnings)
        return answer

    def _acting(self, request: ApiRequest, user: User) -> User:
        """The user that the request is made as. Raises the 400 and the 403."""
        other = impersonation.wanted(request)
        if other is None:
            return user
        if not impersonation.allowed(self.cluster.store, user, other):
            asked = request.about(user)
            verb = f"impersonate-on:{impersonation.mode(other)}:{asked.verb}"
            raise _forbidden(replace(asked, verb=verb), "")
        return impersonation.completed(other)


def _refusal(error: StatusError, warnings: list[str]) -> ApiResponse:
    headers = [*error.headers, *warning_headers(warnings)]
    return ApiResponse(status=error.code, body=dump(error.status()), headers=headers)


def _forbidden(asked: Attributes, reason: str) -> StatusError:
    """The 403 of the authorizer (responsewriters/errors.go)."""
    who = f"User {quote(asked.user.name)} cannot {asked.verb}"
    if not asked.is_resource:
        why = f"{who} path {quote(asked.path)}"
    else:
        what = f"resource {quote(asked.whole_resource)} in API group {quote(asked.group)}"
        place = f"in the namespace {quote(asked.namespace)}" if asked.namespace else (
            "at the cluster scope"
        )  # fmt: skip
        why = f"{who} {what} {place}"
    why = why.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    said = f"{why}: rbac: {reason}" if reason else why
    refusal = errors.forbidden(asked.group, asked.resource, asked.name, said)
    refusal.headers = (("X-Content-Type-Options", "nosniff"),)
    return refusal


def _check_accept(request: ApiRequest) -> None:
    accept = request.header("accept")
    ranges = [part.partition(";") for part in accept.split(",")]
    plain = any(name.strip() in _JSON_RANGES and " as=" not in f" {rest.strip()}".replace(";", " ")
                for name, _, rest in ranges)  # fmt: skip
    if accept.strip() and not plain:
        listed = "Available representations: application/json"
        raise StatusError(406, "NotAcceptable", f"406: Not Acceptable\n\n{listed}", {})


def _route(
    cluster: ServerContext, request: ApiRequest, user: User
) -> tuple[Call | None, Handler | None]:
    """The handler of a path (go-restful's routes); nothing for paths that discovery answers."""
    parts = request.tokens
    if not request.path.startswith(("/api/", "/apis/")):
        return None, None
    grouped = parts[:1] == ["apis"]
    if len(parts) < (3 if grouped else 2):
        return None, None
    group, version = (parts[1], parts[2]) if grouped else ("", parts[1])
    rest = parts[3 if grouped else 2 :]
    if not rest or (group, version) not in GROUP_VERSIONS or (grouped and not group):
        if (rest or version != "v1") and group in (known for known, _ in GROUP_VERSIONS if known):
            raise errors.no_such_resource()
        return None, None
    namespace, rest, everywhere = _place(rest)
    kind = BY_PATH.get((group, version, rest[0])) if rest else None
    if kind is None or len(rest) > 3 or not _fits(kind, everywhere, rest):
        raise errors.no_such_resource()
    name, part = (*rest[1:], "", "")[:2]
    handler = _handler(kind, request, rest, part, everywhere=everywhere)
    if len(rest) > 1:
        _check_names(kind, namespace, name, everywhere=everywhere)
    elif kind.namespaced and not everywhere and not namespace and request.method == "POST":
        raise errors.bad_request("Namespace parameter required.")
    call = Call(
        cluster=cluster, request=request, query=Query.of(request), user=user, kind=kind,
        namespace=namespace, name=name, subresource=part,
    )  # fmt: skip
    return call, handler


def _place(rest: list[str]) -> tuple[str, list[str], bool]:
    """The namespace of a path, the rest of it, and whether it names none."""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in NAMESPACE.subresources:
        return rest[1], rest[2:], False
    return "", rest, True


def _fits(kind: Kind, everywhere: bool, rest: list[str]) -> bool:
    """Whether a path of this form belongs to the kind."""
    if kind.namespaced == everywhere and not (everywhere and len(rest) == 1 and kind in STORED):
        return False
    parts = (*kind.subresources, *(("token",) if kind is SERVICE_ACCOUNT else ()))
    if len(rest) > 1 and kind not in STORED:
        return False
    return len(rest) < 3 or rest[2] in parts


def _check_names(kind: Kind, namespace: str, name: str, *, everywhere: bool) -> None:
    if kind.namespaced and not everywhere:
        if not namespace:
            raise errors.bad_request("Namespace parameter required.")
        if faults := path_segment_faults(namespace):
            raise errors.bad_request(
                f"Namespace parameter invalid: {quote(namespace)}: {faults[0]}"
            )
    if not name:
        raise errors.bad_request("name must be provided")
    if faults := path_segment_faults(name):
        raise errors.bad_request(f"Name parameter invalid: {quote(name)}: {faults[0]}")


def _handler(
    kind: Kind, request: ApiRequest, rest: list[str], part: str, *, everywhere: bool
) -> Handler:
    """What a method does at a path. Raises the 405."""
    handlers: dict[str, Handler] = {}
    if part == "token":
        handlers = {"POST": token_request.create}
    elif kind not in STORED:
        handlers = {"POST": reviews.create}
    elif len(rest) > 1:
        handlers = {"GET": reading.get, "PUT": writing.update, "PATCH": writing.patch}
        if not part:
            handlers["DELETE"] = writing.delete
    else:
        handlers = {"GET": reading.list_or_watch}
        if not (kind.namespaced and everywhere):
            handlers["POST"] = writing.create
            if "deletecollection" in kind.verbs:
                handlers["DELETE"] = writing.delete_many
    if request.method not in handlers:
        raise errors.method_not_allowed()
    return handlers[request.method]
