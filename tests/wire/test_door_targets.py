"""Attack classes 1, 2, 4 and 5: no path, query, method or Host but a published one gets through."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from support.doors import EKF, PATH, UPSTREAM_PATH, DoorEnv, assert_refused, post

START = "/kubernetes/api/v1/namespaces"


def path(namespace: str, account: str) -> str:
    return f"{START}/{namespace}/serviceaccounts/{account}/token"


def in_place_of_a_slash(*texts: str) -> Iterator[str]:
    """The published path with each of its slashes but the first replaced by each text."""
    for i, c in enumerate(PATH):
        if c == "/" and i:
            yield from (PATH[:i] + text + PATH[i + 1 :] for text in texts)


def not_normalised() -> Iterator[str]:
    """What a path normaliser on either side would take away again (CVE-2021-29492)."""
    yield from in_place_of_a_slash(
        "//", "/./", "/../", "/x/../", "/%2e/", "/%2e%2e/", "/..;/", "/;/", "\\", "/\\"
    )


def encoded_slashes() -> Iterator[str]:
    yield from in_place_of_a_slash(
        "%2f", "%2F", "%5c", "%5C", "%252f", "%c0%af", "%u002f", "/%2f", "%2f/", "%ef%bc%8f"
    )


def encoded_characters() -> Iterator[str]:
    """Every character encoded once and twice: Go decodes a path before it routes it."""
    for i, c in enumerate(PATH[1:], 1):
        yield f"{PATH[:i]}%{ord(c):02x}{PATH[i + 1 :]}"
        yield f"{PATH[:i]}%25{ord(c):02X}{PATH[i + 1 :]}"


def other_case() -> Iterator[str]:
    for i, c in enumerate(PATH):
        if c.isalpha():
            yield PATH[:i] + c.upper() + PATH[i + 1 :]
    yield PATH.upper()


def after_the_end() -> Iterator[str]:
    """More after the end; Go's router takes some of these for the same resource."""
    for end in ("/", "//", "/x", "x", "/token", "/..", "/.", "%20", "%00", "%0a", "%0d%0a", "%09",
                ".json", ";x", ";a=b", ":x", "*", "|", "~", "$", "^", "%", "%2", "%zz", "%2fexec",
                "?", "?dryRun=All", "?fieldValidation=Ignore", "?x=/token", "??", "%3f", "%3fx",
                "&x", "=", "@", "!", "'", "(", ")", "+", ",", "[", "]", "{", "}",
                "`", "<", ">"):  # fmt: skip
        yield PATH + end


def before_the_start() -> Iterator[str]:
    for front in ("/", "//", "/.", "/./", "/x/..", "/;", "/%2e", "/x"):
        yield front + PATH


OTHER_PATHS = (
    "/", "/api", "/api/v1/namespaces/team/secrets", "/healthz", "/metrics", "/ready",
    "/config_dump", "/stats", "/quitquitquit",
    "/kubernetes", "/kubernetes/", "/kubernetesx" + UPSTREAM_PATH, UPSTREAM_PATH,
    "/kubernetes" + PATH, "/kubernetes/api", "/kubernetes/apis", "/kubernetes/version",
    "/kubernetes/openid/v1/jwks", "/kubernetes/.well-known/openid-configuration",
    "/kubernetes/api/v1/secrets",
    "/kubernetes/api/v1/watch/namespaces/team/serviceaccounts/bot/token",
    "/kubernetes/apis/authentication.k8s.io/v1/tokenreviews",
    f"{START}/team/serviceaccounts",
    f"{START}/team/serviceaccounts/bot",
    f"{START}/team/serviceaccounts/token",
    f"{START}/serviceaccounts/bot/token",
    f"{START}/team/pods/bot/token",
    f"{START}/team/pods/bot/exec",
    f"{START}/team/serviceaccounts/bot/proxy/token",
    f"{START}/team/serviceaccounts/a/serviceaccounts/b/token",
    f"{START}/team/services/https:x:443/proxy/serviceaccounts/bot/token",
    *(path(namespace, "bot") for namespace in (
        "Team", "-team", "team-", "te.am", "te_am", "..", ".", "-", "*", "t" * 64,
    )),
    *(path("team", account) for account in (
        "Bot", "bot.", ".bot", "b..t", "b.-t", "b-.t", "-bot", "bot-", "..", "b_t", "b:t",
        "b" * 254, "b." * 126 + "bc", "b/../c",
    )),
)  # fmt: skip


@pytest.mark.parametrize(
    "paths",
    [
        not_normalised,
        encoded_slashes,
        encoded_characters,
        other_case,
        after_the_end,
        before_the_start,
        lambda: iter(OTHER_PATHS),
    ],
    ids=lambda paths: paths.__name__.strip("<>"),
)
def test_a_path_that_is_not_published_is_answered_404_and_goes_nowhere(
    env: DoorEnv, paths: Callable[[], Iterator[str]]
) -> None:
    targets = list(paths())
    answers = env.send_each(post(target) for target in targets)
    for target, answer in zip(targets, answers, strict=True):
        assert answer.code == 404, target
        assert_refused(answer, 404)
    assert env.arrived() == ()


@pytest.mark.parametrize(
    ("namespace", "account"),
    [
        ("team", "bot"),
        ("0", "9"),
        ("t" * 63, "b" * 253),
        ("a-b--c", "a.b-c.d"),
        ("team", "b." * 126 + "b"),
        ("token", "token"),
    ],
)
def test_a_published_path_arrives_without_its_prefix(
    env: DoorEnv, namespace: str, account: str
) -> None:
    target = path(namespace, account)
    (arrived,) = env.send(post(target)).arrived
    assert arrived.request_line == f"POST {target.removeprefix('/kubernetes')} HTTP/1.1"


@pytest.mark.parametrize(
    "target",
    [
        PATH + "#",
        "#" + PATH,
        PATH + "\x00",
        PATH + "\xe9",
        PATH.replace("bot", "b\xc3\xb6t"),
        PATH + " x",
        PATH + "\x0bx",
        PATH + " HTTP/1.1 x",
        "",
        PATH[1:],
        EKF + ":443",
    ],
)
def test_a_request_line_that_is_not_http_is_answered_400_and_ends_the_connection(
    env: DoorEnv, target: str
) -> None:
    assert env.assert_refuses(post(target), 400).closes


@pytest.mark.parametrize("white", [" ", "  ", "\t", "\r", " \t "])
def test_white_space_around_the_target_is_not_part_of_what_arrives(
    env: DoorEnv, white: str
) -> None:
    """Envoy's parser skips it (RFC 9112, 3); what arrives is what was judged."""
    for target in (PATH + white, white + PATH):
        outcome = env.send(post(target))
        assert outcome.answer.code in (201, 400)
        assert [r.request_line for r in outcome.arrived] in ([f"POST {UPSTREAM_PATH} HTTP/1.1"], [])


@pytest.mark.parametrize(
    "target",
    [
        f"https://{EKF}{PATH}", f"http://{EKF}{PATH}", f"https://evil.example.com{PATH}",
        f"HTTPS://{EKF}{PATH}", f"https://kubernetes.default.svc{UPSTREAM_PATH}",
        f"https://user@{EKF}{PATH}", f"file://{PATH}", "*",
    ],
)  # fmt: skip
def test_a_target_that_is_no_path_is_not_read_as_one(env: DoorEnv, target: str) -> None:
    env.assert_refuses(post(target), 404)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_another_method_is_answered_405_and_goes_nowhere(env: DoorEnv, method: str) -> None:
    env.assert_refuses(post(method=method), 405)
    assert_refused(env.send(post("/kubernetes", method=method)).answer, 404)


def test_head_is_answered_405_without_a_body(env: DoorEnv) -> None:
    outcome = env.send(post(method="HEAD", body=b""))
    assert (outcome.answer.code, outcome.answer.headers["allow"]) == (405, "GET, POST")
    assert outcome.answer.body == b""
    assert outcome.arrived == ()


@pytest.mark.parametrize(
    "method", ["post", "Post", "get", "BREW", "P OST", "PRI", "POST\x00", "POST,GET", "\xe9", ""]
)
def test_a_method_that_http_does_not_have_is_answered_400(env: DoorEnv, method: str) -> None:
    env.assert_refuses(post(method=method), 400)


@pytest.mark.parametrize("target", [f"{EKF}:443", "kubernetes.default.svc:443", "127.0.0.1:22"])
def test_connect_opens_no_tunnel_and_is_answered_at_once(env: DoorEnv, target: str) -> None:
    assert env.assert_refuses(
        f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode(), 403
    ).closes


@pytest.mark.parametrize("method", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])
def test_a_header_does_not_change_the_method(env: DoorEnv, method: str) -> None:
    (arrived,) = env.send(post(extra=(f"{method}: DELETE",))).arrived
    assert arrived.request_line.startswith("POST ")


def test_what_was_refused_leaves_the_connection_usable(env: DoorEnv) -> None:
    answers = env.send_each([post("/nothing"), post(method="PUT"), post(headers=()), post()])
    assert [answer.code for answer in answers] == [404, 405, 401, 201]
    assert not any(answer.closes for answer in answers)
    assert len(env.arrived()) == 1
