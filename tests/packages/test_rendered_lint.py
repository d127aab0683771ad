"""kube-score finds nothing in the rendered manifests except what is listed here with a reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tools.gobuild import built

from daypass.render.objects import stream
from support.manifest_cases import CASES
from support.programs import run

EXCEPTIONS = {
    "container-image-pull-policy": "the tag is a version; a door starts without the registry",
    "deployment-has-host-podantiaffinity": "topology spread does it without blocking a rollout",
}
MORE = ("container-seccomp-profile", "container-ports-check")


@pytest.fixture(scope="session")
def program() -> Path:
    """kube-score; `make test-packages` has built it."""
    return built("kubescore")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", CASES)
def test_every_finding_is_a_listed_exception(program: Path, name: str) -> None:
    findings = scored(program, stream(CASES[name].objects()))
    assert findings <= EXCEPTIONS.keys(), findings - EXCEPTIONS.keys()


@pytest.mark.timeout(600)
def test_every_exception_is_needed(program: Path) -> None:
    found = set().union(*(scored(program, stream(case.objects())) for case in CASES.values()))
    assert found == EXCEPTIONS.keys()


def scored(program: Path, manifests: str) -> set[str]:
    """The checks that an object fails."""
    done = run(
        program, "score", "-", "--output-format", "json", "--kubernetes-version", "v1.30",
        *(word for test in MORE for word in ("--enable-optional-test", test)), given=manifests,
    )  # fmt: skip
    objects = json.loads(done.stdout)
    assert objects, done.stderr
    return {
        check["check"]["id"]
        for each in objects
        for check in each["checks"]
        if not check["skipped"] and check["grade"] < ALL_OK
    }


ALL_OK = 10
