"""What `apply` reports of routes, compared with whom a real Istio asks: a tenant's older route next
to the one that KServe makes for a model of another namespace.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from daypass._core.kubernetes.objects import Object
from daypass.analysis.checks import find_in_cluster
from daypass.analysis.gateways import AUDIENCE_ROUTES
from daypass.config import Config
from serving.model_serving import (
    DOMAIN,
    EKF_ROUTING,
    ROUTING,
    SERVING,
    ServingEnv,
    running_serving,
)
from support.deadline import eventually
from support.istio_gates import service
from support.istio_gateway import service_entry
from support.kserve import (
    Model,
    Routing,
    inference_service,
    knative_service_routes,
    virtual_service,
)
from support.objects import make
from support.raw import Answer
from support.rendered import config_of

pytestmark = pytest.mark.timeout(300)

CONFIG = f"""\
version: 1
cluster: {{issuer: 'https://kubernetes.default.svc'}}
domains: {{serving: {{host: {DOMAIN}, front: istio, tls: outside}}}}
gates:
  default:
    audience: serving
    check: review
    gatewayNamespace: {SERVING.namespace}
    gatewayLabels: {{istio: {SERVING.labels["istio"]}}}
    hosts: [{DOMAIN}, '{{name}}.{{namespace}}.{DOMAIN}']
    authorize:
    - {{host: '{{name}}.{{namespace}}.{DOMAIN}', resource: inferenceservices.serving.kserve.io}}
    - host: {DOMAIN}
      path: '/serving/{{namespace}}/{{name}}/'
      resource: inferenceservices.serving.kserve.io
"""
IRIS = Model(name="iris", namespace="alice")
HOST, PATH = IRIS.host(IRIS.name, DOMAIN), f"{IRIS.path}/v1/x"


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServingEnv]:
    with running_serving(tmp_path_factory.mktemp("serving")) as running:
        for namespace in ("alice", "bob"):
            running.plane.admin.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
        running.apply(inference_service(IRIS), service("theirs", running.models))
        yield running


def theirs(*hosts: str, name: str = "a-route", **match: Any) -> Object:
    """A route in bob, which comes before KServe's if both are made in the same second."""
    route: Object = {
        "route": [{"destination": {"host": "theirs.team.svc.cluster.local"}}],
        "headers": {"request": {"set": {"x-owner": "bob"}}},
    }
    if match:
        route["match"] = [match]
    spec = {"hosts": [*hosts], "gateways": [ROUTING.gateway], "http": [route]}
    return make("networking.istio.io/v1", "VirtualService", name, "bob", spec=spec)


ROUTES = {
    "the host": theirs(HOST, uri={"regex": "/.*"}),
    "every path of the host": theirs(HOST),
    "a wildcard of its namespace": theirs(f"*.alice.{DOMAIN}"),
    "a path below": theirs(DOMAIN, uri={"exact": PATH}),
    "all models": theirs(DOMAIN, uri={"prefix": "/serving/"}),
    "a path in capitals": theirs(DOMAIN, uri={"prefix": "/SERVING/ALICE/"}, ignoreUriCase=True),
    "a regex": theirs(DOMAIN, uri={"regex": "/serving/[^/]+/iris/.*"}),
    "an authority": theirs(DOMAIN, authority={"prefix": DOMAIN}),
    "every path": theirs(DOMAIN),
    "every host": theirs("*"),
    "a path on every host": theirs("*", uri={"prefix": "/serving/alice/"}),
    "another path": theirs(DOMAIN, uri={"prefix": "/serving/bob/"}),
    "another authority": theirs(DOMAIN, authority={"exact": "x.example.com"}),
}
NOT_TAKEN = {"every path of the host", "a wildcard of its namespace", "a path on every host"}
"""Reported, though KServe's route takes precedence: until there is none."""


def asked(env: ServingEnv, host: str, path: str) -> str:
    answer: Answer = env.send(host=host, path=path)
    return answer.json["headers"].get("x-owner", "alice") if answer.code == 200 else "nobody"


def reported(env: ServingEnv, config: Config) -> bool:
    found = find_in_cluster(env.cluster, config)
    return any("bob/a-route takes" in each.fact for each in found)


@contextmanager
def there(env: ServingEnv, *documents: Object) -> Iterator[None]:
    """These objects exist for a while."""
    env.apply(*documents)
    try:
        yield
    finally:
        for each in reversed(documents):
            metadata = each["metadata"]
            resource = env.cluster.resource(each)
            env.cluster.delete(resource, metadata["name"], metadata["namespace"])


@pytest.mark.parametrize("route", ROUTES)
def test_a_route_is_reported_if_istio_prefers_it_to_kserves(env: ServingEnv, route: str) -> None:
    kserves = virtual_service(IRIS, ROUTING)
    own = theirs(f"ready.{DOMAIN}", name="ready")  # istiod has read what was written before
    del own["spec"]["http"][0]["headers"]
    with there(env, ROUTES[route], kserves, own):
        eventually("it is routed", lambda: asked(env, f"ready.{DOMAIN}", "/") == "alice")
        takers = {asked(env, HOST, "/"), asked(env, DOMAIN, PATH)}
        assert takers <= {"alice", "bob"}
        expected = "bob" in takers or route in NOT_TAKEN
        assert reported(env, config_of(CONFIG)) is expected
    eventually("it is gone", lambda: asked(env, f"ready.{DOMAIN}", "/") == "nobody")


def test_a_host_without_a_route_gets_that_of_a_wildcard_which_is_reported(env: ServingEnv) -> None:
    narrow = f"    audiences: {{alice: ['{{name}}.alice.{DOMAIN}']}}\n"
    config = config_of(f"policy: {{audiences: [serving, alice]}}\n{CONFIG}{narrow}")
    pipelines = theirs("*", name="pipelines", uri={"prefix": "/pipeline/"})
    with there(env, virtual_service(IRIS, ROUTING), pipelines):
        without = f"iris-explainer.alice.{DOMAIN}", "/pipeline/x"
        eventually("the wildcard's is routed", lambda: asked(env, *without) == "bob")
        eventually("the model's is routed", lambda: asked(env, HOST, "/pipeline/x") == "alice")
        found = find_in_cluster(env.cluster, config)
        (finding,) = (each for each in found if each.check == AUDIENCE_ROUTES)
        assert "VirtualService bob/pipelines" in finding.fact


def test_knatives_own_route_to_a_model_at_another_gateway_is_reported(env: ServingEnv) -> None:
    routing = Routing(domain=DOMAIN, gateway=EKF_ROUTING.gateway)
    knative = knative_service_routes(IRIS, routing, IRIS.predictor)
    revision = f"{IRIS.predictor}-00001"
    pods = service_entry(
        revision, env.models, IRIS.namespace, host=IRIS.inside(revision), number=80, protocol="HTTP"
    )
    host = IRIS.host(IRIS.predictor, DOMAIN)
    with there(env, knative, pods):
        eventually("it is routed", lambda: env.send(host=host, gateway=env.ingress).code == 200)
        found = find_in_cluster(env.cluster, config_of(CONFIG))
        facts = [each.fact for each in found if each.check == "model-gateways"]
        assert any(f"Gateway {EKF_ROUTING.gateway} " in fact for fact in facts)
