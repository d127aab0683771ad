"""Data in the documentation, read by what would read it: daypass, its agent, its client."""

from __future__ import annotations

import json
import tempfile
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for
from tools.docs.pages import Block

from daypass import DaypassError
from daypass._core.clock import SYSTEM_CLOCK
from daypass.agent.config import load_config
from daypass.client.config import CredentialsSource, parse_source
from daypass.config import parse
from daypass.config.models import Config
from daypass.config.types import key_of
from support.fake_door import long_lived_token

DATA = ("yaml", "json", "toml")
_CONFIG_KEYS = frozenset(key_of(name) for name in Config.model_fields)
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
    """Yield what is wrong with a block of data, except Kubernetes objects."""
    try:
        if block.language == "yaml":
            yield from _yaml_mistakes(block)
        elif block.language == "toml":
            _check_toml(block)
        elif block.language == "json":
            _check_json(block)
    except (ValueError, yaml.YAMLError, DaypassError) as error:
        yield f"{block.place}: {error}"


def documents_in(block: Block) -> list[Any]:
    """Return the documents of a YAML block, each in the place of HERE in its comment."""
    documents = list(yaml.safe_load_all(block.code))
    if block.directive is not None and block.directive.word == "inside":
        (outer,) = yaml.safe_load_all(block.directive.detail)
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


def kind_of(document: Any) -> str:
    """Return what a document of YAML is, by its keys; empty if no reader of it is known."""
    if not isinstance(document, dict):
        return ""
    keys = set(document)
    if {"apiVersion", "kind"} <= keys:
        return "Kubernetes object"
    if keys and keys <= _CONFIG_KEYS:
        return "daypass.yaml"
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


def _ci_mistakes(kind: str, document: dict[Any, Any]) -> Iterator[str]:
    # YAML 1.1 takes the key `on` for true.
    document = {"on" if key is True else key: value for key, value in document.items()}
    for error in _schema(kind).iter_errors(document):
        yield f"{kind}: {error.json_path}: {error.message}"


def _yaml_mistakes(block: Block) -> Iterator[str]:
    for document in documents_in(block):
        kind = kind_of(document)
        if kind == "daypass.yaml":
            # A whole file is read as it is, for errors with the line of the page's block.
            text = block.code if "version: " in block.code else yaml.safe_dump(_completed(document))
            parse(text.encode(), name=block.place, folder=Path("/deployments"))
        elif kind in ("github-workflows", "gitlab-ci"):
            yield from (f"{block.place}: {line}" for line in _ci_mistakes(kind, document))
        elif not kind and not block.not_run:
            yield f"{block.place}: no reader of this YAML is known: see `docs: inside`"


def _completed(fragment: dict[str, Any]) -> dict[str, Any]:
    engine = fragment.get("gate", {}).get("engine")
    if engine is None and "gate" in fragment:
        engine = "istio"
    cluster = (
        {"cluster": {"issuer": "https://kubernetes.default.svc"}} if "gate" in fragment else {}
    )
    return {"version": 1, "domains": {"ekf": _DOMAINS[engine]}, **cluster, **fragment}


def _check_toml(block: Block) -> None:
    value = tomllib.loads(block.code)
    text = block.code if "token" in value else _AGENT + block.code
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "agent.toml"
        file.write_text(text)
        load_config(str(file))


def _check_json(block: Block) -> None:
    try:
        documents = [json.loads(block.code)]
    except ValueError:
        documents = [json.loads(line) for line in block.code.splitlines()]
    for document in documents:
        if isinstance(document, dict) and document.get("type") == "daypass":
            _check_credentials(document)


def _check_credentials(document: dict[str, Any]) -> None:
    """Read credentials with a token in place of one that is shortened for readers."""
    if str(document.get("token")).endswith("..."):
        document = {**document, "token": long_lived_token()}
    content = json.dumps(document).encode()
    parse_source(CredentialsSource(origin="bot.json", document=content), SYSTEM_CLOCK.unix())
