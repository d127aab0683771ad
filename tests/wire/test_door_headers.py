"""Attack classes 6 to 11: no header speaks for somebody else, steers the door or takes one away."""

from __future__ import annotations

from pathlib import Path

import pytest

from daypass.config.exposure import REQUEST_HEADERS
from support.doors import BODY, JWT, DoorEnv, assert_refused, post, running_door_env
from support.recorder import hang_up

SPEAKS_FOR_SOMEBODY = (
    "Impersonate-User: system:admin",
    "Impersonate-Group: system:masters",
    "Impersonate-Extra-Scopes: all",
    "impersonate-extra-authentication.kubernetes.io%2fcredential-id: JTI=x",
    "X-Remote-User: system:admin",
    "X-Remote-Group: system:masters",
    "X-Forwarded-Client-Cert: By=x;Hash=y;Subject=CN=admin",
    "X-Forwarded-User: admin",
    "SSL-Client-Cert: admin",
    "kubeflow-userid: admin@example.com",
    "kubeflow-groups: admins",
    "Proxy-Authorization: Basic YWRtaW46YWRtaW4=",
    "Cookie: session=admin",
    "X-Api-Key: admin",
    "Daypass-Reason: forged",
)
OF_A_CONNECTION = (
    "TE: trailers", "Trailer: Authorization", "Keep-Alive: timeout=1000",
    "Proxy-Connection: keep-alive", "Upgrade-Insecure-Requests: 1",
    "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA", "Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==",
    "Content-Encoding: gzip", "Content-MD5: x", "Range: bytes=0-1", "If-Match: x", "Via: 1.1 evil",
    "Max-Forwards: 0", "Origin: https://evil.example.com", "Access-Control-Request-Method: POST",
    "X-Forwarded-Proto: http", "X-Forwarded-Port: 1", "X-Forwarded-Host: evil.example.com",
    "Forwarded: for=1.2.3.4;host=evil.example.com;proto=http", "X-Real-Ip: 1.2.3.4",
)  # fmt: skip
OBEYED_BY_ENVOY = (
    "x-envoy-retry-on: 5xx,gateway-error,reset,retriable-4xx", "x-envoy-retry-grpc-on: internal",
    "x-envoy-max-retries: 5", "x-envoy-retriable-status-codes: 201",
    "x-envoy-hedge-on-per-try-timeout: true", "x-envoy-upstream-rq-timeout-ms: 1",
    "x-envoy-upstream-rq-per-try-timeout-ms: 1", "x-envoy-expected-rq-timeout-ms: 1",
    "x-envoy-upstream-alt-stat-name: evil", "x-envoy-upstream-stream-duration-ms: 1",
    "x-envoy-internal: true", "x-envoy-external-address: 10.0.0.1",
    "x-envoy-original-path: /api/v1/secrets", "x-envoy-original-dst-host: 127.0.0.1:1",
    "x-envoy-original-host: evil.example.com", "x-envoy-decorator-operation: evil",
    "x-envoy-downstream-service-cluster: evil", "x-envoy-downstream-service-node: evil",
    "x-envoy-force-trace: 1", "x-envoy-ip-tags: evil", "x-envoy-attempt-count: 9",
    "x-envoy-is-timeout-retry: true", "X-ENVOY-INTERNAL: true", "grpc-timeout: 1n",
    "x-client-trace-id: evil", "x-b3-sampled: 1",
)  # fmt: skip


@pytest.mark.parametrize("header", [*SPEAKS_FOR_SOMEBODY, *OF_A_CONNECTION, *OBEYED_BY_ENVOY])
def test_a_header_that_is_not_on_the_list_does_not_travel_on(env: DoorEnv, header: str) -> None:
    outcome = env.send(post(extra=(header,)))
    (arrived,) = outcome.arrived  # and only headers of the list with it: `arrived` sees to that
    assert outcome.answer.code == 201
    assert arrived.body == BODY
    assert arrived.header("authorization") == f"Bearer {JWT}"
    assert arrived.header("x-forwarded-for") == "127.0.0.1"
    assert not [name for name in outcome.answer.headers if name.startswith("x-envoy")]


def names_near_the_list() -> list[str]:
    """Every allowed name with a character dropped, doubled, changed or added."""
    near = set()
    for name in REQUEST_HEADERS:
        for i, c in enumerate(name):
            before, after = name[:i], name[i + 1 :]
            near |= {before + after, before + c + c + after, f"{before}~{after}"}
            near |= {before, c + after, f"{before}-{c}{after}"}
        near |= {f"{name}{end}" for end in ("-", "s", "0", f"-{name}")}
        near |= {f"{start}{name}" for start in ("-", "x-", "x")}
    # `x`, `a` and the like are names as well; these two decide about the request itself.
    return sorted(near - {"", *REQUEST_HEADERS, "host", "te"})


def test_envoy_keeps_exactly_the_names_of_the_list(env: DoorEnv) -> None:
    names = names_near_the_list()
    assert len(names) > 300
    batches = [names[i : i + 40] for i in range(0, len(names), 40)]
    answers = env.send_each(post(extra=tuple(f"{name}: x" for name in batch)) for batch in batches)
    assert {answer.code for answer in answers} == {201}
    assert len(env.arrived()) == len(batches)


def test_the_headers_of_the_list_travel_on_as_they_are(env: DoorEnv) -> None:
    travelling = {
        "accept": "application/json, */*;q=0.1",
        "user-agent": "kubectl/v1.37.2 (linux/amd64)",
        "x-request-id": "of-the-client",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    }
    extra = tuple(f"{name}: {value}" for name, value in travelling.items())
    (arrived,) = env.send(post(extra=extra)).arrived
    assert {name: arrived.header(name) for name in travelling} == travelling
    assert arrived.header("content-type") == "application/json"
    assert arrived.header("content-length") == str(len(BODY))


def test_nothing_is_sent_that_the_client_did_not_send_but_an_id_and_an_address(
    env: DoorEnv,
) -> None:
    (arrived,) = env.send(post(method="GET", headers=(), body=b"")).arrived
    assert [name for name, _ in arrived.headers] == ["host", "x-request-id", "x-forwarded-for"]


@pytest.mark.parametrize("request_id", ["of-the-client", "a,b", "00000000-0000-0000-0000-0"])
def test_a_request_id_is_passed_on_and_given_back(env: DoorEnv, request_id: str) -> None:
    for request in (post, lambda **more: post("/nothing", **more)):
        answer = env.send(request(extra=(f"X-Request-Id: {request_id}",))).answer
        assert answer.headers["x-request-id"] == request_id


def test_a_request_without_an_id_gets_one_that_the_client_sees_too(env: DoorEnv) -> None:
    outcome = env.send(post())
    (arrived,) = outcome.arrived
    assert outcome.answer.headers["x-request-id"] == arrived.header("x-request-id") != ""


@pytest.mark.parametrize(
    "header",
    [
        "kubeflow_userid: admin", "impersonate_user: admin", "x_forwarded_for: 1.2.3.4",
        "Authorization_: x", "_: x", "content_length: 0", "transfer_encoding: chunked",
    ],
)  # fmt: skip
def test_a_header_with_an_underscore_is_refused(env: DoorEnv, header: str) -> None:
    """CGI and some proxies read it as the one with a dash."""
    env.assert_refuses(post(extra=(header,)), 400)


@pytest.mark.parametrize(
    "header",
    [
        ":path: /api/v1/secrets", ":method: DELETE", ":authority: evil", ":scheme: http",
        ":protocol: websocket", ": x", "Authorization : Bearer a.b.c",
        "Authorization\t: Bearer a.b.c", "Impersonate-User\x00: admin", "Impersonate User: admin",
        "Impersonate-User", "X(y): z", "\xc9: x", "X: a\x00b", "X: a\x01b", "X: a\x7fb",
        "User-Agent: a\x00b",
    ],
)  # fmt: skip
def test_a_header_that_is_not_http_is_answered_400(env: DoorEnv, header: str) -> None:
    assert env.assert_refuses(post(extra=(header,)), 400).closes


@pytest.mark.parametrize("end", ["\r\n ", "\r\n\t", "\n ", "\r\r\n ", "\r", "\n", "\r\n"])
@pytest.mark.parametrize("name", ["User-Agent", "Accept", "X-Request-Id", "traceparent", "X"])
def test_a_value_that_is_folded_or_cut_arrives_as_one_line_or_not_at_all(
    env: DoorEnv, name: str, end: str
) -> None:
    """`arrived` refuses any control character and any header beyond the list."""
    env.send(post(extra=(f"{name}: a{end}Impersonate-User: admin",)))


def test_the_proxys_headers_are_not_obeyed_when_the_api_server_fails(tmp_path: Path) -> None:
    """A request is sent once, whatever the client says about retries."""
    with running_door_env(tmp_path) as env:
        env.recorder.behave = lambda connection, _: connection.sendall(
            b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"
        )
        answer = env.door.send(post(extra=OBEYED_BY_ENVOY))
        assert (answer.code, answer.body) == (503, b"")
        assert [request.faults() for request in env.recorder.take()] == [[]]
        env.recorder.behave = hang_up
        assert_refused(env.door.send(post(extra=OBEYED_BY_ENVOY)), 503)
        assert [request.faults() for request in env.recorder.take()] == [[]]
