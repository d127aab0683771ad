"""Waiting for what was applied: nothing runs pods here, so that a test plays the controllers."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.conftest import Run
from daypass.kube.cluster import Cluster
from daypass.kube.kubeconfig import find_connection_config
from daypass.kube.resources import CONFIG_MAPS, SECRETS
from daypass.testing import MovableClock
from support.controlplane import ControlPlane
from support.crds import install_cert_manager, install_gateway_api
from support.deadline import eventually
from support.deploying import clear, everything, prepare, write
from support.messages import check, message_with

pytestmark = pytest.mark.usefixtures("cleared")

DEPLOYMENT = "/apis/apps/v1/namespaces/daypass/deployments/daypass-door"
POLICY = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/daypass"
EKF = """\
version: 1
domains:
  ekf: {host: ekf.example.com, front: ingress-nginx, tls: outside}
"""
ISSUED = """\
version: 1
domains:
  gw: {host: gw.example.com, front: gateway-api, className: eg, tls: {issuer: letsencrypt}}
door: {certificateIssuer: internal}
"""


def prepare_plane(plane: ControlPlane) -> None:
    prepare(plane, (install_gateway_api, install_cert_manager))


Play = Callable[..., None]


@pytest.fixture
def play(plane: ControlPlane, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Play:
    """Write a config, and let each pause of the command be a step of the controllers'."""

    def played(text: str, *steps: Callable[[], object]) -> None:
        write(folder, text)
        clock, left = MovableClock(), list(steps)

        def sleep(seconds: float) -> None:
            clock.move(seconds)
            if left:
                left.pop(0)()

        def opened(**_: object) -> Cluster:
            access = find_connection_config({}, kubeconfig=str(plane.kubeconfig))
            return Cluster(access, clock=clock, sleep=sleep)

        monkeypatch.setattr(Cluster, "open", opened)

    return played


def status(plane: ControlPlane, **fields: object) -> Callable[[], object]:
    """A step of the Deployment's controller."""

    def patch() -> object:
        generation = plane.admin.get(DEPLOYMENT)["metadata"]["generation"]
        ready = {"readyReplicas": fields.get("availableReplicas", 0)}
        change = {"status": {"observedGeneration": generation, **ready, **fields}}
        return plane.admin.patch(f"{DEPLOYMENT}/status", change)

    return patch


def scale(plane: ControlPlane) -> object:
    """The HorizontalPodAutoscaler's step."""
    return plane.admin.patch(DEPLOYMENT, {"spec": {"replicas": 2}})


APPLY = ("apply", "--yes", "--no-commit", "--no-verify")


def test_apply_waits_for_every_replica_and_reports_progress(
    plane: ControlPlane, play: Play, run: Run
) -> None:
    play(
        EKF,
        lambda: scale(plane),
        status(plane, replicas=1, updatedReplicas=1),
        status(plane, replicas=3, updatedReplicas=2, availableReplicas=1),
        status(plane, replicas=2, updatedReplicas=2, availableReplicas=1),
        status(plane, replicas=2, updatedReplicas=2, availableReplicas=2),
    )
    lines = run(*APPLY)[1].splitlines()
    door = "Deployment daypass/daypass-door"
    progress = [line for line in lines if door in line]
    assert [re.findall(r"\d+", line) for line in progress] == [
        [], ["1", "2"], ["1"], ["1", "2"], ["2", "2"],
    ]  # fmt: skip
    for line in progress:
        check(line, reason="progress")


def test_apply_stops_at_the_timeout_and_names_the_command_to_look_with(
    play: Play, run: Run
) -> None:
    play(EKF)
    error = message_with(run(*APPLY, "--timeout", "10s", code=1)[1], "10s")
    named = ("Deployment daypass/daypass-door", "kubectl get pods -n daypass")
    check(error, *named, reason="not-ready")


def test_apply_stops_at_once_when_the_deployment_fails_to_progress(
    plane: ControlPlane, play: Play, run: Run
) -> None:
    condition = {
        "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded",
        "message": 'ReplicaSet "x" has timed out progressing.',
    }  # fmt: skip
    play(EKF, status(plane, replicas=1, updatedReplicas=1, conditions=[condition]))
    assert "has timed out progressing" in run(*APPLY, code=1)[1]


def test_a_certificate_of_cert_manager_is_awaited_copied_and_removed_with_its_secret(
    plane: ControlPlane, cluster: Cluster, play: Play, run: Run
) -> None:
    before = set(everything(cluster))

    def issue() -> None:
        pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
        data = {"ca.crt": pem, "tls.crt": pem, "tls.key": "a key"}
        for name in ("daypass-door", "daypass-domain-gw"):
            annotations = {"cert-manager.io/certificate-name": name}
            secret = {"metadata": {"name": f"{name}-tls", "annotations": annotations}}
            secrets = "/api/v1/namespaces/daypass/secrets"
            plane.admin.create(secrets, {**secret, "stringData": data})

    ready = status(plane, replicas=1, updatedReplicas=1, availableReplicas=1)
    play(ISSUED, lambda: None, issue, ready)
    progress = message_with(run(*APPLY)[1], "Secret daypass/daypass-door-tls")
    check(progress, reason="progress")
    copied = cluster.get(CONFIG_MAPS, "daypass-door-trust", "daypass")["data"]["ca.crt"]
    assert "BEGIN CERTIFICATE" in copied
    assert cluster.get(SECRETS, "daypass-domain-gw-tls", "daypass")
    clear(cluster)
    assert set(everything(cluster)) == before


def test_apply_waits_until_a_changed_policy_is_in_force(
    plane: ControlPlane, play: Play, run: Run
) -> None:
    def is_compiled() -> bool:
        policy = plane.admin.get(POLICY)
        seen = policy.get("status", {}).get("observedGeneration")
        return bool(seen == policy["metadata"]["generation"])

    ready = status(plane, replicas=2, updatedReplicas=2, availableReplicas=2)
    play(
        EKF + "policy: {audiences: [gate.example.com]}\n",
        ready,
        lambda: eventually("the policy is compiled", is_compiled),  # its first pause
    )
    check(message_with(run(*APPLY)[1], "mode deny"), reason="progress")
    assert is_compiled()
    assert "mode deny" not in run(*APPLY)[1]  # nothing has changed, nothing is waited for
