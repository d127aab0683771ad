"""Data in the documentation, read by what would read it: daypass, its agent, its client."""

from __future__ import annotations

import json
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from functools import cache, partial
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for
from tools.docs.pages import Block

from daypass import DaypassError
from daypass.agent.config import load_config
from daypass.client.config import CredentialsConfig
from daypass.client.credentials_source import CredentialsSource
from daypass.config import Config, parse
from daypass.config.types import key_of
from daypass.render.envoy import door_listener
from support.fake_door import long_lived_token
from support.output_schema import mistakes_in

DATA = ("yaml", "json", "toml")
OBJECT = "Kubernetes object"
PROMETHEUS = "config of Prometheus"
"""tests/operation/test_monitoring_page.py lets Prometheus read it."""
READ_BY_OTHERS = {
    "kind.x-k8s.io/v1alpha4": "config of kind",
    "install.istio.io/v1alpha1": "values of Istio's chart",
}
"""What is no object of a cluster; tests/packages/test_laptop.py runs the programs that read it."""
_CONFIG_KEYS = frozenset(key_of(name) for name in Config.model_fields)
_LOG_FIELDS = frozenset({*door_listener.LOG_FIELDS, *door_listener.REFUSAL_FIELDS})
_DOMAINS: dict[str | None, dict[str, Any]] = {
    None: {"host": "ekf.example.com", "front": "ingress-nginx", "tls": "outside"},
    "istio": {"host": "ekf.example.com", "front": "istio", "tls": {"secret": "ekf-tls"}},
    "envoy": {"host": "localhost", "front": "envoy"},
    "envoy-gateway": {
        "host": "ekf.example.com", "front": "gateway-api", "gateway": "infra/public",
        "tls": "outside",
    },
}  # fmt: skip
"""What a fragment of daypass.yaml gets as its domain, by the engine of its gate."""

_AGENT = 'credentials = "/etc/daypass/bot.json"\n[[token]]\naudience = "a"\npath = "/run/a"\n'


def data_mistakes(block: Block) -> Iterator[str]:
    """Yield why the reader of a block refuses it (of Kubernetes objects: test_objects.py)."""
    try:
        for document in documents_in(block):
            if check := _CHECKS.get(kind_of(block, document)):
                check(block, document)
    except (ValueError, yaml.YAMLError, DaypassError) as error:
        yield f"{block.place}: {error}"


def kinds_in(block: Block) -> list[str]:
    """Return what a block contains; empty if no reader of a part of it is known."""
    try:
        kinds = {kind_of(block, document) for document in documents_in(block)}
    except (ValueError, yaml.YAMLError):
        return []
    return sorted(kinds) if all(kinds) else []


def documents_in(block: Block) -> list[Any]:
    """Return the documents of a block, each in the place of HERE in its comment."""
    if block.language == "toml":
        return [tomllib.loads(block.code)]
    if block.language == "json":
        try:
            return [json.loads(block.code)]
        except ValueError:
            return [json.loads(line) for line in block.code.splitlines()]
    documents = list(yaml.safe_load_all(block.code))
    if block.inside:
        outer = yaml.safe_load(block.inside)
        return [_filled(outer, document) for document in documents]
    return documents


def _filled(outer: Any, inner: Any) -> Any:
    if outer == "HERE":
        return inner
    if isinstance(outer, list):
        return [_filled(item, inner) for item in outer]
    if isinstance(outer, dict):
        filled = {key: _filled(it, inner) for key, it in outer.items() if key != "HERE"}
        return {**filled, **inner} if "HERE" in outer else filled
    return outer


def kind_of(block: Block, document: Any) -> str:
    """Return what a document of a block is, by its keys; empty if no reader of it is known."""
    if block.language == "toml":
        return "agent.toml"
    if not isinstance(document, dict) or not document:
        return ""
    keys = set(document)
    if block.language == "json":
        if document.get("type") == "daypass":
            return "credentials"
        return "output of daypass up" if "doors" in keys else "log" if keys <= _LOG_FIELDS else ""
    if {"apiVersion", "kind"} <= keys:
        return READ_BY_OTHERS.get(document["apiVersion"], OBJECT)
    if keys <= _CONFIG_KEYS:
        return "daypass.yaml"
    if "scrape_configs" in keys:
        return PROMETHEUS
    if "jobs" in keys:
        return "github-workflows"
    if any(isinstance(value, dict) and "script" in value for value in document.values()):
        return "gitlab-ci"
    return ""


@cache
def _schema(name: str) -> Validator:
    """Return the validator of a service's own schema, as check-jsonschema has it."""
    file = resources.files("check_jsonschema.builtin_schemas") / "vendor" / f"{name}.json"
    schema = json.loads(file.read_text())
    validator: Validator = validator_for(schema)(schema)
    return validator


def _check_ci(kind: str, _: Block, document: dict[Any, Any]) -> None:
    # YAML 1.1 takes the key `on` for true.
    document = {"on" if key is True else key: value for key, value in document.items()}
    if error := next(_schema(kind).iter_errors(document), None):
        raise ValueError(f"{kind}: {error.json_path}: {error.message}")


def _check_config(block: Block, document: dict[str, Any]) -> None:
    # A whole file is read as it is, for errors with the line of the page's block.
    text = block.code if "version: " in block.code else yaml.safe_dump(_completed(document))
    parse(text.encode(), name=block.place, folder=Path("/deployments"))


def _completed(fragment: dict[str, Any]) -> dict[str, Any]:
    gates = [*fragment.get("gates", {}).values()]
    engine = gates[0].get("engine", "istio") if gates else None
    cluster = {"cluster": {"issuer": "https://kubernetes.default.svc"}} if gates else {}
    return {"version": 1, "domains": {"ekf": _DOMAINS[engine]}, **cluster, **fragment}


def _check_agent(block: Block, document: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "agent.toml"
        file.write_text(block.code if "token" in document else _AGENT + block.code)
        load_config(str(file))


def _check_credentials(_: Block, document: dict[str, Any]) -> None:
    """Read credentials with a token in place of one that is shortened for readers."""
    if str(document.get("token")).endswith("..."):
        document = {**document, "token": long_lived_token()}
    content = json.dumps(document).encode()
    CredentialsConfig(CredentialsSource(origin="bot.json", document=content))


def _check_up(_: Block, document: dict[str, Any]) -> None:
    if mistake := mistakes_in(("up", "-o", "json"), None, json.dumps(document)):
        raise ValueError(mistake)


_CHECKS: dict[str, Callable[[Block, Any], None]] = {
    "daypass.yaml": _check_config,
    "agent.toml": _check_agent,
    "credentials": _check_credentials,
    "output of daypass up": _check_up,
    "github-workflows": partial(_check_ci, "github-workflows"),
    "gitlab-ci": partial(_check_ci, "gitlab-ci"),
}
