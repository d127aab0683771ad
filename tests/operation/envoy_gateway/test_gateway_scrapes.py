"""The series of the gate in the Envoys of gateways, as istiod and Envoy Gateway configure them."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.request import urlopen

import pytest

from controllers.gateway_environment import GatewayEnv
from support.children import Child, children_of
from support.deadline import eventually
from support.istio_gates import OTHER, IstioEnv
from support.scrapes import keep, values

pytestmark = pytest.mark.timeout(1800)

INCLUDED = (
    r".*\.rbac\.gate\.policy\..*",
    r"extension_config_discovery\.http_filter\.daypass-gate-keys\.(config_reload|update_rejected|update_time)",
)
"""What docs/reference/metrics.md has as `inclusionRegexps` for the gateway's pods."""
_INCLUDED = "\n".join(f"      - {{safe_regex: {{regex: '{each}'}}}}" for each in INCLUDED)
ASKED = re.compile(
    r"envoy_http_ext_authz_(ok|denied|error|failure_mode_allowed)( counter|.*https-8443)"
)
ISTIOS = f"""\
stats_config:  # as that of Istio's proxies: few series, and few labels taken out of their names
  use_all_default_tags: false
  stats_tags:
  - {{tag_name: cluster_name, regex: '^cluster\\.((.+?(\\..+?\\.svc\\.cluster\\.local)?)\\.)'}}
  - {{tag_name: response_code, regex: '_rq(_(\\d{{3}}))$'}}
  - {{tag_name: http_conn_manager_prefix,
      regex: '^http\\.(((?:[_.[:digit:]]*|[_\\[\\]aAbBcCdDeEfF[:digit:]]*))\\.)'}}
  - {{tag_name: authz_enforce_result, regex: 'rbac(\\.(allowed|denied))'}}
  stats_matcher:
    inclusion_list:
      patterns:
      - {{prefix: istio}}
{_INCLUDED}
"""


def test_istios_gateway(istio: IstioEnv) -> None:
    bootstrap = istio.gateway.folder / "bootstrap.yaml"
    bootstrap.write_text(bootstrap.read_text() + ISTIOS)
    istio.gateway.restart_envoy()
    good = istio.bearer()
    eventually("the gate is in force", lambda: istio.send(good).code == 200)
    for line in (good, istio.bearer(audiences=["other"]), istio.bearer(bound=False), "X: y"):
        istio.send(line)
    istio.send(host=OTHER, sni=OTHER)
    text = istio.gateway.admin("/stats/prometheus").decode()
    keep("istio-gateway", text.replace(str(istio.gateway.port), "8443"))


def test_envoy_gateways(env: GatewayEnv, envoy_gateway: Child) -> None:
    env.send(env.bearer())
    env.send()
    exposed = "".join(map(_exposed, _ports(envoy_gateway.pid) - {env.port}))
    # A PodMonitor keeps what is about the gate.
    lines = exposed.replace(f"https-{env.port}", "https-8443").splitlines(keepends=True)
    text = "".join(line for line in lines if ASKED.search(line))
    here = {"envoy_http_conn_manager_prefix": "https-8443"}
    assert values(text, "envoy_http_ext_authz_ok", **here)[""] >= 1
    assert values(text, "envoy_http_ext_authz_denied", **here)[""] >= 1
    keep("envoy-gateway", text)


def _ports(pid: int) -> set[int]:
    """The ports of the Envoys that a process has started."""
    below = children_of(pid)
    return {
        *(each for child in below for each in _ports(child)),
        *(each for child, name in below.items() if name == "envoy" for each in listening(child)),
    }


def _exposed(port: int) -> str:
    """The statistics at a port, if it is that for Prometheus."""
    try:
        with urlopen(f"http://127.0.0.1:{port}/stats/prometheus", timeout=5) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


def listening(pid: int) -> set[int]:
    """The TCP ports on which a process listens."""
    links = (os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir() if each.is_symlink())
    inodes = {link[8:-1] for link in links if link.startswith("socket:[")}
    rows = (line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:])
    return {
        int(row[1].partition(":")[2], 16) for row in rows if row[3] == "0A" and row[9] in inodes
    }
