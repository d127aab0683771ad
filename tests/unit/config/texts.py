"""Config files to start from, and the problems of a broken one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from daypass.config import Config, ConfigError, Problem, json_schema, parse
from daypass.config.errors import Problems
from daypass.config.load import read_document
from support.messages import check

FOLDER = Path("/deployments")
VALIDATOR = jsonschema.Draft202012Validator(json_schema())

MINIMAL = """\
version: 1
domains:
  ekf:
    host: ekf.example.com
    front: istio
    tls: {secret: ekf-tls}
"""

DESIGN = """\
version: 1
cluster:
  server: https://kubernetes.default.svc        # as seen from the door
  certificateAuthority: ca.crt                  # left out in a cluster: kube-root-ca.crt
  serverName: kubernetes.default.svc            # what the certificate must name
  issuer: https://kubernetes.default.svc        # left out: asked from the cluster
  keys: keys.json                               # left out: asked from the cluster
prefix: /kubernetes
domains:                                        # one or several
  ekf:
    host: ekf.example.com
    front: ingress-nginx                        # | ingress | istio | gateway-api | envoy
    tls: {secret: ekf-tls}                      # | {issuer: letsencrypt} | {files: ...} | outside
    dns: external-dns                           # | none
  serving: {host: serving.example.com, front: istio, tls: {secret: serving-tls}}
door: {namespace: daypass, replicas: 2, trustedHops: 1}
policy:
  longestLifetime: 24h
  audiences: [istio-ingressgateway.istio-system.svc.cluster.local]
  binding: required
  successors: forbidden
  exempt: []
  mode: deny                                    # audit | warn | deny
gates:
  default:
    audience: istio-ingressgateway.istio-system.svc.cluster.local
    engine: istio                                 # | envoy-gateway | envoy
    check: jwt                                    # | review
    boundTo: [Secret]
    hosts: [ekf.example.com]
    headers: {user: kubeflow-userid, groups: kubeflow-groups}
    forwardToken: false
limits: {requestsPerSecond: 200, perSourcePerSecond: 10}
local:                                          # one machine
  door: 127.0.0.1:8443
  gate: 127.0.0.1:8444
  upstream: http://127.0.0.1:8080
  apiServer: embedded                           # | external
"""


def domain(fields: str) -> str:
    return f"version: 1\ndomains:\n  a: {{host: a.example.com, {fields}}}\n"


def gate(fields: str) -> str:
    return f"{MINIMAL}gates: {{default: {{audience: a, {fields}}}}}\n"


def read(text: str | bytes) -> Config:
    """The config in a text, as if it were /deployments/daypass.yaml."""
    content = text if isinstance(text, bytes) else text.encode()
    return parse(content, name="daypass.yaml", folder=FOLDER)


def refusal(text: str | bytes) -> ConfigError:
    try:
        config = read(text)
    except ConfigError as error:
        return error
    raise AssertionError(f"this was accepted: {config!r}")


def problems(text: str | bytes) -> tuple[Problem, ...]:
    """The problems of a text; their wording is in the golden file."""
    error = refusal(text)
    check(error)
    return error.problems


def places(found: tuple[Problem, ...]) -> list[str]:
    """Where problems are: `line:column` of each."""
    return [f"{problem.line}:{problem.column}" for problem in found]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A text with one problem: `place` is its `line:column`, `values` what its message names."""

    text: str | bytes
    place: str
    values: tuple[str, ...]
    schema_accepts: bool
    """Whether a JSON Schema cannot express the mistake."""

    def check(self) -> None:
        """Fail unless the parser reports exactly this problem."""
        found = problems(self.text)
        assert places(found) == [self.place], found
        assert [value for value in self.values if value not in str(found[0])] == [], found

    def check_schema_too(self) -> None:
        """Fail unless the schema rejects it, too, as far as it can."""
        self.check()
        assert isinstance(self.text, str)
        assert VALIDATOR.is_valid(document(self.text)) is self.schema_accepts


def refused(text: str | bytes, place: str, *values: str, schema_accepts: bool = False) -> Refused:
    return Refused(text=text, place=place, values=values, schema_accepts=schema_accepts)


def wrong(text: str, *values: str, schema_accepts: bool = False) -> Refused:
    """A text that is refused where `^` is."""
    before, _, after = text.partition("^")
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    return refused(before + after, f"{line}:{column}", *values, schema_accepts=schema_accepts)


def refuses(claims: dict[str, list[Refused]]) -> pytest.MarkDecorator:
    """Run a test with each case of each claim."""
    cases = [(claim, case) for claim, cases in claims.items() for case in cases]
    ids = [f"{claim}: {' '.join((case.place, *case.values))[:40]}" for claim, case in cases]
    return pytest.mark.parametrize("case", [case for _, case in cases], ids=ids)


def document(text: str) -> Any:
    """The text as JSON values, as a YAML 1.2 parser of an editor reads it."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(each) for key, each in value.items()}
        if isinstance(value, tuple):
            return [plain(each) for each in value]
        return value

    return plain(read_document(text.encode(), Problems("daypass.yaml")).data)
