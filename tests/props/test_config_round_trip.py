"""A config that is written and read again is the same."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from daypass._core.duration import format_duration, parse_duration
from daypass._core.k8s_names import LABEL, LABEL_VALUE
from daypass.config import Config, json_schema, parse
from daypass.config.types import HEADER, format_size
from daypass.deploy.openings import ended, openings, widened


class Quoting(yaml.SafeDumper):
    """Quotes every text that holds a digit: PyYAML writes YAML 1.1, where `0E0` is a text; in YAML
    1.2, which we read, it is a number."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = '"' if any(character.isdigit() for character in text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


Quoting.add_representer(str, _text)

VALIDATOR = jsonschema.Draft202012Validator(json_schema())

labels = st.from_regex(LABEL, fullmatch=True).filter(lambda text: len(text) <= 20)
hosts = (
    st.lists(labels, min_size=2, max_size=4)
    .map(".".join)
    .filter(lambda host: not host.rpartition(".")[2].isdigit())
)
audiences = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1).filter(
    lambda text: not set(text) & set("\"'`\\")
)
headers = st.from_regex(HEADER, fullmatch=True).map(lambda name: f"x-{name}"[:64].rstrip("-"))
certificates = st.one_of(
    st.builds(lambda name: {"secret": name}, labels),
    st.builds(lambda name: {"issuer": name}, labels),
    st.just("outside"),
)
lifetimes = st.integers(600, 2**32)
unit_of_memory = st.sampled_from(["M", "G", "Mi", "Gi"])
AMOUNTS = ("requests", "limits")
sizes = st.integers(1024, 65_536)
addresses = st.builds(
    lambda name, port: f"{name}:{port}",
    st.one_of(
        st.just("localhost"),
        st.ip_addresses(v=4).map(str),
        st.ip_addresses(v=6).map(lambda address: f"[{address}]"),
    ),
    st.integers(0, 65_535),
)

cores = st.one_of(st.integers(1, 1024), st.integers(1, 10**6).map(lambda number: f"{number}m"))
memory = st.builds(lambda number, unit: f"{number}{unit}", st.integers(2, 999), unit_of_memory)
amounts = st.fixed_dictionaries({}, optional={"cpu": cores, "memory": memory})
label_values = st.from_regex(f"({LABEL_VALUE})?", fullmatch=True)
pod_settings = st.fixed_dictionaries(
    {},
    optional={
        "resources": st.one_of(*(st.builds(lambda it, of=of: {of: it}, amounts) for of in AMOUNTS)),
        "nodeSelector": st.dictionaries(labels, label_values, max_size=3),
        "labels": st.dictionaries(labels, label_values, max_size=3),
        "tolerations": st.lists(
            st.fixed_dictionaries(
                {"key": labels}, optional={"value": label_values, "effect": st.just("NoSchedule")}
            ),
            max_size=3,
        ),
        "imagePullSecrets": st.lists(
            st.builds(lambda name: {"name": name}, labels),
            max_size=3,
            unique_by=lambda it: it["name"],
        ),
    },
)


@st.composite
def domains(draw: st.DrawFn) -> dict[str, Any]:
    names = draw(st.lists(labels, min_size=1, max_size=4, unique=True))
    public = draw(st.lists(hosts, min_size=len(names), max_size=len(names), unique=True))
    fronts = st.sampled_from(["ingress-nginx", "ingress", "istio", "gateway-api"])
    return {
        name: {"host": host, "front": draw(fronts), "tls": draw(certificates)}
        for name, host in zip(names, public, strict=True)
    }


ENGINES: list[dict[str, str]] = [
    {},
    {"engine": "istio"},
    {"engine": "envoy-gateway", "gateway": "infra/public"},
    {"engine": "envoy"},
]


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    allowed = draw(st.lists(audiences, min_size=1, max_size=5, unique=True))
    document: dict[str, Any] = {"version": 1, "domains": draw(domains())}
    optional: dict[str, st.SearchStrategy[Any]] = {
        "cluster": st.fixed_dictionaries(
            {},
            optional={
                "server": st.builds(lambda host: f"https://{host}", hosts),
                "serverName": hosts,
                "certificateAuthority": labels,
            },
        ),
        "policy": st.fixed_dictionaries(
            {
                "audiences": st.just(allowed),
                "longestLifetime": lifetimes | lifetimes.map(format_duration),
                "mode": st.sampled_from(["audit", "warn", "deny"]),
            }
        ),
        "gate": st.fixed_dictionaries(
            {"audience": st.sampled_from(allowed)},
            optional={
                "hosts": st.lists(hosts, min_size=1, max_size=3, unique=True),
                "bound": st.sampled_from([["Secret"], ["none", "Secret"]]),
                "headers": st.fixed_dictionaries({"user": headers}),
            },
        ),
        "door": pod_settings,
        "limits": st.fixed_dictionaries({"requestBody": sizes | sizes.map(format_size)}),
        "local": st.fixed_dictionaries({"door": addresses}),
    }
    for key, strategy in optional.items():
        if draw(st.booleans()):
            document[key] = draw(strategy)
    if "gate" in document:
        document["gate"] |= (engine := draw(st.sampled_from(ENGINES)))
        if engine.get("engine") == "envoy":  # for one machine
            document["domains"] = {
                name: {"host": domain["host"], "front": "envoy"}
                for name, domain in document["domains"].items()
            }
    return document


def read(document: dict[str, Any]) -> Config:
    text = yaml.dump(document, Dumper=Quoting, sort_keys=False, allow_unicode=True, width=10_000)
    return parse(text.encode(), name="daypass.yaml", folder=Path("/x"))


@given(documents())
def test_a_valid_config_survives_a_round_trip(document: dict[str, Any]) -> None:
    config = read(document)
    written = config.model_dump(mode="json", exclude_none=True)
    assert read(written) == config
    VALIDATOR.validate(document)
    VALIDATOR.validate(written)


@settings(max_examples=20)
@given(documents())
def test_a_config_opens_nothing_and_ends_nothing_once_it_is_stored(
    document: dict[str, Any],
) -> None:
    now = openings(read(document))
    stored = json.loads(json.dumps(now))
    assert (widened(stored, now), ended(stored, now)) == ([], [])


@given(lifetimes)
def test_a_duration_survives_a_round_trip(seconds: int) -> None:
    assert parse_duration(format_duration(seconds)) == seconds
