"""The gate on Envoy Gateway: the authorizer gets every request to a Gateway first.

Objects of Envoy Gateway's own API configure that (SecurityPolicy, ClientTrafficPolicy; 1.9 or
later). Its JWT filter is no replacement: it runs after the authorizer, which verifies signatures
itself, and a rule on a claim splits the name at dots, so tokens that are bound to a deleted Secret
(`kubernetes.io`.secret.uid) would pass. So `check: jwt` is refused.

The most specific policy replaces all others there: one for a route, which others may write, takes
that route out of the gate. daypass forbids nobody to write one; what remains is that clients'
identity headers are removed, and that `daypass apply` reports such a policy.
"""

import re
from collections.abc import Iterator
from typing import Any, ClassVar

from daypass._core.kubernetes.objects import GroupKind, Object, new_object
from daypass._core.text import printable
from daypass.config import EnvoyGatewayGate
from daypass.render.engines.engine import Engine, ProxyMetrics
from daypass.render.fronts import GROUP, GatewayApiFront, backend_tls_policy, fronts_of
from daypass.render.names import (
    GATE,
    SERVICE_PORT,
    AuthorityLocation,
    authorizer_server,
    gate_prefix,
)
from daypass.rules.models import MODEL_HEADERS
from daypass.rules.reasons import REASON_HEADER

POLICY_GROUP = "gateway.envoyproxy.io"
_VERSION = f"{POLICY_GROUP}/v1alpha1"
_TIMEOUT = "5s"
"""For the authorizer's response. Its own deadline is shorter, and its response explains it."""
_ABOUT_THE_GATE = "envoy_http_ext_authz_(ok|denied|error|failure_mode_allowed)"
"""Series."""
_LISTED = re.compile(r"\[([^\]]*)\]")


class EnvoyGatewayEngine(Engine[EnvoyGatewayGate]):
    """A Gateway of Envoy Gateway, or one listener of it, which asks about every request."""

    gate_type: ClassVar = EnvoyGatewayGate
    applied_as: ClassVar = GroupKind(POLICY_GROUP, "SecurityPolicy")
    metrics: ClassVar = ProxyMetrics(
        port="metrics",
        number=19001,
        path="/stats/prometheus",
        relabelings=({"action": "keep", "sourceLabels": ["__name__"], "regex": _ABOUT_THE_GATE},),
    )

    @property
    def _gateway(self) -> tuple[str, str]:
        """Namespace and name of the guarded Gateway."""
        namespace, name, *_ = self.gate.gateway.split("/")
        return namespace, name

    @property
    def _listener(self) -> str | None:
        """The only listener that is guarded; None: all are."""
        _, _, *listener = self.gate.gateway.split("/")
        return listener[0] if listener else None

    @property
    def pods_labels(self) -> dict[str, str]:
        """The labels of the Gateway's pods, which are in the controller's namespace."""
        namespace, name = self._gateway
        owner = "gateway.envoyproxy.io/owning-gateway"
        return {f"{owner}-namespace": namespace, f"{owner}-name": name}

    def objects(self) -> list[Object]:
        """Return the policies that make the Gateway ask the authorizer."""
        return [
            self._policy(
                "SecurityPolicy", extAuth=self._ext_auth(), authorization=self._backstop()
            ),
            *([] if self._listener else [self._client_traffic()]),
            *self._open_door_routes(),
            *self._authorizer_access(),
        ]

    def authority_location(self) -> AuthorityLocation:
        """Return a ConfigMap next to the authorizer."""
        return AuthorityLocation(kind="ConfigMap", namespace=self.config.door.namespace)

    def _policy(self, kind: str, **spec: Any) -> Object:
        """Return a policy for the guarded Gateway or listener."""
        namespace, name = self._gateway
        section = {"sectionName": self._listener} if self._listener else {}
        reference = {"group": GROUP, "kind": "Gateway", "name": name, **section}
        return new_object(
            _VERSION, kind, self.named(GATE), namespace, spec={"targetRefs": [reference], **spec}
        )

    def _ext_auth(self) -> Object:
        service = {"name": GATE, "namespace": self.config.door.namespace, "port": SERVICE_PORT}
        choosing = MODEL_HEADERS if self.gate.audiences or self.gate.authorize else ()
        return {
            # The authorizer's response names the headers to remove, above all the token
            # (x-envoy-auth-headers-to-remove).
            "http": {
                "backendRefs": [service],
                "path": gate_prefix(self.name),  # a prefix, for all that its documentation says
                "headersToBackend": [self.gate.headers.user, self.gate.headers.groups],
            },
            "headersToExtAuth": ["x-envoy-external-address", *choosing],
            "failOpen": False,
            "statusOnError": 503,
            "timeout": _TIMEOUT,
        }

    def _client_traffic(self) -> Object:
        """Remove clients' identity headers, even if a more specific policy replaces the gate's, and
        bound streams, at every listener.

        Not for a single listener: there it would replace the Gateway's own policy with all its
        settings, such as the authority of client certificates.
        """
        names = [self.gate.headers.user, self.gate.headers.groups, REASON_HEADER]
        longest = self.gate.max_stream_duration_seconds
        minutes, seconds = divmod(longest or 0, 60)
        # A Gateway API duration: no number in it has more than five digits.
        limit = {"connectionLimit": {"maxStreamDuration": f"{minutes}m{seconds}s"}}
        return self._policy(
            "ClientTrafficPolicy",
            headers={
                "withUnderscoresAction": "RejectRequest",
                "earlyRequestHeaders": {"remove": names},
            },
            **({} if longest is None else {"connection": limit}),
        )

    def _open_door_routes(self) -> list[Object]:
        """Return policies that exempt the door's routes: the door accepts other tokens."""
        return [
            new_object(
                _VERSION,
                "SecurityPolicy",
                front.object_name,
                front.namespace,
                spec={
                    "targetRefs": [
                        {"group": GROUP, "kind": "HTTPRoute", "name": front.object_name}
                    ],
                    "authorization": {"defaultAction": "Allow"},
                },
            )
            for front in fronts_of(self.config)
            if isinstance(front, GatewayApiFront)
            and front.gateway[:2] == self._gateway
            and self._listener in (None, front.gateway[2])
        ]

    def _backstop(self) -> Object:
        """Deny requests without the authorizer's identity header.

        Envoy Gateway sends the routes that ask the authorizer before the listener that can: after a
        rejected policy (without its ReferenceGrant, say) is accepted again, requests would pass
        without it for a tenth of a second. This rule always applies.
        """
        header = f"request.headers['{self.gate.headers.user}']"
        condition = f"{header}.startsWith('system:serviceaccount:')"
        rule = {"name": GATE, "action": "Allow", "cel": condition}
        return {"defaultAction": "Deny", "rules": [rule]}

    def _authorizer_access(self) -> list[Object]:
        """Return how the Gateway's Envoys verify the authorizer, and the grant to refer to it."""
        here, (namespace, _) = self.config.door.namespace, self._gateway
        tls = backend_tls_policy(self.facts, authorizer_server(self.config.door.namespace))
        if namespace == here:
            return [tls]
        policies = {
            "group": POLICY_GROUP,
            "kind": "SecurityPolicy",
            "namespace": namespace,
        }
        grant = new_object(
            f"{GROUP}/v1beta1",
            "ReferenceGrant",
            self.named(GATE),
            here,
            spec={"from": [policies], "to": [{"group": "", "kind": "Service", "name": GATE}]},
        )
        return [tls, grant]


def is_accepted(policy: Object) -> bool:
    """Return whether a policy is accepted by every controller that has seen it, and one has."""
    return {each.get("status") for each in _conditions(policy, "Accepted")} == {"True"}


def rejection_reason(policy: Object) -> str:
    """Return why a policy is not accepted, by its status; empty if its status does not say so."""
    found = (each for each in _conditions(policy, "Accepted") if each.get("status") != "True")
    return next((printable(str(each.get("message"))) for each in found), "")


def overriding_policies(policy: Object) -> list[str]:
    """Return `NAMESPACE/NAME` of the routes and listeners where other policies replace this one.

    The status lists them in its message: `... for these routes: [team/a team/b]`.
    """
    found = [each for each in _conditions(policy, "Overridden") if each.get("status") == "True"]
    lists = (listed for each in found for listed in _LISTED.findall(str(each.get("message"))))
    return sorted({printable(name) for listed in lists for name in listed.split()})


def _conditions(policy: Object, kind: str) -> Iterator[Object]:
    """Yield the conditions of any controller for the current generation."""
    generation = (policy.get("metadata") or {}).get("generation")
    for ancestor in (policy.get("status") or {}).get("ancestors") or ():
        for condition in ancestor.get("conditions") or ():
            current = condition.get("observedGeneration", generation) == generation
            if current and condition.get("type") == kind:
                yield condition
