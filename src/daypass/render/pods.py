"""What pods of daypass have in common, under Pod Security `restricted`."""

from collections.abc import Mapping

from daypass.render.objects import Object, new_object

USER = 65532
"""`nonroot` of a distroless image."""


def pod_security() -> Object:
    """Of a pod."""
    return {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security() -> Object:
    """Of a container."""
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "privileged": False,
        "readOnlyRootFilesystem": True,
    }


def spread(selector: Mapping[str, str]) -> list[Object]:
    """Over nodes and zones, as far as there are any."""
    return [
        {
            "maxSkew": 1,
            "topologyKey": topology,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": dict(selector)},
            "matchLabelKeys": ["pod-template-hash"],
        }
        for topology in ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
    ]


def probe(path: str, port: str, *, period: int, failures: int) -> Object:
    """A question of kubelet's over HTTP."""
    return {
        "httpGet": {"path": path, "port": port},
        "periodSeconds": period,
        "failureThreshold": failures,
        "timeoutSeconds": 2,
    }


def deployment(
    name: str, namespace: str, pod: Object, annotations: dict[str, str], replicas: int | None = None
) -> Object:
    """A Deployment whose pods are known by its name, and replaced one at a time by a new one that
    is ready. `replicas` None: an autoscaler says how many, and a number here would be at odds.
    """
    selector = {"app.kubernetes.io/name": name}
    labels = {
        **selector,
        # They end and begin TLS themselves, and no sidecar may read along.
        "istio.io/dataplane-mode": "none",
        "sidecar.istio.io/inject": "false",
    }
    spec = {
        **({} if replicas is None else {"replicas": replicas}),
        "revisionHistoryLimit": 3,
        "selector": {"matchLabels": selector},
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
        },
        "template": {"metadata": {"annotations": annotations, "labels": labels}, "spec": pod},
    }
    return new_object("apps/v1", "Deployment", name, namespace, spec=spec)
