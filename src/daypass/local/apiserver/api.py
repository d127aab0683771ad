"""A request's way through the API server: authentication, authorization, routing, the handler.

There is no I/O here: a request comes in whole, and a response or a watch goes out.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

from daypass.local.apiserver import (
    controllers,
    discovery,
    errors,
    reading,
    reviews,
    writing,
)
from daypass.local.apiserver.errors import StatusError, quote
from daypass.local.apiserver.kinds import (
    BY_PATH,
    GROUP_VERSIONS,
    SERVICE_ACCOUNT,
    STORED,
    Kind,
)
from daypass.local.apiserver.rbac import Attributes, User, authorize
from daypass.local.apiserver.reading import Watch
from daypass.local.apiserver.requests import (
    ApiCall,
    ApiRequest,
    ApiResponse,
    Query,
    ServerContext,
    to_json,
    warning_headers,
)
from daypass.local.apiserver.schema import BODY_LIMIT_BYTES
from daypass.local.apiserver.store import StoreEvent
from daypass.local.apiserver.tokens import InvalidTokenError
from daypass.local.apiserver.validation import path_segment_fault

_log = logging.getLogger("daypass.local.apiserver")
_Handler = Callable[[ApiCall], ApiResponse | Watch]
_JSON_RANGES = ("application/json", "*/*")


class Api:
    """Answers requests, one at a time: everything happens under `lock`.

    `on_change` is called after each request that has changed something.
    """

    def __init__(
        self, context: ServerContext, on_change: Callable[[], None] = lambda: None
    ) -> None:
        self.context = context
        self.lock = threading.RLock()
        self.on_change = on_change
        self._pending: deque[StoreEvent] = deque()
        context.store.listeners.append(self._pending.append)
        with self.lock:
            controllers.start(context)
            self._reconcile()

    def handle(self, request: ApiRequest) -> ApiResponse | Watch:
        """Return the response for a request. Raises nothing."""
        with self.lock:
            warnings: list[str] = []
            answer: ApiResponse | Watch
            try:
                try:
                    answer = self._answer(request, warnings)
                except StatusError as error:
                    answer = ApiResponse(status=error.code, body=to_json(error.status()))
                self._reconcile()
            except Exception:
                _log.exception("unexpected error at a %s request", request.method)
                failed = StatusError(500, "InternalError", "Internal error occurred")
                answer = ApiResponse(status=500, body=to_json(failed.status()))
            if isinstance(answer, ApiResponse):
                answer.headers += warning_headers(warnings)
        return answer

    def _reconcile(self) -> None:
        if self._pending:
            controllers.reconcile(self.context, self._pending)
            self.on_change()

    def _answer(self, request: ApiRequest, warnings: list[str]) -> ApiResponse | Watch:
        if not request.is_well_formed:
            refused = ApiResponse.of_text("400 Bad Request", 400)
            refused.headers = [("Connection", "close")]
            return refused
        # 1. Authentication.
        user = self._authenticate(request, warnings)
        # 2. Authorization.
        attributes = request.attributes(user)
        decision = authorize(self.context.store, attributes)
        if not decision.allowed:
            raise _forbidden(attributes, decision.reason)
        # 3. Routing.
        routed = _route(self.context, request, user)
        if routed is None:
            return discovery.answer(self.context, request)
        call, handler = routed
        call.warnings = warnings
        if not (handler is reading.list_or_watch and request.wants_metadata):
            _check_accept(request)
        if len(request.body) > BODY_LIMIT_BYTES:
            raise errors.too_large(BODY_LIMIT_BYTES)
        # 4. The handler.
        return handler(call)

    def _authenticate(self, request: ApiRequest, warnings: list[str]) -> User:
        try:
            found, warned = self.context.authenticator.authenticate(
                request.header("authorization"), self.context.settings.audiences
            )
        except InvalidTokenError:
            raise errors.unauthorized() from None
        warnings += warned
        if found is None:
            raise errors.unauthorized()
        if any(name.startswith("impersonate-") for name, _ in request.headers):
            raise errors.bad_request("the embedded API server does not impersonate users")
        return found[0]


def _forbidden(attributes: Attributes, reason: str) -> StatusError:
    """Return the 403 of the authorizer (responsewriters/errors.go)."""
    why = f"User {quote(attributes.user.name)} cannot {attributes.verb}"
    if not attributes.is_resource:
        why += f" path {quote(attributes.path)}"
    else:
        why += f" resource {quote(attributes.full_resource)} in API group {quote(attributes.group)}"
        place = attributes.namespace
        why += f" in the namespace {quote(place)}" if place else " at the cluster scope"
    if reason:
        why += f": rbac: {reason}"
    return errors.forbidden(attributes.group, attributes.resource, attributes.name, why)


def _check_accept(request: ApiRequest) -> None:
    accept = request.header("accept")
    ranges = [part.replace(" ", "").partition(";") for part in accept.split(",")]
    if accept.strip() and not any(
        name in _JSON_RANGES and not parameters.startswith("as=") for name, _, parameters in ranges
    ):
        only = "only application/json is available"
        raise StatusError(406, "NotAcceptable", f"406: Not Acceptable: {only}", {})


def _route(
    context: ServerContext, request: ApiRequest, user: User
) -> tuple[ApiCall, _Handler] | None:
    """Return the call and handler for a path; None for a path that discovery answers."""
    if not request.path.startswith(("/api/", "/apis/")):
        return None
    parts = request.segments
    if parts[0] == "apis":
        group, version, rest = "".join(parts[1:2]), "".join(parts[2:3]), parts[3:]
        if not group:
            return None
    else:
        group, version, rest = "", "".join(parts[1:2]), parts[2:]
    if (group, version) not in GROUP_VERSIONS:
        if group in (known for known, _ in GROUP_VERSIONS if known):
            raise errors.no_such_resource()
        return None
    if not rest:
        return None
    namespace, is_namespaced = "", False
    if rest[0] == "namespaces" and len(rest) > 2:
        namespace, is_namespaced, rest = rest[1], True, rest[2:]
    kind = BY_PATH.get((group, version, rest[0]))
    if kind is None or not _fits(kind, is_namespaced, rest):
        raise errors.no_such_resource()
    handler = _handler(kind, request.method, rest, is_namespaced=is_namespaced)
    name = rest[1] if len(rest) > 1 else ""
    if is_namespaced:
        _check_segment("Namespace", namespace)
    if len(rest) > 1:
        _check_segment("Name", name)
    call = ApiCall(
        context=context, request=request, query=Query.of(request), user=user, kind=kind,
        namespace=namespace, name=name,
    )  # fmt: skip
    return call, handler


def _fits(kind: Kind, is_namespaced: bool, rest: list[str]) -> bool:
    """Return whether a kind has paths of this form."""
    if len(rest) > 1 and kind not in STORED:
        return False
    if len(rest) > 2 and (kind is not SERVICE_ACCOUNT or rest[2:] != ["token"]):
        return False
    is_list_of_all = not is_namespaced and len(rest) == 1 and kind in STORED
    return kind.namespaced == is_namespaced or is_list_of_all


def _check_segment(parameter: str, value: str) -> None:
    if not value:
        raise errors.bad_request(f"{parameter} parameter required.")
    if fault := path_segment_fault(value):
        raise errors.bad_request(f"{parameter} parameter invalid: {quote(value)}: {fault}")


def _handler(kind: Kind, method: str, rest: list[str], *, is_namespaced: bool) -> _Handler:
    """Return what a method does at a path. Raises the 405."""
    handlers: dict[str, _Handler]
    if len(rest) == 3:
        handlers = {"POST": reviews.create_token}
    elif kind not in STORED:
        handlers = {"POST": reviews.create_review}
    elif len(rest) == 2:
        handlers = {
            "GET": reading.get, "PUT": writing.update, "PATCH": writing.patch,
            "DELETE": writing.delete,
        }  # fmt: skip
    else:
        handlers = {"GET": reading.list_or_watch}
        if kind.namespaced == is_namespaced:
            handlers["POST"] = writing.create
    if method not in handlers:
        raise errors.method_not_allowed()
    return handlers[method]
