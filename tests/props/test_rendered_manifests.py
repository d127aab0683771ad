"""For any domains, object names are unique and references resolve."""

from __future__ import annotations

import json
import re
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from daypass._core.k8s_names import LABEL
from daypass.render.cluster_facts import ClusterFacts
from daypass.render.manifests import render_objects, render_tree
from daypass.render.yaml import stream
from support.closure import assert_closed, identity
from support.rendered import config_of

# k8s.io/apimachinery/pkg/util/validation: the limit of 63 holds for labels only.
DNS_1123_SUBDOMAIN = r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"

names = st.from_regex(LABEL, fullmatch=True) | st.sampled_from(
    ["door", "tls", "door-tls", "x" * 63]
)
subdomains = st.from_regex(LABEL, fullmatch=True)
spaces = st.none() | st.sampled_from(["edge", "infra"])
certificates = st.builds(
    lambda way, name: {way: name}, st.sampled_from(["secret", "issuer"]), names
)


@st.composite
def domains(draw: st.DrawFn) -> dict[str, Any]:
    front = draw(st.sampled_from(["ingress-nginx", "ingress", "istio", "gateway-api"]))
    domain: dict[str, Any] = {
        "front": front,
        "dns": draw(st.sampled_from(["external-dns", "none"])),
    }
    domain["frontNamespace"] = draw(spaces)
    there = draw(st.booleans())
    if front in ("istio", "gateway-api") and there:
        domain |= {"gateway": draw(st.sampled_from(["infra/a", "infra/a.b"])), "tls": "outside"}
    elif front in ("ingress", "ingress-nginx") and there:
        domain |= {"tls": "outside"}
    else:
        domain["tls"] = draw(certificates)
        domain["className"] = None if front == "istio" else draw(subdomains)
    if front == "ingress-nginx":
        domain["direct"] = draw(st.booleans())
    return {key: value for key, value in domain.items() if value is not None}


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    chosen = draw(st.lists(names, min_size=1, max_size=5, unique=True))
    found = {name: draw(domains()) | {"host": f"h{i}.example"} for i, name in enumerate(chosen)}
    door = {"certificateIssuer": draw(subdomains)} if draw(st.booleans()) else {}
    return {"version": 1, "domains": found, "door": door}


@settings(max_examples=30)
@given(configs())
def test_rendered_objects_are_complete_and_uniquely_named(config: dict[str, Any]) -> None:
    read = config_of(json.dumps(config))
    objects = render_objects(read, ClusterFacts())
    assert len({identity(value) for value in objects}) == len(objects)
    assert_closed(read, objects)
    for value in objects:
        assert re.fullmatch(DNS_1123_SUBDOMAIN, value["metadata"]["name"])
    assert list(yaml.safe_load_all(stream(objects))) == objects
    tree = render_tree(read, ClusterFacts())
    lists = [path for path in tree if path.endswith("kustomization.yaml")]
    assert len(tree) - len(lists) == len(objects)
