"""What `daypass identity list -A` costs with many identities, beside kubectl's plain lists."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.rounds import compare
from daypass._core.kubernetes import labels
from daypass._core.kubernetes.objects import Object
from daypass.config.settings import Policy
from daypass.identity.grants import KUBEFLOW, role_grant
from daypass.identity.model import IdentityName
from daypass.kube.cluster import Cluster
from daypass.kube.resources import SECRETS
from support import policies
from support.clusters import admin_cluster
from support.controlplane import ControlPlane
from support.deadline import eventually
from support.kubeflow import install_kubeflow
from support.lifecycle import identity_objects

BIN = Path(sys.executable).parent
IDENTITIES, NAMESPACES, THREADS = 2000, 40, 8
# Bytecode is written once where a person installs; some shells and CIs turn that off.
BASE = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def run(*, quick: bool) -> None:
    """Whole processes, in turns; `quick` takes fewer identities and rounds."""
    count = IDENTITIES // 10 if quick else IDENTITIES
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as scratch,
        ControlPlane.start(Path(scratch) / "control-plane") as plane,
    ):
        install_kubeflow(plane)
        _make(plane, count)
        which = ["--kubeconfig", str(plane.kubeconfig)]
        daypass = [str(BIN / "daypass"), "identity", "list", "-A", *which, "--output", "json"]
        kubectl = [
            str(BIN / "kubectl"), "get", "sa,secrets,rolebindings", "-A", *which, "-o", "json",
            "--cache-dir", f"{scratch}/kubectl",
        ]  # fmt: skip
        listed = json.loads(_output(daypass))["identities"]
        findings = {finding["code"] for each in listed for finding in each["findings"]}
        if len(listed) != count or findings:
            raise RuntimeError(f"{len(listed)} of {count} identities; findings: {findings or None}")
        compare(
            f"daypass identity list | kubectl get, {count} of them",
            lambda: _seconds(daypass),
            lambda: _seconds(kubectl),
            rounds=3 if quick else 15, unit="s", bar="<= 1.5",
        )  # fmt: skip


def _make(plane: ControlPlane, count: int) -> None:
    """Identities with a token and a grant each, spread over namespaces."""
    with admin_cluster(plane) as cluster:
        policies.put(cluster, Policy(audiences=("gate.example.com",)))
        held = {labels.POLICY: labels.POLICY_ENFORCED}
        namespaces = [plane.make_namespace(labels=held) for _ in range(NAMESPACES)]
        with ThreadPoolExecutor(THREADS) as pool:
            tasks = [
                pool.submit(_make_one, cluster, namespaces[index % NAMESPACES], f"bot-{index}")
                for index in range(count)
            ]
            for task in tasks:
                task.result()
        eventually("all token Secrets are filled", lambda: _filled(cluster) == count, seconds=300)


def _make_one(cluster: Cluster, namespace: str, name: str) -> None:
    identity = IdentityName(namespace=namespace, name=name)
    grant = role_grant(identity=identity, namespace=namespace, cluster_role="kubeflow-view")
    documents: list[Object] = identity_objects(identity)
    documents += grant.objects(grant.names[0], KUBEFLOW)
    for document in documents:
        cluster.apply(document)


def _filled(cluster: Cluster) -> int:
    found = cluster.list(SECRETS, labels=labels.SELECTOR, metadata_only=True)
    uid = "kubernetes.io/service-account.uid"
    return sum(uid in each["metadata"]["annotations"] for each in found)


def _output(command: Sequence[str]) -> bytes:
    return subprocess.run(command, env=BASE, stdout=subprocess.PIPE, check=True).stdout


def _seconds(command: Sequence[str]) -> float:
    started = time.perf_counter()
    _output(command)
    return time.perf_counter() - started
