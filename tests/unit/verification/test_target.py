"""The address at which the gate of each domain is probed."""

from __future__ import annotations

import pytest

from daypass.verification.target import targets_of
from support.rendered import config_of


def gates(hosts: str) -> dict[str, str | None]:
    """The address at which the gate of each domain is probed."""
    config = config_of(f"""\
version: 1
domains:
  ekf: {{host: ekf.example.com, front: ingress-nginx, tls: outside}}
  serving: {{host: serving.example.com, front: istio, tls: outside}}
gate: {{audience: gate.example.com{hosts}}}
""")
    targets = targets_of(config, None, None)
    return {target.name: str(target.gate) if target.gate else None for target in targets}


EKF, SERVING = "ekf.example.com:443", "serving.example.com:443"
OTHER = "apis.example.com:443"


@pytest.mark.parametrize(
    ("hosts", "ekf", "serving"),
    [
        ("", EKF, SERVING),
        (", hosts: [apis.example.com]", OTHER, OTHER),
        (", hosts: ['*']", None, SERVING),
        (", hosts: ['*', apis.example.com]", OTHER, SERVING),
        (", hosts: ['*', ekf.example.com]", EKF, SERVING),
    ],
    ids=["all", "another", "wildcard", "wildcard, another", "wildcard, one"],
)
def test_the_gate_is_probed_on_a_known_host(
    hosts: str, ekf: str | None, serving: str | None
) -> None:
    assert gates(hosts) == {"ekf": ekf, "serving": serving}
