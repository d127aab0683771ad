"""The gate's objects on Istio that stay as they are while it runs."""

from daypass.render.envoy.gate import LONG_LIVED_ISSUER
from daypass.render.envoy.refusals import refusal_replies
from daypass.render.envoy.review import authorizer_replies
from daypass.render.envoy.revocation import revocation_replies
from daypass.render.facts import KubernetesFacts
from daypass.render.fronts.istio import VERSIONS, verified_service
from daypass.render.istio.decision import ASKED, REASONS, VERIFIED
from daypass.render.istio.filters import first_filters, last_filter
from daypass.render.istio.hosts import policy_operations
from daypass.render.istio.objects import (
    envoy_filter,
    inserted_first,
    inserted_last,
    merged_manager,
)
from daypass.render.istio.settings import IstioGate
from daypass.render.names import GATE, GATE_TRUST, gate_host
from daypass.render.objects import Object, new_object
from daypass.spec import Config


def istio_objects(config: Config, facts: KubernetesFacts) -> list[Object]:
    """What checks at Istio's gateway."""
    settings = IstioGate.of(config, facts.issuer_for(config))
    objects = [_filters(settings), _backstop(settings, facts)]
    if settings.is_reviewed:
        version = facts.api_version("DestinationRule", *VERSIONS)
        namespace = config.door.namespace
        objects.append(verified_service(version, GATE, namespace, GATE_TRUST, gate_host(config)))
    return objects


def _filters(settings: IstioGate) -> Object:
    audience = settings.gate.audience
    mappers = [*refusal_replies(REASONS, audience), *revocation_replies(audience)]
    if settings.is_reviewed:
        mark = VERIFIED if settings.is_native else ASKED
        found = f"metadata.filter_metadata['envoy.filters.http.rbac']['{mark}'] == 'allowed'"
        mappers += authorizer_replies(found)
    patches = [
        *inserted_first(first_filters(settings)),
        inserted_last(last_filter(settings)),
        merged_manager(local_reply_config={"mappers": mappers}),
    ]
    return envoy_filter(settings, GATE, patches)


def _backstop(settings: IstioGate, facts: KubernetesFacts) -> Object:
    """Refuse whatever the filters have not verified, so also where they are missing."""
    operations = policy_operations(settings)
    versions = ("security.istio.io/v1", "security.istio.io/v1beta1")
    return new_object(
        facts.api_version("AuthorizationPolicy", *versions),
        "AuthorizationPolicy",
        GATE,
        settings.namespace,
        spec={
            "selector": {"matchLabels": settings.labels},
            "action": "DENY",
            "rules": [
                {**rule, "to": [{"operation": each} for each in operations]}
                for rule in _backstop_rules(settings)
            ],
        },
    )


def _backstop_rules(settings: IstioGate) -> list[Object]:
    # A RequestAuthentication of others, or a login, takes the cluster's tokens as well: of every
    # audience, and in forms that the filters do not look at. Alone they open nothing.
    key = f"experimental.envoy.filters.http.rbac[{VERIFIED}]"
    unverified: Object = {"key": key, "notValues": ["allowed"]}
    if settings.leaves_others:
        told = f"request.headers[{settings.gate.headers.user}]"
        issuers = [settings.issuer, LONG_LIVED_ISSUER]
        return [
            {"when": [unverified, {"key": told, "values": ["system:serviceaccount:*"]}]},
            {"when": [unverified, {"key": "request.auth.claims[iss]", "values": issuers}]},
        ]
    rules: list[Object] = [{"when": [unverified]}]
    if settings.is_native:
        accounts = f"{settings.issuer}/system:serviceaccount:*"
        rules.append({"from": [{"source": {"notRequestPrincipals": [accounts]}}]})
    return rules
