"""Which policies the gate consists of, and for which Gateway."""

from dataclasses import dataclass

from daypass._core.hints import kubectl
from daypass.render.errors import RenderError
from daypass.render.facts import KubernetesFacts
from daypass.render.fronts.gateway_api import gateway_of
from daypass.render.gateway_api.authorizer import authorizer_policies
from daypass.render.gateway_api.claims import backstop, second_opinion
from daypass.render.names import GATE, SERVICE_PORT
from daypass.render.objects import Object, new_object
from daypass.render.published import published
from daypass.spec import Config
from daypass.spec.gate import Gate

VERSION = "gateway.envoyproxy.io/v1alpha1"
_GROUP = "gateway.networking.k8s.io"
TIMEOUT = "5s"
"""For the authorizer's answer. It gives up earlier by itself, and says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Guarded:
    """The Gateway that is guarded; one of its listeners, or all of them."""

    namespace: str
    name: str
    listener: str | None

    @property
    def reference(self) -> Object:
        section = {"sectionName": self.listener} if self.listener else {}
        return {"group": _GROUP, "kind": "Gateway", "name": self.name, **section}


def envoy_gateway_gate(config: Config, gate: Gate, facts: KubernetesFacts) -> list[Object]:
    """What makes a Gateway ask the authorizer. Raises RenderError."""
    guarded = _verified(gate)
    is_both = gate.check == "both"
    authorization = second_opinion(config, gate, facts) if is_both else backstop(gate)
    policy = new_object(
        VERSION,
        "SecurityPolicy",
        GATE,
        guarded.namespace,
        spec={
            "targetRefs": [guarded.reference],
            "extAuth": _asking(config, gate),
            **authorization,
        },
    )
    headers = [] if guarded.listener else [_without_identity(gate, guarded)]
    return [
        policy,
        *headers,
        *_doors(config, guarded),
        *authorizer_policies(config, facts, guarded.namespace),
    ]


def keys_namespace(gate: Gate) -> str | None:
    """Where Envoy Gateway looks for the API server's keys; None where it does not."""
    if gate.engine != "envoy-gateway" or gate.check != "both":
        return None
    return _verified(gate).namespace


def _verified(gate: Gate) -> _Guarded:
    if gate.check == "jwt":
        raise RenderError(
            "gate.check: jwt cannot be had on Envoy Gateway: it accepts a rule on the claim"
            " kubernetes.io.secret.uid, which never matches, so revoked tokens would pass; and it"
            " leaves the token to the services",
            "write check: review, or check: both with forwardToken: true",
        )
    if gate.check == "both" and not gate.forward_token:
        raise RenderError(
            "gate.check: both leaves the token to the services on Envoy Gateway: what looks at it"
            " last, its JWT filter, cannot take it away",
            "write forwardToken: true, or check: review, which takes it away",
        )
    if gate.gateway is None:
        raise RenderError(
            "gate.engine: envoy-gateway guards a Gateway, and gate.gateway does not say which",
            "write gateway: NAMESPACE/NAME; this lists them: "
            + kubectl("get", "gateways", "--all-namespaces"),
        )
    namespace, name, *listener = gate.gateway.split("/")
    return _Guarded(namespace=namespace, name=name, listener=listener[0] if listener else None)


def _asking(config: Config, gate: Gate) -> Object:
    service = {"name": GATE, "namespace": config.door.namespace, "port": SERVICE_PORT}
    return {
        # Which headers are to be removed, the token above all, the authorizer says itself
        # (x-envoy-auth-headers-to-remove).
        "http": {
            "backendRefs": [service],
            "headersToBackend": [gate.headers.user, gate.headers.groups],
        },
        "headersToExtAuth": ["x-envoy-external-address"],
        "failOpen": False,
        "statusOnError": 503,
        "timeout": TIMEOUT,
    }


def _without_identity(gate: Gate, guarded: _Guarded) -> Object:
    """Clients cannot say who they are, not even where somebody's policy replaces ours.

    Not for one listener: there it would replace the policy that its Gateway has, with all that is
    set by that, such as the authority of client certificates.
    """
    names = [gate.headers.user, gate.headers.groups]
    return new_object(
        VERSION,
        "ClientTrafficPolicy",
        GATE,
        guarded.namespace,
        spec={
            "targetRefs": [guarded.reference],
            "headers": {
                "withUnderscoresAction": "RejectRequest",
                "earlyRequestHeaders": {"remove": names},
            },
        },
    )


def _doors(config: Config, guarded: _Guarded) -> list[Object]:
    """The door's own routes through that Gateway stay open: the door takes other tokens."""
    return [
        new_object(
            VERSION,
            "SecurityPolicy",
            domain.object_name,
            domain.namespace,
            spec={
                "targetRefs": [{"group": _GROUP, "kind": "HTTPRoute", "name": domain.object_name}],
                "authorization": {"defaultAction": "Allow"},
            },
        )
        for domain in published(config, KubernetesFacts())
        if domain.domain.front == "gateway-api"
        and (guarded.namespace, guarded.name) == gateway_of(domain)[:2]
        and guarded.listener in (None, gateway_of(domain)[2])
    ]
