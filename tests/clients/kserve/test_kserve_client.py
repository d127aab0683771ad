"""KServeClient, which creates InferenceServices at the API server, with a kubeconfig of daypass."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import kubernetes.client
import pytest
from kserve import KServeClient

from daypass.local.stack import LocalStack, MadeIdentity


def test_it_calls_the_api_server_as_the_identity(
    daypass_stack: LocalStack, daypass_identity: MadeIdentity, authority: str, home: Path
) -> None:
    kubeconfig = str(home / "bot.kubeconfig")
    environment = {**os.environ, "DAYPASS_CREDENTIALS": str(daypass_identity.credentials_file)}
    subprocess.run(
        [
            sys.executable, "-m", "daypass", "kubeconfig", "--server", daypass_stack.server.url,
            "--certificate-authority", authority, "--kubeconfig-out", kubeconfig,
        ],
        env=environment, check=True, timeout=60,
    )  # fmt: skip
    client = KServeClient(config_file=kubeconfig)
    namespace = daypass_identity.namespace
    with pytest.raises(kubernetes.client.ApiException) as refused:
        client.core_api.list_namespaced_pod(namespace)
    assert (refused.value.status, refused.value.reason) == (403, "Forbidden")
    assert daypass_identity.user in refused.value.body
    with pytest.raises(RuntimeError, match="404"):  # this API server has no InferenceServices
        client.get("double", namespace=namespace)
