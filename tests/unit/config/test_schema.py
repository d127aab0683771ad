"""The JSON Schema: the committed file, and its agreement with the parser.

To rewrite the file:
    python -c "from daypass.config import schema; schema.FILE.write_text(schema.schema_text())"
"""

import json
from typing import Any

import jsonschema
import pytest

from daypass.config import json_schema, schema, yaml_loader
from daypass.config.errors import Problems
from unit.config.texts import DESIGN, MINIMAL, read, refusal, short_id

VALIDATOR = jsonschema.Draft202012Validator(json_schema())


def document(text: str) -> Any:
    """The text as JSON values, as a YAML 1.2 parser of an editor reads it."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(each) for key, each in value.items()}
        if isinstance(value, tuple):
            return [plain(each) for each in value]
        return None if value is yaml_loader.MISSING else value

    return plain(yaml_loader.read_document(text.encode(), Problems("daypass.yaml")).data)


def test_the_committed_schema_matches_the_models() -> None:
    assert schema.FILE.read_text(encoding="utf-8") == schema.schema_text()


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
    MINIMAL.replace("{secret: ekf-tls}", "outside"),
    MINIMAL.replace("{secret: ekf-tls}", "{issuer: letsencrypt}"),
    MINIMAL.replace("istio", "ingress-nginx").replace("tls:", "direct: true\n    tls:"),
    "version: 1\ndomains:\n  l: {host: localhost, front: envoy}\n",
    "version: 1\ndomains:\n  l: {host: '::1', front: envoy,"
    " tls: {files: {certificate: a, key: b}}}\n",
    MINIMAL + "policy: {audiences: [a], longestLifetime: 3600, exempt: [me@example.com]}\n",
    MINIMAL + "policy: {audiences: [a], longestLifetime: 1h30m}\n",
    MINIMAL + "local: {door: '[::1]:0', upstream: 'https://a.example:1'}\n",
    MINIMAL + "limits: {requestBody: 2048}\n",
    MINIMAL + "cluster: {server: 'https://[fd00::1]:6443', serverName: a}\n",
]

BAD = [
    "{}\n",
    "version: 1\n",
    "version: 1\ndomains: {}\n",
    "version: 2\ndomains: {}\n",
    MINIMAL.replace("version: 1", "version: '1'"),
    MINIMAL + "audience: x\n",
    MINIMAL + "gate:\n",
    MINIMAL + "gate: {}\n",
    MINIMAL + "policy: {}\n",
    MINIMAL + "policy: {audiences: []}\n",
    MINIMAL + "policy: {audiences: ['a b']}\n",
    MINIMAL + "policy: {audiences: [a], longestLifetime: 5}\n",
    MINIMAL + "policy: {audiences: [a], longestLifetime: 1.5h}\n",
    MINIMAL + "policy: {audiences: [a], longest_lifetime_seconds: 3600}\n",
    MINIMAL + "policy: {audiences: [a], mode: off}\n",
    MINIMAL + "policy: {audiences: [a], exempt: ['a*']}\n",
    MINIMAL + "gate: {audience: a, requireBound: yes}\n",
    MINIMAL + "gate: {audience: a, hosts: []}\n",
    MINIMAL + "gate: {audience: a, headers: {user: X-User}}\n",
    MINIMAL + "door: {replicas: 0}\n",
    MINIMAL + "door: {replicas: two}\n",
    MINIMAL + "door: {trustedHops: 11}\n",
    MINIMAL + "limits: {requestBody: 8k}\n",
    MINIMAL + "limits: {requestBody: 100000}\n",
    MINIMAL + "prefix: /a/\n",
    MINIMAL + "prefix: /A\n",
    MINIMAL + "prefix: /a.b\n",
    MINIMAL + "cluster: {server: 'http://a.example'}\n",
    MINIMAL + "cluster: {server: 'https://a.example/x'}\n",
    MINIMAL + "cluster: {certificateAuthority: ~/ca.crt}\n",
    MINIMAL + "local: {door: 8443}\n",
    MINIMAL + "local: {apiServer: real}\n",
    MINIMAL.replace("ekf:", "Ekf:"),
    MINIMAL.replace("ekf.example.com", "EKF.example.com"),
    MINIMAL.replace("ekf.example.com", "10.0.0.1"),
    MINIMAL.replace("ekf.example.com", "localhost"),
    MINIMAL.replace("    tls: {secret: ekf-tls}\n", ""),
    MINIMAL.replace("{secret: ekf-tls}", "{secret: a, issuer: b}"),
    MINIMAL.replace("{secret: ekf-tls}", "{files: {certificate: a, key: b}}"),
    MINIMAL.replace("{secret: ekf-tls}", "somewhere"),
    MINIMAL.replace("istio", "nginx"),
    MINIMAL.replace("tls:", "direct: true\n    tls:"),
    "version: 1\ndomains:\n  l: {host: localhost, front: envoy, tls: outside}\n",
    "version: 1\ndomains:\n  l: {host: localhost, front: envoy, tls: {secret: a}}\n",
    "version: 1\ndomains:\n  l: {host: localhost, front: envoy, dns: external-dns}\n",
]

BEYOND_A_SCHEMA = [
    MINIMAL + "  b: {host: ekf.example.com, front: istio, tls: outside}\n",
    MINIMAL + "policy: {audiences: [a]}\ngate: {audience: b}\n",
    MINIMAL + "local: {apiServer: external}\n",
    MINIMAL + "local: {door: '127.0.0.1:1', gate: '127.0.0.1:1'}\n",
    MINIMAL + "local: {door: '127.0.0.1:65536'}\n",
    MINIMAL + "policy: {audiences: [a], longestLifetime: 5m}\n",
    MINIMAL + "limits: {requestBody: 1Mi}\n",
    MINIMAL + "gate: {audience: a, headers: {user: x, groups: x}}\n",
    MINIMAL + "gate: {audience: a, headers: {user: authorization}}\n",
    MINIMAL + "door: {replicas: 2.0}\n",
]


@pytest.mark.parametrize("text", GOOD, ids=short_id)
def test_the_schema_accepts_what_the_parser_accepts(text: str) -> None:
    read(text)
    VALIDATOR.validate(document(text))


@pytest.mark.parametrize("text", BAD, ids=short_id)
def test_parser_and_schema_reject_invalid_configs(text: str) -> None:
    refusal(text)
    assert not VALIDATOR.is_valid(document(text))


@pytest.mark.parametrize("text", BEYOND_A_SCHEMA, ids=short_id)
def test_only_the_parser_rejects_what_a_schema_cannot_express(text: str) -> None:
    refusal(text)
    VALIDATOR.validate(document(text))


def test_the_schema_file_is_json() -> None:
    assert json.loads(schema.FILE.read_text(encoding="utf-8")) == json_schema()
