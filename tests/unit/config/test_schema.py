"""The JSON Schema, and its agreement with the parser."""

import jsonschema
import pytest

from daypass.config import json_schema
from unit.config.texts import (
    DESIGN,
    MINIMAL,
    ONE_MACHINE,
    VALIDATOR,
    document,
    domain,
    gate,
    read,
    short_id,
)


def test_the_schema_is_valid_2020_12() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())
    assert json_schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_every_key_has_a_title_or_reference_and_a_description() -> None:
    described = json_schema()
    for section in (described, *described["$defs"].values()):
        assert section["additionalProperties"] is False
        for key, field in section["properties"].items():
            assert field.get("description"), key
            assert "title" in field or "$ref" in field, key
            assert "\n" not in field["description"]


def test_every_example_and_default_in_the_schema_is_valid() -> None:
    described = json_schema()
    for section in (described, *described["$defs"].values()):
        for field in section["properties"].values():
            rule = {"$defs": described["$defs"], **field}
            values = list(field.get("examples", []))
            values += [field["default"]] if "default" in field else []
            for value in values:
                jsonschema.Draft202012Validator(rule).validate(value)


GOOD = [
    MINIMAL,
    DESIGN,
    "version: 1\ndomains:\n  l: {host: localhost, front: envoy}\n",
    "version: 1\ndomains:\n  l: {host: '::1', front: envoy,"
    " tls: {files: {certificate: a, key: b}}}\n",
    MINIMAL + "policy: {audiences: [a], longestLifetime: 3600, exempt: [me@example.com]}\n",
    MINIMAL + "local: {door: '[::1]:0', upstream: 'https://a.example:1'}\n",
    MINIMAL + "cluster: {server: 'https://[fd00::1]:6443', serverName: a}\n",
    domain("front: ingress-nginx, className: internal, frontNamespace: edge, tls: outside"),
    domain("front: ingress, className: traefik, tls: {secret: a}"),
    domain("front: gateway-api, className: eg, tls: {issuer: a}"),
    domain("front: gateway-api, gateway: infra/public/https, tls: outside"),
    domain("front: istio, gateway: istio-ingress/public, tls: outside"),
    domain("front: istio, tls: outside") + "door: {certificateIssuer: internal}\n",
    domain("front: istio, tls: outside") + "cluster: {addresses: [10.0.0.1, 'fd00::1']}\n",
    gate("login: keep"),
    gate("engine: istio, login: keep, gatewayNamespace: edge, gatewayLabels: {app: gw}"),
    gate("gatewayLabels: {example.com/role: Edge_1}"),
    gate("engine: envoy-gateway, gateway: infra/public, check: review"),
    gate("engine: envoy-gateway, gateway: infra/public/https"),
    f"{MINIMAL}gatePods: {{image: 'registry.example.com:5000/team/daypass:0.1.0', replicas: 3}}",
    f"{MINIMAL}gatePods: {{image: 'daypass@sha256:{'0' * 64}'}}",
    f"{ONE_MACHINE}gates: {{default: {{audience: a, engine: envoy, cacheTtl: 5s}}}}",
    f"{MINIMAL}watch: {{closeAfter: 1h}}",
    f"{MINIMAL}metrics: {{prometheusNamespaces: [m], podMonitor: true, labels: {{release: a}}}}",
    f"{MINIMAL}metrics: {{prometheusNamespaces: [a], podMonitor: true, dashboard: true}}",
    MINIMAL + "local: {metrics: '127.0.0.1:9002'}\n",
    gate("hosts: ['*']"),
    gate("engine: istio, login: keep, hosts: [ekf.example.com, '*']"),
]


@pytest.mark.parametrize("text", GOOD, ids=short_id)
def test_the_schema_accepts_what_the_parser_accepts(text: str) -> None:
    read(text)
    VALIDATOR.validate(document(text))
