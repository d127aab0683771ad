"""Keys that only some fronts and gate engines have: where they are accepted and rejected."""

from __future__ import annotations

import jsonschema
import pytest

from daypass.config import json_schema
from unit.config.test_schema import document
from unit.config.texts import MINIMAL, assert_refused, case, read, refuses, short_id

VALIDATOR = jsonschema.Draft202012Validator(json_schema())


def domain(fields: str) -> str:
    return f"version: 1\ndomains:\n  a: {{host: a.example.com, {fields}}}\n"


def gate(fields: str) -> str:
    return f"{MINIMAL}gate: {{audience: a, {fields}}}\n"


ACCEPTED_FRONTS = [
    domain("front: ingress-nginx, className: internal, frontNamespace: edge, tls: outside"),
    domain("front: ingress, className: traefik, tls: {secret: a}"),
    domain("front: gateway-api, className: eg, tls: {issuer: a}"),
    domain("front: gateway-api, gateway: infra/public/https, tls: outside"),
    domain("front: istio, gateway: istio-ingress/public, tls: outside"),
    domain("front: istio, tls: outside") + "door: {certificateIssuer: internal}\n",
    domain("front: istio, tls: outside") + "cluster: {addresses: [10.0.0.1, 'fd00::1']}\n",
]

ACCEPTED_GATES = [
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


def bad_domain(fields: str, place: str, *values: str, more: str = "") -> object:
    return case(domain(fields) + more, place, *values)


def bad_gate(fields: str, place: str, *values: str) -> object:
    return case(gate(fields), place, *values)


REJECTED_FRONTS = [
    bad_domain("front: istio, className: x, tls: outside", "3:53",
               "domains.a.className", "istio", "ingress-nginx", "ingress"),
    bad_domain("front: ingress, gateway: a/b, tls: outside", "3:53",
               "domains.a.gateway", "ingress", "istio", "gateway-api"),
    case("version: 1\ndomains:\n  a: {host: localhost, front: envoy, frontNamespace: x}\n", "3:54",
         "domains.a.frontNamespace", "envoy"),
    bad_domain("front: istio, gateway: a/b, tls: {secret: a}", "3:51",
               "domains.a.gateway", "a/b", "certificate", "tls: outside"),
    bad_domain("front: gateway-api, gateway: a/b, className: x, tls: outside", "3:57",
               "domains.a.gateway", "a/b", "class"),
    bad_domain("front: istio, gateway: public, tls: outside", "3:51",
               "domains.a.gateway", "'public'", "NAMESPACE/NAME"),
    bad_domain("front: istio, gateway: a/b/c/d, tls: outside", "3:51",
               "domains.a.gateway", "'a/b/c/d'"),
    bad_domain("front: istio, gateway: a/-, tls: outside", "3:51", "domains.a.gateway", "'-'"),
    bad_domain("front: istio, tls: outside", "4:23", "cluster.addresses[0]", "'a.example'",
               more="cluster: {addresses: [a.example]}\n"),
    bad_domain("front: istio, tls: outside", "4:23", "cluster.addresses[0]", "'localhost'",
               more="cluster: {addresses: [localhost]}\n"),
    bad_domain("front: istio, tls: outside", "4:27", "door.certificateIssuer", "'A'",
               more="door: {certificateIssuer: A}\n"),
]  # fmt: skip

REJECTED_GATES = [
    bad_gate("engine: envoy, others: login", "7:44", "gate.others", "envoy", "login"),
    bad_gate("engine: envoy-gateway, others: login", "7:52",
             "gate.others", "envoy-gateway", "login", "refuse"),
    bad_gate("engine: envoy, frontLabels: {a: b}", "7:36", "gate.frontLabels", "envoy", "istio"),
    bad_gate("gateway: a/b", "7:30", "gate.gateway", "istio"),
    bad_gate("engine: envoy-gateway, gateway: public", "7:53",
             "gate.gateway", "'public'", "NAMESPACE/NAME"),
    bad_gate("engine: envoy, image: 'a:1'", "7:43", "gate.image", "envoy"),
    bad_gate("image: registry.example.com/daypass", "7:28",
             "gate.image", "'registry.example.com/daypass'"),
    bad_gate("frontLabels: {a: 'b c'}", "7:38", "gate.frontLabels", "'b c'"),
    bad_gate("frontLabels: {}", "7:21", "gate.frontLabels"),
    bad_gate("others: allow", "7:29", "gate.others", "'allow'"),
    bad_gate("engine: envoy, hosts: ['*']", "7:44", "gate.hosts", "envoy"),
    bad_gate("engine: envoy-gateway, hosts: [a.example.com, '*']", "7:67",
             "gate.hosts", "envoy-gateway"),
    bad_gate("hosts: ['*.example.com']", "7:29", "gate.hosts[0]", "'*.example.com'", "'*'"),
]  # fmt: skip

BEYOND_A_SCHEMA = [
    bad_domain("front: istio, gateway: a/b/c, tls: outside", "3:51",
               "domains.a.gateway", "NAMESPACE/NAME"),
    bad_domain("front: istio, tls: outside", "4:33", "cluster.addresses[1]", "'10.0.0.1'",
               more="cluster: {addresses: [10.0.0.1, 10.0.0.1]}\n"),
    bad_domain("front: istio, tls: outside", "4:23", "cluster.addresses[0]", "fd00::1",
               more="cluster: {addresses: ['FD00::1']}\n"),
    bad_gate("remember: 2h", "7:31", "gate.remember", "'2h'"),
    bad_gate("closeAfter: 2s", "7:33", "gate.closeAfter", "'2s'"),
    bad_gate("frontLabels: {-a: b}", "7:35", "gate.frontLabels", "'-a'"),
]  # fmt: skip


@pytest.mark.parametrize("text", [*ACCEPTED_FRONTS, *ACCEPTED_GATES], ids=short_id)
def test_parser_and_schema_accept_keys_where_they_apply(text: str) -> None:
    read(text)
    VALIDATOR.validate(document(text))


@refuses(*REJECTED_FRONTS, *REJECTED_GATES)
def test_parser_and_schema_reject_keys_elsewhere(
    text: str, place: str, values: tuple[str, ...]
) -> None:
    assert_refused(text, place, values)
    assert not VALIDATOR.is_valid(document(text))


@refuses(*BEYOND_A_SCHEMA)
def test_only_the_parser_rejects_what_a_schema_cannot_express(
    text: str, place: str, values: tuple[str, ...]
) -> None:
    assert_refused(text, place, values)


def test_omitted_gate_keys_have_defaults() -> None:
    found = read(gate("check: jwt")).gate
    assert found is not None
    assert (found.others, found.remember_seconds, found.close_after_seconds) == ("refuse", 60, 600)
    assert (found.front_namespace, found.front_labels, found.image) == (None, None, None)
