"""The keys that say where front and gate are, who reaches whom, and what the gate does."""

from __future__ import annotations

import jsonschema
import pytest

from daypass.spec import json_schema
from unit.spec.test_schema import document
from unit.spec.texts import MINIMAL, read, said

VALIDATOR = jsonschema.Draft202012Validator(json_schema())


def domain(fields: str) -> str:
    return f"version: 1\ndomains:\n  a: {{host: a.example.com, {fields}}}\n"


def gate(fields: str) -> str:
    return f"{MINIMAL}gate: {{audience: a, {fields}}}\n"


FRONTS_TAKEN = [
    domain("front: ingress-nginx, className: internal, frontNamespace: edge, tls: outside"),
    domain("front: ingress, className: traefik, tls: {secret: a}"),
    domain("front: gateway-api, className: eg, tls: {issuer: a}"),
    domain("front: gateway-api, gateway: infra/public/https, tls: outside"),
    domain("front: istio, gateway: istio-ingress/public, tls: outside"),
    domain("front: istio, tls: outside") + "door: {certificateIssuer: internal}\n",
    domain("front: istio, tls: outside") + "cluster: {addresses: [10.0.0.1, 'fd00::1']}\n",
]

GATES_TAKEN = [
    gate("others: login"),
    gate("engine: istio, others: login, frontNamespace: edge, frontLabels: {app: gw}"),
    gate("frontLabels: {example.com/role: Edge_1}"),
    gate("engine: envoy-gateway, gateway: infra/public, check: both, replicas: 3"),
    gate("engine: envoy-gateway, others: refuse"),
    gate("image: 'registry.example.com:5000/team/daypass:0.1.0'"),
    gate(f"image: 'daypass@sha256:{'0' * 64}'"),
    gate("engine: envoy, remember: 5s, closeAfter: 1h"),
    gate("hosts: ['*']"),
    gate("engine: istio, others: login, hosts: [ekf.example.com, '*']"),
]

FRONTS_REFUSED = [
    (domain("front: istio, className: x, tls: outside"),
     "className: the front istio has none; leave it out: it is for ingress-nginx, ingress,"),
    (domain("front: ingress, gateway: a/b, tls: outside"), "the front ingress has none"),
    ("version: 1\ndomains:\n  a: {host: localhost, front: envoy, frontNamespace: x}\n",
     "frontNamespace: the front envoy has none"),
    (domain("front: istio, gateway: a/b, tls: {secret: a}"),
     "gateway: the Gateway a/b has its certificate already; write tls: outside"),
    (domain("front: gateway-api, gateway: a/b, className: x, tls: outside"),
     "gateway: the Gateway a/b has its class already"),
    (domain("front: istio, gateway: public, tls: outside"),
     "gateway: 'public' names no Gateway; write NAMESPACE/NAME"),
    (domain("front: istio, gateway: a/b/c/d, tls: outside"), "names no Gateway"),
    (domain("front: istio, gateway: a/-, tls: outside"), "'-' is no name of a Kubernetes"),
    (domain("front: istio, tls: outside") + "cluster: {addresses: [a.example]}\n",
     "cluster.addresses[0]: 'a.example' is no IP address"),
    (domain("front: istio, tls: outside") + "cluster: {addresses: [localhost]}\n",
     "'localhost' is no IP address"),
    (domain("front: istio, tls: outside") + "door: {certificateIssuer: A}\n",
     "door.certificateIssuer: 'A' is no name"),
]  # fmt: skip

GATES_REFUSED = [
    (gate("engine: envoy, others: login"), "others: the engine envoy leaves nothing to a"),
    (gate("engine: envoy-gateway, others: login"), "leaves nothing to a login; write refuse"),
    (gate("engine: envoy, frontLabels: {a: b}"),
     "frontLabels: the engine envoy has none; leave it out: it is for istio"),
    (gate("gateway: a/b"), "gateway: the engine istio has none"),
    (gate("engine: envoy-gateway, gateway: public"), "names no Gateway"),
    (gate("engine: envoy, image: 'a:1'"), "image: the engine envoy has none"),
    (gate("image: registry.example.com/daypass"), "is no image with a version"),
    (gate("frontLabels: {a: 'b c'}"), "'b c' is no value of a label"),
    (gate("frontLabels: {}"), "frontLabels"),
    (gate("others: allow"), "others"),
    (gate("engine: envoy, hosts: ['*']"), "engine envoy guards no host that has no name"),
    (gate("engine: envoy-gateway, hosts: [a.example.com, '*']"), "it refuses what nobody"),
    (gate("hosts: ['*.example.com']"), "'*.example.com' is a wildcard; write each host itself"),
]  # fmt: skip

BEYOND_A_SCHEMA = [
    (domain("front: istio, gateway: a/b/c, tls: outside"), "has no named listener"),
    (domain("front: istio, tls: outside") + "cluster: {addresses: [10.0.0.1, 10.0.0.1]}\n",
     "'10.0.0.1' is listed twice"),
    (domain("front: istio, tls: outside") + "cluster: {addresses: ['FD00::1']}\n",
     "is not how that address is written; write fd00::1"),
    (gate("remember: 2h"), "to be asked again within an hour"),
    (gate("closeAfter: 2s"), "a watch is silent for longer"),
    (gate("frontLabels: {-a: b}"), "'-a' is no name of a label"),
]  # fmt: skip


@pytest.mark.parametrize("text", [*FRONTS_TAKEN, *GATES_TAKEN])
def test_parser_and_schema_take_them_where_they_make_sense(text: str) -> None:
    read(text)
    VALIDATOR.validate(document(text))


@pytest.mark.parametrize(("text", "why"), [*FRONTS_REFUSED, *GATES_REFUSED])
def test_both_refuse_them_elsewhere_and_the_parser_says_why(text: str, why: str) -> None:
    (line,) = said(text)
    assert why in line
    assert not VALIDATOR.is_valid(document(text))


@pytest.mark.parametrize(("text", "why"), BEYOND_A_SCHEMA)
def test_some_of_it_the_parser_says_alone(text: str, why: str) -> None:
    (line,) = said(text)
    assert why in line


def test_what_is_left_out_is_the_usual() -> None:
    found = read(gate("check: jwt")).gate
    assert found is not None
    assert (found.others, found.remember_seconds, found.close_after_seconds) == ("refuse", 60, 600)
    assert (found.front_namespace, found.front_labels, found.image) == (None, None, None)
