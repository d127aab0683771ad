"""Envoy does what `judge` of support/door_decision.py says, for any request that is HTTP."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.door_decision import DoorRequest, Verdict, judge
from support.doors import EKF, JWT, PATH, SERVING, DoorEnv, assert_refused

START = "/kubernetes/api/v1/namespaces/"


@st.composite
def targets(draw: st.DrawFn) -> str:
    """A published path, bent in some places or none."""
    target = draw(st.sampled_from([PATH, f"{START}a/serviceaccounts/b.c-d/token"]))
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 1, 2]))):
        place = draw(st.integers(1, len(target)))
        taken = draw(st.integers(0, 2))
        target = target[:place] + draw(BENT) + target[place + taken :]
    return target


BENT = st.sampled_from(
    ["", "/", "//", "..", ".", "%2f", "%2e", "%", "?", "?a=b", ";", "\\", "A", "-", "_", "a", "0",
     "~", "*", "@", ":", "+", ",", "|", "token", "x" * 60, "y" * 250, "/../", "%00", "&", "[", "{",
     "'"]
)  # fmt: skip
HOSTS = st.sampled_from(
    [EKF, SERVING, EKF.upper(), f"{EKF}:443", f"{EKF}:", f"{EKF}:x", f"{EKF}.", f"x{EKF}", "x", "",
     f"x.{EKF}", f"{EKF},{EKF}", f"{EKF}:1:2", "[::1]", "[::1]:443", f"[{EKF}]", ":443", f"{EKF}:]",
     f"{EKF}]", f"[{EKF}", "kubernetes.default.svc"]
)  # fmt: skip
AUTHORIZATIONS = st.one_of(
    st.just(f"Bearer {JWT}"),
    st.sampled_from([f"bearer {JWT}", f"Bearer  {JWT}", f"Bearer {JWT} x", "Basic eDp5", "", JWT]),
    st.text("aZ09-_.= ,\tBearer", max_size=12).map(lambda text: f"Bearer {text}"),
    st.from_regex(r"Bearer [A-Za-z0-9_.-]{1,9}(\.[A-Za-z0-9_-]{0,3}){0,3}", fullmatch=True),
).map(lambda value: value.strip(" \t"))
MEDIA_TYPES = st.one_of(
    st.sampled_from(
        ["application/json", "APPLICATION/json", "application/vnd.kubernetes.protobuf", "",
         "application/json;charset=utf-8", 'application/json ; charset="utf-8"', "text/html",
         'application/json;charset="utf-8', "application/json;", "application/json,text/html",
         "application/json;charset=utf-8;x=y", "application/\xe9", "application/yaml"]
    ),
    st.text("aplictionjsv/; \t=", max_size=18),
).map(lambda value: value.strip(" \t"))  # fmt: skip
SIZES = st.sampled_from([0, 0, 31, 31, 1, 2, 8191, 8192, 8193, 10_000])


@st.composite
def requests(draw: st.DrawFn) -> DoorRequest:
    """A request that is HTTP, right in most of its parts."""
    headers: list[tuple[str, str]] = []
    for name, values in (("authorization", AUTHORIZATIONS), ("content-type", MEDIA_TYPES)):
        count = draw(st.sampled_from([0, 1, 1, 1, 1, 2]))
        headers += [(name, draw(values)) for _ in range(count)]
    return DoorRequest(
        method=draw(st.sampled_from(["POST"] * 6 + ["GET"] * 4 + ["PUT", "DELETE", "OPTIONS"])),
        host=draw(HOSTS) if draw(st.integers(0, 4)) == 0 else EKF,
        target=draw(targets()) if draw(st.integers(0, 2)) == 0 else PATH,
        headers=tuple(headers),
        body_bytes=draw(SIZES),
    )


def wire_form(request: DoorRequest, *, chunked: bool) -> bytes:
    lines = [f"{request.method} {request.target} HTTP/1.1", f"Host: {request.host}"]
    lines += [f"{name}: {value}" for name, value in request.headers]
    body = b"x" * request.body_bytes
    if chunked:
        lines.append("Transfer-Encoding: chunked")
        body = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n"
    else:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def test_the_door_does_what_the_predicate_says(env: DoorEnv) -> None:
    verdicts: set[Verdict] = set()

    @settings(
        max_examples=60,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(st.tuples(requests(), st.booleans()), min_size=1, max_size=25))
    def agree(drawn: list[tuple[DoorRequest, bool]]) -> None:
        expected = [judge(env.door.settings.exposure, request) for request, _ in drawn]
        sent = [wire_form(request, chunked=chunked) for request, chunked in drawn]
        for raw, verdict, answer in zip(sent, expected, env.send_each(sent), strict=True):
            code = 201 if verdict is Verdict.PASS else verdict.value
            assert answer.code == code, (raw, verdict)
            if verdict is not Verdict.PASS:
                assert_refused(answer, code)
        assert len(env.arrived()) == expected.count(Verdict.PASS)
        verdicts.update(expected)

    agree()
    assert verdicts == set(Verdict)
