"""Where metrics come from, and servers that hang, lie or ask for a login: a note, and soon."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from daypass._core.clock import SYSTEM_CLOCK
from daypass._core.errors import UsageError
from daypass._core.findings import Level
from daypass.cli import main
from daypass.status import sources
from daypass.status.sources import Reading, Scrapes, Target, prometheus_at
from support.http_services import Handler, serving
from support.messages import check, raises
from support.timing import FakeClock

EMPTY = '{"status": "success", "data": {"resultType": "vector", "result": []}}'


@contextmanager
def answering(code: int, body: str, **headers: str) -> Iterator[str]:
    """A server that answers always the same; yields its URL, and keeps what it got."""

    class Same(Handler):
        def do_GET(self) -> None:
            self.answer(code, body, **headers)

    with serving(Same) as port:
        yield f"http://127.0.0.1:{port}"


def read_from(url: str) -> Reading:
    prometheus = prometheus_at(url, None)
    with closing(prometheus.server):
        return prometheus.read()


@pytest.mark.parametrize(
    ("code", "body", "headers"),
    [
        (401, "<html>log in</html>", {}),
        (403, "no", {}),
        (302, "", {"location": "https://login.example.com"}),
        (200, "<html>log in\x1b[2J</html>", {}),
        (200, '{"data": {"result": [{"metric": {}, "value": "x"}]}}', {}),
        (200, EMPTY, {}),
        (500, "\x1b[2J", {}),
    ],
    ids=["401", "403", "redirect", "login page", "wrong types", "nothing", "error"],
)
def test_a_prometheus_that_does_not_answer_is_a_note(
    code: int, body: str, headers: dict[str, str]
) -> None:
    with answering(code, body, **headers) as url:
        found = read_from(url)
    (note,) = found.notes
    assert (found.source, bool(found.samples), note.level) == ("", False, Level.SKIPPED)
    assert note.hint
    assert note.fact.isprintable()


def test_a_prometheus_that_is_not_there_is_a_note() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    (note,) = read_from(f"http://127.0.0.1:{port}").notes
    assert f"127.0.0.1:{port}" in note.fact
    assert "API server" not in note.fact


@contextmanager
def dripping(head: bytes, piece: bytes) -> Iterator[str]:
    """A server that sends a piece again and again, and never ends."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = server.accept()
                threading.Thread(target=drip, args=(connection,), daemon=True).start()

    def drip(connection: socket.socket) -> None:
        with suppress(OSError), connection:
            connection.recv(65536)
            connection.sendall(head)
            while piece:
                connection.sendall(piece)
            connection.recv(1)

    threading.Thread(target=serve, daemon=True).start()
    with server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize(
    ("head", "piece"),
    [(b"", b""), (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536), (b"HTTP/1.1 200 OK\r\n\r\n", b"1\n")],
    ids=["hangs", "is endless", "is slow and endless"],
)
def test_an_answer_is_bounded(head: bytes, piece: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "ANSWER_SECONDS", 0.3)
    began = SYSTEM_CLOCK.monotonic()
    with dripping(head, piece) as url:
        assert len(read_from(url).notes) == 1
    assert SYSTEM_CLOCK.monotonic() - began < 20


@pytest.mark.parametrize(
    ("url", "token_file"),
    [
        ("prometheus:9090", None),
        ("ftp://prometheus", None),
        ("http://[", None),
        ("http://prometheus:99999", None),
        ("http://prome theus", None),
        ("http://\x1b[2J", None),
        ("https://", None),
        ("https://user:password@prometheus", None),
        ("http://prometheus:9090", "token"),
    ],
)
def test_a_url_is_refused_that_would_show_a_secret(
    url: str, token_file: str | None, tmp_path: Path
) -> None:
    if token_file:
        (tmp_path / token_file).write_text("secret")
    with raises(UsageError) as refused:
        prometheus_at(url, token_file and str(tmp_path / token_file))
    assert "password@" not in str(refused.value)


def test_a_token_in_a_file_goes_to_a_prometheus_on_this_machine(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret-token\n")
    seen: list[str | None] = []

    class Login(Handler):
        def do_GET(self) -> None:
            seen.append(self.headers["Authorization"])
            self.answer(401, f"not you: {self.headers['Authorization']}")

    with serving(Login) as port:
        prometheus = prometheus_at(f"http://127.0.0.1:{port}/prom/", str(tmp_path / "token"))
        with closing(prometheus.server):
            (note,) = prometheus.read().notes
    assert seen == ["Bearer secret-token"]
    assert "secret-token" not in f"{note.fact}{note.hint}"


def counted(value: str) -> str:
    return f'daypass_gate_decisions_total{{gate="g",reason="model"}} {value}\n'


def test_rates_are_of_two_readings_and_a_smaller_counter_has_started_again() -> None:
    clock, values = FakeClock(0.0), iter(["10", "30", "6", "broken", "8"])
    scrapes = Scrapes(clock, clock.advance)
    target = Target(name="one", read=lambda: counted(next(values)))
    rates = []
    for _ in range(4):
        reading = scrapes.read([target])
        rates.append(reading.samples.of_gate("g").rate)
        clock.advance(2.0)
    assert rates == [10.0, 3.0, None, None]


def test_a_program_that_lies_hides_no_other() -> None:
    clock, count = FakeClock(0.0), iter(range(100))
    good = Target(name="good", read=lambda: counted(str(next(count))))
    bad = Target(name="bad\x1b", read=lambda: 'daypass_gate_decisions_total{gate="g"} one')
    found = Scrapes(clock, clock.advance).read([good, bad])
    assert found.samples.of_gate("g").rate == 0.5
    assert [each.level for each in found.notes] == [Level.SKIPPED]
    assert found.source.startswith("1 of 2")


def test_a_token_without_a_prometheus_is_a_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "daypass.yaml").write_text(
        "version: 1\ndomains: {here: {host: localhost, front: envoy}}\n"
    )
    assert main(["status", "--prometheus-token-file", "token"]) == 2
    check(capsys.readouterr().err, "--prometheus URL", reason="usage")
