"""Which requests a route of others captures."""

from __future__ import annotations

import pytest

from daypass.render.fronts.routes import RouteKind, ServedRoute


@pytest.mark.parametrize(
    ("kind", "path", "captures"),
    [
        ("prefix", "/kubernetes", True),
        ("exact", "/kubernetes", True),
        ("prefix", "/kubernetes/api", True),
        ("prefix", "/", False),
        ("prefix", "/kube", False),
        ("prefix", "/kubernetesx", False),
        ("text", "/kube", True),
        ("text", "/", False),
        ("pattern", "/kubernetes/(api/v1/namespaces/[^/]+/serviceaccounts/[^/]+/token)", True),
        ("pattern", "/KUBERNETES(/|$)(.*)", True),
        ("pattern", "/rok(/.*)", False),
        ("pattern", "/(", False),
    ],
)
def test_a_route_captures_the_paths_its_engine_sends_to_it(
    kind: RouteKind, path: str, *, captures: bool
) -> None:
    route = ServedRoute(host="ekf.example.com", path=path, kind=kind, owner="Ingress a/b")
    assert route.captures("/kubernetes") is captures
