"""How the Gateway's Envoys come to the authorizer: they may, and they verify whom they speak to."""

from daypass.render.facts import KubernetesFacts
from daypass.render.names import GATE, GATE_TRUST, gate_host
from daypass.render.objects import Object, new_object
from daypass.spec import Config

_GROUP = "gateway.networking.k8s.io"


def authorizer_policies(config: Config, facts: KubernetesFacts, namespace: str) -> list[Object]:
    """BackendTLSPolicy of the authorizer's Service, and the right to refer to it from another
    namespace. `namespace`: of the Gateway.
    """
    here = config.door.namespace
    authority = {"group": "", "kind": "ConfigMap", "name": GATE_TRUST}
    tls = new_object(
        facts.api_version("BackendTLSPolicy", f"{_GROUP}/v1", f"{_GROUP}/v1alpha3"),
        "BackendTLSPolicy",
        GATE,
        here,
        spec={
            "targetRefs": [{"group": "", "kind": "Service", "name": GATE}],
            "validation": {"caCertificateRefs": [authority], "hostname": gate_host(config)},
        },
    )
    if namespace == here:
        return [tls]
    grant = new_object(
        f"{_GROUP}/v1beta1",
        "ReferenceGrant",
        GATE,
        here,
        spec={
            "from": [
                {
                    "group": "gateway.envoyproxy.io",
                    "kind": "SecurityPolicy",
                    "namespace": namespace,
                }
            ],
            "to": [{"group": "", "kind": "Service", "name": GATE}],
        },
    )
    return [tls, grant]
