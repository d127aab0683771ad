"""The content of a new config: from options, then from the cluster, then from a user."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from daypass._core.errors import UsageError
from daypass.config import Config, parse
from daypass.deploy.init.discover import DiscoveredCluster
from daypass.deploy.init.plan import NewConfig, config_text
from daypass.deploy.init.wizard import InitOptions, Questions, resolve_options
from daypass.deploy.routes import NGINX_CONTROLLER, PublishedHost, PublishedRoute
from support.messages import check, raises

NOBODY = Questions(read=None, tell=lambda words: None)
HOST = "ekf.example.com"
NGINX = InitOptions(hosts=[HOST], front="ingress-nginx", tls="secret:ekf-tls")


def person(*lines: str) -> Questions:
    """A user who gives these answers, and then closes the terminal."""
    left: Iterator[str] = iter(lines)

    def read(prompt: str) -> str:
        try:
            return next(left)
        except StopIteration:
            raise EOFError from None

    return Questions(read=read, tell=lambda words: None)


def config_of(setup: NewConfig) -> Config:
    return parse(config_text(setup).encode(), name="daypass.yaml", folder=Path("/"))


def the_domain(
    options: InitOptions, found: DiscoveredCluster, questions: Questions = NOBODY
) -> dict[str, Any]:
    """The keys of the only domain."""
    (domain,) = resolve_options(options, found, questions).domains.values()
    return dict(domain)


def test_options_alone_are_enough_without_a_cluster() -> None:
    options = InitOptions(
        hosts=[HOST, "ekf.example.org"],
        front="istio",
        tls="issuer:letsencrypt",
        dns="external-dns",
        front_namespace="ingress",
        prefix="/k8s",
        audience="gate.example.com",
    )
    config = config_of(resolve_options(options, DiscoveredCluster(), NOBODY))
    assert list(config.domains) == ["ekf", "ekf-2"]
    for domain in config.domains.values():
        assert (domain.front, domain.dns, domain.front_namespace) == (
            "istio", "external-dns", "ingress",
        )  # fmt: skip
    assert config.prefix == "/k8s"
    assert config.policy is not None
    assert config.policy.audiences == ("gate.example.com",)


def test_only_what_differs_from_the_defaults_is_written() -> None:
    text = config_text(resolve_options(NGINX, DiscoveredCluster(), NOBODY))
    keys = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    assert keys == [
        "version: 1",
        "domains:",
        "  ekf:",
        f"    host: {HOST}",
        "    front: ingress-nginx",
        "    tls: {secret: ekf-tls}",
    ]


def test_the_commented_lines_are_a_valid_config() -> None:
    setup = resolve_options(NGINX, DiscoveredCluster(addresses=["10.0.0.1"]), NOBODY)
    text = config_text(setup)
    parts = ("# cluster:", "#   audience", "# policy:", "# gate:", "  # addresses:")
    lines = [
        line.replace("# ", "", 1) if line.startswith(parts) else line for line in text.splitlines()
    ]
    config = parse("\n".join(lines).encode(), name="daypass.yaml", folder=Path("/"))
    assert config.cluster.addresses == ("10.0.0.1",)
    assert config.policy is not None
    assert config.gate is not None
    assert config.gate.audience in config.policy.audiences


def test_names_that_yaml_reads_as_something_else_are_quoted() -> None:
    domain = {
        "host": "1e3.example", "front": "ingress", "className": "true", "tls": {"secret": "123"},
    }  # fmt: skip
    config = config_of(NewConfig(domains={"null": domain}, issuer="0x10"))
    assert config.domains["null"].class_name == "true"
    assert config.cluster.issuer == "0x10"


SERVED = PublishedHost(host=HOST, front="ingress-nginx", ends_tls=True, class_name="nginx-2")
CLASSES = {"nginx": NGINX_CONTROLLER, "nginx-2": NGINX_CONTROLLER, "alb": "ingress.k8s.aws/alb"}


GATEWAY = PublishedHost(
    host="*.example.com", front="istio", ends_tls=True,
    gateway="istio-system/all",
)  # fmt: skip


@pytest.mark.parametrize(
    ("found", "tls", "expected"),
    [
        (
            DiscoveredCluster(asked=True, hosts=[SERVED], classes=CLASSES, external_dns=True), None,
            {"front": "ingress-nginx", "className": "nginx-2", "tls": "outside"},
        ),
        (
            DiscoveredCluster(
                asked=True, hosts=[GATEWAY], istio=True, ingress_gateways=["ingress/gw"]
            ), None,
            {"front": "istio", "gateway": "istio-system/all", "frontNamespace": "ingress",
             "tls": "outside"},
        ),
        (
            DiscoveredCluster(asked=True, classes={"public": NGINX_CONTROLLER}, external_dns=True),
            "outside",
            {"front": "ingress-nginx", "className": "public", "tls": "outside",
             "dns": "external-dns"},
        ),
    ],
    ids=["the host is served", "a Gateway serves it", "one front is installed"],
)  # fmt: skip
def test_what_the_cluster_has_needs_no_options(
    found: DiscoveredCluster, tls: str | None, expected: dict[str, str]
) -> None:
    setup = resolve_options(InitOptions(hosts=[HOST], tls=tls), found, NOBODY)
    assert setup.domains == {"ekf": {"host": HOST, **expected}}
    assert setup.audience == ("gw.ingress.svc.cluster.local" if found.ingress_gateways else None)
    config_of(setup)


def test_a_class_that_is_called_none_is_a_class() -> None:
    options = InitOptions(hosts=[HOST], front="ingress", class_name="none", tls="outside")
    domain = the_domain(options, DiscoveredCluster())
    assert domain == {"host": HOST, "front": "ingress", "className": "none", "tls": "outside"}


def test_missing_answers_are_asked_for_and_can_be_numbers() -> None:
    found = DiscoveredCluster(
        asked=True, classes=CLASSES, istio=True, issuers=["ca", "letsencrypt"]
    )
    domain = the_domain(InitOptions(), found, person("EKF.example.com", HOST, "3", "2"))
    assert domain == {"host": HOST, "front": "istio", "tls": {"issuer": "letsencrypt"}}


@pytest.mark.parametrize(
    ("options", "option"),
    [
        (InitOptions(), "--host"),
        (InitOptions(hosts=[HOST]), "--front"),
        (InitOptions(hosts=[HOST], front="istio"), "--tls"),
        (InitOptions(hosts=[HOST], front="gateway-api", tls="outside"), "--class-name"),
    ],
    ids=["host", "front", "tls", "class"],
)
@pytest.mark.parametrize("questions", [NOBODY, person()], ids=["no terminal", "closed"])
def test_an_unanswered_question_is_an_error_that_names_the_option(
    options: InitOptions, option: str, questions: Questions
) -> None:
    with raises(UsageError, match=rf"\n.*{option}\b"):
        resolve_options(options, DiscoveredCluster(), questions)


def taken(kind: str, path: str) -> PublishedRoute:
    return PublishedRoute(host=HOST, path=path, kind=kind, owner="Ingress other/theirs")  # type: ignore[arg-type]


ANY = DiscoveredCluster()
REFUSED: dict[str, tuple[DiscoveredCluster, dict[str, Any], list[str]]] = {
    "no Istio": (DiscoveredCluster(istio=False), {"front": "istio"}, ["--front istio"]),
    "no Gateway API": (
        DiscoveredCluster(gateway_api=False), {"front": "gateway-api"}, ["--front gateway-api"],
    ),
    "class of another controller": (
        DiscoveredCluster(classes=CLASSES),
        {"front": "ingress-nginx", "class_name": "alb", "tls": "outside"},
        ["--class-name", " alb ", "ingress-nginx", "nginx, nginx-2"],
    ),
    "unknown issuer": (
        DiscoveredCluster(issuers=["ca"]), {"front": "istio", "tls": "issuer:letsencrypt"},
        ["--tls", "ClusterIssuer letsencrypt", " ca"],
    ),
    "path taken": (
        DiscoveredCluster(routes=[taken("prefix", "/kubernetes/api")]),
        {"front": "ingress-nginx", "tls": "secret:ekf-tls"},
        [HOST, "Ingress other/theirs", "/kubernetes/api", "--prefix", "hand-made-ingress"],
    ),
    "host twice": (ANY, {"hosts": [HOST, HOST]}, ["--host", HOST]),
    "wildcard": (ANY, {"hosts": ["*.example.com"]}, ["--host", "*.example.com"]),
    "not ASCII": (ANY, {"hosts": ["bücher.example"]}, ["--host", "xn--bcher-kva.example"]),
    "an address": (ANY, {"hosts": ["10.0.0.1"]}, ["--host", "'10.0.0.1'"]),
    "not public": (ANY, {"hosts": ["localhost"]}, ["--host", "localhost"]),
    "pattern": (ANY, {"prefix": "/k8s.*"}, ["--prefix", "'/k8s.*'"]),
    "anchored pattern": (ANY, {"prefix": "/k(8)s$"}, ["--prefix", "'/k(8)s$'"]),
    "root": (ANY, {"prefix": "/"}, ["--prefix"]),
    "unknown front": (ANY, {"front": "envoy"}, ["--front", "'envoy'", "ingress-nginx"]),
    "unknown way to TLS": (ANY, {"front": "istio", "tls": "files:x"}, ["--tls", "'files:x'"]),
    "bad Secret name": (ANY, {"front": "istio", "tls": "secret:A_B"}, ["--tls", "'A_B'"]),
    "class for Istio": (ANY, {"front": "istio", "class_name": "x"}, ["--class-name", "istio"]),
    "TLS of a Gateway": (
        ANY, {"front": "istio", "gateway": "a/b", "tls": "secret:x"}, ["--tls", "a/b"],
    ),
    "Gateway without namespace": (
        ANY, {"front": "istio", "gateway": "b", "tls": "outside"}, ["--gateway"],
    ),
    "unknown DNS": (
        ANY, {"front": "istio", "tls": "outside", "dns": "me"}, ["--dns", "'me'"],
    ),
}  # fmt: skip
"""What was found, options, and what the refusal names."""


@pytest.mark.parametrize(("found", "options", "values"), REFUSED.values(), ids=REFUSED)
def test_options_that_contradict_the_cluster_or_each_other_are_refused(
    found: DiscoveredCluster, options: dict[str, Any], values: list[str]
) -> None:
    with raises(UsageError) as caught:
        resolve_options(InitOptions(**{"hosts": [HOST], **options}), found, NOBODY)
    assert all(value in str(caught.value) for value in values)


@pytest.mark.parametrize(
    ("kind", "path", "takes"),
    [
        ("prefix", "/kubernetes", True),
        ("exact", "/kubernetes", True),
        ("prefix", "/kubernetes/api", True),
        ("prefix", "/", False),
        ("prefix", "/kube", False),
        ("prefix", "/kubernetesx", False),
        ("text", "/kube", True),
        ("text", "/", False),
        ("pattern", "/kubernetes/(api/v1/namespaces/[^/]+/serviceaccounts/[^/]+/token)", True),
        ("pattern", "/KUBERNETES(/|$)(.*)", True),
        ("pattern", "/rok(/.*)", False),
        ("pattern", "/(", False),
    ],
)
def test_a_route_takes_the_paths_its_engine_sends_to_it(kind: str, path: str, takes: bool) -> None:
    assert taken(kind, path).takes("/kubernetes") is takes


def test_a_route_of_another_host_takes_nothing() -> None:
    other = PublishedRoute(
        host="x.example.com", path="/kubernetes", kind="prefix", owner="Ingress a/b"
    )
    resolve_options(NGINX, DiscoveredCluster(routes=[other]), NOBODY)


def in_istio(gateway_hosts: list[str]) -> DiscoveredCluster:
    """Like Kubeflow: its VirtualServices are for every host of its Gateway."""
    everything = PublishedRoute(
        host="*", path="/pipeline", kind="text", owner="VirtualService kf/pipeline"
    )
    hosts = [
        PublishedHost(host=each, front="istio", ends_tls=True, gateway="kf/kf")
        for each in gateway_hosts
    ]
    return DiscoveredCluster(asked=True, istio=True, routes=[everything], hosts=hosts)


@pytest.mark.parametrize(("hosts", "warned"), [(["*"], True), (["*", HOST], False)])
def test_a_route_for_every_host_gives_a_warning_before_it_loses_one(
    hosts: list[str], warned: bool
) -> None:
    warnings: list[str] = []
    questions = Questions(read=None, tell=warnings.append)
    domain = the_domain(InitOptions(hosts=[HOST]), in_istio(hosts), questions)
    assert domain == {"host": HOST, "front": "istio", "gateway": "kf/kf", "tls": "outside"}
    assert ("VirtualService kf/pipeline" in "".join(warnings)) is warned
    if warned:
        check("".join(warnings), reason="warning")


@pytest.mark.parametrize("ends_tls", [True, False])
def test_a_gateway_without_a_certificate_gives_a_warning(*, ends_tls: bool) -> None:
    warnings: list[str] = []
    host = PublishedHost(host="*", front="istio", ends_tls=ends_tls, gateway="kf/kf")
    options = InitOptions(hosts=[HOST], front="istio", gateway="kf/kf", tls="outside")
    found = DiscoveredCluster(asked=True, istio=True, hosts=[host])
    the_domain(options, found, Questions(read=None, tell=warnings.append))
    if ends_tls:
        assert not warnings
    else:
        check("".join(warnings), reason="warning")


@pytest.mark.parametrize(
    ("classes", "class_name", "warned"),
    [({}, None, True), ({}, "nginx", None), (None, None, False), (CLASSES, None, False)],
    ids=["none", "none has that name", "not known", "there are some"],
)
def test_a_cluster_without_an_ingress_class_gives_a_warning_or_refuses_a_name(
    classes: dict[str, str] | None, class_name: str | None, warned: bool | None
) -> None:
    warnings: list[str] = []
    options = replace(NGINX, class_name=class_name)
    found = DiscoveredCluster(asked=True, classes=classes)
    questions = Questions(read=None, tell=warnings.append)
    if warned is None:
        with raises(UsageError, match="--class-name"):
            the_domain(options, found, questions)
        return
    the_domain(options, found, questions)
    assert bool(warnings) is warned
    if warned:
        check(warnings[0], "ingress-nginx", reason="warning")


def test_handed_over_ingresses_do_not_block_the_path() -> None:
    ekf = PublishedRoute(
        host=HOST, path="/kubernetes/", kind="prefix", owner="Ingress rok/kubernetes-proxy"
    )
    found = DiscoveredCluster(asked=True, routes=[ekf], hosts=[SERVED], classes=CLASSES)
    with raises(UsageError, match="(?s)Ingress rok/kubernetes-proxy.*/kubernetes/.*--adopt door"):
        resolve_options(NGINX, found, NOBODY)
    options = InitOptions(named={"ekf": HOST}, handed_over=frozenset({"kubernetes-proxy"}))
    assert the_domain(options, found)["className"] == "nginx-2"
