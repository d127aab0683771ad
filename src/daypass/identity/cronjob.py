"""What runs `daypass identity reap` in a cluster: a CronJob, and no more rights than it needs."""

from __future__ import annotations

from daypass.identity.manifests import Object
from daypass.kube.resources import (
    AUTHORIZATION_POLICIES,
    ROLE_BINDINGS,
    ROLES,
    SECRETS,
    SERVICE_ACCOUNTS,
    Resource,
)

NAME = "daypass-reap"
SCHEDULE = "*/10 * * * *"
LABELS = {
    "app.kubernetes.io/name": NAME,
    "app.kubernetes.io/part-of": "daypass",
    "app.kubernetes.io/managed-by": "daypass",
}
RBAC = "rbac.authorization.k8s.io"


def reaper_objects(
    *, home: str, namespace: str | None, image: str, schedule: str = SCHEDULE
) -> list[Object]:
    """ServiceAccount, rights and CronJob, in the namespace `home`.

    It reaps one namespace, or (None) all. `image` holds `daypass[admin]` for its `python`.
    """
    kind = "Role" if namespace else "ClusterRole"
    place = {"namespace": namespace} if namespace else {}
    return [
        _object("v1", "ServiceAccount", {"namespace": home}),
        {**_object(f"{RBAC}/v1", kind, place), "rules": _rules()},
        {
            **_object(f"{RBAC}/v1", f"{kind}Binding", place),
            "roleRef": {"apiGroup": RBAC, "kind": kind, "name": NAME},
            "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": home}],
        },
        {
            **_object("batch/v1", "CronJob", {"namespace": home}),
            "spec": {
                "schedule": schedule,
                "concurrencyPolicy": "Forbid",
                "startingDeadlineSeconds": 300,
                "successfulJobsHistoryLimit": 1,
                "failedJobsHistoryLimit": 3,
                "jobTemplate": {
                    "spec": {
                        "backoffLimit": 1,
                        "activeDeadlineSeconds": 300,
                        "template": {
                            "metadata": {"labels": dict(LABELS)},
                            "spec": _pod(image, namespace),
                        },
                    }
                },
            },
        },
    ]


def _rules() -> list[Object]:
    def rule(verbs: list[str], *resources: Resource) -> Object:
        group = resources[0].api_version.rpartition("/")[0]
        plurals = [resource.plural for resource in resources]
        return {"apiGroups": [group], "resources": plurals, "verbs": verbs}

    return [
        rule(["list"], SERVICE_ACCOUNTS),
        rule(["list", "delete"], SECRETS),
        rule(["list", "delete"], ROLES, ROLE_BINDINGS),
        rule(["list", "delete"], AUTHORIZATION_POLICIES),
    ]


def _pod(image: str, namespace: str | None) -> Object:
    where = ["--namespace", namespace] if namespace else ["--all-namespaces"]
    return {
        "serviceAccountName": NAME,
        "restartPolicy": "Never",
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "reap",
                "image": image,
                "command": ["python", "-m", "daypass", "identity", "reap", *where],
                "env": [{"name": "PYTHONDONTWRITEBYTECODE", "value": "1"}],
                "resources": {
                    "requests": {"cpu": "50m", "memory": "64Mi"},
                    "limits": {"memory": "256Mi"},
                },
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
            }
        ],
    }


def _object(api_version: str, kind: str, place: dict[str, str]) -> Object:
    metadata = {"name": NAME, **place, "labels": dict(LABELS)}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}
