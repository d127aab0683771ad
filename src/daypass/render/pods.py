"""What pods of daypass have in common, under Pod Security `restricted`."""

from collections.abc import Mapping

from daypass.render.objects import Object

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
