"""A request's way through the API server: authentication, authorization, routing, the handler.

There is no I/O here: a request comes in whole, and a response or a watch goes out.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from daypass._core.kubernetes.objects import Object
from daypass.local.apiserver import controllers, handlers
from daypass.local.apiserver.handlers import Watch
from daypass.local.apiserver.kinds import (
    BY_PATH,
    KINDS,
    NAMESPACE,
    SERVICE_ACCOUNT,
    STORED,
    TOKEN_REVIEW,
    Kind,
)
from daypass.local.apiserver.rbac import Attributes, User, is_allowed
from daypass.local.apiserver.requests import (
    BODY_LIMIT_BYTES,
    ApiCall,
    ApiRequest,
    ApiResponse,
    StatusError,
    quote,
)
from daypass.local.apiserver.state import ServerState
from daypass.local.apiserver.store import StoreEvent
from daypass.local.apiserver.tokens import ALGORITHM, ISSUER, InvalidTokenError

_log = logging.getLogger("daypass.local.apiserver")
_Handler = Callable[[ApiCall], ApiResponse | Watch]

CONFIGURATION, JWKS = "/.well-known/openid-configuration", "/openid/v1/jwks"


class Api:
    """Answers requests, one at a time: everything happens under `lock`.

    The state is saved after each request that has changed something.
    """

    def __init__(self, state: ServerState) -> None:
        self.state = state
        self.lock = threading.RLock()
        self._pending: deque[StoreEvent] = deque()
        state.store.listeners.append(self._pending.append)
        with self.lock:
            controllers.start(state)
            self._reconcile()

    def handle(self, request: ApiRequest) -> ApiResponse | Watch:
        """Return the response for a request. Raises nothing."""
        with self.lock:
            try:
                try:
                    return self._answer(request)
                except StatusError as error:
                    return ApiResponse.of(error.status, error.code)
                finally:
                    self._reconcile()
            except Exception:
                _log.exception("unexpected error at a %s request", request.method)
                failed = StatusError(500, "Internal error occurred")
                return ApiResponse.of(failed.status, 500)

    def _reconcile(self) -> None:
        if self._pending:
            while self._pending:
                controllers.reconcile(self.state, self._pending.popleft())
            self.state.save()

    def _answer(self, request: ApiRequest) -> ApiResponse | Watch:
        # 1. Authentication.
        user = self._authenticate(request)
        # 2. Authorization.
        attributes = request.attributes(user)
        if not is_allowed(self.state.store, attributes):
            raise _forbidden(attributes)
        # 3. Routing.
        if not attributes.is_resource:
            return _answer_path(self.state, request)
        kind, handler = _route(attributes, request.method)
        if len(request.body) > BODY_LIMIT_BYTES:
            message = f"Request entity too large: limit is {BODY_LIMIT_BYTES}"
            raise StatusError(413, message)
        # 4. The handler.
        return handler(
            ApiCall(
                state=self.state,
                request=request,
                kind=kind,
                namespace=attributes.namespace if kind.is_namespaced else "",
                name=attributes.name,
            )
        )

    def _authenticate(self, request: ApiRequest) -> User:
        try:
            authorization = request.header("authorization")
            user, _ = self.state.authenticator.authenticate(authorization, (ISSUER,))
        except InvalidTokenError:
            raise StatusError(401, "Unauthorized") from None
        if any(name.startswith("impersonate-") for name, _ in request.headers):
            raise StatusError(400, "the embedded API server does not impersonate users")
        return user


def _forbidden(attributes: Attributes) -> StatusError:
    """Return the 403 of the authorizer (responsewriters/errors.go)."""
    why = f"User {quote(attributes.user.name)} cannot {attributes.verb}"
    if not attributes.is_resource:
        return StatusError(403, f"forbidden: {why} path {quote(attributes.path)}")
    group, name = attributes.group, attributes.name
    subject = f"{attributes.resource}.{group}" if group else attributes.resource
    subject += f" {quote(name)}" if name else ""
    why += f" resource {quote(attributes.full_resource)} in API group {quote(group)}"
    place = attributes.namespace
    why += f" in the namespace {quote(place)}" if place else " at the cluster scope"
    return StatusError(403, f"{subject} is forbidden: {why}")


def _route(attributes: Attributes, method: str) -> tuple[Kind, _Handler]:
    """Return the kind and the handler for a resource. Raises the 400, the 404 and the 405."""
    name, subresource = attributes.name, attributes.subresource
    kind = BY_PATH.get((attributes.group, attributes.resource))
    if kind is None or (name and kind not in STORED):
        raise _no_such_resource()
    is_in_namespace = bool(attributes.namespace) and kind is not NAMESPACE
    if subresource and (kind, subresource) != (SERVICE_ACCOUNT, "token"):
        raise _no_such_resource()
    if kind.is_namespaced != is_in_namespace and (name or is_in_namespace):
        raise _no_such_resource()
    by_method: dict[str, _Handler]
    if subresource:
        by_method = {"POST": handlers.create_token}
    elif kind not in STORED:
        is_token = kind is TOKEN_REVIEW
        by_method = {"POST": handlers.review_token if is_token else handlers.review_access}
    elif name:
        by_method = {"GET": handlers.get, "PATCH": handlers.patch, "DELETE": handlers.delete}
    else:
        by_method = {"GET": handlers.list_or_watch}
        if kind.is_namespaced == is_in_namespace:
            by_method["POST"] = handlers.create
    if method not in by_method:
        raise _method_not_allowed()
    return kind, by_method[method]


def _no_such_resource() -> StatusError:
    return StatusError(404, "the server could not find the requested resource")


def _method_not_allowed() -> StatusError:
    return StatusError(405, "the server does not allow this method on the requested resource")


def _answer_path(state: ServerState, request: ApiRequest) -> ApiResponse:
    """Return the response for a path that is no resource's. Raises the 404 and the 405."""
    document = _document(state, request.path)
    if document is None:
        raise _no_such_resource()
    if request.method != "GET":
        raise _method_not_allowed()
    return ApiResponse.of(document)


def _document(state: ServerState, path: str) -> Any:
    if path == "/readyz":
        return "ok"
    if path in ("/api", "/apis"):  # kinds cannot be listed at once
        return {"kind": "APIGroupList", "groups": []}
    if path == JWKS:
        return state.issuer.jwks()
    if path == CONFIGURATION:
        return {
            "issuer": ISSUER,
            "jwks_uri": f"{state.url}{JWKS}",
            "id_token_signing_alg_values_supported": [ALGORITHM],
        }
    return _resources(path)


def _resources(path: str) -> Object | None:
    """Return the kinds of a group's version, such as `/apis/GROUP/v1`, or None."""
    resources = [
        {"name": kind.plural, "namespaced": kind.is_namespaced, "kind": kind.kind}
        for kind in KINDS
        if path == f"/apis/{kind.api_version}" or (not kind.group and path == "/api/v1")
    ]
    return {"kind": "APIResourceList", "resources": resources} if resources else None
