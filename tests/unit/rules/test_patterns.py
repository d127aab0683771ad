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
        "iris.alice.example.com",
        "iris.alice.example.com:443",
        "iris.alice.example.com:00001",
        "i.a.example.com",
        "1.2.example.com",
        "xn--bcher-kva.alice.example.com",
        "a--b.c.example.com",
    ],
)
def test_a_canonical_host_matches(host: str) -> None:
    assert DOTTED.matches(host)
    assert DOTTED.is_near(host)


@pytest.mark.parametrize(
    "host",
    [
        "Iris.alice.example.com",
        "iris.alice.EXAMPLE.com",
        "iris.alice.example.com.",
        "iris.alice.example.com..",
        "iris.alice.example.com.:443",
        "iris.alice.example.com:",
        "iris.alice.example.com:123456",
        "iris.alice.example.com:http",
        "iris.alice.example.com:443:443",
        "iris.alice.example.com: 443",
        "x.iris.alice.example.com",
        "iris..alice.example.com",
        ".alice.example.com",
        "iris..example.com",
        "..example.com",
        "-iris.alice.example.com",
        "iris-.alice.example.com",
        "iris.-alice.example.com",
        "iris_v2.alice.example.com",
        "*.alice.example.com",
        "bücher.alice.example.com",
        "user@iris.alice.example.com",
        " iris.alice.example.com",
        "iris.alice.example.com\n".strip("\n") + ":\n",
        "iris%2ealice.alice.example.com",
    ],
)
def test_another_spelling_is_near_and_does_not_match(host: str) -> None:
    assert not DOTTED.matches(host)
    assert DOTTED.names(host) == frozenset()
    assert DOTTED.is_near(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "alice.example.com",
        "example.com",
        "iris.alice.example.org",
        "iris.alice.example.com.evil.org",
        "iris.alice.exampleXcom",
        "iris.alice-example.com",
    ],
)
def test_a_host_of_another_domain_or_with_fewer_labels_is_not_near(host: str) -> None:
    assert not DOTTED.matches(host)
    assert not DOTTED.is_near(host)


@pytest.mark.parametrize(
    "host", ["iris.alice", "iris.alice.svc", "iris.alice.svc.cluster.local", "iris.alice.svc:80"]
)
def test_a_cluster_local_pattern_includes_its_short_forms(host: str) -> None:
    assert LOCAL.names(host) == {("alice", "iris")}
    assert LOCAL.is_near(host)


@pytest.mark.parametrize(
    "host",
    [
        "iris.alice.svc.cluster",
        "iris.alice.svc.cluster.local.",
        "x.iris.alice.svc",
        "IRIS.alice",
        "iris.alice.",
        "iris.alice.:80",
        ".alice",
    ],
)
def test_other_spellings_of_a_short_form_do_not_match(host: str) -> None:
    assert not LOCAL.matches(host)


@pytest.mark.parametrize("host", ["IRIS.alice", "iris.alice.", "x.iris.alice.svc", "iris.alice:x"])
def test_other_spellings_of_a_short_form_are_near(host: str) -> None:
    assert LOCAL.is_near(host)


@pytest.mark.parametrize("host", ["alice", "kubeflow.example.com", "x.iris.alice"])
def test_the_shortest_form_does_not_guard_hosts_with_other_lengths(host: str) -> None:
    assert not LOCAL.is_near(host)


def test_a_short_form_with_a_literal_end_is_near_by_that_end() -> None:
    pattern = HostPattern.parse("{name}.alice.svc.cluster.local")
    assert pattern.is_near("IRIS.alice.")
    assert pattern.is_near("x.iris.alice.svc")
    assert not pattern.is_near("iris.bob")
    assert not pattern.is_near("x.iris.alice")


def test_a_cluster_domain_of_ones_own_has_no_short_form() -> None:
    pattern = HostPattern.parse("{name}.{namespace}.svc.k8s.corp")
    assert pattern.matches("iris.alice.svc.k8s.corp")
    assert not pattern.matches("iris.alice.svc")


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


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("a-b", {("b", "a")}),
        ("a-b-c", {("c", "a-b"), ("b-c", "a")}),
        ("a--b", set()),
        ("a--b-c", {("c", "a--b")}),
        ("a", set()),
        ("a-", set()),
        ("-a", set()),
        ("-", set()),
        ("a-b-", set()),
        ("x" * 63 + "-b", {("b", "x" * 63)}),
        ("x" * 64 + "-b", set()),
        ("xn--a-b", {("b", "xn--a")}),
    ],
)
def test_a_dashed_label_has_every_reading(label: str, expected: set[tuple[str, str]]) -> None:
    found = DASHED.names(f"{label}.serving.example.com")
    assert {pair for pair in found if not pair[0].startswith("default")} == expected


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
        "a" * 64,
        ".".join(["a" * 60] * 5),
        "{name}.{namespace}",
        "{name}",
        "iris.*",
        "{name}.{name}.example.com",
        "{name}-{namespace}.{namespace}.example.com",
        "{namespace}-{name}.example.com",
        "{name}-x.example.com",
        "x{name}.example.com",
        "{model}.example.com",
        "{Name}.example.com",
        "a*.example.com",
        "**.example.com",
        "Example.com",
        "example.com.",
        "example..com",
        ".example.com",
        "example.com:443",
        "https://example.com",
        "example.com/path",
        "_x.example.com",
        "bücher.example.com",
        "-x.example.com",
        "{name}.example.1",
        "1.2.3",
        "[::1]",
        "{name}.::1",
        "{name}.example.com\n",
        "{name}.(example).com",
    ],
)
def test_a_text_that_is_no_pattern_of_hosts_is_refused(text: str) -> None:
    with pytest.raises(PatternError) as refused:
        HostPattern.parse(text)
    assert refused.value.fact
    assert refused.value.hint


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("a.example.com", "a.example.com", True),
        ("a.example.com", "b.example.com", False),
        ("a.example.com", "{name}.example.com", True),
        ("a.example.com", "{name}-{namespace}.example.com", False),
        ("a-b.example.com", "{name}-{namespace}.example.com", True),
        ("a--b.example.com", "{name}-{namespace}.example.com", False),
        ("*.example.com", "{name}-{namespace}.example.com", True),
        ("{name}.{namespace}.example.com", "{name}.example.com", False),
        ("{name}.{namespace}.example.com", "x.{name}.example.com", True),
        ("{name}.{namespace}.example.com", "{name}.alice.example.com", True),
        ("{name}.bob.example.com", "{name}.alice.example.com", False),
        ("{name}.{namespace}.svc.cluster.local", "example.com", True),
        ("{name}.{namespace}.svc.cluster.local", "a.example.com", False),
        ("{name}.{namespace}.svc.cluster.local", "a.b.svc", True),
        ("{name}.{namespace}.svc.cluster.local", "a.b.svc.cluster.local", True),
        ("*", "a.example.com", True),
        ("127.0.0.1", "{name}.0.0.example", False),
    ],
)
def test_two_patterns_overlap_where_a_host_matches_both(a: str, b: str, expected: bool) -> None:
    one, other = HostPattern.parse(a), HostPattern.parse(b)
    assert bool(overlap(one, other)) is expected
    assert bool(overlap(other, one)) is expected


def test_an_overlap_is_the_form_of_each_that_has_a_host_in_common() -> None:
    host = HostPattern.parse("example.com")
    assert overlap(LOCAL, host) == ("{name}.{namespace}", "example.com")
    assert overlap(host, LOCAL) == ("example.com", "{name}.{namespace}")
    assert overlap(LOCAL, LOCAL) == (LOCAL.text, LOCAL.text)


def test_patterns_with_the_same_text_are_equal() -> None:
    assert HostPattern.parse("a.example.com") == HostPattern.parse("a.example.com")
    assert len({PathPattern.parse("/a/"), PathPattern.parse("/a/")}) == 1


def test_which_patterns_name_a_model() -> None:
    assert DOTTED.names_a_model
    assert DASHED.names_a_model
    assert not HostPattern.parse("{name}.alice.example.com").names_a_model
    assert not HostPattern.parse("*").names_a_model
    assert LLM.names_a_model
    assert not PathPattern.parse("/serving/alice/{name}/").names_a_model


def test_regular_expressions_are_short() -> None:
    """RE2's program has about as many instructions, and Envoy may refuse more than 100."""
    for pattern in (DOTTED, DASHED, LOCAL, SERVING, LLM):
        for regex in (pattern.exact_regex, pattern.near_regex):
            assert len(regex) <= 130
            assert "(?=" not in regex
            assert "(?!" not in regex


# Paths


@pytest.mark.parametrize(
    "path",
    [
        "/serving/alice/iris/",
        "/serving/alice/iris",
        "/serving/alice/iris?x=/../",
        "/serving/alice/iris/?x",
        "/serving/alice/iris/v1/models/iris:predict",
        "/serving/alice/iris/serving/bob/other/",
    ],
)
def test_a_path_below_the_pattern_is_read(path: str) -> None:
    assert SERVING.names(path) == {("alice", "iris")}
    assert SERVING.is_near(path)


@pytest.mark.parametrize(
    "path",
    [
        "/serving/",
        "/serving",
        "/serving?alice/iris/",
        "/serving/alice",
        "/serving/alice/",
        "/serving/alice?/iris/",
        "/serving//alice/iris/",
        "/serving/alice//iris/",
        "/Serving/alice/iris/",
        "/serving/Alice/iris/",
        "/serving/alice/Iris/",
        "/serving/alice/iris;x/",
        "/serving/alice/iris.v2/",
        "/serving/alice/iris%2d/",
        "/serving/./alice/iris/",
        "/serving/alice/-iris/",
        f"/serving/alice/{'a' * 64}/",
    ],
)
def test_a_path_that_only_begins_like_the_pattern_has_no_reading(path: str) -> None:
    assert SERVING.names(path) == frozenset()
    assert SERVING.is_near(path)


@pytest.mark.parametrize(
    "path", ["/", "", "serving/alice/iris/", "/servings/alice/iris/", "/x/serving/alice/iris/", "*"]
)
def test_a_path_with_another_beginning_is_not_near(path: str) -> None:
    assert not SERVING.matches(path)
    assert not SERVING.is_near(path)


def test_every_path_is_near_a_pattern_that_begins_with_a_variable() -> None:
    assert LLM.is_near("/")
    assert LLM.is_near("/v1")
    assert LLM.names("/bob/llama/v1/chat/completions") == {("bob", "llama")}


def test_a_literal_path_matches_whole_segments() -> None:
    alice = PathPattern.parse("/serving/alice/")
    assert alice.matches("/serving/alice")
    assert alice.matches("/serving/alice?x")
    assert alice.matches("/serving/alice/iris/v1")
    assert not alice.matches("/serving/alice2/")
    assert not alice.matches("/serving/Alice/")
    assert alice.is_near("/serving/Alice/")
    assert not alice.is_near("/serving/alice2/")


def test_the_root_matches_every_path() -> None:
    assert PathPattern.parse("/").matches("/x?y")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "serving/",
        "/serving",
        "//",
        "/a//b/",
        "/./",
        "/../",
        "/a/.../",
        "/{name}/{name}/",
        "/x{name}/",
        "/{name}-{namespace}/",
        "/{model}/",
        "/*/",
        "/a;b/",
        "/a%2fb/",
        "/a?b/",
        "/a#b/",
        "/a b/",
        "/ä/",
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
        "/",
        "/?",
        "/a",
        "/a/",
        "/a/b?c=d;e//../%zz",
        "/v1/models/iris:predict",
        "/inference.GRPCInferenceService/ModelInfer",
        "/.well-known/x",
        "/a..b/..a/a..",
        "/%20%C3%A9%3a%3F%23%5b",
        "/~a_b-c!$&'()*+,=@",
    ],
)
def test_a_plain_path(path: str) -> None:
    assert is_plain_path(path)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "a",
        "*",
        "http://x/a",
        "//",
        "//a",
        "/a//b",
        "/a//",
        "/.",
        "/..",
        "/a/./b",
        "/a/../b",
        "/a/..",
        "/...",
        "/a/..?x",
        "/a;b",
        "/a/..;/b",
        "/a\\b",
        "/a#b",
        "/a?b#c",
        "/a b",
        "/a\tb",
        "/a\x00",
        "/a\n",
        "/a\x7f",
        "/ä",
        "/a\xa0",
        "/%2e",
        "/%2E%2e/",
        "/a%2fb",
        "/a%5Cb",
        "/a%5cb",
        "/%25",
        "/%252e",
        "/%3B",
        "/%3b",
        "/%00",
        "/%0a",
        "/%7F",
        "/%7f",
        "/%61",
        "/%41",
        "/%30",
        "/%2D",
        "/%5F",
        "/%7e",
        "/%",
        "/%2",
        "/%zz",
        "/%u0041",
        "/{x}",
        "/a|b",
        '/"',
        "/<",
        "/^",
        "/`",
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
