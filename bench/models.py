"""What access by model costs: a SubjectAccessReview for each user and model, cached or not, asked
of a real API server.
"""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from bench.report import figure
from bench.review import (
    MOST_CONNECTIONS,
    UNSEEN,
    Bench,
    Side,
    fake_api_server,
    gate_side,
    our_authorizer,
    protected_service,
    resident_mib,
)
from bench.rounds import Comparison
from daypass.gate.authorizer.api_server import ACCESS_PATH
from daypass.render.envoy.settings import Protected
from daypass.rules.models import ModelRule
from daypass.rules.patterns import HostPattern, PathPattern
from support.controlplane import ControlPlane
from support.crds import install_kserve
from support.doors import EKF
from support.identities import RBAC, allow
from support.kserve import Model, inference_service
from support.single_changes import RULES

NAMESPACE, RESOURCE = "models", "inferenceservices.serving.kserve.io"
PATHS = "/serving/{namespace}/{name}/"
MODEL = f"/serving/{NAMESPACE}/model-{{number}}/v1/models/m:predict"
AUTHORIZE = f"authorize: [{{host: {EKF}, path: '{PATHS}', resource: {RESOURCE}}}]"
ACCESS_RULES = replace(
    RULES,
    authorize=(
        ModelRule(host=HostPattern.parse(EKF), path=PathPattern.parse(PATHS), resource=RESOURCE),
    ),
)
MANY, USERS, CACHED, CACHED_MODELS = 100_000, 100, 2_000, 50
ROUNDS_A_START = 5
"""Where an Envoy has its memory makes it faster or slower by some percent, until it ends."""
LONGEST = 3
"""Times as many rounds, if the machine is not quiet enough to know the ratios well."""


def run(*, quick: bool) -> None:
    """Cached and unseen pairs of a token and a model, and the memory of many."""
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        folder = Path(scratch)
        with ControlPlane.start(folder / "cp") as plane:
            bench = Bench(folder, plane)
            models = UNSEEN // 10 if quick else UNSEEN
            _prepare(bench, models)
            with protected_service(bench) as protected:
                _cached(bench, protected, 3 if quick else 40)
                _unseen(bench, protected, models, 1 if quick else 3)
            _memory(bench, MANY // 10 if quick else MANY)


def _prepare(bench: Bench, models: int) -> None:
    """Make models that the caller may use, and that the authorizer may list."""
    plane, caller, reviewer = bench.plane, bench.identity, bench.reviewer
    install_kserve(plane)
    plane.admin.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    rule = {"apiGroups": ["serving.kserve.io"], "resources": ["inferenceservices"]}
    reading = {**rule, "verbs": ["get"]}
    allow(plane.admin, NAMESPACE, caller.service_account, reading, home=caller.namespace)
    role = {"metadata": {"name": "bench-models"}, "rules": [{**rule, "verbs": ["list", "watch"]}]}
    plane.admin.create(f"{RBAC}/clusterroles", role)
    subject = {"kind": "ServiceAccount", "name": reviewer.service_account,
               "namespace": reviewer.namespace}  # fmt: skip
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
                 "name": "bench-models"}  # fmt: skip
    binding = {"metadata": {"name": "bench-models"}, "subjects": [subject], "roleRef": reference}
    plane.admin.create(f"{RBAC}/clusterrolebindings", binding)
    path = f"/apis/serving.kserve.io/v1beta1/namespaces/{NAMESPACE}/inferenceservices"

    def make(number: int) -> None:
        document = inference_service(Model(name=f"model-{number}", namespace=NAMESPACE))
        plane.admin.create(path, document)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(make, range(models)))


def _cached(bench: Bench, protected: Protected, rounds: int) -> None:
    """CPU of Envoy and the authorizer for a request, in turns, with access by model and without."""
    tokens = bench.tokens(CACHED)
    kinds = {"review": (RULES, ""), "access": (ACCESS_RULES, AUTHORIZE)}
    costs: dict[str, list[float]] = {kind: [] for kind in kinds}

    def cost(side: Side, *, once: bool = False) -> float:
        before = side.cpu_seconds()
        figures = side.fire(
            bench.load, tokens, seconds=1.0, once=once, path=MODEL, numbers=CACHED_MODELS
        )  # fmt: skip
        return (side.cpu_seconds() - before) / float(figures["requests"]) * 1e6

    def comparison() -> Comparison:
        return Comparison(
            name=f"CPU time a request, {CACHED:,} tokens, {CACHED_MODELS} models: "
            "access by model | without",
            unit="µs", ours=tuple(costs["access"]), theirs=tuple(costs["review"]), bar="<= 1.12",
            certain=True,
        )  # fmt: skip

    for start in range(0, rounds * LONGEST, ROUNDS_A_START):
        if start >= rounds and comparison().is_narrow:
            break
        with ExitStack() as stack:
            sides = {}
            for kind, (rules, more) in kinds.items():
                name = f"{kind}-{start}"
                started = our_authorizer(bench, name, more=more)
                sides[kind] = stack.enter_context(
                    gate_side(bench, name, protected, started, rules=rules)
                )
                cost(sides[kind], once=True)
            for index in range(ROUNDS_A_START):
                turn = index % len(kinds)  # so that none always finds the machine rested
                order = tuple(kinds)
                for kind in (*order[turn:], *order[:turn]):
                    costs[kind].append(cost(sides[kind]))
    comparison().report()


def _unseen(bench: Bench, protected: Protected, models: int, rounds: int) -> None:
    """Pairs a second of an authorizer that has just started, and of the API server itself."""
    spec = {
        "user": bench.identity.user,
        "resourceAttributes": {
            "group": "serving.kserve.io", "resource": "inferenceservices", "verb": "get",
            "namespace": NAMESPACE, "name": "model-1",
        },
    }  # fmt: skip
    review = {"kind": "SubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "spec": spec}
    worst = []
    for number in range(rounds):
        reviews, accesses = bench.api_server_rate(), bench.rate_of(ACCESS_PATH, review)
        server = 1 / (1 / reviews + 1 / accesses)
        name = f"unseen-{number}"
        started = our_authorizer(bench, name, more=AUTHORIZE)
        with gate_side(bench, name, protected, started, ACCESS_RULES) as side:
            figures = side.fire(
                bench.load, bench.tokens(models), seconds=0, once=True, path=MODEL, numbers=models,
                connections=MOST_CONNECTIONS,  # as at the API server itself
            )  # fmt: skip
        worst.append(figures["p99_us"] / 1000)
        figure(
            f"{models:,} unseen pairs of token and model | the API server alone",
            f"{figures['per_second']:,.0f}, {server:,.0f} /s; {figures['errors']} shed",
            ratio=f"{figures['per_second'] / server:.2f}",
            bar=">= 0.4",
        )
    figure("unseen pairs, 99th percentile", f"{max(worst):,.0f} ms", bar="bounded")


def _memory(bench: Bench, count: int) -> None:
    """As many users and models as pairs: each token is for a user and a model of its own."""
    models = count // USERS
    tokens = bench.tokens(*[models] * USERS)
    with ExitStack() as stack:
        where = stack.enter_context(fake_api_server(bench, models=models))
        protected = stack.enter_context(protected_service(bench))
        started = our_authorizer(bench, "many", *where, more=AUTHORIZE)
        side = stack.enter_context(gate_side(bench, "many", protected, started, rules=ACCESS_RULES))
        assert side.authorizer is not None
        side.fire(bench.load, tokens, seconds=0, once=True, path=MODEL, numbers=models)
        size = resident_mib(side.authorizer)
    figure(
        f"memory with {count:,} cached pairs: {USERS} users, {models:,} models",
        f"{size * 2**20 / 1e6:.0f} MB",
        bar="<= 200 MB",
    )
