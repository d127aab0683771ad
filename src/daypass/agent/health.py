"""Endpoints for probes and Prometheus: /healthz, /readyz and /metrics. They show no token."""

from collections.abc import Callable, Sequence

from daypass._core.status_server import StatusServer
from daypass.agent.file_renewer import RenewerStatus

Statuses = Callable[[], Sequence[RenewerStatus]]
Figure = Callable[[RenewerStatus], float | None]

_METRICS: tuple[tuple[str, str, str, Figure], ...] = (
    ("renewals_total", "counter", "Token files renewed.", lambda it: it.renewals),
    ("failures_total", "counter", "Renewals that failed.", lambda it: it.failures),
    ("hook_failures_total", "counter", "Hooks that failed.", lambda it: it.hook_failures),
    ("good", "gauge", "1 while the file holds a token that is good.", lambda it: it.is_good),
    (
        "expiry_seconds",
        "gauge",
        "Seconds until the token in the file ends; less than 0 after it has.",
        lambda it: it.left_seconds,
    ),
)


def readiness(statuses: Sequence[RenewerStatus]) -> tuple[int, str]:
    """Return 200 if every file holds a usable token, else 503 and the files that do not."""
    bad = [
        f"{status.path}: {'no token yet' if status.left_seconds is None else 'token expired'}"
        for status in statuses
        if not status.is_good
    ]
    return (503, "\n".join(bad) + "\n") if bad else (200, "every token is good\n")


def metrics(statuses: Sequence[RenewerStatus]) -> str:
    """Return all metrics in the text format of Prometheus."""
    lines = []
    for name, kind, words, figure in _METRICS:
        full = f"daypass_agent_{name}"
        lines += [f"# HELP {full} {words}", f"# TYPE {full} {kind}"]
        for status in statuses:
            value = figure(status)
            if value is not None:
                path = status.path.replace("\\", "\\\\").replace('"', '\\"')
                lines.append(f'{full}{{path="{path}"}} {round(value)}')
    return "\n".join(lines) + "\n"


class Health(StatusServer):
    """Serves the endpoints on a background thread until the block ends."""

    def __init__(self, listen: tuple[str, int], statuses: Statuses) -> None:
        answers = {
            "/healthz": lambda: (200, "alive\n"),
            "/readyz": lambda: readiness(statuses()),
            "/metrics": lambda: (200, metrics(statuses())),
        }
        super().__init__(listen, answers, "name another port with `listen`")
