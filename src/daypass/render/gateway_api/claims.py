"""What Envoy itself looks at once the authorizer has let a request in."""

from daypass.render.facts import KubernetesFacts
from daypass.render.names import GATE, GATE_KEYS
from daypass.render.objects import Object, new_object
from daypass.spec import Config
from daypass.spec.gate import Gate
from daypass.spec.policy import DEFAULT_LONGEST_LIFETIME_SECONDS

_PAYLOAD = f"metadata.filter_metadata['envoy.filters.http.jwt_authn']['{GATE}']"


def backstop(gate: Gate) -> Object:
    """Let nobody in whom the authorizer has not named.

    Envoy Gateway sends the routes that ask the authorizer before the listener that can ask: where a
    policy was refused for a while (without its ReferenceGrant, say) and is accepted again, requests
    pass unasked for a tenth of a second. This one is asked all the time.
    """
    return _allow(f"{_named(gate)}.startsWith('system:serviceaccount:')")


def second_opinion(config: Config, gate: Gate, facts: KubernetesFacts) -> Object:
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
    longest = DEFAULT_LONGEST_LIFETIME_SECONDS
    if config.policy is not None:
        longest = config.policy.longest_lifetime_seconds
    conditions = [
        f"{_named(gate)} == {_PAYLOAD}['sub']",
        f"size({_PAYLOAD}['aud']) == 1",
        f"{_PAYLOAD}['exp'] - {_PAYLOAD}['iat'] <= {float(longest)}",
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
