"""OpenTelemetry: `measure(credentials)` records each exchange as a metric."""

from __future__ import annotations

from opentelemetry.metrics import MeterProvider, get_meter

from daypass._core import VERSION
from daypass.client.credentials import Credentials
from daypass.client.token_source import ISSUED

__all__ = ["measure"]


def measure(credentials: Credentials, meter_provider: MeterProvider | None = None) -> None:
    """Record `daypass.exchange.duration`, a histogram in seconds, for these credentials.

    An exchange that failed has the attribute `error.type`, the reason of its error. No attribute
    names an audience, an identity or a host. `meter_provider`: by default the global one.
    """
    meter = get_meter("daypass", VERSION, meter_provider)
    durations = meter.create_histogram(
        "daypass.exchange.duration", unit="s", description="Duration of exchanges at the door."
    )

    def record(outcome: str, seconds: float) -> None:
        durations.record(seconds, {} if outcome == ISSUED else {"error.type": outcome})

    credentials.on_exchange(record)
