"""Each alert fires when it should, and none does while all is well: by Prometheus' own promtool."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from daypass.render.monitoring import alerts_text
from support.programs import run

BROKEN_AT, LOOKED_AT = 180, 210
"""Minutes; usual operation is before."""
END = LOOKED_AT - BROKEN_AT

DOOR = 'namespace="daypass",job="monitoring/daypass-door",instance="10.0.0.1:9002"'
WATCH = 'namespace="daypass",job="monitoring/daypass-gate-watch",instance="10.0.0.2:9004"'
SERVE = 'namespace="daypass",job="monitoring/daypass-gate",instance="10.0.0.3:9003"'
GATEWAY = (
    'namespace="istio-system",job="monitoring/daypass-gateway-default",instance="10.0.0.4:15090"'
)
FILTERS = f'{GATEWAY},envoy_rbac_http_prefix="gate"'
API = f'{DOOR},envoy_cluster_name="api-server"'

Values = Mapping[str, str]


def steady(value: float) -> str:
    """This value all the time."""
    return f"{value}x{LOOKED_AT}"


def rate(per_minute: float, then: float | None = None) -> str:
    """A counter that grows so fast, and from BROKEN_AT on otherwise."""
    if then is None:
        return f"0+{per_minute}x{LOOKED_AT}"
    return f"0+{per_minute}x{BROKEN_AT} {per_minute * BROKEN_AT}+{then}x{END}"


def becomes(value: float, then: str) -> str:
    """A gauge that is something else from BROKEN_AT on."""
    return f"{value}x{BROKEN_AT} {then}"


def latency(name: str, labels: str, *, slow: float = 0, unit: float = 1) -> dict[str, str]:
    """A histogram of 60 answers a minute; from BROKEN_AT on, `slow` of them take 3 s."""
    fast = 60 - slow
    return {
        f'{name}_bucket{{{labels},le="{0.1 * unit:g}"}}': rate(60, fast),
        f'{name}_bucket{{{labels},le="{5 * unit:g}"}}': rate(60),
        f'{name}_bucket{{{labels},le="+Inf"}}': rate(60),
    }


REQUESTS = f'envoy_http_downstream_rq_xx{{{DOOR},envoy_http_conn_manager_prefix="door"}}'
ISSUED = f'envoy_cluster_upstream_rq{{{API},envoy_response_code="201"}}'
REFUSED_AT_DOOR = (
    f'envoy_http_rbac_policy_allowed{{{DOOR},envoy_http_conn_manager_prefix="door",'
    'envoy_rbac_policy_name="not-published"}'
)
ACCEPTED = f'envoy_http_rbac_policy_allowed{{{FILTERS},envoy_rbac_policy_name="daypass-accepted"}}'
REFUSED = f'envoy_http_rbac_policy_denied{{{FILTERS},envoy_rbac_policy_name="daypass-expired"}}'
NO_TOKEN = REFUSED.replace("expired", "no-token")
UNKNOWN = REFUSED.replace("expired", "unknown")
CERTIFICATE = (
    f"envoy_listener_ssl_certificate_expiration_unix_time_seconds{{{DOOR},"
    'envoy_listener="door",envoy_tls_certificate="door"}'
)
FILTER = "envoy_extension_config_discovery_http_filter_daypass_gate_keys"
KEYS_FILTER = f"{FILTER}_config_reload{{{GATEWAY}}}"
SERVING_CERTIFICATE = f"daypass_gate_certificate_expiration_timestamp_seconds{{{SERVE}}}"
DAY = 86400
HEALTHY: Values = {
    **{f"up{{{each}}}": steady(1) for each in (DOOR, WATCH, SERVE, GATEWAY)},
    REQUESTS: rate(60),
    f"envoy_cluster_membership_healthy{{{API}}}": steady(1),
    f"envoy_cluster_upstream_cx_connect_fail{{{API}}}": rate(0),
    f"envoy_cluster_upstream_rq_timeout{{{API}}}": rate(0),
    **latency("envoy_cluster_upstream_rq_time", API, unit=1000),
    ISSUED: rate(12),
    REFUSED_AT_DOOR: rate(6),
    CERTIFICATE: steady(60 * DAY),
    SERVING_CERTIFICATE: steady(60 * DAY),
    ACCEPTED: rate(60),
    REFUSED: rate(6),
    NO_TOKEN: rate(6),
    f"daypass_gate_watch_leader{{{WATCH}}}": steady(1),
    f"daypass_gate_watch_healthy{{{WATCH}}}": steady(1),
    f"daypass_gate_watch_closes_seconds{{{WATCH}}}": steady(100),
    f"daypass_gate_watch_published_age_seconds{{{WATCH}}}": steady(500),
    f"daypass_gate_watch_keys_age_seconds{{{WATCH}}}": steady(8),
    f"daypass_gate_connections{{{SERVE}}}": steady(2),
    f"daypass_gate_closed_shards{{{SERVE}}}": steady(0),
    f'daypass_gate_decisions_total{{{SERVE},gate="default",reason="allowed"}}': rate(60),
    f'daypass_gate_decisions_total{{{SERVE},gate="default",reason="expired"}}': rate(6),
    **latency("daypass_gate_review_seconds", f'{SERVE},gate="default"'),
    KEYS_FILTER: steady(1),
}


def gone(part: str) -> dict[str, str]:
    """The series of a part, which end at BROKEN_AT; Prometheus still knows the target."""
    return {
        name: f"{values.partition(' ')[0].rpartition('x')[0]}x{BROKEN_AT} _x{END}"
        for name, values in HEALTHY.items()
        if part in name and not name.startswith("up")
    }


BROKEN: dict[str, tuple[Values, set[str]]] = {
    "the watch does not answer": (
        {f"up{{{WATCH}}}": becomes(1, f"0x{END}"), **gone(WATCH)},
        {"DaypassTargetDown", "DaypassWatchStale"},
    ),
    "the door is deleted": (
        {f"up{{{DOOR}}}": becomes(1, f"_x{END}"), **gone(DOOR)},
        {"DaypassMetricsMissing"},
    ),
    "no watch leads": (
        {f"daypass_gate_watch_leader{{{WATCH}}}": becomes(1, f"0x{END}")},
        {"DaypassWatchStale"},
    ),
    "the set is out of date": (
        {
            f"daypass_gate_watch_closes_seconds{{{WATCH}}}": becomes(100, f"0-60x{END}"),
            f"daypass_gate_watch_published_age_seconds{{{WATCH}}}": becomes(500, f"600+60x{END}"),
            f"daypass_gate_closed_shards{{{SERVE}}}": becomes(0, f"16x{END}"),
        },
        {"DaypassWatchStale", "DaypassGateClosed"},
    ),
    "gateways lack the set": (
        {UNKNOWN: f"_x{BROKEN_AT} 0+6x{END}"},
        {"DaypassGateClosed"},
    ),
    "the watch needs an administrator": (
        {f"daypass_gate_watch_healthy{{{WATCH}}}": becomes(1, f"0x{END}")},
        {"DaypassWatchUnhealthy"},
    ),
    "keys are not read": (
        {f"daypass_gate_watch_keys_age_seconds{{{WATCH}}}": becomes(8, f"8+60x{END}")},
        {"DaypassKeysStale"},
    ),
    "the gate refuses everything": (
        {ACCEPTED: rate(60, 0), REFUSED: rate(6, 10)},
        {"DaypassGateRefusesEverything"},
    ),
    "the authorizer refuses everything": (
        {
            f'daypass_gate_decisions_total{{{SERVE},gate="default",reason="allowed"}}': rate(60, 0),
        },
        {"DaypassGateRefusesEverything"},
    ),
    "a gateway has no filters": (
        gone(GATEWAY),
        {"DaypassGatewayWithoutGate"},
    ),
    "a certificate expires": (
        {CERTIFICATE: steady(6 * DAY + LOOKED_AT * 60)},
        {"DaypassCertificateExpires"},
    ),
    "the authorizer's certificate expires": (
        {SERVING_CERTIFICATE: steady(6 * DAY + LOOKED_AT * 60)},
        {"DaypassCertificateExpires"},
    ),
    "refusals rise at the door": ({REFUSED_AT_DOOR: rate(6, 60)}, {"DaypassRefusalsRising"}),
    "refusals rise at the gate": ({REFUSED: rate(6, 60)}, {"DaypassRefusalsRising"}),
    "the first refusals come in a flood": (
        {REFUSED_AT_DOOR: f"_x{BROKEN_AT} 0+60x{END}", REFUSED: f"_x{BROKEN_AT} 0+60x{END}"},
        {"DaypassRefusalsRising"},
    ),
    "a few refusals rise": ({REFUSED: rate(0.1, 3), NO_TOKEN: rate(0)}, set()),
    "tokens are requested far more often": ({ISSUED: rate(12, 600)}, {"DaypassTokenRequestsHigh"}),
    "the API server is slow for the door": (
        latency("envoy_cluster_upstream_rq_time", API, slow=10, unit=1000),
        {"DaypassApiServerSlow"},
    ),
    "the API server is slow for the authorizer": (
        latency("daypass_gate_review_seconds", f'{SERVE},gate="default"', slow=10),
        {"DaypassApiServerSlow"},
    ),
    "the API server is not healthy": (
        {f"envoy_cluster_membership_healthy{{{API}}}": becomes(1, f"0x{END}")},
        {"DaypassApiServerUnreachable"},
    ),
    "the API server does not answer": (
        {f"envoy_cluster_upstream_rq_timeout{{{API}}}": rate(0, 30)},
        {"DaypassApiServerUnreachable"},
    ),
}


def fired(folder: Path, values: Values, expected: set[str]) -> str:
    """What promtool reports if others fire at the end than `expected`; empty if not."""
    (folder / "alerts.yaml").write_text(alerts_text())
    samples = [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(expected)]
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": each} for name, each in values.items()],
        "promql_expr_test": [
            {
                "expr": 'group by (alertname) (ALERTS{alertstate="firing"})',
                "eval_time": f"{LOOKED_AT}m",
                "exp_samples": samples,
            }
        ],
    }
    file = folder / "test.yaml"
    rules = {"rule_files": ["alerts.yaml"], "evaluation_interval": "1m", "tests": [test]}
    file.write_text(json.dumps(rules))
    done = run("promtool", "test", "rules", str(file))
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_no_alert_fires_while_all_is_well(tmp_path: Path) -> None:
    assert fired(tmp_path, HEALTHY, set()) == ""


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_broken_raises_its_alert(case: str, tmp_path: Path) -> None:
    changes, expected = BROKEN[case]
    assert fired(tmp_path, {**HEALTHY, **changes}, expected) == ""


def test_there_is_a_case_for_each_alert() -> None:
    (group,) = yaml.safe_load(alerts_text())["groups"]
    raised = set().union(*(expected for _, expected in BROKEN.values()))
    assert {rule["alert"] for rule in group["rules"] if "alert" in rule} == raised
