"""The Envoy cluster of the protected service."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from daypass.config import Address, Gate
from daypass.render.envoy.settings import (
    GateSettings,
    Protected,
    Timeouts,
)
from daypass.render.envoy.upstream import MOST_CONNECTIONS, gate_clusters

ADDRESS = Address(host="127.0.0.1", port=8080)
SETTINGS = GateSettings(
    gate=Gate(audience="a", engine="envoy", hosts=("ekf.example.com",)),
    listen=ADDRESS,
    certificates=(),
    protected=Protected(address=ADDRESS),
    issuer="i",
    longest_lifetime_seconds=3600,
    timeouts=Timeouts(idle_seconds=7),
)


@pytest.mark.parametrize(
    ("protected", "protocol"),
    [
        (Protected(address=ADDRESS), "explicit_http_config.http_protocol_options"),
        (Protected(address=ADDRESS, is_http2=True), "explicit_http_config.http2_protocol_options"),
        (Protected(address=ADDRESS, authority_file="ca"), "auto_config.http2_protocol_options"),
    ],
    ids=["http1", "http2", "tls"],
)
def test_every_protocol_has_connection_limits_and_an_idle_timeout(
    protected: Protected, protocol: str
) -> None:
    cluster: Any
    (cluster,) = gate_clusters(replace(SETTINGS, protected=protected))
    (threshold,) = cluster["circuit_breakers"]["thresholds"]
    assert set(threshold.values()) == {MOST_CONNECTIONS}
    (options,) = cluster["typed_extension_protocol_options"].values()
    assert options["common_http_protocol_options"] == {"idle_timeout": "7s"}
    config, _, spoken = protocol.partition(".")
    assert set(options[config]) == {spoken}
