"""The door's port for Prometheus leads to the statistics and to nothing else of the admin
interface, whatever is sent to it; and nothing that is sent to the door gets into them.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from itertools import islice

import pytest
from prometheus_client.parser import text_string_to_metric_families

from daypass.config import Address
from daypass.config.settings import Limits
from support.deadline import eventually
from support.doors import JWT, DoorEnv, post, running_door_env
from support.hostile_requests import hostile_requests
from support.raw import Answer, Conversation
from support.scrapes import scrape

SECRET_PATHS = (
    "/", "/quitquitquit", "/config_dump", "/clusters", "/stats", "/stats/prometheus", "/logging",
    "/metrics/", "/metrics/../config_dump", "/metrics/..%2fconfig_dump", "/metrics%2f..%2fstats",
    "/metrics;/../quitquitquit", "//metrics", "/Metrics", "/%6detrics", "/metrics%00", "/metrics?",
    "/metrics?filter=.*", "/metrics?text_readouts", "/metrics#x", "/metrics/x", "/metricsx",
    "/./metrics", "/x/../metrics", "\\metrics", "*", "http://admin/metrics",
    "http://127.0.0.1/quitquitquit", "metrics",
)  # fmt: skip


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DoorEnv]:
    limits = Limits(per_source_per_second=500, requests_per_second=500)
    with running_door_env(
        tmp_path_factory.mktemp("door"),
        change=lambda settings: replace(
            settings, metrics=Address(host="127.0.0.1", port=0), rate_limits=limits
        ),
    ) as running:
        yield running


def connect(env: DoorEnv) -> socket.socket:
    return socket.create_connection(("127.0.0.1", env.door.envoy.port("metrics")), timeout=20)


def send(env: DoorEnv, request: bytes) -> Answer:
    """The answer at the port, once it is none about the rate."""

    def answered() -> Answer | None:
        with closing(connect(env)) as connection:
            conversation = Conversation(connection)
            conversation.send(request)
            answer = conversation.answer(head=request.startswith(b"HEAD "))
        return None if answer.code == 429 else answer

    return eventually("the port answers", answered)


def lines(first: str, *more: str) -> bytes:
    return "\r\n".join((first, "Host: door", *more, "", "")).encode("latin-1")


def statistics(env: DoorEnv) -> str:
    """What Prometheus gets, once there are few enough requests."""
    address = f"127.0.0.1:{env.door.envoy.port('metrics')}"
    return eventually("it is scraped", lambda: scrape(address))


def assert_untouched(env: DoorEnv, answer: Answer) -> None:
    assert answer.code in (0, 400, 404, 413, 426, 431), answer
    assert b"envoy_" not in answer.body
    assert env.door.envoy.running()


def test_prometheus_gets_the_statistics_and_the_connection_ends(env: DoorEnv) -> None:
    answer = send(env, lines("GET /metrics HTTP/1.1", "Accept-Encoding: gzip"))
    assert answer.code == 200
    assert answer.closes
    assert b"envoy_server_live{} 1" in answer.body


@pytest.mark.parametrize("path", SECRET_PATHS)
def test_no_other_path_leads_anywhere(env: DoorEnv, path: str) -> None:
    assert_untouched(env, send(env, lines(f"GET {path} HTTP/1.1")))


@pytest.mark.parametrize("method", ["POST", "PUT", "HEAD", "OPTIONS", "DELETE", "CONNECT", "GeT"])
def test_no_other_method_leads_anywhere(env: DoorEnv, method: str) -> None:
    for path in ("/metrics", "/quitquitquit"):
        assert_untouched(env, send(env, lines(f"{method} {path} HTTP/1.1", "Content-Length: 0")))


@pytest.mark.parametrize(
    "more",
    [
        "Content-Length: 3\r\n\r\nabc",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n",
        "Content-Length: 0\r\nTransfer-Encoding: chunked",
        "X: " + "a" * 20_000,
        "\r\n".join(f"X-{number}: y" for number in range(200)),
    ],
)
def test_no_body_and_no_large_head_leads_anywhere(env: DoorEnv, more: str) -> None:
    assert_untouched(env, send(env, lines("GET /metrics HTTP/1.1", more)))


def test_headers_that_envoy_obeys_change_nothing(env: DoorEnv) -> None:
    obeyed = (
        "x-envoy-original-path: /quitquitquit", "x-envoy-upstream-rq-timeout-ms: 1",
        "x-envoy-internal: true", "x-envoy-retry-on: 5xx", "x-forwarded-for: 127.0.0.1",
        "x-original-url: /quitquitquit", "x-rewrite-url: /quitquitquit",
    )  # fmt: skip
    answer = send(env, lines("GET /metrics HTTP/1.1", *obeyed))
    assert (answer.code, b"envoy_server_live{} 1" in answer.body) == (200, True)


def test_a_smuggled_second_request_is_not_read(env: DoorEnv) -> None:
    with closing(connect(env)) as connection:
        conversation = Conversation(connection)
        conversation.send(lines("GET /metrics HTTP/1.1") + lines("POST /quitquitquit HTTP/1.1"))
        codes = [conversation.answer().code, conversation.answer().code]
    assert codes in ([200, 0], [429, 0])
    assert env.door.envoy.running()


def test_silent_and_slow_clients_are_few_and_leave_soon_and_the_door_serves_on(
    env: DoorEnv,
) -> None:
    with ExitStack() as stack:
        for number in range(60):
            connection = stack.enter_context(closing(connect(env)))
            if number % 2:
                connection.sendall(b"GET /metrics HTTP/1.1\r\nX: ")
        assert env.door.send(post()).code == 201
        # Within the time for headers, and that of an idle connection, there is room again.
        assert "envoy_server_live" in statistics(env)


def test_nothing_of_a_request_gets_into_a_name_or_a_label(env: DoorEnv) -> None:
    before = series(statistics(env))
    whole = (each.raw for each in hostile_requests(28) if each.whole)
    env.send_each(islice(whole, 600))
    for path in (f"/{JWT}", "/kubernetes/api/v1/namespaces/team/secrets/bot"):
        env.door.send(post(path))
    text = statistics(env)
    for hidden in (JWT, "team", "bot", "kubernetes", "127.0.0.1", "secrets", "serviceaccount"):
        assert hidden not in text
    known = re.compile(r"[a-z0-9-]+(\.authority)?|[0-9.]+|\+Inf")
    labels = {v for each in text_string_to_metric_families(text)
              for sample in each.samples for v in sample.labels.values()}  # fmt: skip
    assert {label for label in labels if not known.fullmatch(label.replace("_", "-"))} == set()
    # Reasons and codes, of which there are few.
    assert len(series(text) - before) < 30
    env.recorder.take()


def series(text: str) -> set[str]:
    return {line.rpartition(" ")[0] for line in text.splitlines() if line[:1] != "#"}
