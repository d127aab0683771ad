"""The JSON Schema, and its agreement with the parser."""

import json
from collections.abc import Iterator
from typing import Any

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
    refusal,
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
    MINIMAL.replace("istio", "ingress-nginx").replace("tls:", "direct: true\n    tls:"),
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
    f"{MINIMAL}metrics: {{prometheusNamespaces: [a], serviceMonitor: true, dashboard: true}}",
    MINIMAL + "local: {metrics: '127.0.0.1:9002'}\n",
    gate("hosts: ['*']"),
    gate("engine: istio, login: keep, hosts: [ekf.example.com, '*']"),
]


@pytest.mark.parametrize("text", GOOD, ids=short_id)
def test_the_schema_accepts_what_the_parser_accepts(text: str) -> None:
    read(text)
    VALIDATOR.validate(document(text))


Values = dict[str, Any]


def foreign_keys() -> Iterator[Any]:
    """For each kind of domain and gate: a valid file, the same with a key of other kinds, where
    that key is, and which kinds they are.
    """
    schema = json_schema()
    (domains,) = schema["properties"]["domains"]["patternProperties"].values()
    (gates,) = schema["properties"]["gates"]["patternProperties"].values()
    for path, union, selector in (
        ("domains.ekf", domains, "front"),
        ("gates.default", gates, "engine"),
    ):
        kinds = [schema["$defs"][each["$ref"].rpartition("/")[2]] for each in union["oneOf"]]
        fields = {kind["properties"][selector]["const"]: kind["properties"] for kind in kinds}
        every = {key: field for own in fields.values() for key, field in own.items()}
        for kind, (name, own) in zip(kinds, fields.items(), strict=True):
            section = {key: some_value(own[key]) for key in kind["required"]}
            for key in [key for key in every if key not in own]:
                wrong = {**section, key: some_value(every[key])}
                owners = [owner for owner, keys in fields.items() if key in keys]
                yield pytest.param(
                    file_with(path, section), file_with(path, wrong), f"{path}.{key}", owners,
                    id=f"{name}: {key}",
                )  # fmt: skip


def some_value(field: Values) -> Any:
    found = [field[word] for word in ("const", "default") if word in field]
    return [*found, *field.get("examples", ())][0]


def file_with(path: str, section: Values) -> Values:
    values: Values = document(MINIMAL)
    if path != "gates.default":
        return values | {"domains": {"ekf": section}}
    is_local = section.get("engine") == "envoy"
    return {**(document(ONE_MACHINE) if is_local else values), "gates": {"default": section}}


@pytest.mark.parametrize(("right", "wrong", "place", "owners"), list(foreign_keys()))
def test_a_key_of_another_kind_is_refused_with_the_kinds_that_have_it(
    right: Values, wrong: Values, place: str, owners: list[str]
) -> None:
    VALIDATOR.validate(right)
    read(json.dumps(right))
    assert not VALIDATOR.is_valid(wrong)
    text, key = json.dumps(wrong), place.rpartition(".")[2]
    (problem,) = refusal(text).problems
    assert (problem.line, problem.column) == (1, text.rindex(f'"{key}": ') + 1)
    assert place in problem.message
    assert f"(it is for {', '.join(owners)})" in problem.hint
