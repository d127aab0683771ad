"""The address at which the gate of each domain is probed."""

from __future__ import annotations

import pytest

from daypass.verification.checks import targets_of
from support.messages import check
from support.rendered import config_of

EKF, SERVING = "ekf.example.com:443", "serving.example.com:443"
OTHER = "apis.example.com:443"


def checked(
    gates: str, domain: str | None = None, front: str = "istio"
) -> dict[str, dict[str, str]]:
    """Where each gate is probed, or why not, by domain. `front`: of the first domain."""
    config = config_of(f"""\
version: 1
domains:
  ekf: {{host: ekf.example.com, front: {front}, tls: outside}}
  serving: {{host: serving.example.com, front: istio, tls: outside}}
gates:
{gates}""")
    return {
        target.name: {
            gate.name: str(gate.address or gate.why_not) for gate in target.gates if gate.is_checked
        }
        for target in targets_of(config, domain, None)
    }


@pytest.mark.parametrize(
    ("hosts", "ekf", "serving"),
    [
        ("", EKF, SERVING),
        (", hosts: [apis.example.com]", OTHER, OTHER),
        (", hosts: ['*', ekf.example.com]", EKF, SERVING),
        (", hosts: [a.example.com, apis.example.com], verifyHost: apis.example.com", OTHER, OTHER),
    ],
)
def test_the_gate_is_probed_on_a_known_host(hosts: str, ekf: str, serving: str) -> None:
    found = checked(f"  default: {{audience: gate.example.com{hosts}}}", front="ingress-nginx")
    assert found == {"ekf": {"": ekf}, "serving": {"": serving}}


def test_a_gate_of_every_host_needs_one_to_be_named() -> None:
    found = checked("  default: {audience: a, hosts: ['*']}", front="ingress-nginx")
    assert "verifyHost" in found["ekf"][""]
    assert found["serving"][""] == SERVING


TWO = """\
  ekf: {audience: a, hosts: [ekf.example.com]}
  serving: {audience: b, hosts: [serving.example.com], gatewayLabels: {istio: serving}}
"""
PATTERN = TWO.replace("[serving.example.com]", "['{name}.{namespace}.example.com']")
LOCAL = "  local: {audience: c, hosts: ['{name}.{namespace}.svc.cluster.local'],"
LOCAL += " gatewayLabels: {istio: local}}\n"
MADE_UP = "daypass-verify.daypass-verify.example.com:443"


def test_a_gate_of_patterns_is_probed_at_a_name_of_no_model() -> None:
    found = {"ekf": EKF, "serving": MADE_UP}
    assert checked(PATTERN) == {"ekf": {"ekf": EKF}, "serving": found}
    assert checked(PATTERN, "serving") == {"serving": found}
    dashed = PATTERN.replace("{name}.{namespace}", "{name}-{namespace}")
    (host,) = {checked(dashed, "serving")["serving"]["serving"]}
    assert host == "daypass-verify-daypass-verify.example.com:443"


def test_a_gate_of_no_domain_is_checked_with_the_first_one() -> None:
    whys = checked(TWO + LOCAL)
    check(whys["ekf"].pop("local"), "gates.local.hosts", reason="gate-closed")
    assert whys == {"ekf": {"ekf": EKF}, "serving": {"serving": SERVING}}
    assert checked(TWO + LOCAL, "ekf") == {"ekf": {"ekf": EKF}}
