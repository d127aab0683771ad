"""Overlays of an EKF repository built and applied, by the tools that its people use."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

from daypass._core.errors import DaypassError, UsageError
from daypass._core.hints import kubectl
from daypass.deploy.ekf import LayoutError
from daypass.deploy.handing_over import first_host, is_handed_over

_ROK_DEPLOY = "rok-deploy"
_BUILDERS = (("kubectl", "kustomize"), ("kustomize", "build"))


class BuildError(DaypassError):
    """An overlay could not be built on this machine, as its tool says."""


class ApplyError(DaypassError):
    """An overlay could not be applied, as its tool says."""


def apply_command(
    folder: str, kubeconfig: str | None = None, context: str | None = None
) -> list[str]:
    """What applies an overlay: rok-deploy where it is there, else kubectl, server-side."""
    if shutil.which(_ROK_DEPLOY):
        return [_ROK_DEPLOY, "--apply", folder]
    cluster = [
        *(("--kubeconfig", os.path.abspath(kubeconfig)) if kubeconfig else ()),
        *(("--context", context) if context else ()),
    ]
    return ["kubectl", "apply", "--server-side", *cluster, "-k", folder]


def verify_appliable(context: str | None) -> None:
    """Raise UsageError where `apply` could not even begin."""
    if shutil.which(_ROK_DEPLOY):
        if context:
            raise UsageError(
                "rok-deploy knows no --context", kubectl("config", "use-context", context)
            )
    elif not shutil.which("kubectl"):
        raise UsageError(
            "neither rok-deploy nor kubectl is on the PATH", "leave --apply out, or install one"
        )


def apply(root: Path, folder: str, *, kubeconfig: str | None, context: str | None) -> None:
    """Apply an overlay, in `root` as the guide does; its output goes to stderr.

    Raises ApplyError where the tool fails.
    """
    command = apply_command(folder, kubeconfig, context)
    environment = {
        **os.environ,
        **({"KUBECONFIG": os.path.abspath(kubeconfig)} if kubeconfig else {}),
    }
    done = subprocess.run(command, cwd=root, env=environment, stdout=2, check=False)
    if done.returncode != 0:
        raise ApplyError(
            f"{command[0]} could not apply {folder} (it ended with {done.returncode})",
            f"its own words are above; again: {shlex.join(command)}",
        )


def build_ingresses(root: Path, folder: str) -> list[dict[str, Any]]:
    """The Ingresses that an overlay builds. Raises BuildError where it can't be built here."""
    command = next(
        ([*each, folder] for each in _BUILDERS if shutil.which(each[0])),
        None,
    )
    if command is None:
        raise BuildError(f"{folder} was not built", "neither kubectl nor kustomize is on the PATH")
    done = subprocess.run(command, cwd=root, capture_output=True, check=False)
    if done.returncode != 0:
        words = (done.stderr or done.stdout).decode(errors="replace").strip()
        raise BuildError(f"{folder} was not built: {' '.join(command)} failed", words)
    return [
        document
        for document in yaml.safe_load_all(done.stdout)
        if isinstance(document, dict) and document.get("kind") == "Ingress"
    ]


def verify_built(root: Path, folder: str, host: str, *, handed_over: bool) -> None:
    """Build an overlay and look at its Ingress.

    Raises LayoutError where it has another host, or another class than it was given; BuildError.
    """
    ingresses = build_ingresses(root, folder)
    hosts = [first_host(each) for each in ingresses]
    if handed_over and not (ingresses and all(is_handed_over(each) for each in ingresses)):
        raise LayoutError(
            f"{folder} still builds an Ingress that is served", "what other patch sets its class?"
        )
    if not handed_over and host not in hosts:
        raise LayoutError(
            f"{folder} builds no Ingress with the host {host}",
            f"it builds {', '.join(map(str, hosts)) or 'none'}: what other patch changes it?",
        )
