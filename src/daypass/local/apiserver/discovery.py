"""What is here: versions, health, the API's groups and kinds, OpenID metadata."""

from __future__ import annotations

from typing import Any

from daypass.kube.discovery import EMBEDDED
from daypass.local.apiserver import errors
from daypass.local.apiserver.cluster import ServerContext
from daypass.local.apiserver.kinds import (
    GROUP_VERSIONS,
    KINDS,
    SERVICE_ACCOUNT,
    TOKEN_REQUEST,
    Kind,
)
from daypass.local.apiserver.requests import ApiRequest, ApiResponse, dump
from daypass.local.apiserver.tokens import ALGORITHM

CONFIGURATION, JWKS = "/.well-known/openid-configuration", "/openid/v1/jwks"
_HEALTH = ("/healthz", "/livez", "/readyz", "/healthz/ping", "/livez/ping", "/readyz/ping")
_KEYS_CACHED = ("Cache-Control", "public, max-age=3600")
VERSION = {
    "major": "1",
    "minor": "37",
    "gitVersion": f"v1.37.2+{EMBEDDED}",
    "gitCommit": "",
    "gitTreeState": "",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "python/embedded",
}


_BELOW = ("/api/", "/version/", f"{JWKS}/", f"{CONFIGURATION}/")
"""Below these it is the API that does not know a path, and says so in its own words."""


def answer(cluster: ServerContext, request: ApiRequest) -> ApiResponse:
    """The answer for a path that is no object's. Raises the 404 and the 405."""
    if request.path in _HEALTH:
        healthy = ApiResponse.of_text("ok")
        if request.path.endswith("/ping"):
            healthy.headers.clear()
        return healthy
    path = request.path.rstrip("/")
    document = _document(cluster, path)
    if document is None:
        if request.path.startswith(_BELOW):
            raise errors.no_such_resource()
        return ApiResponse.of_text("404 page not found\n", 404)
    if request.method != "GET":
        raise errors.method_not_allowed()
    response = ApiResponse.of(document)
    if path in (CONFIGURATION, JWKS):
        response.headers.append(_KEYS_CACHED)
        response.body = dump(document).rstrip()
    if path == JWKS:
        response.content_type = "application/jwk-set+json"
    return response


def _document(cluster: ServerContext, path: str) -> Any:
    if path in ("", "/version", "/api", "/apis"):
        return {"": _index, "/version": lambda: VERSION, "/api": _api, "/apis": _apis}[path]()
    if path == JWKS:
        return cluster.keys.jwks()
    if path == CONFIGURATION:
        return {
            "issuer": cluster.settings.issuer,
            "jwks_uri": f"https://{cluster.settings.address}{JWKS}",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [ALGORITHM],
        }
    for group, version in GROUP_VERSIONS:
        if group and path == f"/apis/{group}":
            return {"kind": "APIGroup", "apiVersion": "v1", **_group(group, version)}
        if path == (f"/apis/{group}/{version}" if group else f"/api/{version}"):
            return _resources(group, version)
    return None


def _index() -> dict[str, Any]:
    groups = [(group, version) for group, version in GROUP_VERSIONS if group]
    paths = [path for g, v in groups for path in (f"/apis/{g}", f"/apis/{g}/{v}")]
    return {"paths": [CONFIGURATION, "/api", "/api/v1", "/apis", *paths, *_HEALTH, JWKS]}


def _api() -> dict[str, Any]:
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def _apis() -> dict[str, Any]:
    groups = [_group(group, version) for group, version in GROUP_VERSIONS if group]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def _group(group: str, version: str) -> dict[str, Any]:
    served = {"groupVersion": f"{group}/{version}", "version": version}
    return {"name": group, "versions": [served], "preferredVersion": served}


def _resources(group: str, version: str) -> dict[str, Any]:
    entries: list[dict[str, Any]] = []
    for kind in KINDS:
        if (kind.group, kind.version) == (group, version):
            entries.append(_resource(kind))
            for part in kind.subresources:
                entries.append(_part(kind, part, ["get", "patch", "update"]))
            if kind is SERVICE_ACCOUNT:
                made = {"group": TOKEN_REQUEST.group, "version": TOKEN_REQUEST.version,
                        "kind": TOKEN_REQUEST.kind}  # fmt: skip
                entries.append({**_part(kind, "token", ["create"]), **made})
    head = {"kind": "APIResourceList", "apiVersion": "v1"}
    return {**head, "groupVersion": f"{group}/{version}" if group else version,
            "resources": entries}  # fmt: skip


def _resource(kind: Kind) -> dict[str, Any]:
    entry = {
        "name": kind.plural,
        "singularName": kind.kind.lower(),
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": list(kind.verbs),
    }
    return {**entry, "shortNames": list(kind.short_names)} if kind.short_names else entry


def _part(kind: Kind, part: str, verbs: list[str]) -> dict[str, Any]:
    return {
        "name": f"{kind.plural}/{part}",
        "singularName": "",
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": verbs,
    }
