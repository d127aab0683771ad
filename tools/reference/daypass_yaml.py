"""docs/reference/daypass-yaml.md: every key of the config file, from its JSON Schema."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tools.reference.markdown import code, document, table

from daypass._core.duration import format_duration
from daypass._core.k8s_names import LABEL, LABEL_KEY, LABEL_VALUE, SUBDOMAIN
from daypass.config import json_schema
from daypass.config.locations import ADDRESS, PREFIX, FilePath, HttpsOrigin, Issuer, UpstreamOrigin
from daypass.config.types import (
    AUDIENCE,
    HEADER,
    IMAGE,
    SIZE,
    USER,
    GatewayName,
    GuardedHost,
    Host,
    IpAddress,
    format_size,
)

Schema = dict[str, Any]


def _pattern(annotated: Any) -> str:
    return str(annotated.__metadata__[-1].json_schema["pattern"])


TYPES = {
    f"^(?:{LABEL})$": "name",
    f"^(?:{SUBDOMAIN})$": "object name",
    f"^(?:{LABEL_VALUE})$": "label value",
    f"^({LABEL_VALUE})?$": "label value",
    f"^(?:{LABEL_KEY})$": "label key",
    f"^(?:{AUDIENCE})$": "audience",
    f"^(?:{USER})$": "user name",
    f"^(?:{HEADER})$": "header name",
    f"^(?:{IMAGE})$": "image with tag or digest",
    f"^(?:{PREFIX})$": "path",
    f"^(?:{ADDRESS})$": "HOST:PORT",
    _pattern(Host): "host",
    _pattern(GuardedHost): "host, or `*`",
    _pattern(IpAddress): "IP address",
    _pattern(GatewayName): "NAMESPACE/NAME[/LISTENER]",
    _pattern(HttpsOrigin): "https URL without a path",
    _pattern(UpstreamOrigin): "http, https or h2c URL without a path",
    _pattern(Issuer): "issuer",
    _pattern(FilePath): "file",
}
"""What the pattern of a text stands for, as the page calls it."""

INTRO = """The config file of `daypass init`, `daypass render`, `daypass apply`, `daypass verify`, \
`daypass policy`, `daypass gate` and `daypass up`. It is YAML; unknown keys are refused, with the \
nearest known one. Editors check it with the
[JSON Schema](../../src/daypass/config/daypass.schema.json), which is part of the package."""

VALUES = """## Values

- **name**: at most 63 of `a-z`, `0-9` and `-`, with a letter or digit at both ends.
- **object name**: the same with dots, at most 253 characters; of a Secret, an issuer, a class.
- **host**: a DNS name in lower case; for one machine also `localhost` or an IP address.
- **audience**: at most 253 visible ASCII characters without spaces, quotes and backslashes.
- **duration**: `90s`, `10m`, `1h30m`, `24h`, `90d`, or a number of seconds.
- **size**: `8Ki`, or a number of bytes.
- **quantity**: of Kubernetes, such as `500m` or `256Mi`.
- **labels**: a mapping of label keys to label values.
- **file**: a path, relative to the folder of the config file."""

EXAMPLE = """## Example

A door and a gate on Istio, for two domains. Every section is in it except `local`, which is for
[one machine](../how-to/one-machine.md).

```yaml
version: 1

cluster:
  server: https://kubernetes.default.svc     # the API server, as the door's pods reach it
  addresses: [10.0.0.1, 10.0.0.2]            # the door connects to no others

prefix: /kubernetes                          # https://kubeflow.example.com/kubernetes is a door

domains:
  kubeflow:                                  # a name of your choice: `daypass verify kubeflow`
    host: kubeflow.example.com
    front: istio
    tls: outside                             # the Gateway has the certificate
    gateway: istio-system/ingress            # an existing Gateway
  serving:
    host: serving.example.com
    front: istio
    tls: {issuer: letsencrypt}               # a ClusterIssuer of cert-manager
    dns: external-dns

door:
  namespace: daypass
  replicas: 2
  trustedHops: 1                             # only the gateway appends to X-Forwarded-For

policy:                                      # the API server refuses other TokenRequests
  longestLifetime: 12h
  audiences: [istio-ingressgateway.istio-system.svc.cluster.local]
  binding: required
  successors: forbidden
  federated: {longestLifetime: 1h}           # CI jobs with tokens of another issuer
  exempt: ["system:serviceaccount:vault:vault"]
  mode: deny

gate:
  audience: istio-ingressgateway.istio-system.svc.cluster.local
  engine: istio
  check: jwt
  hosts: [kubeflow.example.com, serving.example.com]
  others: login                              # browsers go on to the login of the gateway
  headers: {user: kubeflow-userid, groups: kubeflow-groups}
  closeAfter: 10m
  image: registry.example.com/daypass:0.1.0  # built from the Containerfile

limits:                                      # of each replica of the door
  requestsPerSecond: 200
  perSourcePerSecond: 10
  requestBody: 8Ki
```"""


def page() -> str:
    """Return the page."""
    schema = json_schema()
    paths: dict[str, str] = {}
    sections = list(_walk("", schema, schema["$defs"], paths))
    described = (_section(path, section, paths) for path, section in sections)
    return document("daypass.yaml", INTRO, *described, VALUES, EXAMPLE)


def _walk(
    path: str, section: Schema, known: Schema, paths: dict[str, str]
) -> Iterator[tuple[str, Schema]]:
    """Yield each mapping of the file with its path, and those within it; each kind once.

    `paths` gets the path of each kind.
    """
    yield path, section
    for key, field in section["properties"].items():
        kinds = [kind for kind in _kinds(field) if kind not in paths]
        below = f"{path}.{key}".lstrip(".") + (".NAME" if "patternProperties" in field else "")
        paths |= dict.fromkeys(kinds, below)
        inner = [known[kind] for kind in kinds]
        if len(inner) > 1:  # one of several: their keys together
            keys = {key: each for one in inner for key, each in _with_purpose(one).items()}
            yield from _walk(below, {**field, "properties": keys}, known, paths)
        elif inner:
            yield from _walk(below, inner[0], known, paths)


def _with_purpose(section: Schema) -> Schema:
    """Return the keys of a section, each with what the section is."""
    return {
        key: {**field, "description": f"{section['description']} {field['description']}"}
        for key, field in section["properties"].items()
    }


def _kinds(field: Schema) -> list[str]:
    """Return the names of the sections that may be the value of a key."""
    choices = [field, field.get("items", {}), *field.get("oneOf", ())]
    choices += field.get("patternProperties", {}).values()
    return [each["$ref"].rpartition("/")[2] for each in choices if "$ref" in each]


def _section(path: str, section: Schema, paths: dict[str, str]) -> str:
    rows = [
        (code(key), _linked(field, paths), _default(key, field, section), field["description"])
        for key, field in section["properties"].items()
    ]
    heading = f"## {code(path)}\n\n{section['description']}" if path else "## Top level"
    return f"{heading}\n\n{table(('key', 'value', 'default', 'description'), rows)}"


def _linked(field: Schema, paths: dict[str, str]) -> str:
    """Return what may be written as a value, with a link to the section that describes it."""
    kinds = _kinds(field)
    if not kinds:
        return _value(field)
    anchor = re.sub(r"[^a-z]", "", paths[kinds[0]].lower())
    return _value(field).replace("mapping", f"[mapping](#{anchor})")


def _default(key: str, field: Schema, section: Schema) -> str:
    if key in section.get("required", ()):
        return "required"
    value = field.get("default")
    if value is None:
        return ""
    if _value(field).startswith("duration"):
        return code(format_duration(value))
    if _value(field).startswith("size"):
        return code(format_size(value))
    return code(str(value).lower() if isinstance(value, bool) else value)


def _value(field: Schema) -> str:
    """Return what may be written as the value of a key."""
    if "enum" in field:
        return ", ".join(map(code, field["enum"]))
    if "const" in field:
        return code(field["const"])
    if "anyOf" in field:
        return _spelled(*field["anyOf"])
    if "oneOf" in field:
        return "mapping, or " + ", ".join(_value(one) for one in field["oneOf"] if "const" in one)
    kind = field.get("type", "object")
    if kind == "array":
        return f"list of: {_value(field['items'])}"
    if kind == "integer":
        return f"{field['minimum']} to {field['maximum']}"
    if kind == "boolean":
        return "`true`, `false`"
    if kind == "string":
        return TYPES.get(field["pattern"], "text")
    return "mapping" if _kinds(field) or "$ref" in field else "labels"


def _spelled(text: Schema, number: Schema) -> str:
    """Return the name of a text with a unit, and its bounds."""
    if "maximum" not in number:
        return "quantity"
    is_size = text["pattern"] == f"^{SIZE}$"
    name, shown = ("size", format_size) if is_size else ("duration", format_duration)
    return f"{name}, {shown(number['minimum'])} to {shown(number['maximum'])}"
