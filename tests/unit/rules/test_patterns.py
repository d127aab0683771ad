"""Patterns of hosts and paths: what matches, what is only near, and what is read from it."""

from __future__ import annotations

import time

import pytest

from daypass.rules.patterns import (
    HostPattern,
    PathPattern,
    PatternError,
    is_plain_path,
    overlap,
    owners,
)

DOTTED = HostPattern.parse("{name}.{namespace}.example.com")
DASHED = HostPattern.parse("{name}-{namespace}.serving.example.com")
LOCAL = HostPattern.parse("{name}.{namespace}.svc.cluster.local")
SERVING = PathPattern.parse("/serving/{namespace}/{name}/")
LLM = PathPattern.parse("/{namespace}/{name}/")

# Hosts


@pytest.mark.parametrize(
    "host",
    [
        "Iris.alice.example.com",
        "iris.alice.example.com.",
        "iris.alice.example.com:",
        "iris.alice.example.com:http",
        "iris.alice.example.com: 443",
        "x.iris.alice.example.com",
        "iris..alice.example.com",
        ".alice.example.com",
        "-iris.alice.example.com",
        "iris_v2.alice.example.com",
        "bücher.alice.example.com",
        "iris.alice.example.com\n".strip("\n") + ":\n",
        "iris%2ealice.alice.example.com",
    ],
)
def test_another_spelling_is_near_and_does_not_match(host: str) -> None:
    assert not DOTTED.matches(host)
    assert DOTTED.names(host) == frozenset()
    assert DOTTED.is_near(host)


@pytest.mark.parametrize(
    "host", ["iris.alice", "iris.alice.svc", "iris.alice.svc.cluster.local", "iris.alice.svc:80"]
)
def test_a_cluster_local_pattern_includes_its_short_forms(host: str) -> None:
    assert LOCAL.names(host) == {("alice", "iris")}
    assert LOCAL.is_near(host)


def test_a_literal_host_and_an_address_match_with_a_port() -> None:
    assert HostPattern.parse("ekf.example.com").matches("ekf.example.com:8443")
    assert HostPattern.parse("127.0.0.1").matches("127.0.0.1:8443")
    assert HostPattern.parse("::1").matches("[::1]:8443")
    assert not HostPattern.parse("::1").matches("::1")
    assert not HostPattern.parse("127.0.0.1").matches("127a0.0.1")


def test_the_pattern_of_every_host_matches_whatever_a_client_sends() -> None:
    for host in ("", "a", "A.b.:x", "\n"):
        assert HostPattern.parse("*").matches(host)


def test_a_star_is_one_label_without_a_reading() -> None:
    pattern = HostPattern.parse("*.serving.example.com")
    assert pattern.matches("iris-alice.serving.example.com")
    assert not pattern.matches("a.b.serving.example.com")
    assert pattern.names("iris-alice.serving.example.com") == frozenset()


def test_a_dashed_host_may_be_that_of_a_namespace_that_begins_with_default() -> None:
    """KServe takes `-predictor-default` out of `iris-predictor-default-x`."""
    assert DASHED.names("iris-x.serving.example.com") == {
        ("x", "iris"), ("default-x", "iris"), ("default", "iris-x"),
    }  # fmt: skip


def test_a_label_of_64_characters_has_no_reading() -> None:
    assert DOTTED.names(f"{'a' * 63}.b.example.com") == {("b", "a" * 63)}
    assert DOTTED.names(f"{'a' * 64}.b.example.com") == frozenset()


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".".join(["a" * 60] * 5),
        "{name}.{namespace}",
        "iris.*",
        "{name}.{name}.example.com",
        "{name}-x.example.com",
        "{model}.example.com",
        "a*.example.com",
        "Example.com",
        "example.com:443",
        "bücher.example.com",
        "{name}.example.1",
        "{name}.example.com\n",
    ],
)
def test_a_text_that_is_no_pattern_of_hosts_is_refused(text: str) -> None:
    with pytest.raises(PatternError) as refused:
        HostPattern.parse(text)
    assert refused.value.fact
    assert refused.value.hint


def test_an_overlap_is_the_form_of_each_that_has_a_host_in_common() -> None:
    host = HostPattern.parse("example.com")
    assert overlap(LOCAL, host) == ("{name}.{namespace}", "example.com")
    assert overlap(host, LOCAL) == ("example.com", "{name}.{namespace}")
    assert overlap(LOCAL, LOCAL) == (LOCAL.text, LOCAL.text)


def test_regular_expressions_are_short() -> None:
    """RE2's program has about as many instructions, and Envoy may refuse more than 100."""
    for pattern in (DOTTED, DASHED, LOCAL, SERVING, LLM):
        for regex in (pattern.exact_regex, pattern.near_regex):
            assert len(regex) <= 130
            assert "(?=" not in regex
            assert "(?!" not in regex


# Paths


@pytest.mark.parametrize(
    "text",
    [
        "",
        "serving/",
        "/a//b/",
        "/./",
        "/a/.../",
        "/{name}/{name}/",
        "/{name}-{namespace}/",
        "/a%2fb/",
        "/a\\b/",
        f"/{'a' * 300}/",
        "/publishers/{namespace}/models/{name}/",
        "/a/\n",
    ],
)
def test_a_text_that_is_no_pattern_of_paths_is_refused(text: str) -> None:
    with pytest.raises(PatternError) as refused:
        PathPattern.parse(text)
    assert refused.value.fact
    assert refused.value.hint


@pytest.mark.parametrize(
    "path",
    [
        "",
        "http://x/a",
        "//",
        "/a//b",
        "/.",
        "/a/../b",
        "/...",
        "/a/..?x",
        "/a;b",
        "/a/..;/b",
        "/a\\b",
        "/a#b",
        "/a?b#c",
        "/a b",
        "/a\x00",
        "/a\n",
        "/a\x7f",
        "/ä",
        "/%2e",
        "/a%2fb",
        "/a%5Cb",
        "/%25",
        "/%252e",
        "/%3B",
        "/%00",
        "/%0a",
        "/%7F",
        "/%61",
        "/%2D",
        "/%7e",
        "/%",
        "/%zz",
        "/{x}",
        "/[",
    ],
)
def test_a_path_that_others_could_read_differently_is_not_plain(path: str) -> None:
    assert not is_plain_path(path)


# Components


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("iris", "iris"),
        ("iris-predictor", "iris"),
        ("iris-predictor", "iris-predictor"),
        ("iris-predictor-default", "iris"),
        ("iris-predictor-canary", "iris"),
        ("iris-transformer", "iris"),
        ("iris-explainer-default", "iris"),
        ("iris-predictor-00001", "iris"),
        ("iris-predictor-default-00012", "iris"),
        ("iris-v2-predictor", "iris"),
        ("prev-iris-predictor", "iris"),
        ("my-tag-iris-v2-predictor", "iris"),
        ("my-tag-my-iris-predictor", "my-iris"),
        ("iris-predictor-predictor", "iris-predictor"),
        ("predictor-predictor", "predictor"),
        # KServe's host of the first, without its first `-predictor`, is the second.
        ("a-b-predictor", "a-predictor-b"),
        ("ab-predictor", "a-predictorb"),
        ("a-b-predictor", "a-predictor-default-b"),
        ("a-b-transformer", "a-transformer-b"),
    ],
)
def test_a_component_may_belong_to(name: str, model: str) -> None:
    assert owners(name, {model, "other"}) == {model}


@pytest.mark.parametrize(
    "name", ["iris", "predictor", "-predictor", "iris-predictors", "iris-predictor-1", "a-b-c"]
)
def test_a_name_of_no_component_belongs_to_itself(name: str) -> None:
    others = {"a", "b", "c", "a-b", "b-c", "predictors", *name.split("-")} - {name}
    assert owners(name, {name, *others}) == {name}
    assert owners(name, others) == set()


def test_the_worst_host_and_path_are_read_in_milliseconds() -> None:
    host = f"{'a-' * 4000}a.serving.example.com"
    label = f"{'a-' * 26}predictor"
    begun = time.process_time()
    DASHED.names(host)
    models = {f"model-{number}" for number in range(1000)}
    for _, name in DASHED.names(f"{label}.serving.example.com"):
        owners(name, models)
    is_plain_path(f"/{'.' * 30_000}{'a.' * 15_000}")
    is_plain_path("/a" * 30_000 + "/")
    DOTTED.is_near("." * 60_000)
    assert time.process_time() - begun < 1
