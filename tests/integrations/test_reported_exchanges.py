"""What a program can count of its exchanges: how each ended, and how long it took."""

from __future__ import annotations

import threading

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import daypass
from daypass.client.credentials import Credentials
from daypass.client.http1 import HttpRequest
from support.exchanges import FakeSend, credentials_config
from support.fake_door import status_answer, token_answer
from support.timing import NOON, FakeTiming

URL = "https://ekf.example.com/kubernetes"


class Reported:
    """Credentials whose door gives these answers, in turn, and what was reported of them."""

    def __init__(self, *answers: bytes, seconds: float = 0.25) -> None:
        self.timing = FakeTiming()
        self.reports: list[tuple[str, float]] = []
        script = list(answers)

        def answer(request: HttpRequest) -> bytes:
            self.timing.fake_clock.advance(seconds)
            return script.pop(0)

        config = credentials_config(URL)
        self.credentials = Credentials(config, timing=self.timing, send=FakeSend(answer))
        self.credentials.on_exchange(lambda *each: self.reports.append(each))


def issued() -> bytes:
    return token_answer(now=NOON, date=NOON, granted_seconds=3600)


def test_an_exchange_is_reported_once_with_its_seconds_and_a_cached_token_is_none() -> None:
    env = Reported(issued())
    for _ in range(3):
        env.credentials.token()
    assert env.reports == [("issued", 0.25)]


def test_a_refusal_is_reported_by_the_reason_of_its_error() -> None:
    env = Reported(status_answer(403, "because"))
    with pytest.raises(daypass.ExchangeRefusedError) as raised:
        env.credentials.token()
    assert env.reports == [(raised.value.reason, 0.25)]


def test_retries_are_one_exchange() -> None:
    env = Reported(status_answer(503, "later"), issued())
    env.credentials.token()
    ((outcome, seconds),) = env.reports
    assert outcome == "issued"
    assert seconds >= 0.5


def test_a_function_that_raises_costs_nobody_a_token(caplog: pytest.LogCaptureFixture) -> None:
    env = Reported(issued())

    def report(outcome: str, seconds: float) -> None:
        raise ValueError(outcome)

    env.credentials.on_exchange(report)
    env.credentials.token()
    assert "ValueError" in caplog.text
    assert env.reports == [("issued", 0.25)]


def test_callers_that_share_an_exchange_report_it_once() -> None:
    env = Reported(issued())
    threads = [threading.Thread(target=env.credentials.token) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(env.reports) == 1


def test_opentelemetry_records_them_as_the_page_says() -> None:
    """As in docs/how-to/python-libraries.md."""
    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
    env = Reported(issued(), status_answer(403, "because"))
    durations = provider.get_meter("daypass").create_histogram(
        "daypass.exchange.duration", unit="s"
    )
    env.credentials.on_exchange(
        lambda outcome, seconds: durations.record(seconds, {"outcome": outcome})
    )
    env.credentials.token()
    with pytest.raises(daypass.ExchangeRefusedError) as raised:
        env.credentials.token("another.example.com")
    data = reader.get_metrics_data()
    assert data is not None
    (metric,) = data.resource_metrics[0].scope_metrics[0].metrics
    outcomes = {dict(point.attributes or {})["outcome"] for point in metric.data.data_points}
    assert outcomes == {"issued", raised.value.reason}
