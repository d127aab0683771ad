"""The content of a new config: from options, then from the cluster, then from a user."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from daypass._core.errors import UsageError
from daypass._core.kubernetes.objects import Object
from daypass.config import Config, IngressDomain, IstioDomain, parse
from daypass.deploy.init.discover import DiscoveredCluster
from daypass.deploy.init.plan import NewConfig, config_text
from daypass.deploy.init.wizard import InitOptions, Questions, resolve_options
from daypass.deploy.routes import served_by_others
from daypass.render.fronts import AnyFront
from daypass.render.fronts.gateway_api import GatewayApiFront
from daypass.render.fronts.ingress_controller import INGRESS_CLASS
from daypass.render.fronts.istio import IstioFront
from daypass.render.fronts.routes import ObjectQuery
from support.listed_objects import listed_of
from support.messages import check, raises
from support.objects import make

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


def found_of(
    *documents: Object,
    unseen: Collection[ObjectQuery] = (),
    absent: Collection[ObjectQuery] = (),
    **more: Any,
) -> DiscoveredCluster:
    """What is found in a cluster that has these objects alone."""
    listed = listed_of(*documents, unseen=unseen, absent=absent)
    hosts, routes = served_by_others(listed)
    return DiscoveredCluster(asked=True, listed=listed, hosts=hosts, routes=routes, **more)


def ingress_class(name: str, controller: str = "k8s.io/ingress-nginx") -> Object:
    spec = {"controller": controller}
    return make("networking.k8s.io/v1", "IngressClass", name, spec=spec)


def ingress(name: str, host: str, path: str, *, tls: Sequence[Object] = ()) -> Object:
    """An Ingress of the class nginx-2. `name`: NAMESPACE/NAME."""
    namespace, _, own = name.partition("/")
    paths = [{"path": path, "pathType": "Prefix"}]
    rules = [{"host": host, "http": {"paths": paths}}]
    spec = {"ingressClassName": "nginx-2", "tls": tls, "rules": rules}
    return make("networking.k8s.io/v1", "Ingress", own, namespace, spec=spec)


def istio_gateway(*hosts: str, tls: Object | None) -> Object:
    servers = [{"hosts": hosts, **({} if tls is None else {"tls": tls})}]
    return make("networking.istio.io/v1", "Gateway", "kf", "kf", spec={"servers": servers})


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
        assert isinstance(domain, IstioDomain)
        assert (domain.dns, domain.front_namespace) == ("external-dns", "ingress")
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
    named = config.domains["null"]
    assert isinstance(named, IngressDomain)
    assert named.class_name == "true"
    assert config.cluster.issuer == "0x10"


CLASSES = [ingress_class("nginx"), ingress_class("nginx-2"),
           ingress_class("alb", "ingress.k8s.aws/alb")]  # fmt: skip
SERVED = ingress("other/served", HOST, "/", tls=[{"hosts": [HOST]}])
TLS = {"mode": "SIMPLE"}
ISTIO_SERVICE: Object = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"namespace": "ingress", "name": "gw", "labels": {"istio": "ingressgateway"}},
}


@pytest.mark.parametrize(
    ("found", "tls", "expected", "audience"),
    [
        (
            found_of(SERVED, *CLASSES, external_dns=True), None,
            {"front": "ingress-nginx", "className": "nginx-2", "tls": "outside"}, None,
        ),
        (
            found_of(istio_gateway("*.example.com", tls=TLS), ISTIO_SERVICE), None,
            {"front": "istio", "gateway": "kf/kf", "frontNamespace": "ingress", "tls": "outside"},
            "gw.ingress.svc.cluster.local",
        ),
        (
            found_of(ingress_class("public"), external_dns=True), "outside",
            {"front": "ingress-nginx", "className": "public", "tls": "outside",
             "dns": "external-dns"}, None,
        ),
        (
            found_of(ingress_class("alb", "ingress.k8s.aws/alb")), "outside",
            {"front": "ingress", "className": "alb", "tls": "outside"}, None,
        ),
    ],
    ids=["the host is served", "a Gateway serves it", "one front is installed",
         "another controller is installed"],
)  # fmt: skip
def test_what_the_cluster_has_needs_no_options(
    found: DiscoveredCluster, tls: str | None, expected: dict[str, str], audience: str | None
) -> None:
    setup = resolve_options(InitOptions(hosts=[HOST], tls=tls), found, NOBODY)
    assert setup.domains == {"ekf": {"host": HOST, **expected}}
    assert setup.audience == audience
    config_of(setup)


def test_a_class_that_is_called_none_is_a_class() -> None:
    options = InitOptions(hosts=[HOST], front="ingress", class_name="none", tls="outside")
    domain = the_domain(options, DiscoveredCluster())
    assert domain == {"host": HOST, "front": "ingress", "className": "none", "tls": "outside"}


def test_missing_answers_are_asked_for_and_can_be_numbers() -> None:
    found = found_of(*CLASSES, issuers=["ca", "letsencrypt"])
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


ANY = DiscoveredCluster()


def without(front: type[AnyFront]) -> DiscoveredCluster:
    return found_of(absent=(front.api, *front.queries))


REFUSED: dict[str, tuple[DiscoveredCluster, dict[str, Any], list[str]]] = {
    "no Istio": (without(IstioFront), {"front": "istio"}, ["--front istio"]),
    "no Gateway API": (
        without(GatewayApiFront), {"front": "gateway-api"}, ["--front gateway-api"],
    ),
    "class of another controller": (
        found_of(*CLASSES),
        {"front": "ingress-nginx", "class_name": "alb", "tls": "outside"},
        ["--class-name", " alb ", "ingress-nginx", "nginx, nginx-2"],
    ),
    "unknown issuer": (
        DiscoveredCluster(issuers=["ca"]), {"front": "istio", "tls": "issuer:letsencrypt"},
        ["--tls", "ClusterIssuer letsencrypt", " ca"],
    ),
    "path taken": (
        found_of(ingress("other/theirs", HOST, "/kubernetes/api")),
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


def test_a_route_of_another_host_takes_nothing() -> None:
    resolve_options(NGINX, found_of(ingress("a/b", "x.example.com", "/kubernetes")), NOBODY)


def like_kubeflow(gateway_hosts: list[str]) -> DiscoveredCluster:
    """Its VirtualServices are for every host of its Gateway."""
    http = [{"match": [{"uri": {"prefix": "/pipeline"}}]}]
    spec = {"hosts": ["*"], "gateways": ["kf"], "http": http}
    pipeline = make("networking.istio.io/v1", "VirtualService", "pipeline", "kf", spec=spec)
    return found_of(pipeline, istio_gateway(*gateway_hosts, tls=TLS))


@pytest.mark.parametrize(("hosts", "warned"), [(["*"], True), (["*", HOST], False)])
def test_a_route_for_every_host_gives_a_warning_before_it_loses_one(
    hosts: list[str], warned: bool
) -> None:
    warnings: list[str] = []
    questions = Questions(read=None, tell=warnings.append)
    domain = the_domain(InitOptions(hosts=[HOST]), like_kubeflow(hosts), questions)
    assert domain == {"host": HOST, "front": "istio", "gateway": "kf/kf", "tls": "outside"}
    assert ("VirtualService kf/pipeline" in "".join(warnings)) is warned
    if warned:
        check("".join(warnings), reason="warning")


@pytest.mark.parametrize("ends_tls", [True, False])
def test_a_gateway_without_a_certificate_gives_a_warning(*, ends_tls: bool) -> None:
    warnings: list[str] = []
    options = InitOptions(hosts=[HOST], front="istio", gateway="kf/kf", tls="outside")
    found = found_of(istio_gateway("*", tls=TLS if ends_tls else None))
    the_domain(options, found, Questions(read=None, tell=warnings.append))
    if ends_tls:
        assert not warnings
    else:
        check("".join(warnings), reason="warning")


@pytest.mark.parametrize(
    ("found", "class_name", "warned"),
    [
        (found_of(), None, True),
        (found_of(), "nginx", None),
        (found_of(unseen=[INGRESS_CLASS]), None, False),
        (found_of(*CLASSES), None, False),
    ],
    ids=["none", "none has that name", "not known", "there are some"],
)
def test_a_cluster_without_an_ingress_class_gives_a_warning_or_refuses_a_name(
    found: DiscoveredCluster, class_name: str | None, warned: bool | None
) -> None:
    warnings: list[str] = []
    options = replace(NGINX, class_name=class_name)
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
    found = found_of(ingress("rok/kubernetes-proxy", HOST, "/kubernetes/"), SERVED, *CLASSES)
    with raises(UsageError, match="(?s)Ingress rok/kubernetes-proxy.*/kubernetes/.*--adopt door"):
        resolve_options(NGINX, found, NOBODY)
    options = InitOptions(named={"ekf": HOST}, handed_over=frozenset({"kubernetes-proxy"}))
    assert the_domain(options, found)["className"] == "nginx-2"
