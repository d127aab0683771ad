"""A request's way through the API server: authentication, authorization, routing, the handler.

There is no I/O here: a request comes in whole, and a response or a watch goes out.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from daypass.local.apiserver import controllers, errors, objects, reviews
from daypass.local.apiserver.errors import StatusError, quote
from daypass.local.apiserver.kinds import (
    BY_PATH,
    GROUPS,
    KINDS,
    NAMESPACE,
    SERVICE_ACCOUNT,
    STORED,
    TOKEN_REQUEST,
    Kind,
)
from daypass.local.apiserver.objects import Watch
from daypass.local.apiserver.rbac import Attributes, User, is_allowed
from daypass.local.apiserver.requests import (
    ApiCall,
    ApiRequest,
    ApiResponse,
    warning_headers,
)
from daypass.local.apiserver.schema import BODY_LIMIT_BYTES, path_segment_fault
from daypass.local.apiserver.state import ServerState
from daypass.local.apiserver.store import StoreEvent
from daypass.local.apiserver.tokens import ALGORITHM, ISSUER, InvalidTokenError

_log = logging.getLogger("daypass.local.apiserver")
_Handler = Callable[[ApiCall], ApiResponse | Watch]

CONFIGURATION, JWKS = "/.well-known/openid-configuration", "/openid/v1/jwks"
OPENAPI = "/openapi/v3"
_HEALTH = ("/healthz", "/livez", "/readyz")
_VERSION = {
    "major": "1", "minor": "37", "gitVersion": "v1.37.2+daypass-embedded", "gitCommit": "",
    "gitTreeState": "", "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "",
    "platform": "python/embedded",
}  # fmt: skip


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
            warnings: list[str] = []
            answer: ApiResponse | Watch
            try:
                try:
                    answer = self._answer(request, warnings)
                except StatusError as error:
                    answer = ApiResponse.of(error.status, error.code)
                self._reconcile()
            except Exception:
                _log.exception("unexpected error at a %s request", request.method)
                failed = StatusError(500, "InternalError", "Internal error occurred")
                answer = ApiResponse.of(failed.status, 500)
            if isinstance(answer, ApiResponse):
                answer.headers += warning_headers(warnings)
        return answer

    def _reconcile(self) -> None:
        if self._pending:
            while self._pending:
                controllers.reconcile(self.state, self._pending.popleft())
            self.state.save()

    def _answer(self, request: ApiRequest, warnings: list[str]) -> ApiResponse | Watch:
        if not request.is_well_formed:
            raise errors.bad_request("the target is not a path")
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
            raise errors.too_large(BODY_LIMIT_BYTES)
        # 4. The handler.
        return handler(
            ApiCall(
                state=self.state,
                request=request,
                query=request.query,
                user=user,
                kind=kind,
                namespace=attributes.namespace if kind.namespaced else "",
                name=attributes.name,
                warnings=warnings,
            )
        )

    def _authenticate(self, request: ApiRequest) -> User:
        try:
            authorization = request.header("authorization")
            user, _ = self.state.authenticator.authenticate(authorization, (ISSUER,))
        except InvalidTokenError:
            raise errors.unauthorized() from None
        if any(name.startswith("impersonate-") for name, _ in request.headers):
            raise errors.bad_request("the embedded API server does not impersonate users")
        return user


def _forbidden(attributes: Attributes) -> StatusError:
    """Return the 403 of the authorizer (responsewriters/errors.go)."""
    why = f"User {quote(attributes.user.name)} cannot {attributes.verb}"
    if not attributes.is_resource:
        why += f" path {quote(attributes.path)}"
    else:
        why += f" resource {quote(attributes.full_resource)} in API group {quote(attributes.group)}"
        place = attributes.namespace
        why += f" in the namespace {quote(place)}" if place else " at the cluster scope"
    return errors.forbidden(attributes.group, attributes.resource, attributes.name, why)


def _route(attributes: Attributes, method: str) -> tuple[Kind, _Handler]:
    """Return the kind and the handler for a resource. Raises the 400, the 404 and the 405."""
    name, subresource = attributes.name, attributes.subresource
    kind = BY_PATH.get((attributes.group, attributes.resource))
    if kind is None or (name and kind not in STORED):
        raise errors.no_such_resource()
    is_in_namespace = bool(attributes.namespace) and kind is not NAMESPACE
    if subresource and (kind, subresource) != (SERVICE_ACCOUNT, "token"):
        raise errors.no_such_resource()
    if kind.namespaced != is_in_namespace and (name or is_in_namespace):
        raise errors.no_such_resource()
    for parameter, value in (("Namespace", attributes.namespace), ("Name", name)):
        if fault := path_segment_fault(value):
            raise errors.bad_request(f"{parameter} parameter invalid: {quote(value)}: {fault}")
    handlers: dict[str, _Handler]
    if subresource:
        handlers = {"POST": reviews.create_token}
    elif kind not in STORED:
        handlers = {"POST": reviews.create_review}
    elif name:
        handlers = {
            "GET": objects.get,
            "PUT": objects.update,
            "PATCH": objects.patch,
            "DELETE": objects.delete,
        }
    else:
        handlers = {"GET": objects.list_or_watch}
        if kind.namespaced == is_in_namespace:
            handlers["POST"] = objects.create
    if method not in handlers:
        raise errors.method_not_allowed()
    return kind, handlers[method]


def _answer_path(state: ServerState, request: ApiRequest) -> ApiResponse:
    """Return the response for a path that is no resource's. Raises the 404 and the 405."""
    path = request.path.rstrip("/")
    if path in _HEALTH:
        return ApiResponse.of_text("ok")
    document = _document(state, path)
    if document is None:
        raise errors.no_such_resource()
    if request.method != "GET":
        raise errors.method_not_allowed()
    response = ApiResponse.of(document)
    if path == JWKS:
        response.content_type = "application/jwk-set+json"
    return response


def _document(state: ServerState, path: str) -> Any:
    if path == "/version":
        return _VERSION
    if path == JWKS:
        return state.issuer.keys.jwks()
    if path == CONFIGURATION:
        return {
            "issuer": ISSUER,
            "jwks_uri": f"{state.url}{JWKS}",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [ALGORITHM],
        }
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
    if path == "/apis":
        groups = [_group(group) for group in GROUPS if group]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
    if path.startswith(OPENAPI):
        return _openapi(path.removeprefix(OPENAPI))
    for group in GROUPS:
        if group and path == f"/apis/{group}":
            return {"kind": "APIGroup", "apiVersion": "v1", **_group(group)}
        if path == (f"/apis/{group}/v1" if group else "/api/v1"):
            return _resources(group)
    return None


def _openapi(root: str) -> Any:
    """Return what OpenAPI 3 has below `root`: which PATCH takes `fieldValidation`.

    kubectl asks for it before it leaves validation to the API server. The schemas are missing.
    """
    kinds = [kind for kind in STORED if f"/{kind.root}" == root]
    if not root:
        served = dict.fromkeys(kind.root for kind in STORED)
        return {"paths": {each: {"serverRelativeURL": f"{OPENAPI}/{each}"} for each in served}}
    if not kinds:
        return None
    validation = {"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}
    paths = {}
    for kind in kinds:
        name = {"group": kind.group, "version": "v1", "kind": kind.kind}
        operation = {"parameters": [validation], "x-kubernetes-group-version-kind": name}
        place = "namespaces/{namespace}/" if kind.namespaced else ""
        paths[f"{root}/{place}{kind.plural}/{{name}}"] = {"patch": operation}
    info = {"title": "Kubernetes", "version": _VERSION["gitVersion"]}
    components: dict[str, Any] = {"schemas": {}}
    return {"openapi": "3.0.0", "info": info, "paths": paths, "components": components}


def _group(group: str) -> dict[str, Any]:
    served = {"groupVersion": f"{group}/v1", "version": "v1"}
    return {"name": group, "versions": [served], "preferredVersion": served}


def _resources(group: str) -> dict[str, Any]:
    entries = []
    for kind in KINDS:
        if kind.group == group:
            entries.append(_resource(kind))
        if kind is SERVICE_ACCOUNT and not group:
            token = {"singularName": "", "group": TOKEN_REQUEST.group, "version": "v1"}
            entries.append({**_resource(TOKEN_REQUEST), **token})
    group_version = f"{group}/v1" if group else "v1"
    head = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version}
    return {**head, "resources": entries}


def _resource(kind: Kind) -> dict[str, Any]:
    entry = {
        "name": kind.plural,
        "singularName": kind.kind.lower(),
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": list(kind.verbs),
    }
    return {**entry, "shortNames": list(kind.short_names)} if kind.short_names else entry
