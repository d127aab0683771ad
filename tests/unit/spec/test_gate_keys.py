"""The keys that say where the gate is, and what it does with others' requests."""

from __future__ import annotations

import jsonschema
import pytest

from daypass.spec import json_schema
from unit.spec.test_schema import document
from unit.spec.texts import MINIMAL, read, said

VALIDATOR = jsonschema.Draft202012Validator(json_schema())


def gate(fields: str) -> str:
    return f"{MINIMAL}gate: {{audience: a, {fields}}}\n"


@pytest.mark.parametrize(
    "text",
    [
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
    ],
)
def test_parser_and_schema_take_them_where_they_make_sense(text: str) -> None:
    read(text)
    VALIDATOR.validate(document(text))


@pytest.mark.parametrize(
    ("text", "why"),
    [
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
    ],
)  # fmt: skip
def test_both_refuse_them_elsewhere_and_the_parser_says_why(text: str, why: str) -> None:
    (line,) = said(text)
    assert why in line
    assert not VALIDATOR.is_valid(document(text))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (gate("remember: 2h"), "to be asked again within an hour"),
        (gate("closeAfter: 2s"), "a watch is silent for longer"),
        (gate("frontLabels: {-a: b}"), "'-a' is no name of a label"),
    ],
)
def test_some_of_it_the_parser_says_alone(text: str, why: str) -> None:
    (line,) = said(text)
    assert why in line


def test_what_is_left_out_is_the_usual() -> None:
    found = read(gate("check: jwt")).gate
    assert found is not None
    assert (found.others, found.remember_seconds, found.close_after_seconds) == ("refuse", 60, 600)
    assert (found.front_namespace, found.front_labels, found.image) == (None, None, None)
