"""Endpoints for probes and Prometheus: /healthz, /readyz and /metrics. They show no token."""

from collections.abc import Callable, Sequence

from daypass._core.server.status_server import Routes, health_routes
from daypass.agent.file_renewer import RenewerStatus

_METRICS: tuple[tuple[str, str, str, Callable[[RenewerStatus], float | None]], ...] = (
    ("renewals_total", "counter", "Token files renewed.", lambda status: status.renewals),
    ("failures_total", "counter", "Renewals that failed.", lambda status: status.failures),
    ("hook_failures_total", "counter", "Hooks that failed.", lambda status: status.hook_failures),
    ("valid", "gauge", "1 while the file holds a valid token.", lambda status: status.is_good),
    (
        "expiry_seconds",
        "gauge",
        "Seconds until the token in the file expires; negative after that.",
        lambda status: status.left_seconds,
    ),
)


def why_not_ready(statuses: Sequence[RenewerStatus]) -> str:
    """Return the files that hold no usable token."""
    return "\n".join(
        f"{status.path}: {'no token yet' if status.left_seconds is None else 'token expired'}"
        for status in statuses
        if not status.is_good
    )


def metrics(statuses: Sequence[RenewerStatus]) -> str:
    """Return all metrics in the text format of Prometheus."""
    lines = []
    for name, kind, description, value_of in _METRICS:
        full = f"daypass_agent_{name}"
        lines += [f"# HELP {full} {description}", f"# TYPE {full} {kind}"]
        for status in statuses:
            value = value_of(status)
            if value is not None:
                path = status.path.replace("\\", "\\\\").replace('"', '\\"')
                lines.append(f'{full}{{path="{path}"}} {round(value)}')
    return "\n".join(lines) + "\n"


def routes(statuses: Callable[[], Sequence[RenewerStatus]]) -> Routes:
    """Return the endpoints for a StatusServer."""
    return health_routes(
        metrics=lambda: metrics(statuses()), why_not_ready=lambda: why_not_ready(statuses())
    )
