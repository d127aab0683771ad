"""Browser logins on Istio's gateway, and what they need: docs/how-to/gate-with-a-login.md."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from daypass._core.kubernetes.objects import Object
from support.istio_gateway import LABELS, NAMESPACE
from support.objects import make

VERIFIED = "daypass_shadow_engine_result"
LINE = {"key": f"experimental.envoy.filters.http.rbac[{VERIFIED}]", "notValues": ["allowed"]}
"""What an AuthorizationPolicy needs."""
ENABLED = {
    "filter": "envoy.filters.http.rbac",
    "path": [{"key": VERIFIED}],
    "value": {"string_match": {"exact": "allowed"}},
    "invert": True,
}
"""The same for a login that is an EnvoyFilter."""

LOGIN_PATHS = ["/dex/*", "/oauth2/*"]
"""Paths of the login itself, which users reach before they are signed in."""

_SECURITY = "security.istio.io/v1"
_EXT_AUTHZ = "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz"


def by_policy(provider: str = "login", rule: Object | None = None) -> Object:
    """A login as an AuthorizationPolicy with an extension provider. `rule`: what it is asked about;
    left out, all that the gate has not verified.
    """
    spec = {
        "selector": {"matchLabels": LABELS},
        "action": "CUSTOM",
        "provider": {"name": provider},
        "rules": [{"when": [LINE]} if rule is None else rule],
    }
    return make(_SECURITY, "AuthorizationPolicy", "login", NAMESPACE, spec=spec)


def by_filter() -> Object:
    """A login as an EnvoyFilter, as older Kubeflow and EKF have it."""
    manager = {"name": "envoy.filters.network.http_connection_manager"}
    ask = {
        "@type": _EXT_AUTHZ,
        "filter_enabled_metadata": ENABLED,
        "http_service": {
            "server_uri": {
                "uri": "http://login.team.svc.cluster.local",
                "cluster": "outbound|80||login.team.svc.cluster.local",
                "timeout": "10s",
            },
            "authorization_request": {
                "allowed_headers": {"patterns": [{"exact": "authorization"}, {"exact": "cookie"}]}
            },
            "authorization_response": {
                "allowed_upstream_headers": {"patterns": [{"exact": "kubeflow-userid"}]}
            },
        },
    }
    patch = {
        "applyTo": "HTTP_FILTER",
        "match": {"context": "GATEWAY", "listener": {"filterChain": {"filter": manager}}},
        "patch": {
            "operation": "INSERT_FIRST",
            "value": {"name": "envoy.filters.http.ext_authz", "typed_config": ask},
        },
    }
    spec = {"workloadSelector": {"labels": LABELS}, "configPatches": [patch]}
    return make("networking.istio.io/v1alpha3", "EnvoyFilter", "login", NAMESPACE, spec=spec)


def authentication(name: str, issuer: str, keys: str | None = None, **more: object) -> Object:
    """A RequestAuthentication. `keys`: the issuer's, as text; left out, istiod asks the issuer."""
    rule = {"issuer": issuer, **({} if keys is None else {"jwks": keys}), **more}
    spec = {"selector": {"matchLabels": LABELS}, "jwtRules": [rule]}
    return make(_SECURITY, "RequestAuthentication", name, NAMESPACE, spec=spec)


def token_required() -> Object:
    """Kubeflow's policy that refuses what carries no verified JSON Web Token."""
    rule: Object = {
        "from": [{"source": {"notRequestPrincipals": ["*"]}}],
        "to": [{"operation": {"notPaths": LOGIN_PATHS}}],
    }
    spec = {"selector": {"matchLabels": LABELS}, "action": "DENY", "rules": [rule]}
    return make(_SECURITY, "AuthorizationPolicy", "require-jwt", NAMESPACE, spec=spec)


def documented(name: str, page: str = "gate-with-a-login") -> Object:
    """An object as a page of docs/how-to has it, by its name."""
    path = Path(__file__).resolve().parents[2] / "docs" / "how-to" / f"{page}.md"
    blocks = re.findall(r"^```yaml\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE)
    objects: list[Object] = [yaml.safe_load(block) for block in blocks]
    (found,) = (each for each in objects if each.get("metadata", {}).get("name") == name)
    return found
