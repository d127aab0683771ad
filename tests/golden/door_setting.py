"""The settings of the committed door and gate: two domains, and a value in every field."""

from __future__ import annotations

from daypass.config import Address, Gate
from daypass.config.exposure import Exposure
from daypass.config.settings import Limits
from daypass.render.envoy.bootstrap import KEYS_FILE, envoy_files, keys_file, to_json
from daypass.render.envoy.settings import (
    Certificate,
    DoorSettings,
    GateSettings,
    Protected,
    Timeouts,
    Upstream,
)
from daypass.rules.decision import Rules
from daypass.rules.patterns import HostPattern
from daypass.rules.published import LOCAL_SHARDS

FOLDER = "/etc/daypass"
SETTINGS = DoorSettings(
    exposure=Exposure(
        prefix="/kubernetes",
        hosts=("ekf.example.com", "serving.example.com"),
        body_limit_bytes=8192,
    ),
    listen=Address(host="0.0.0.0", port=8443),  # noqa: S104 - what a Service routes to
    certificates=(
        Certificate(
            name="ekf",
            certificate_file="/etc/daypass/tls/ekf/tls.crt",
            key_file="/etc/daypass/tls/ekf/tls.key",
            server_names=("ekf.example.com",),
        ),
        Certificate(
            name="serving",
            certificate_file="/etc/daypass/tls/serving/tls.crt",
            key_file="/etc/daypass/tls/serving/tls.key",
            server_names=("serving.example.com",),
        ),
    ),
    upstream=Upstream(
        address=Address(host="kubernetes.default.svc", port=443),
        authority_file="/etc/daypass/authority/ca.crt",
        server_name="kubernetes.default.svc",
    ),
    trusted_hops=1,
    rate_limits=Limits(per_source_per_second=10, requests_per_second=200),
    connections=4096,
    timeouts=Timeouts(),
    metrics=Address(host="0.0.0.0", port=9002),  # noqa: S104 - the NetworkPolicy opens it
)


GATE = GateSettings(
    name="default",
    gate=Gate(
        audience="gate.example.com", engine="envoy", hosts=("ekf.example.com",), check="review"
    ),
    listen=Address(host="127.0.0.1", port=8444),
    certificates=SETTINGS.certificates[:1],
    protected=Protected(
        address=Address(host="service.example.com", port=8080),
        authority_file="/etc/ssl/certs/ca-certificates.crt",
    ),
    rules=Rules(
        hosts=(HostPattern.parse("ekf.example.com"),),
        issuer="https://kubernetes.default.svc",
        audience="gate.example.com",
        longest_lifetime_seconds=86_400,
    ),
    shards=LOCAL_SHARDS,
    authorizer_socket="/run/daypass/authorizer.sock",
)


def rendered() -> dict[str, str]:
    """The door alone, and with a gate, as text, by `form/file`."""
    gate = envoy_files(SETTINGS, FOLDER, admin_socket="admin.sock", gate=GATE)
    forms = {
        "alone": envoy_files(SETTINGS, FOLDER, admin_socket="admin.sock"),
        "gate": {**gate, KEYS_FILE: keys_file(GATE, "{}")},
    }
    return {
        f"{form}/{name}": to_json(content)
        for form, files in forms.items()
        for name, content in files.items()
    }
