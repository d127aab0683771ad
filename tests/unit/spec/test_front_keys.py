"""The keys that say where a front is, and who reaches whom."""

from __future__ import annotations

import jsonschema
import pytest

from daypass.spec import json_schema
from unit.spec.test_schema import document
from unit.spec.texts import read, said

VALIDATOR = jsonschema.Draft202012Validator(json_schema())


def domain(fields: str) -> str:
    return f"version: 1\ndomains:\n  a: {{host: a.example.com, {fields}}}\n"


@pytest.mark.parametrize(
    "text",
    [
        domain("front: ingress-nginx, className: internal, frontNamespace: edge, tls: outside"),
        domain("front: ingress, className: traefik, tls: {secret: a}"),
        domain("front: gateway-api, className: eg, tls: {issuer: a}"),
        domain("front: gateway-api, gateway: infra/public/https, tls: outside"),
        domain("front: istio, gateway: istio-ingress/public, tls: outside"),
        domain("front: istio, tls: outside") + "door: {certificateIssuer: internal}\n",
        domain("front: istio, tls: outside") + "cluster: {addresses: [10.0.0.1, 'fd00::1']}\n",
    ],
)
def test_parser_and_schema_take_them_where_they_make_sense(text: str) -> None:
    read(text)
    VALIDATOR.validate(document(text))


@pytest.mark.parametrize(
    ("text", "why"),
    [
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
    ],
)  # fmt: skip
def test_both_refuse_them_elsewhere_and_the_parser_says_why(text: str, why: str) -> None:
    (line,) = said(text)
    assert why in line
    assert not VALIDATOR.is_valid(document(text))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (domain("front: istio, gateway: a/b/c, tls: outside"), "has no named listener"),
        (domain("front: istio, tls: outside") + "cluster: {addresses: [10.0.0.1, 10.0.0.1]}\n",
         "'10.0.0.1' is listed twice"),
        (domain("front: istio, tls: outside") + "cluster: {addresses: ['FD00::1']}\n",
         "is not how that address is written; write fd00::1"),
    ],
)  # fmt: skip
def test_some_of_it_the_parser_says_alone(text: str, why: str) -> None:
    (line,) = said(text)
    assert why in line
