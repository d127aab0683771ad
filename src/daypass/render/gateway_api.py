"""How the Gateway's Envoys come to the authorizer: they may, and they verify whom they speak to.

What Envoy itself looks at once the authorizer has let a request in.

Which policies the gate consists of, and for which Gateway.

The gate on Envoy Gateway: every request to a Gateway is shown to the authorizer first.

Objects of Envoy Gateway's own API say so (SecurityPolicy, ClientTrafficPolicy; 1.9 or later). Its
own JWT filter does not do instead: a rule on a claim splits its name at the dots, so that what
hangs on a deleted Secret (`kubernetes.io`.secret.uid) would be let in, and the token stays with the
request. So `check: jwt` is refused, and `both` adds a second, native opinion to the authorizer's.

The most specific policy wins there, whole: one for a route, which others may write, takes that
route out of the gate. No object of ours can forbid that; what remains is that no client's identity
header gets further, and that `daypass apply` tells of it.
"""

from dataclasses import dataclass

from daypass._core.hints import kubectl
from daypass.config import Config
from daypass.config.gate import Gate
from daypass.render.cluster_facts import ClusterFacts
from daypass.render.errors import RenderError
from daypass.render.fronts.gateways import gateway_of
from daypass.render.objects import (
    GATE,
    GATE_KEYS,
    GATE_TRUST,
    SERVICE_PORT,
    Object,
    gate_host,
    new_object,
)
from daypass.render.published_domain import published_domains

_GROUP = "gateway.networking.k8s.io"


def authorizer_policies(config: Config, facts: ClusterFacts, namespace: str) -> list[Object]:
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


_PAYLOAD = f"metadata.filter_metadata['envoy.filters.http.jwt_authn']['{GATE}']"


def backstop(gate: Gate) -> Object:
    """Let nobody in whom the authorizer has not named.

    Envoy Gateway sends the routes that ask the authorizer before the listener that can ask: where a
    policy was refused for a while (without its ReferenceGrant, say) and is accepted again, requests
    pass unasked for a tenth of a second. This one is asked all the time.
    """
    return _allow(f"{_named(gate)}.startsWith('system:serviceaccount:')")


def second_opinion(config: Config, gate: Gate, facts: ClusterFacts) -> Object:
    """`check: both`: the token's signature, issuer, audience and times, and whose it is.

    The keys are in a ConfigMap beside the policy, `jwks`: as long as there are none, nobody gets
    in. Conditions take a claim's name in pieces; rules on claims split it at each dot.
    """
    provider = {
        "name": GATE,
        "issuer": facts.issuer_for(config),
        "audiences": [gate.audience],
        "localJWKS": {
            "type": "ValueRef",
            "valueRef": {"group": "", "kind": "ConfigMap", "name": GATE_KEYS},
        },
        # By default also a query parameter is looked into.
        "extractFrom": {"headers": [{"name": "Authorization", "valuePrefix": "Bearer "}]},
    }
    conditions = [
        f"{_named(gate)} == {_PAYLOAD}['sub']",
        f"size({_PAYLOAD}['aud']) == 1",
        f"{_PAYLOAD}['exp'] - {_PAYLOAD}['iat'] <= {float(config.longest_lifetime_seconds)}",
    ]
    if gate.require_bound:
        conditions.append(f"{_PAYLOAD}['kubernetes.io']['secret']['uid'] != ''")
    return {"jwt": {"providers": [provider]}, **_allow(" && ".join(conditions))}


def keys_config_map(namespace: str, keys: str) -> Object:
    """The key set, as text, beside the policy. `namespace`: of the Gateway."""
    return new_object("v1", "ConfigMap", GATE_KEYS, namespace, data={"jwks": keys})


def _named(gate: Gate) -> str:
    return f"request.headers['{gate.headers.user}']"


def _allow(condition: str) -> Object:
    rule = {"name": GATE, "action": "Allow", "cel": condition}
    return {"authorization": {"defaultAction": "Deny", "rules": [rule]}}


VERSION = "gateway.envoyproxy.io/v1alpha1"
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


def envoy_gateway_gate(config: Config, gate: Gate, facts: ClusterFacts) -> list[Object]:
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
        for domain in published_domains(config, ClusterFacts())
        if domain.domain.front == "gateway-api"
        and (guarded.namespace, guarded.name) == gateway_of(domain)[:2]
        and guarded.listener in (None, gateway_of(domain)[2])
    ]


__all__ = ["envoy_gateway_gate"]
