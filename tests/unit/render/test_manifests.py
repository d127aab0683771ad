"""Properties of all rendered manifests, whatever the config."""

from __future__ import annotations

import re
from typing import Any

import pytest

from daypass._core.kubernetes.objects import Object
from daypass.render import RenderError
from daypass.render.cluster_facts import ClusterFacts
from daypass.render.manifests import MARK, render_objects
from support.closure import assert_closed, identity
from support.fast_yaml import load_all
from support.manifest_cases import CASES, FRONTS, Case
from support.messages import raises
from support.rendered import config_of, only

OLD = frozenset(
    {
        "gateway.networking.k8s.io/v1alpha3/BackendTLSPolicy",
        "networking.istio.io/v1beta1/DestinationRule",
        "networking.istio.io/v1beta1/VirtualService",
    }
)
"""What a cluster of some years ago serves, of the kinds that changed."""
NGINX = "host: a.example, front: ingress-nginx, tls: {secret: a}"


def rendered(text: str, **facts: Any) -> list[Object]:
    return render_objects(config_of(text), ClusterFacts(**facts))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_tree_holds_each_object_once_and_no_secret_and_each_reference_resolves(
    case: Case,
) -> None:
    objects = case.objects()
    tree = case.tree()
    assert all(text.startswith(MARK) for text in tree.values())
    texts = [text for path, text in tree.items() if "kustomization" not in path]
    found = load_all("---\n".join(texts))
    assert len({identity(o) for o in objects}) == len(objects)
    assert sorted(found, key=identity) == sorted(objects, key=identity)
    assert "PRIVATE KEY" not in str(objects)
    for secret in (o for o in objects if o["kind"] == "Secret"):
        assert list(secret["data"]) == ["ca.crt"]  # the CA for ingress-nginx
    assert_closed(case.config, objects)  # or it is a listed prerequisite


def test_no_front_serves_or_redirects_plain_http() -> None:
    objects = CASES["fronts"].objects()
    (server,) = only([o for o in objects if "istio" in o["apiVersion"]], "Gateway")["spec"][
        "servers"
    ]
    assert server["port"]["protocol"] == "HTTPS"
    (listener,) = only([o for o in objects if "k8s" in o["apiVersion"]], "Gateway")["spec"][
        "listeners"
    ]
    (parent,) = only(objects, "HTTPRoute")["spec"]["parentRefs"]
    assert (listener["protocol"], parent["sectionName"]) == ("HTTPS", listener["name"])
    annotations = only(objects, "Ingress", "daypass-domain-ekf")["metadata"]["annotations"]
    redirects = {k: v for k, v in annotations.items() if k.endswith("ssl-redirect")}
    assert set(redirects.values()) == {"false"}
    assert len(redirects) == 2


def test_ingress_nginx_verifies_the_door_by_ca_and_name() -> None:
    objects = CASES["fronts"].objects()
    annotations = only(objects, "Ingress", "daypass-domain-ekf")["metadata"]["annotations"]
    nginx = "nginx.ingress.kubernetes.io/proxy-ssl-"
    assert {k: v for k, v in annotations.items() if k.startswith(nginx)} == {
        f"{nginx}verify": "on",
        f"{nginx}verify-depth": "2",
        f"{nginx}secret": "daypass/daypass-door-tls",
        f"{nginx}name": "daypass-door.daypass.svc",
        f"{nginx}server-name": "on",
    }


def test_api_versions_depend_on_what_the_cluster_serves() -> None:
    old = {o["kind"]: o["apiVersion"] for o in rendered(FRONTS, served=OLD)}
    new = {o["kind"]: o["apiVersion"] for o in rendered(FRONTS, served=frozenset({"v1/Pod"}))}
    assert old["BackendTLSPolicy"] == "gateway.networking.k8s.io/v1alpha3"
    assert old["DestinationRule"] == old["VirtualService"] == "networking.istio.io/v1beta1"
    assert new["BackendTLSPolicy"] == "gateway.networking.k8s.io/v1"
    assert new["DestinationRule"] == "networking.istio.io/v1"


@pytest.mark.parametrize(
    ("domain", "fact"),
    [
        ("host: localhost, front: envoy", "domain"),
        ("host: a.example, front: istio, tls: outside", "domains.a"),
        ("host: a.example, front: gateway-api, tls: {secret: a}", "domains.a"),
        ("host: a.example, front: gateway-api, className: x, tls: outside", "domains.a"),
        (f"{NGINX}}}\ndoor: {{namespace: default", "default"),
        (f"{NGINX}}}\ndoor: {{namespace: ingress-nginx", "ingress-nginx"),
        (
            f"{NGINX}}}\ngates: {{default: {{audience: a}}}}\ndoor: {{namespace: istio-system",
            "istio-system",
        ),
    ],
)
def test_an_incomplete_config_is_rejected_with_a_hint(domain: str, fact: str) -> None:
    with raises(RenderError, match=re.escape(fact)) as refused:
        rendered(f"version: 1\ndomains:\n  a: {{{domain}}}\n")
    assert refused.value.hint
    assert refused.value.exit_code == 2
