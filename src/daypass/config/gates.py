"""The gates of a config: what each needs of the other sections, and of the other gates."""

from collections.abc import Mapping
from itertools import combinations, product

from pydantic import ValidationInfo

from daypass.config.domain import ClusterDomain, Domain
from daypass.config.errors import fault, one_of, shown
from daypass.config.gate import AnyGate, ClusterGate, Gate, IstioGate, check_authorize
from daypass.config.locations import is_public_name, not_public, overlap_hint
from daypass.config.settings import IN_CLUSTER
from daypass.rules.patterns import EVERY_HOST, HostPattern, Place, overlap

_AUDIENCES_OF_API_SERVERS = frozenset({IN_CLUSTER, f"{IN_CLUSTER}.cluster.local"})


def fit_gate(gate: AnyGate, info: ValidationInfo, *at: str) -> AnyGate:
    """Return a gate with its default hosts. Raises a fault if it does not fit the other sections.

    `info`: of the config. `at`: leads from the value that is validated to the gate.
    """
    _check_audience(gate.audience, info, *at, "audience")
    for audience in gate.audiences:
        further = (*at, "audiences", audience)
        _check_audience(audience, info, *further)
        if audience == gate.audience:
            raise fault("it is the gate's audience, which opens all", "leave it out", at=further)
    if not gate.asks_authorizer and "Pod" in gate.bound_to:
        raise fault(
            "only TokenReview knows whether a Pod still exists, and check: jwt asks for none",
            "write check: review, or leave Pod out",
            at=(*at, "boundTo", gate.bound_to.index("Pod")),
        )
    if not gate.asks_authorizer and gate.authorize:
        raise fault(
            "only the authorizer asks Kubernetes who may call a model, and check: jwt has none",
            "write check: review",
            at=(*at, "authorize"),
        )
    _check_hosts(gate, *at)
    guarding = _with_hosts(gate, info, *at)
    if not isinstance(gate, ClusterGate):
        _check_is_rendered(guarding, info.data.get("domains") or {}, *at)
    if guarding.hosts:
        _check_verify_host(guarding, *at)
        _check_places(guarding, *at)
        for index, rule in enumerate(guarding.authorize):
            check_authorize(rule, guarding.hosts, *at, "authorize", index)
        if guarding.authorize:
            _check_rules_are_complete(guarding, *at)
    return guarding


def _check_verify_host(gate: Gate, *at: str) -> None:
    """Raise a fault if the gate does not guard the host that verify calls."""
    host = gate.verify_host
    patterns = (HostPattern.parse(each) for each in gate.hosts if each != EVERY_HOST)
    if host is None or gate.guards_every_host or any(each.matches(host) for each in patterns):
        return
    raise fault(
        f"the gate does not guard {shown(host)}", "write it into hosts", at=(*at, "verifyHost")
    )


def _check_rules_are_complete(gate: Gate, *at: str) -> None:
    """Raise a fault for hosts of models that every caller may call."""
    ruled = {rule.host for rule in gate.authorize}
    for index, host in enumerate(gate.hosts):
        if host not in ruled and HostPattern.parse(host).names_a_model:
            raise fault(
                f"no rule of authorize is for {shown(host)}: every caller may call its models",
                "add a rule with this host, or write * for a label that names no model",
                at=(*at, "hosts", index),
            )


def _check_hosts(gate: Gate, *at: str) -> None:
    """Raise a fault for a host that the gate's engine cannot guard."""
    for index, host in enumerate(gate.hosts):
        if host == EVERY_HOST and not isinstance(gate, IstioGate):
            fact = f"{shown(host)} is every host, which only the engine istio guards"
            raise fault(fact, "name the hosts", at=(*at, "hosts", index))
        if isinstance(gate, ClusterGate) and not is_public_name(host):
            raise not_public(host, *at, "hosts", index)


def _check_is_rendered(gate: Gate, domains: Mapping[str, Domain], *at: str) -> None:
    """Raise a fault for a gate of one machine where a cluster serves its hosts, or all domains."""
    served = [each for each in domains.values() if isinstance(each, ClusterDomain)]
    if served and (len(served) == len(domains) or any(map(gate.guards, served))):
        raise fault(
            f"engine: envoy is for one machine, and a cluster serves {shown(served[0].host)}",
            "write the engine of its gateway, or list hosts of domains with front: envoy alone",
            at=(*at, "engine"),
        )


def _with_hosts(gate: AnyGate, info: ValidationInfo, *at: str) -> AnyGate:
    """Return a gate with its hosts, by default those of all domains; none if these are wrong."""
    domains = info.data.get("domains")
    if gate.hosts or domains is None:
        return gate
    hosts = [domain.host for domain in domains.values()]
    if isinstance(gate, ClusterGate):
        hosts = [host for host in hosts if is_public_name(host)]
    if not hosts:
        raise fault(
            f"no domain has a public name for the engine {gate.engine} to guard",
            "list its hosts, or write engine: envoy for one machine",
            at=at,
        )
    return gate.model_copy(update={"hosts": tuple(hosts)})


def _check_places(gate: Gate, *at: str) -> None:
    """Raise a fault for a place of an audience whose host the gate does not guard."""
    guarded = [HostPattern.parse(host) for host in gate.hosts]
    for audience, places in gate.audiences.items():
        for index, text in enumerate(places):
            host = Place.parse(text).host
            is_wider = host.text == EVERY_HOST and not gate.guards_every_host
            if is_wider or not any(overlap(host, each) for each in guarded):
                raise fault(
                    f"the gate guards no host {shown(host.text)}",
                    f"write one of {one_of([shown(each) for each in gate.hosts[:3]])}",
                    at=(*at, "audiences", audience, index),
                )


def _check_audience(audience: str, info: ValidationInfo, *at: str) -> None:
    """Raise a fault unless tokens with this audience can be issued, and open nothing else."""
    policy, cluster = info.data.get("policy"), info.data.get("cluster")
    issuer = {cluster.issuer} if cluster is not None else set()
    if policy is not None and audience not in policy.audiences:
        known = one_of([shown(each) for each in policy.audiences[:3]])
        raise fault(
            f"{shown(audience)} is not in policy.audiences: no token can be issued for it",
            f"write {known}, or add it there",
            at=at,
        )
    if audience in _AUDIENCES_OF_API_SERVERS | issuer:
        raise fault(
            f"{shown(audience)} is the API server's own audience",
            "use one for the gate alone: tokens with this audience would be valid at the API"
            " server",
            at=at,
        )


def check_gates(gates: Mapping[str, AnyGate]) -> None:
    """Raise a fault unless these gates can be next to each other."""
    in_cluster = {name: gate for name, gate in gates.items() if isinstance(gate, ClusterGate)}
    if len(gates) > 1 and (others := gates.keys() - in_cluster.keys()):
        raise fault(
            "engine: envoy is for one machine, where there is one gate and no watch of a cluster",
            "leave the other gates out, or write another engine",
            at=(min(others), "engine"),
        )
    for (other, first), (name, gate) in combinations(in_cluster.items(), 2):
        if first.is_at_gateway_of(gate):
            keys = "gatewayNamespace, gatewayLabels" if isinstance(gate, IstioGate) else "gateway"
            raise fault(
                f"the gate {shown(other)} may be at the same gateway",
                f"a gateway has one gate: list all hosts in it, or name another gateway ({keys})",
                at=(name,),
            )
        guarded = [HostPattern.parse(host) for host in first.hosts if host != EVERY_HOST]
        for (index, host), theirs in product(enumerate(gate.hosts), guarded):
            ours = HostPattern.parse(host)
            if host != EVERY_HOST and overlap(ours, theirs):
                raise fault(
                    f"{shown(host)} and {shown(theirs.text)} of the gate {shown(other)} match the"
                    " same host",
                    overlap_hint(ours, theirs, "a host belongs to one gate"),
                    at=(name, "hosts", index),
                )
