"""KServe's routes on real gateways, before any gate: which host and path leads to which model."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.deadline import eventually
from support.kserve import Model
from support.model_serving import DOMAIN, ServingEnv, running_serving

pytestmark = pytest.mark.timeout(300)

IRIS = Model(name="iris", namespace="alice")
EXPLAINED = Model(name="wine", namespace="alice", transformer=True, explainer=True)
STANDARD = Model(name="mnist", namespace="bob", standard=True)
INSIDE = Model(name="secret", namespace="bob", local=True)


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServingEnv]:
    with running_serving(tmp_path_factory.mktemp("serving"), local=True) as running:
        for namespace in ("alice", "bob"):
            running.plane.admin.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
        running.serve(IRIS, EXPLAINED, STANDARD, INSIDE)
        for model in (IRIS, STANDARD):
            host = model.host(model.name, DOMAIN)
            eventually("it is routed", lambda host=host: running.send(host=host).code == 200)  # type: ignore[misc]
        yield running


PREDICT, EXPLAIN = "/v1/models/wine:predict", "/v1/models/wine:explain"
REACHED = {
    (f"iris.alice.{DOMAIN}", "/v1/x"): ("iris-predictor.alice.svc.cluster.local", "/v1/x"),
    (f"iris-predictor.alice.{DOMAIN}", "/"): (f"iris-predictor.alice.{DOMAIN}", "/"),
    (DOMAIN, "/serving/alice/iris/v1/x"): ("iris-predictor.alice.svc.cluster.local", "/v1/x"),
    (DOMAIN, "/serving/alice/iris"): ("iris-predictor.alice.svc.cluster.local", "/"),
    (f"wine.alice.{DOMAIN}", PREDICT): ("wine-transformer.alice.svc.cluster.local", PREDICT),
    (f"wine.alice.{DOMAIN}", EXPLAIN): ("wine-explainer.alice.svc.cluster.local", EXPLAIN),
    (DOMAIN, f"/serving/alice/wine{EXPLAIN}"): ("wine-explainer.alice.svc.cluster.local", EXPLAIN),
    (f"mnist-bob.{DOMAIN}", "/"): (f"mnist-bob.{DOMAIN}", "/"),
    (f"mnist-predictor-bob.{DOMAIN}", "/"): (f"mnist-predictor-bob.{DOMAIN}", "/"),
}
"""What a request's host and path are at the model, by what they were."""


@pytest.mark.parametrize("asked", REACHED, ids="".join)
def test_a_host_or_path_leads_to_its_model(env: ServingEnv, asked: tuple[str, str]) -> None:
    host, path = asked
    answer = env.send(host=host, path=path)
    assert answer.code == 200, answer
    assert (answer.json["headers"]["host"], answer.json["path"]) == REACHED[asked]


@pytest.mark.parametrize(
    ("host", "path"),
    [
        (f"secret.bob.{DOMAIN}", "/"),
        (f"secret-predictor.bob.{DOMAIN}", "/"),
        (f"iris.bob.{DOMAIN}", "/"),
        (DOMAIN, "/"),
        (DOMAIN, "/serving/alice/irisx/v1"),
        (DOMAIN, "/Serving/alice/iris/"),
        ("secret.bob.svc.cluster.local", "/"),
    ],
)
def test_others_lead_nowhere(env: ServingEnv, host: str, path: str) -> None:
    assert env.send(host=host, path=path).code == 404


@pytest.mark.parametrize("end", [".svc.cluster.local", ".svc", ""])
def test_callers_inside_reach_components_by_every_short_form(env: ServingEnv, end: str) -> None:
    for name in ("iris-predictor.alice", "secret-predictor.bob"):
        assert env.send(host=f"{name}{end}", gateway=env.local).code == 200
