"""The gate on Envoy Gateway: the authorizer gets every request to a Gateway first.

Objects of Envoy Gateway's own API configure that (SecurityPolicy, ClientTrafficPolicy; 1.9 or
later). Its JWT filter is no replacement: it runs after the authorizer, which verifies signatures
itself, and a rule on a claim splits the name at dots, so tokens that are bound to a deleted Secret
(`kubernetes.io`.secret.uid) would pass. So `check: jwt` is refused.

The most specific policy replaces all others there: one for a route, which others may write, takes
that route out of the gate. No object of daypass can forbid that; what remains is that clients'
identity headers are removed, and that `daypass apply` reports such a policy.
"""

from dataclasses import dataclass

from daypass._core.hints import kubectl
from daypass._core.objects import Object, new_object
from daypass.config import Config
from daypass.config.gate import Gate
from daypass.render import RenderError
from daypass.render.cluster_facts import ClusterFacts
from daypass.render.fronts import GATEWAY_API, backend_tls_policy, gateway_of
from daypass.render.names import GATE, GATE_TRUST, SERVICE_PORT, gate_host
from daypass.render.published_domain import published_domains
from daypass.rules.reasons import REASON_HEADER

_VERSION = "gateway.envoyproxy.io/v1alpha1"
_TIMEOUT = "5s"
"""For the authorizer's response. Its own deadline is shorter, and its response explains it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Guarded:
    """The guarded Gateway: one of its listeners, or all of them."""

    namespace: str
    name: str
    listener: str | None

    @property
    def reference(self) -> Object:
        section = {"sectionName": self.listener} if self.listener else {}
        return {"group": GATEWAY_API, "kind": "Gateway", "name": self.name, **section}


def envoy_gateway_gate(config: Config, gate: Gate, facts: ClusterFacts) -> list[Object]:
    """Return the policies that make a Gateway ask the authorizer.

    Raises RenderError if Envoy Gateway can't do what the config asks for.
    """
    guarded = _verified(gate)
    policy = new_object(
        _VERSION,
        "SecurityPolicy",
        GATE,
        guarded.namespace,
        spec={
            "targetRefs": [guarded.reference],
            "extAuth": _ext_auth(config, gate),
            "authorization": _backstop(gate),
        },
    )
    headers = [] if guarded.listener else [_without_identity(gate, guarded)]
    return [
        policy,
        *headers,
        *_open_door_routes(config, guarded),
        *_authorizer_access(config, facts, guarded.namespace),
    ]


def _verified(gate: Gate) -> _Guarded:
    if gate.check == "jwt":
        raise RenderError(
            "Envoy Gateway does not support gate.check: jwt: it accepts a rule on the claim"
            " kubernetes.io.secret.uid, which never matches, so revoked tokens would pass; and it"
            " forwards the token to the services",
            "write check: review",
        )
    if gate.gateway is None:
        raise RenderError(
            "gate.engine: envoy-gateway guards a Gateway, and gate.gateway names none",
            "write gateway: NAMESPACE/NAME; this lists them: "
            + kubectl("get", "gateways", "--all-namespaces"),
        )
    namespace, name, *listener = gate.gateway.split("/")
    return _Guarded(namespace=namespace, name=name, listener=listener[0] if listener else None)


def _ext_auth(config: Config, gate: Gate) -> Object:
    service = {"name": GATE, "namespace": config.door.namespace, "port": SERVICE_PORT}
    return {
        # The authorizer's response names the headers to remove, above all the token
        # (x-envoy-auth-headers-to-remove).
        "http": {
            "backendRefs": [service],
            "headersToBackend": [gate.headers.user, gate.headers.groups],
        },
        "headersToExtAuth": ["x-envoy-external-address"],
        "failOpen": False,
        "statusOnError": 503,
        "timeout": _TIMEOUT,
    }


def _without_identity(gate: Gate, guarded: _Guarded) -> Object:
    """Remove clients' identity headers, even if a more specific policy replaces the gate's.

    Not for a single listener: there it would replace the Gateway's own policy with all its
    settings, such as the authority of client certificates.
    """
    names = [gate.headers.user, gate.headers.groups, REASON_HEADER]
    return new_object(
        _VERSION,
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


def _open_door_routes(config: Config, guarded: _Guarded) -> list[Object]:
    """Return policies that exempt the door's routes: the door accepts other tokens."""
    return [
        new_object(
            _VERSION,
            "SecurityPolicy",
            domain.object_name,
            domain.namespace,
            spec={
                "targetRefs": [
                    {"group": GATEWAY_API, "kind": "HTTPRoute", "name": domain.object_name}
                ],
                "authorization": {"defaultAction": "Allow"},
            },
        )
        for domain in published_domains(config, ClusterFacts())
        if domain.domain.front == "gateway-api"
        and (guarded.namespace, guarded.name) == gateway_of(domain)[:2]
        and guarded.listener in (None, gateway_of(domain)[2])
    ]


def _backstop(gate: Gate) -> Object:
    """Deny requests without the authorizer's identity header.

    Envoy Gateway sends the routes that ask the authorizer before the listener that can: after a
    rejected policy (without its ReferenceGrant, say) is accepted again, requests would pass without
    it for a tenth of a second. This rule always applies.
    """
    condition = f"request.headers['{gate.headers.user}'].startsWith('system:serviceaccount:')"
    rule = {"name": GATE, "action": "Allow", "cel": condition}
    return {"defaultAction": "Deny", "rules": [rule]}


def _authorizer_access(config: Config, facts: ClusterFacts, namespace: str) -> list[Object]:
    """Return how the Gateway's Envoys verify the authorizer, and the grant to refer to it.

    `namespace`: of the Gateway.
    """
    here = config.door.namespace
    tls = backend_tls_policy(facts, GATE, here, GATE_TRUST, gate_host(config))
    if namespace == here:
        return [tls]
    policies = {
        "group": "gateway.envoyproxy.io", "kind": "SecurityPolicy", "namespace": namespace,
    }  # fmt: skip
    grant = new_object(
        f"{GATEWAY_API}/v1beta1",
        "ReferenceGrant",
        GATE,
        here,
        spec={"from": [policies], "to": [{"group": "", "kind": "Service", "name": GATE}]},
    )
    return [tls, grant]
