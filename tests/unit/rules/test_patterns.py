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


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (HostPattern, "{name}.{namespace}"),
        (HostPattern, "{name}.{name}.example.com"),
        (HostPattern, "{model}.example.com"),
        (HostPattern, "example.com:443"),
        (HostPattern, "Example.com"),
        (PathPattern, "serving/"),
        (PathPattern, "/a//b/"),
        (PathPattern, "/{name}/{name}/"),
        (PathPattern, "/publishers/{namespace}/models/{name}/"),
    ],
)
def test_a_text_that_is_no_pattern_is_refused(
    kind: type[HostPattern | PathPattern], text: str
) -> None:
    with pytest.raises(PatternError) as refused:
        kind.parse(text)
    assert refused.value.fact
    assert refused.value.hint


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
