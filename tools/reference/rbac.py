"""The objects of the gate's programs in docs/reference/rbac.md."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, get_args

import yaml

from daypass._core.kubernetes.objects import Object
from daypass.config import Config
from daypass.config.gate import ModelResource
from daypass.render.engines import engines_of
from daypass.render.engines.engine import AnyEngine
from daypass.render.rbac import authorizer_rbac, namespace_rights, watcher_rbac

LONGEST = 130
_BETWEEN = re.compile(r"-(?!00|63)\d\d$")
"""The names of shards but the first and the last, which the page leaves out."""
_DOMAINS = {"kubeflow": {"host": "kubeflow.example.com", "front": "istio", "tls": "outside"}}

_MODELS = "{name}.{namespace}.example.com"


def example_engine(**keys: Any) -> AnyEngine:
    """Return the engine of a gate with these keys."""
    gate = {"audience": "gate.example.com", "check": "review", **keys}
    config = Config.model_validate({"version": 1, "domains": _DOMAINS, "gates": {"default": gate}})
    (engine,) = engines_of(config)
    return engine


def gate_watch() -> str:
    """Return the roles of a watch, and that in a namespace of identities."""
    config = example_engine().config
    return _yaml([*watcher_rbac(config), *namespace_rights("team", config.door.namespace)])


def gate_serve() -> str:
    """Return the roles of an authorizer, with that for models."""
    resources = get_args(ModelResource)
    engine = example_engine(
        engine="envoy-gateway",
        gateway="team/public",
        hosts=(_MODELS, "models.example.com"),
        authorize=(
            {"host": _MODELS, "resource": resources[0]},
            {
                "host": "models.example.com",
                "path": "/{namespace}/{name}/",
                "resource": resources[1],
            },
        ),
    )
    return _yaml(authorizer_rbac(engine.config))


def _yaml(objects: Iterable[Object]) -> str:
    roles = [each for each in objects if each["kind"] in ("Role", "ClusterRole")]
    for each in roles:
        del each["metadata"]["labels"]
        for rule in each["rules"]:
            if names := rule.get("resourceNames"):
                rule["resourceNames"] = [name for name in names if not _BETWEEN.search(name)]
    return "```yaml\n" + "---\n".join(map(_compact, roles)) + "```"


def _compact(value: Object) -> str:
    """Return an object in few lines: an item of a list is in one, if it fits."""
    lines = []
    for key, content in value.items():
        if isinstance(content, list):
            lines.append(f"{key}:\n")
            for item in content:
                line = f"- {_dumped(item, flow=True)}"
                lines.append(line if len(line) <= LONGEST else _dumped([item], flow=None))
        else:
            lines.append(_dumped({key: content}, flow=None if isinstance(content, dict) else False))
    return "".join(lines)


def _dumped(value: object, *, flow: bool | None) -> str:
    """Return a value with `[a, b]` and `{a: b}`: everywhere, in its innermost parts, or nowhere."""
    width = 2**20 if flow else LONGEST
    return str(yaml.safe_dump(value, sort_keys=False, width=width, default_flow_style=flow))
