"""What a config opens beyond another one, as a plain comparison."""

from __future__ import annotations

import pytest

from daypass.deploy.exposed import exposure, widenings
from support.rendered import config_of

CONFIG = """\
version: 1
cluster: {addresses: [10.0.0.1]}
domains:
  ekf: {host: ekf.example.com, front: ingress-nginx, tls: {secret: ekf-tls}}
policy: {audiences: [gate.example.com]}
limits: {requestsPerSecond: 100, perSourcePerSecond: 5, requestBody: 4Ki}
gate: {audience: gate.example.com, hosts: [ekf.example.com, b.example.com]}
"""
EKF = "ekf: {host: ekf.example.com, front: ingress-nginx, tls: {secret: ekf-tls}}"

WIDER = {
    "another host": (EKF, f"{EKF}\n  b: {{host: b.example.com, front: istio, tls: outside}}"),
    "another prefix": ("version: 1", "version: 1\nprefix: /k"),
    "no door": ("tls: {secret: ekf-tls}", "tls: {secret: ekf-tls}, direct: true"),
    "TLS ends before the front": ("tls: {secret: ekf-tls}", "tls: outside"),
    "pods of another namespace": ("{secret: ekf-tls}", "{secret: ekf-tls}, frontNamespace: x"),
    "another API server": ("cluster: {", "cluster: {server: 'https://10.0.0.9', "),
    "more addresses": ("[10.0.0.1]", "[10.0.0.1, 10.0.0.2]"),
    "any address": ("cluster: {addresses: [10.0.0.1]}\n", ""),
    "more trusted hops": ("limits:", "door: {trustedHops: 2}\nlimits:"),
    "a higher rate": ("requestsPerSecond: 100", "requestsPerSecond: 101"),
    "a higher rate of one source": ("perSourcePerSecond: 5", "perSourcePerSecond: 6"),
    "a larger body": ("4Ki", "5Ki"),
    "no policy": ("policy: {audiences: [gate.example.com]}\n", ""),
    "a mode that warns": ("com]}", "com], mode: warn}"),
    "a mode that records": ("com]}", "com], mode: audit}"),
    "another audience": ("com]}", "com, other]}"),
    "a longer life": ("com]}", "com], longestLifetime: 25h}"),
    "a longer life of the federated": ("com]}", "com], federated: {longestLifetime: 2h}}"),
    "no binding": ("com]}", "com], binding: optional}"),
    "successors": ("com]}", "com], successors: allowed}"),
    "no gate": (CONFIG[CONFIG.index("gate:") :], ""),
    "a gate on one machine alone": ("hosts: [ekf", "engine: envoy, hosts: [ekf"),
    "another gateway guarded": ("hosts: [ekf", "frontNamespace: edge, hosts: [ekf"),
    "another kind of gateway guarded": ("hosts: [ekf", "engine: envoy-gateway, hosts: [ekf"),
    "a host less guarded": (", b.example.com]", "]"),
    "a login beside the gate": ("hosts: [ekf", "others: login, hosts: [ekf"),
    "tokens that hang on nothing": ("hosts: [ekf", "requireBound: false, hosts: [ekf"),
    "tokens for the services": ("hosts: [ekf", "forwardToken: true, hosts: [ekf"),
    "somebody exempt": ("com]}", "com], exempt: [system:serviceaccount:a:b]}"),
}


def opened(before: str, after: str) -> list[str]:
    """What the one opens beyond the other."""
    return widenings(exposure(config_of(before)), exposure(config_of(after)))


@pytest.mark.parametrize("change", WIDER.values(), ids=WIDER)
def test_each_way_to_open_more_is_one_line_and_the_way_back_is_none(
    change: tuple[str, str],
) -> None:
    old, new = change
    wider = CONFIG.replace(old, new, 1)
    assert wider != CONFIG
    assert len(opened(CONFIG, wider)) == 1, opened(CONFIG, wider)
    assert opened(CONFIG, CONFIG) == []
    back = opened(wider, CONFIG)
    # Another prefix, server or place opens something each way.
    both_ways = (
        "is published",
        "another API server",
        "takes connections from",
        "another gateway is guarded",
    )
    assert all(any(words in line for words in both_ways) for line in back)


def test_before_the_first_apply_everything_is_shut() -> None:
    assert widenings(None, exposure(config_of(CONFIG))) == [
        "https://ekf.example.com/kubernetes is published, through the door"
    ]


def test_what_is_for_one_machine_opens_nothing_in_a_cluster() -> None:
    more = CONFIG.replace(EKF, f"{EKF}\n  here: {{host: localhost, front: envoy}}")
    assert opened(CONFIG, more) == []


def test_what_an_older_daypass_did_not_keep_counts_as_opened() -> None:
    after = dict(exposure(config_of(CONFIG)))
    for name in ("hosts", "limits", "trustedHops", "addresses", "server", "prefix"):
        before = {key: value for key, value in after.items() if key != name}
        assert widenings(before, after), name
    policy = {key: value for key, value in after["policy"].items() if key != "mode"}
    assert widenings({**after, "policy": policy}, after) == ["policy.mode: deny, was None"]


def test_of_a_gate_for_every_host_each_name_that_is_left_is_less() -> None:
    every = CONFIG.replace("hosts: [ekf.example.com, ", "hosts: ['*', ")
    assert opened(CONFIG, every) == []
    assert opened(every, CONFIG) == ["gate.hosts: every other host no longer guarded"]


def test_a_gate_that_an_older_daypass_did_not_keep_asks_nothing() -> None:
    after = exposure(config_of(CONFIG))
    before = {key: value for key, value in after.items() if key != "gate"}
    assert widenings(before, after) == []


def test_the_usual_place_of_a_gate_is_the_same_one_when_it_is_written_down() -> None:
    usual = "frontNamespace: istio-system, frontLabels: {istio: ingressgateway}, hosts: [ekf"
    assert opened(CONFIG, CONFIG.replace("hosts: [ekf", usual)) == []


def test_a_policy_that_comes_opens_nothing() -> None:
    assert opened(CONFIG.replace("policy: {audiences: [gate.example.com]}\n", ""), CONFIG) == []
