"""Config files to start from, and the problems of a broken one."""

from pathlib import Path

import pytest

from daypass.config import Config, ConfigError, Problem, parse
from support.messages import check

FOLDER = Path("/deployments")

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
prefix: /kubernetes
domains:                                        # one or several
  ekf:
    host: ekf.example.com
    front: ingress-nginx                        # | ingress | istio | gateway-api | envoy
    tls: {secret: ekf-tls}                      # | {issuer: letsencrypt} | {files: ...} | outside
    dns: external-dns                           # | none
    direct: false
  serving: {host: serving.example.com, front: istio, tls: {secret: serving-tls}}
door: {namespace: daypass, replicas: 2, trustedHops: 1}
policy:
  longestLifetime: 24h
  audiences: [istio-ingressgateway.istio-system.svc.cluster.local]
  binding: required
  successors: forbidden
  exempt: []
  mode: deny                                    # audit | warn | deny
gate:
  audience: istio-ingressgateway.istio-system.svc.cluster.local
  engine: istio                                 # | envoy-gateway | envoy
  check: jwt                                    # | review | both
  requireBound: true
  hosts: [ekf.example.com]
  headers: {user: kubeflow-userid, groups: kubeflow-groups}
  forwardToken: false
limits: {requestsPerSecond: 200, perSourcePerSecond: 10, requestBody: 8Ki}
local:                                          # one machine
  door: 127.0.0.1:8443
  gate: 127.0.0.1:8444
  upstream: http://127.0.0.1:8080
  apiServer: embedded                           # | external
"""


def read(text: str | bytes) -> Config:
    """The config in a text, as if it were /deployments/daypass.yaml."""
    content = text if isinstance(text, bytes) else text.encode()
    return parse(content, name="daypass.yaml", folder=FOLDER)


def refusal(text: str | bytes) -> ConfigError:
    """The error that a text leads to."""
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


def refuses(*cases: object) -> pytest.MarkDecorator:
    """Run a test with each case: `text`, `place` and `values`."""
    return pytest.mark.parametrize(("text", "place", "values"), cases)


def case(text: str | bytes, place: str, *values: str) -> object:
    """A text with one problem, where it is (`line:column`), and what its message has to name."""
    return pytest.param(text, place, values, id=" ".join((place, *values))[:40])


def short_id(text: str) -> str:
    """A name for a case: the end of its text."""
    return " ".join(text.removeprefix(MINIMAL).split())[-40:] or "minimal"


def assert_refused(text: str | bytes, place: str, values: tuple[str, ...]) -> None:
    """Fail unless the text has one problem, at this place, whose message names these values."""
    found = problems(text)
    assert places(found) == [place], found
    assert [value for value in values if value not in str(found[0])] == [], found
