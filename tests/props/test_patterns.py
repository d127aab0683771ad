"""Patterns of hosts and paths against an oracle that knows no regular expressions.

It takes a host or path apart by hand, and tries every namespace and name that it could name.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable

from hypothesis import example, given
from hypothesis import strategies as st

from daypass.rules.patterns import (
    PLAIN_PATH_REGEX,
    HostPattern,
    PathPattern,
    is_plain_path,
    overlap,
)

LETTERS = frozenset(string.ascii_lowercase + string.digits)
VARIABLES = ("*", "{name}", "{namespace}", "{name}-{namespace}")


def is_label(text: str) -> bool:
    return (
        bool(text) and LETTERS.issuperset(text.replace("-", "")) and "-" not in text[0] + text[-1]
    )


def splits(label: str) -> list[tuple[str, str]]:
    """Every (namespace, name) of `name-namespace`."""
    pairs = [(label[n + 1 :], label[:n]) for n, letter in enumerate(label) if letter == "-"]
    return [pair for pair in pairs if all(map(is_label, pair))]


def accepts(part: str, label: str) -> bool:
    if part == "{name}-{namespace}":
        return is_label(label) and bool(splits(label))
    return is_label(label) if part in VARIABLES else part == label


def oracle_matches(pattern: str, host: str) -> bool:
    name, colon, port = host.partition(":")
    if colon and not (1 <= len(port) <= 5 and set(port) <= set(string.digits)):
        return False
    ends = ["", ".svc", ".svc.cluster.local"] if pattern.endswith(".svc.cluster.local") else [""]
    forms = [pattern.removesuffix(".svc.cluster.local") + end for end in ends] if ends[1:] else []
    for form in forms or [pattern]:
        parts, labels = form.split("."), name.split(".")
        if len(parts) == len(labels) and all(map(accepts, parts, labels)):
            return True
    return False


def oracle_names(pattern: str, host: str) -> set[tuple[str, str]]:
    """Fill in every part of the host for the variables, and see which of it gives the host."""
    if not oracle_matches(pattern, host):
        return set()
    name = host.partition(":")[0]
    parts = {name[i:j] for i in range(len(name)) for j in range(i + 1, min(len(name), i + 63) + 1)}
    labels = sorted(filter(is_label, parts))
    found = set()
    for end in ("", ".svc", ".svc.cluster.local"):
        form = pattern
        if end != ".svc.cluster.local":
            if not pattern.endswith(".svc.cluster.local"):
                continue
            form = pattern.removesuffix(".svc.cluster.local") + end
        for namespace in labels:
            for model in labels:
                if form.replace("{name}", model).replace("{namespace}", namespace) == name:
                    found.add((namespace, model))
    return found | (kserve_default(name) if "{name}-{namespace}" in pattern else set())


def kserve_default(host: str) -> set[tuple[str, str]]:
    """What KServe's getServiceHost makes this host of, in a namespace that begins with default."""
    label, removed = host.partition(".")[0], "-predictor-default"
    dashes = [n for n in range(1, len(label)) if label[n] == "-"]
    tried = [(f"default{label[n:]}", label[:n]) for n in (*dashes, len(label))]
    return {
        (namespace, name)
        for namespace, name in tried
        if is_label(namespace) and is_label(name)
        if f"{name}-predictor-{namespace}".replace(removed, "", 1) == label
    }


literals = st.sampled_from(["a", "b", "a-b", "svc", "com", "1"])
patterns = st.one_of(
    st.builds(
        lambda first, end: ".".join([*first, *end]),
        st.lists(
            st.one_of(literals, st.sampled_from(VARIABLES)), min_size=0, max_size=2, unique=True
        ).filter(lambda labels: "{name}-{namespace}" not in labels or len(labels) == 1),
        st.sampled_from([["com"], ["a", "com"], ["svc", "cluster", "local"]]),
    ),
).filter(lambda text: text != "svc.cluster.local")

texts = st.text(st.sampled_from("ab-."), max_size=9)
ports = st.sampled_from(["", "", "", ":1", ":65535", ":123456", ":", ":x", ".", ".:1"])
ends = st.sampled_from(["", ".com", ".a.com", ".svc", ".svc.cluster.local", ".COM", ".svc.cluster"])
hosts = st.builds(lambda text, end, port: text + end + port, texts, ends, ports)


@given(text=patterns, host=hosts)
@example(text="{name}-{namespace}.com", host="a--b-a.com")
@example(text="{name}.{namespace}.svc.cluster.local", host="svc.svc")
@example(text="{name}.{namespace}.svc.cluster.local", host="a.svc.svc.cluster.local")
def test_a_host_matches_and_is_read_as_the_oracle_says(text: str, host: str) -> None:
    pattern = HostPattern.parse(text)
    assert pattern.matches(host) == oracle_matches(text, host)
    if pattern.names_a_model:
        assert pattern.names(host) == oracle_names(text, host)
    else:
        assert not pattern.names(host)


labels = st.text(st.sampled_from("ab-"), min_size=1, max_size=6).filter(is_label)


@st.composite
def patterns_and_hosts(draw: st.DrawFn) -> tuple[str, str]:
    """A pattern, and a host that it matches."""
    text = draw(patterns)
    filled = {"{name}-{namespace}": f"{draw(labels)}-{draw(labels)}", "*": draw(labels)}
    parts = [
        filled.get(part, draw(labels) if part in VARIABLES else part) for part in text.split(".")
    ]
    cut = draw(st.sampled_from([1, 3, 4])) if text.endswith(".svc.cluster.local") else 1
    kept = parts[: len(parts) - cut + 1]
    return text, ".".join(kept) + draw(st.sampled_from(["", ":0", ":65535"]))


@given(
    both=patterns_and_hosts(),
    change=st.sampled_from([str.upper, str.title, str]),
    port=st.sampled_from(["", ".", ".:1", ":", ":x", ":1:2", ".."]),
)
def test_what_matches_is_near_in_every_spelling(
    both: tuple[str, str], change: Callable[[str], str], port: str
) -> None:
    text, host = both
    pattern = HostPattern.parse(text)
    assert pattern.matches(host)
    assert oracle_matches(text, host)
    if pattern.names_a_model:
        assert pattern.names(host) == oracle_names(text, host) != set()
    name = host.partition(":")[0]
    assert pattern.is_near(host)
    assert pattern.is_near(change(name) + port)
    if text.split(".")[0] in VARIABLES and "svc" not in text:
        assert pattern.is_near(f"x.{name}{port}")


@given(a=patterns, b=patterns)
def test_two_patterns_overlap_exactly_if_a_host_matches_both(a: str, b: str) -> None:
    """In place of a variable, the other pattern's label is tried, or one that all match."""

    def hosts_of(text: str) -> list[list[str]]:
        end = ".svc.cluster.local"
        bare = text.removesuffix(end)
        return [
            form.split(".")
            for form in ([bare, f"{bare}.svc", text] if text.endswith(end) else [text])
        ]

    def label_of(x: str, y: str) -> str:
        return next((part for part in (x, y) if part not in VARIABLES), "a-b")

    tried = [
        ".".join(map(label_of, ours, theirs))
        for ours in hosts_of(a)
        for theirs in hosts_of(b)
        if len(ours) == len(theirs)
    ]
    both = any(oracle_matches(a, host) and oracle_matches(b, host) for host in tried)
    assert bool(overlap(HostPattern.parse(a), HostPattern.parse(b))) == both


path_texts = st.text(st.sampled_from("ab-./?%2eS;\\#"), max_size=12)
path_patterns = st.sampled_from(
    [
        "/",
        "/a/",
        "/a/b/",
        "/a/{namespace}/{name}/",
        "/{namespace}/{name}/",
        "/{name}/{namespace}/",
        "/{namespace}/a/{name}/",
        "/a/{name}/",
    ]
)


@given(
    text=path_patterns,
    path=st.builds(lambda begin, rest: begin + rest, st.sampled_from(["", "/", "/a/"]), path_texts),
)
@example(text="/a/b/", path="/a/b?")
def test_a_path_matches_and_is_read_by_its_segments(text: str, path: str) -> None:
    pattern = PathPattern.parse(text)
    bare = path.partition("?")[0]
    segments, parts = bare.split("/")[1:], text.split("/")[1:-1]
    matches = (
        bare.startswith("/")
        and len(segments) >= len(parts)
        and all(
            is_label(segment) if part in VARIABLES else part == segment
            for part, segment in zip(parts, segments, strict=False)
        )
    )
    assert pattern.matches(path) == matches
    read = dict(zip(parts, segments, strict=False))
    if matches and {"{name}", "{namespace}"} <= set(read):
        assert pattern.names(path) == {(read["{namespace}"], read["{name}"])}
    else:
        assert pattern.names(path) == frozenset()
    prefix = text.partition("{")[0]
    begins = bare.lower().startswith(prefix) or f"{bare.lower()}/" == prefix
    assert pattern.is_near(path) == (begins and bare.startswith("/"))
    assert pattern.is_near(path) or not matches


UNRESERVED = string.ascii_letters + string.digits + "-._~"


def oracle_is_plain(path: str) -> bool:
    bare, _, query = path.partition("?")
    if "#" in query or not bare.startswith("/"):
        return False
    segments = bare[1:].split("/")
    if segments[-1] == "":
        segments.pop()
    for segment in segments:
        if not segment.strip("."):
            return False
        rest = segment
        while rest:
            if rest[0] == "%":
                if len(rest) < 3 or not set(rest[1:3]) <= set(string.hexdigits):
                    return False
                byte = int(rest[1:3], 16)
                if byte < 32 or byte == 127 or chr(byte) in UNRESERVED + "/\\%;":
                    return False
                rest = rest[3:]
            elif rest[0] not in UNRESERVED + "!$&'()*+,=:@":
                return False
            else:
                rest = rest[1:]
    return True


@given(
    path=st.one_of(
        st.text(st.sampled_from("a./%2eE5cC3bf0;\\?#:\x00\x7fä"), max_size=10).map("/".__add__),
        st.text(max_size=10).map("/".__add__),
        st.integers(0, 255).map(lambda byte: f"/a%{byte:02x}"),
        st.integers(0, 255).map(lambda byte: f"/a%{byte:02X}"),
        st.integers(0, 255).map(lambda byte: f"/{chr(byte)}"),
    )
)
@example(path="/...")
@example(path="/a//")
def test_a_path_is_plain_as_the_oracle_says(path: str) -> None:
    assert is_plain_path(path) == oracle_is_plain(path)
    assert is_plain_path(path) == bool(re.fullmatch(PLAIN_PATH_REGEX, path))
