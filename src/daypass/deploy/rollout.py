"""Waiting until what was applied runs, and telling how far it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from daypass._core.errors import DaypassError
from daypass._core.hints import command, kubectl
from daypass.deploy.deploy_target import DeployTarget, ObjectRef
from daypass.kube.resources import Object

PAUSE_SECONDS = 1.0

T = TypeVar("T")
Say = Callable[[str], None]


class NotReadyError(DaypassError):
    """It is applied, and not there yet."""


class Deadline:
    """How long to wait in all, by the cluster's clock."""

    def __init__(self, target: DeployTarget, seconds: float) -> None:
        self._cluster = target.cluster
        self._ends = target.cluster.clock.monotonic() + seconds
        self._seconds = seconds

    def left(self) -> float:
        """Seconds; 0 when time is up."""
        return max(0.0, self._ends - self._cluster.clock.monotonic())

    def wait(self, ask: Callable[[], T | str], say: Say, hint: str) -> T:
        """The first answer that is no text; each other text is said once.

        Raises NotReadyError with the last text and `hint` when time is up.
        """
        told = ""
        while isinstance(answer := ask(), str):
            if answer != told:
                say(f"waiting: {answer}")
                told = answer
            if not self.left():
                raise NotReadyError(f"not ready within {self._seconds:g} s: {answer}", hint)
            self._cluster.sleep(PAUSE_SECONDS)
        return answer


def wait_for_pair(target: DeployTarget, pair: ObjectRef, patience: Deadline, say: Say) -> None:
    """Wait until cert-manager has made the door's certificate. Raises NotReadyError."""
    hint = kubectl("describe", "certificates", "-n", pair.namespace)
    patience.wait(
        lambda: None if target.find_metadata(pair) else f"{pair}, which cert-manager makes",
        say,
        hint,
    )


def wait_for_rollout(
    target: DeployTarget, deployment: ObjectRef, patience: Deadline, say: Say
) -> None:
    """Wait until all replicas are of the newest version and available, as kubectl understands it.

    Raises NotReadyError, at once where Kubernetes has given up.
    """
    where = ("-n", deployment.namespace)
    described = kubectl("describe", "deployment", deployment.name, *where)
    hint = f"{kubectl('get', 'pods', *where)}; {described}"

    def ask() -> int | str:
        document = target.find(deployment)
        if document is None:
            raise NotReadyError(f"{deployment} is gone", f"`{command('apply')}` makes it again")
        if reason := _given_up(document):
            raise NotReadyError(f"{deployment}: {reason}", hint)
        return progress(document)

    ready = patience.wait(lambda: _named(deployment, ask()), say, hint)
    say(f"{deployment}: {ready} of {ready} ready")


def progress(document: Object) -> int | str:
    """How many replicas a Deployment has when it is done; before that in words what is missing.

    As `kubectl rollout status` (k8s.io/kubectl/pkg/polymorphichelpers/rollout_status.go).
    """
    status, wanted = document.get("status") or {}, document["spec"].get("replicas", 1)
    if status.get("observedGeneration", 0) < document["metadata"].get("generation", 0):
        return "nobody has looked at it yet"
    updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    if updated < wanted:
        return f"{updated} of {wanted} replicas are new"
    if status.get("replicas", 0) > updated:
        return f"{status['replicas'] - updated} old replicas are leaving"
    if available < updated:
        return f"{available} of {wanted} ready"
    return int(wanted)


def _named(deployment: ObjectRef, answer: int | str) -> int | str:
    return f"{deployment}: {answer}" if isinstance(answer, str) else answer


def _given_up(document: Object) -> str:
    for condition in (document.get("status") or {}).get("conditions") or ():
        if condition.get("reason") == "ProgressDeadlineExceeded" and (
            (document.get("status") or {}).get("observedGeneration", 0)
            >= document["metadata"].get("generation", 0)
        ):
            return str(condition.get("message", ""))
    return ""
