"""Any valid daypass.yaml, as Hypothesis makes it: the one builder of configs for all tiers.

A config is made of parts that fit in any combination: `document` puts them together, and adds what
one part needs of another. Each key is made by some part: tests/props fails for one that is not.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any, TypeAlias

from hypothesis import strategies as st

from daypass._core.clock import format_duration
from daypass._core.kubernetes.syntax import LABEL, LABEL_VALUE
from daypass.config.types import HEADER

Document: TypeAlias = dict[str, Any]
Part: TypeAlias = st.SearchStrategy[Any]

AUTHORITY_FILE, KEYS_FILE, PAIR_FILES = "ca.crt", "keys/keys.json", ("here.crt", "here.key")
"""Files that a config may name."""
ISSUER = "https://issuer.example.com"
IMAGE = "registry.example.com/daypass:1"
FRONT_NAMESPACES = ("istio-system", "istio-ingress", "infra")
"""Namespaces that configs use, in addition to those of the fronts' and engines' defaults."""
MODELS = ("inferenceservices.serving.kserve.io", "llminferenceservices.serving.kserve.io")


def some(required: Mapping[str, Part] | None = None, /, **optional: Part) -> Part:
    """Mappings with some of these keys; `_` at the end of a name is left out."""
    chosen = {key.rstrip("_"): strategy for key, strategy in optional.items()}
    return st.fixed_dictionaries(dict(required or {}), optional=chosen)


def lists(elements: Part, *, least: int = 0) -> Part:
    return st.lists(elements, min_size=least, max_size=2, unique_by=str)


one_of = st.sampled_from
bools = st.booleans()
labels = st.from_regex(LABEL, fullmatch=True).filter(lambda text: len(text) <= 20)
names = labels | one_of(["default", "base", "door", "door-tls", "kustomization", "x" * 63])
# A message names commands with them, where a dash at the beginning would be an option.
audiences = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1).filter(
    lambda text: not text.startswith("-") and not set(text) & set("\"'`\\")
)
headers = st.from_regex(HEADER, fullmatch=True).map(lambda name: f"x-{name}"[:64].rstrip("-"))
label_values = st.from_regex(LABEL_VALUE, fullmatch=True)
label_maps = st.dictionaries(labels, st.just("") | label_values, max_size=2)
lifetimes = st.integers(600, 2**32)
addresses = one_of(["127.0.0.1:9001", "localhost:9002", "[::1]:9003"])
certificates = st.one_of(
    st.builds(lambda name: {"secret": name}, names), st.builds(lambda name: {"issuer": name}, names)
)


def seconds(lowest: int, highest: int) -> Part:
    numbers = st.integers(lowest, highest)
    return numbers | numbers.map(format_duration)


# PODS

quantities = st.just({"cpu": "100m", "memory": "1Gi"})
PODS: dict[str, Part] = {
    "pod": some(
        resources=some(requests=quantities, limits=quantities),
        nodeSelector=label_maps,
        labels=label_maps,
        tolerations=st.just([{"key": "dedicated", "operator": "Exists"}]),
        imagePullSecrets=lists(st.builds(lambda name: {"name": name}, names)),
        topologySpreadConstraints=st.just([]),
    ),
    "image": one_of([IMAGE, "registry.example.com/envoy@sha256:" + "0a" * 32]),
    "replicas": st.integers(1, 1000),
}

# DOMAINS. Each gets a host of its own.

placed = {"dns": one_of(["external-dns", "none"]), "frontNamespace": one_of(FRONT_NAMESPACES)}
gateways = one_of(["infra/public", "istio-ingress/a.b"])
outside = st.just("outside")


def front(name: str, required: Mapping[str, Part], **optional: Part) -> Part:
    return some({"front": st.just(name), **required}, **placed, **optional)


listeners = gateways | gateways.map(lambda name: f"{name}/https")
own_labels = st.dictionaries(labels, label_values, min_size=1, max_size=2)
cluster_domains = st.one_of(
    front("ingress-nginx", {"tls": certificates | outside}, className=names),
    front("ingress", {"tls": certificates | outside}, className=names),
    front("istio", {"tls": outside, "gateway": gateways}),
    front("istio", {"tls": certificates}, frontLabels=own_labels),
    front("gateway-api", {"tls": outside, "gateway": listeners}),
    front("gateway-api", {"tls": certificates, "className": names}),
)
machine_domains = some(
    {"front": st.just("envoy")},
    tls=st.just({"files": dict(zip(("certificate", "key"), PAIR_FILES, strict=True))}),
)

# GATES. `document` gives each hosts, audiences and models that fit.

identity_headers = some(user=headers, groups=headers.map(lambda name: f"g{name[:63]}"))
accounts = st.builds(lambda *parts: "/".join(parts), labels, labels)
allowed = st.one_of(
    some({"namespaces": lists(labels, least=1)}, identities=lists(accounts)),
    some({"identities": lists(accounts, least=1)}),
)
model = st.tuples(one_of(MODELS), st.none() | one_of(["get", "use"]))
EVERY_GATE: dict[str, Part] = {
    "headers": identity_headers,
    "forwardToken": bools,
    "allow": allowed,
    "maxStreamDuration": seconds(10, 604_800),
    "cacheTtl": seconds(1, 3600),
    "verifyHost": st.none(),
    # Not keys: `document` makes them of these.
    "own hosts": st.sets(one_of(["names", "wild", "models", "joined"])),
    "guards domains": bools,
    "further": lists(audiences),
    "models": model,
}
checks = {
    "check": one_of(["jwt", "review"]),
    "boundTo": lists(one_of(["Secret", "Pod", "none"]), least=1),
}
istio_gates = some(
    {"audience": audiences},
    **EVERY_GATE,
    engine=st.just("istio"),
    **checks,
    login=one_of(["none", "keep"]),
    loginMayCallModels=bools,
    gatewayNamespace=one_of(FRONT_NAMESPACES),
    gatewayLabels=st.just({}),
    **{"every host": bools},
)
envoy_gateway_gates = some(
    {"audience": audiences, "engine": st.just("envoy-gateway")},
    **EVERY_GATE,
    **{**checks, "check": st.just("review")},
    gatewayNamespace=one_of(FRONT_NAMESPACES),
    listener=bools,
)
cluster_gates = istio_gates | envoy_gateway_gates
machine_gates = some(
    {"audience": audiences, "engine": st.just("envoy")},
    **EVERY_GATE,
    **checks,
)

# SECTIONS

servers = one_of(["https://a.example", "https://10.0.0.1:6443", "https://[fd00::1]"])
scraped = some(
    {"prometheusNamespaces": lists(labels, least=1)},
    podMonitor=bools,
    labels=label_maps,
    alerts=bools,
    dashboard=bools,
)
SECTIONS: dict[str, Part] = {
    "cluster": some(
        server=servers,
        serverName=st.just("api.example"),
        certificateAuthority=st.just(AUTHORITY_FILE),
        addresses=lists(one_of(["10.0.0.1", "10.0.0.2", "fd00::2"])),
        issuer=st.just(ISSUER),
        keys=st.just(KEYS_FILE),
    ),
    "prefix": one_of(["/k", "/apis/kubernetes-1"]),
    "door": some(
        **PODS,
        namespace=one_of(["edge", "doors"]),
        trustedHops=st.integers(0, 10),
        certificateIssuer=names,
    ),
    "policy": some(
        audiences=lists(audiences, least=1),
        longestLifetime=lifetimes | lifetimes.map(format_duration),
        binding=one_of(["required", "optional"]),
        successors=one_of(["forbidden", "allowed"]),
        federated=some(longestLifetime=lifetimes),
        exempt=lists(one_of(["system:serviceaccount:vault:vault", "jane@example.com", "a b"])),
        mode=one_of(["audit", "warn", "deny"]),
    ),
    "watch": some(closeAfter=seconds(10, 86_400), credentialsPerNamespace=st.integers(1, 100_000)),
    "gatePods": some(**PODS),
    "metrics": scraped | some(labels=label_maps, alerts=bools, dashboard=bools),
    "limits": some(requestsPerSecond=st.just(50), perSourcePerSecond=st.integers(1, 100_000)),
    "local": some(
        door=addresses,
        gate=addresses,
        metrics=addresses,
        upstream=one_of(["http://127.0.0.1:8080", "h2c://localhost:50051", "https://a.example"]),
        apiServer=one_of(["embedded", "external"]),
    ),
}
"""The strategies of the parts that are whole sections, by key."""


def document(domains: Document, gates: Document, sections: Document) -> Document:
    """A config of these parts, which are not changed."""
    found: Document = {"version": 1, **copy.deepcopy(sections)}
    found["domains"] = {
        name: {"host": f"{name[:40]}-{len(name)}.example.com", **domain}
        for name, domain in domains.items()
    }
    made, claimed = {}, set[str]()
    for name, parts in sorted(gates.items()):
        made[name] = _gate(name, parts, found["domains"], claimed, is_only=len(gates) == 1)
    if made:
        found["gates"] = made
    _fit(found, made)
    whole: Document = json.loads(json.dumps(found))  # without any value that is in two places
    return whole


def _gate(
    name: str, parts: Document, domains: Document, claimed: set[str], *, is_only: bool
) -> Document:
    """The gate of some parts. `claimed`: hosts of domains that gates before it guard."""
    own = parts.get("own hosts", set())
    hosts = [
        form.format(gate=name, name="{name}", namespace="{namespace}")
        for kind, form in {
            "names": "{gate}.names.example",
            "wild": "*.{gate}.wild.example",
            "models": "{name}.{namespace}.{gate}.models.example",
            "joined": "{name}-{namespace}.{gate}.joined.example",
        }.items()
        if kind in own
    ]
    public = [each["host"] for each in domains.values()]
    if parts.get("guards domains"):
        hosts += [host for host in public if host not in claimed]
        claimed |= {*public}
    if parts.get("every host"):
        hosts.append("*")
    if not hosts and not is_only:
        hosts = [f"{name}.names.example"]
    keys = {key: value for key, value in parts.items() if " " not in key}
    further, models, listener = (keys.pop(each, None) for each in ("further", "models", "listener"))
    gate: Document = {**keys, **({"hosts": hosts} if hosts else {})}
    guarded = hosts or public
    if "verifyHost" in gate:
        gate["verifyHost"] = guarded[0].translate({ord(each): "x" for each in "*{}"})
    if further := [it for it in further or () if it != gate["audience"]]:
        places = [guarded[0], *(f"{host}/team/" for host in guarded[-1:] if host != "*")]
        gate["audiences"] = {each: places for each in further}
    if models is not None:
        gate["authorize"] = [
            _rule(host, *models) for host in guarded if host[:2] not in ("*", "*.")
        ]
        if not gate["authorize"]:
            del gate["authorize"]
    if gate.get("engine") == "envoy-gateway":
        gate["gateway"] = f"infra/shared/{name}" if listener else f"infra/gw-{name}"
        if listener:
            gate.pop("maxStreamDuration", None)
    elif gate.get("engine") != "envoy" and ("gatewayLabels" in gate or not is_only):
        gate["gatewayLabels"] = {"istio": name}
    if gate.get("check") != "review" and gate.get("engine") != "envoy-gateway":
        if "authorize" in gate:
            gate["check"] = "review"
        elif "Pod" in gate.get("boundTo", ()):
            gate["boundTo"] = ["Secret"]
    return gate


def _rule(host: str, resource: str, verb: str | None) -> Document:
    """A rule of `authorize`: a host that names no model needs a path, and may have either kind."""
    more = {} if verb is None else {"verb": verb}
    if "{" in host:
        return {"host": host, "resource": MODELS[0], **more}
    return {"host": host, "path": "/{namespace}/{name}/", "resource": resource, **more}


def _fit(found: Document, gates: Document) -> None:
    """Add or change what sections need because of others."""
    local, cluster = found.get("local", {}), found.setdefault("cluster", {})
    in_cluster = [gate for gate in gates.values() if gate.get("engine") != "envoy"]
    if in_cluster:
        cluster["issuer"] = ISSUER
        found["gatePods"] = {"image": IMAGE, **found.get("gatePods", {})}
    if "policy" in found:
        used = [
            each
            for gate in gates.values()
            for each in (gate["audience"], *gate.get("audiences", ()))
        ]
        wanted = dict.fromkeys([*used, *found["policy"].get("audiences", ["any"])])
        found["policy"]["audiences"] = list(wanted)
    if "server" not in cluster:
        local.pop("apiServer", None)
    taken = set[str]()
    for key, default in (("door", "127.0.0.1:8443"), ("gate", "127.0.0.1:8444"), ("metrics", "")):
        if (address := local.get(key, default)) in taken and key in local:
            local.pop(key)
        taken.add(address)
    if not cluster:
        del found["cluster"]


@st.composite
def documents(draw: st.DrawFn, *, in_cluster: bool | None = None) -> Document:
    """Any valid config. `in_cluster`: whether a cluster has its door and gates; None: either."""
    is_cluster = draw(bools) if in_cluster is None else in_cluster
    kinds = st.lists(names, min_size=1, max_size=3, unique=True)
    domains = {
        name: draw(cluster_domains if is_cluster else machine_domains) for name in draw(kinds)
    }
    if is_cluster and draw(bools):
        domains |= {"machine": draw(machine_domains)}
    gates = {}
    if is_cluster:
        for name in draw(st.lists(names, max_size=3, unique=True)):
            gates[name] = draw(cluster_gates)
    elif draw(bools):
        gates[draw(names)] = draw(machine_gates)
    chosen = draw(st.sets(one_of([*SECTIONS])))
    sections = {key: draw(SECTIONS[key]) for key in sorted(chosen)}
    return document(domains, gates, sections)


@st.composite
def lives(draw: st.DrawFn, *, steps: int) -> list[Document]:
    """Configs that follow one another in a cluster: each has other domains, gates and sections than
    the one before, and some of the same. Gateways, and the door's namespace, stay what they are.
    """
    at_places = istio_gates.map(lambda gate: {**gate, "gatewayLabels": {}}) | envoy_gateway_gates
    kinds = {"domains": cluster_domains, "gates": at_places}
    parts: dict[str, Document] = {"domains": {}, "gates": {}, "sections": {}}
    found = []
    for _ in range(steps):
        for kind, strategy in kinds.items():
            kept = draw(st.sets(one_of(sorted(parts[kind])))) if parts[kind] else ()
            new = draw(st.dictionaries(names, strategy, min_size=1, max_size=2))
            parts[kind] = {**{name: parts[kind][name] for name in kept}, **new}
        for key in draw(st.sets(one_of(sorted(SECTIONS)), min_size=2)):
            parts["sections"][key] = draw(SECTIONS[key])
        for key in draw(st.sets(one_of(sorted(parts["sections"])), max_size=3)):
            del parts["sections"][key]
        parts["sections"].get("door", {}).pop("namespace", None)
        found.append(document(**parts))
    return found
