"""Paths that belong to no object: version, health, API groups and kinds, OpenID discovery."""

from __future__ import annotations

from typing import Any

from daypass.kube.resources import EMBEDDED
from daypass.local.apiserver import errors
from daypass.local.apiserver.kinds import (
    GROUP_VERSIONS,
    KINDS,
    SERVICE_ACCOUNT,
    TOKEN_REQUEST,
    Kind,
)
from daypass.local.apiserver.requests import ApiRequest, ApiResponse, ServerContext, to_json
from daypass.local.apiserver.tokens import ALGORITHM

CONFIGURATION, JWKS = "/.well-known/openid-configuration", "/openid/v1/jwks"
_HEALTH = ("/healthz", "/livez", "/readyz", "/healthz/ping", "/livez/ping", "/readyz/ping")
_CACHED_KEYS = ("Cache-Control", "public, max-age=3600")
_VERSION = {
    "major": "1", "minor": "37", "gitVersion": f"v1.37.2+{EMBEDDED}", "gitCommit": "",
    "gitTreeState": "", "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "",
    "platform": "python/embedded",
}  # fmt: skip
_API_PATHS = ("/api/", "/version/", f"{JWKS}/", f"{CONFIGURATION}/")


def answer(context: ServerContext, request: ApiRequest) -> ApiResponse:
    """Return the response for a path that is not an object's. Raises the 404 and the 405."""
    if request.path in _HEALTH:
        return ApiResponse.of_text("ok")
    path = request.path.rstrip("/")
    document = _document(context, path)
    if document is None:
        if request.path.startswith(_API_PATHS):
            raise errors.no_such_resource()
        return ApiResponse.of_text("404 page not found\n", 404)
    if request.method != "GET":
        raise errors.method_not_allowed()
    response = ApiResponse.of(document)
    if path in (CONFIGURATION, JWKS):
        response.headers.append(_CACHED_KEYS)
        response.body = to_json(document).rstrip()
    if path == JWKS:
        response.content_type = "application/jwk-set+json"
    return response


def _document(context: ServerContext, path: str) -> Any:
    if path == "/version":
        return _VERSION
    if path == JWKS:
        return context.keys.jwks()
    if path == CONFIGURATION:
        return {
            "issuer": context.settings.issuer,
            "jwks_uri": f"https://{context.settings.address}{JWKS}",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [ALGORITHM],
        }
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
    groups = [(group, version) for group, version in GROUP_VERSIONS if group]
    if path == "/apis":
        served = [_group(*each) for each in groups]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": served}
    for group, version in groups:
        if path == f"/apis/{group}":
            return {"kind": "APIGroup", "apiVersion": "v1", **_group(group, version)}
        if path == f"/apis/{group}/{version}":
            return _resources(group, version)
    return _resources("", "v1") if path == "/api/v1" else None


def _group(group: str, version: str) -> dict[str, Any]:
    served = {"groupVersion": f"{group}/{version}", "version": version}
    return {"name": group, "versions": [served], "preferredVersion": served}


def _resources(group: str, version: str) -> dict[str, Any]:
    entries = []
    for kind in KINDS:
        if (kind.group, kind.version) == (group, version):
            entries.append(_resource(kind))
            if kind is SERVICE_ACCOUNT:
                entries.append({
                    **_resource(TOKEN_REQUEST),
                    "singularName": "", "group": TOKEN_REQUEST.group,
                    "version": TOKEN_REQUEST.version,
                })  # fmt: skip
    group_version = f"{group}/{version}" if group else version
    head = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version}
    return {**head, "resources": entries}


def _resource(kind: Kind) -> dict[str, Any]:
    entry = {
        "name": kind.plural, "singularName": kind.kind.lower(), "namespaced": kind.namespaced,
        "kind": kind.kind, "verbs": list(kind.verbs),
    }  # fmt: skip
    return {**entry, "shortNames": list(kind.short_names)} if kind.short_names else entry
