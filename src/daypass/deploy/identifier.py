"""Which object: group, kind, namespace, name, whatever its version; and in which order."""

from __future__ import annotations

from dataclasses import dataclass

from daypass.deploy.kinds import group_of
from daypass.kube.resources import Object

_WAVES = (
    ("Namespace",),
    # What pods stand on, and what counts before anybody can come in.
    (
        "PriorityLevelConfiguration",
        "FlowSchema",
        "ServiceAccount",
        "NetworkPolicy",
        "Certificate",
        "ConfigMap",
        "Secret",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "ClusterRole",
        "ClusterRoleBinding",
        "Role",
        "RoleBinding",
        "AuthorizationPolicy",
        "EnvoyFilter",
        "SecurityPolicy",
        "ClientTrafficPolicy",
        "ReferenceGrant",
    ),
    # What a front has to find before it is told to come here, and how to do so by TLS.
    (
        "Service",
        "DestinationRule",
        "BackendTLSPolicy",
        "Deployment",
        "HorizontalPodAutoscaler",
        "PodDisruptionBudget",
    ),
)
"""All of a wave is made at once; what is in none opens a way in from outside, and comes last."""

LAST_WAVE = len(_WAVES)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Identifier:
    """One object of a cluster."""

    group: str
    kind: str
    namespace: str
    name: str

    @classmethod
    def of(cls, document: Object) -> Identifier:
        """That of a document."""
        metadata = document["metadata"]
        return cls(
            group=group_of(str(document["apiVersion"])),
            kind=str(document["kind"]),
            namespace=str(metadata.get("namespace") or ""),
            name=str(metadata["name"]),
        )

    @classmethod
    def parse(cls, key: str) -> Identifier | None:
        """That of a `key`; None for any other text."""
        parts = key.split("_")
        if len(parts) != 4:
            return None
        namespace, name, group, kind = parts
        return cls(group=group, kind=kind, namespace=namespace, name=name)

    @property
    def key(self) -> str:
        """As text that a ConfigMap takes for a key: `NAMESPACE_NAME_GROUP_KIND`.

        That is how kpt, Flux and cli-utils write it in their inventories.
        """
        return f"{self.namespace}_{self.name}_{self.group}_{self.kind}"

    @property
    def where(self) -> str:
        """`NAMESPACE/NAME`, or the name of what is in no namespace."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    @property
    def wave(self) -> int:
        """When it is applied, from 0 to LAST_WAVE. What is removed goes the other way round."""
        for number, kinds in enumerate(_WAVES):
            if self.kind in kinds:
                return number
        return LAST_WAVE

    def __str__(self) -> str:
        return f"{self.kind} {self.where}"
