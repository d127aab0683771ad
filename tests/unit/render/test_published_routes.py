"""Which requests a route of others takes."""

from __future__ import annotations

import pytest

from daypass.render.fronts.routes import PublishedRoute, RouteKind


@pytest.mark.parametrize(
    ("kind", "path", "takes"),
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
def test_a_route_takes_the_paths_its_engine_sends_to_it(
    kind: RouteKind, path: str, *, takes: bool
) -> None:
    route = PublishedRoute(host="ekf.example.com", path=path, kind=kind, owner="Ingress a/b")
    assert route.takes("/kubernetes") is takes
