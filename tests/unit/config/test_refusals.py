"""Rejected configs: the place, which is at `^`, and the values that each message names."""

import pytest

from unit.config.texts import (
    MINIMAL,
    Refused,
    domain,
    gate,
    places,
    problems,
    refused,
    refuses,
    wrong,
)

ISSUER = "https://kubernetes.default.svc"
ENVOY = "version: 1\ndomains:\n  l: {host: localhost, front: envoy}\n"


def more(written: str, *values: str) -> Refused:
    return wrong(f"{MINIMAL}{written}\n", *values)


def beyond(written: str, *values: str) -> Refused:
    """The same, where a JSON Schema can't express the mistake."""
    return wrong(f"{MINIMAL}{written}\n", *values, schema_accepts=True)


def host(written: str, *values: str) -> Refused:
    text = MINIMAL.replace("ekf.example.com", f"^{written}")
    return wrong(text, "domains.ekf.host", *values)


def tls(written: str, *values: str) -> Refused:
    return wrong(MINIMAL.replace("tls: {secret: ekf-tls}", written), *values)


def bad_domain(fields: str, *values: str, schema_accepts: bool = False) -> Refused:
    return wrong(domain(fields), *values, schema_accepts=schema_accepts)


def bad_gate(fields: str, *values: str, schema_accepts: bool = False) -> Refused:
    return wrong(gate(fields), *values, schema_accepts=schema_accepts)


def header(written: str, *values: str, schema_accepts: bool = False) -> Refused:
    return bad_gate(f"headers: {{user: ^{written}}}", *values, schema_accepts=schema_accepts)


REFUSED: dict[str, list[Refused]] = {
    "an unknown key is reported with the nearest key, or with all": [
        more("policy:\n  ^audience: [x]", "'audience'", "audiences"),
        more("policy: {audiences: [x], ^longest_lifetime: 1h}", "longestLifetime"),
        bad_domain("front: istio, ^className: x, tls: outside", "'className'", "gateway"),
        bad_gate("^enigne: istio", "'enigne'", "engine"),
    ],
    "a wrong type is reported with key and value": [
        more("door: {replicas: ^two}", "door.replicas", "'two'"),
        more("door: {replicas: ^0}", "door.replicas", "0", "1"),
        more("door: {namespace: ^5}", "door.namespace", "text", "5", "quotes"),
        more("door: ^[]", "door: ", "mapping", "list"),
        more("policy: {audiences: ^[]}", "policy.audiences", "at least 1"),
        more("policy: {audiences: [^'a b']}", "policy.audiences[0]", "'a b'"),
        more("^policy: {}", "policy.audiences", "is missing"),
        more("policy: {audiences: [x], mode: ^off}", "policy.mode", "audit", "warn", "deny"),
    ],
    "the version must be 1": [
        wrong("version: ^2\nsurprise: [1]\ndomains: 5\n", "version", "2"),
        wrong(MINIMAL.replace("1", "^'1'", 1), "version: 1"),
    ],
    "a host must be a public DNS name": [
        host("EKF.example.com", "'EKF.example.com'", "write 'ekf.example.com'"),
        *(
            host(each, "not a host name")
            for each in (
                "ekf.example.com:443", '"*.example.com"', "bücher.example", "1.2.3",
                "a" * 64 + ".com", ".".join(["a" * 60] * 5), '""',
            )
        ),
        host("10.0.0.1", "'10.0.0.1'", "DNS name", "envoy"),
    ],
    "a certificate source must fit the front": [
        *(
            tls(f"tls: ^{each}", "domains.ekf.tls", "{secret: NAME}", "{issuer: NAME}", "outside")
            for each in ("ekf-tls",)
        ),
        *(
            tls(f"^tls: {each}", "domains.ekf.tls", "{secret: NAME}", "{issuer: NAME}", "outside")
            for each in ("{secret: a, issuer: b}", "{files: {certificate: a, key: b}}")
        ),
        tls("tls: {secret: ^A_b}", "domains.ekf.tls.secret", "'A_b'"),
        wrong("version: 1\ndomains:\n  ^l: {host: a.example, front: istio}\n", "domains.l.tls"),
        wrong(ENVOY.replace("envoy", "envoy, tls: {^files: {certificate: a}}"), "files.key"),
    ],
    "a domain needs a known front": [
        bad_domain("front: ^istoi, tls: outside", "domains.a.front", "'istoi'", "mean istio?"),
        wrong("version: 1\ndomains:\n  ^a: {host: a.example.com, tls: outside}\n",
              "domains.a.front", "istio | gateway-api"),
    ],
    "a gateway fits its certificate and its class": [
        *(
            bad_domain(f"front: {each}", "domains.a.gateway", schema_accepts=True)
            for each in (
                "istio, gateway: ^a/b, tls: {secret: a}",
                "gateway-api, gateway: ^a/b, tls: {secret: a}",
                "gateway-api, gateway: ^a/b, className: x, tls: outside",
            )
        ),
        *(
            bad_domain(f"front: istio, gateway: ^{each}, tls: outside", "domains.a.gateway")
            for each in ("public", "a/b/c")
        ),
    ],
    "addresses of API servers are canonical IP addresses": [
        more("cluster: {addresses: [^a.example]}", "cluster.addresses[0]", "'a.example'"),
        more("cluster: {addresses: [^'FD00::1']}", "fd00::1"),
        beyond("cluster: {addresses: [^'::ffff:a00:1']}", "10.0.0.1"),
        beyond("cluster: {addresses: [10.0.0.1, ^10.0.0.1]}", "cluster.addresses[1]"),
    ],
    "a gate fits its engine": [
        bad_gate("engine: ^istoi", "gates.default.engine", "'istoi'", "did you mean istio"),
        wrong(f"{MINIMAL}gates: {{^default: {{audience: a, engine: envoy-gateway}}}}\n",
              "gates.default.gateway", "envoy-gateway-system/public"),
        bad_gate("engine: envoy-gateway, gateway: a/b, check: ^jwt",
                 "gates.default.check", "revoked tokens", "check: review"),
        bad_gate("gatewayLabels: {a: ^'b c'}", "gates.default.gatewayLabels.a", "'b c'"),
        bad_gate("hosts: [^'a*.example.com']", "gates.default.hosts[0]", "'a*.example.com'"),
        bad_gate("engine: envoy, hosts: [^'*']", "istio", schema_accepts=True),
        bad_gate("hosts: [a.example, ^10.0.0.1]", "'10.0.0.1'", "DNS name", schema_accepts=True),
        bad_gate("hosts: [a.example, ^a.example]", "'a.example'", schema_accepts=True),
        bad_gate("headers: {user: x, groups: ^x}", "'x'", "user", schema_accepts=True),
        beyond("watch: {closeAfter: ^2s}", "watch.closeAfter", "'2s'"),
    ],
    "a lifetime must be one that the API server issues": [
        beyond("policy: {audiences: [x], longestLifetime: ^9m59s}", "'9m59s'", "10m"),
        more("policy: {audiences: [x], longestLifetime: ^4294967297}", "49710d6h28m16s"),
        more("policy: {audiences: [x], longestLifetime: ^200y}", "'200y'", "24h", "90d"),
    ],
    "a server is an https URL with host and port only": [
        *(
            more(f'cluster: {{server: ^"{each}"}}', "cluster.server", "https://HOST:PORT")
            for each in ("http://a.example", "https://a.example/", "https://a.example:0")
        ),
        beyond('cluster: {server: ^"https://a.example:99999"}', "cluster.server"),
        beyond('cluster: {server: ^"https://[fd00::01]"}', "write fd00::1"),
    ],
    "a file is named by its path": [
        more("cluster: {certificateAuthority: ^~/ca.crt}", "'~/ca.crt'", "path"),
        beyond('cluster: {certificateAuthority: ^"a\\0b"}', "path"),
    ],
    "a listen address is local": [
        *(
            more(f"local: {{gate: ^{each}}}", "local.gate", "127.0.0.1:8443")
            for each in ("8443", "'::1:80'", "example.com:80")
        ),
        *(
            beyond(f"local: {{gate: ^{each}}}", "local.gate")
            for each in ("127.0.0.1:65536", "300.0.0.1:80")
        ),
        *(
            beyond(f"local: {{door: '{door}:1', gate: ^'{gate}:1'}}", "local.gate", f"{door}:1")
            for door, gate in (
                ("127.0.0.1", "127.0.0.1"), ("localhost", "127.0.0.1"),
            )
        ),
        beyond("local: {metrics: ^'127.0.0.1:8443'}", "local.metrics", "door"),
    ],
    "contradictory settings are rejected": [
        beyond("gates: {default: {audience: ^c}}\npolicy: {audiences: [a, b]}",
               "gates.default.audience", "'c'", "policy.audiences", "'a' or 'b'"),
        beyond(f"gates: {{default: {{audience: ^'{ISSUER}'}}}}", "API server"),
        beyond("cluster: {issuer: 'https://o.example'}\n"
               "gates: {default: {audience: ^'https://o.example'}}", "API server"),
        beyond("local: {apiServer: ^external}", "local.apiServer", "cluster.server"),
        beyond("^metrics: {podMonitor: true}", "metrics", "prometheusNamespaces"),
        beyond("policy: {audiences: [a, b, ^a]}", "policy.audiences[2]", "'a'"),
        wrong(f"{ENVOY}gates: {{^default: {{audience: a}}}}\n", "gates.default", "istio",
              schema_accepts=True),
        wrong(f"{MINIMAL}  b: {{host: ^ekf.example.com, front: istio, tls: outside}}\n",
              "domains.b.host", "'ekf.example.com'", "'ekf'", schema_accepts=True),
    ],
    "a header that a gate sets is in lower case, and has no standard meaning": [
        *(header(each) for each in ("X-User", "a_b", "a" * 65)),
        *(
            header(each, f"'{each}'", schema_accepts=True)
            for each in (
                "authorization", "host", "transfer-encoding", "impersonate-user", "x-forwarded-for",
            )
        ),
    ],
    "a prefix is a literal normalized path": [
        *(
            more(f"prefix: ^{each}", "prefix: ", "/kubernetes")
            for each in (
                "kubernetes", "/", "/a/", "/a//b", "/a/../b", "/A", "/a%20b", "/a*", "/a-",
                "/" + "a" * 64,
            )
        ),
        beyond('prefix: ^"/a\\n"', "'/a?'"),
    ],
    "a chosen name is a DNS label": [
        wrong(MINIMAL.replace("ekf:", f"^{each}:"), "domains.", "name")
        for each in ("Ekf", "a.b", "''", "a" * 64)
    ],
    "exempt users are full user names": [
        more(f"policy: {{audiences: [x], exempt: [^{each}]}}", "system:serviceaccount:NAMESPACE")
        for each in ("'system:serviceaccounts:ns'", '"it\'s"')
    ],
    "some fields of Pods pass, and no others": [
        beyond("door: {pod: {labels: {app.kubernetes.io/name: ^x}}}", "daypass"),
        beyond("gatePods: {pod: {labels: {sidecar.istio.io/inject: ^x}}}", "mesh"),
        more("door: {pod: {^securityContext: {}}}", "'securityContext'", "nodeSelector"),
        beyond("door: {pod: {resources: {limits: ^1}}}", "mapping"),
    ],
    "an image has a version": [more("door: {image: ^envoy}", "door.image", "'envoy'")],
    "one to a hundred domains are required": [
        wrong("^version: 1\n", "domains", "{kubeflow: {host: kubeflow.example.com,"),
        wrong("version: 1\n^domains: {}\n", "domains: "),
    ],
}  # fmt: skip


@refuses(REFUSED)
def test_a_wrong_config_is_refused_with_the_place_and_the_values(case: Refused) -> None:
    case.check_schema_too()


DOCUMENTS: dict[str, list[Refused]] = {
    "a file is UTF-8 with one mapping": [
        refused(b"", "1:1", "empty", "version: 1"),
        refused(b"hello", "1:1", "mapping", "'hello'", "version: 1"),
        refused("version: 1".encode("utf-16"), "1:1", "UTF-8"),
    ],
    "what a reviewer would not see is refused": [
        refused(f"a: 1 # {character}".encode(), "1:8", f"U+{ord(character):04X}")
        for character in "\u202e\u2066\u2028\x85\r\0\ufeff"
    ],
    "what a reviewer would have to look up is refused": [
        more(f"^---\n{MINIMAL}", "another document"),
        wrong(MINIMAL.replace("{secret", "^&x {secret"), "anchor", "'&x'"),
        more("door: ^*x", "alias", "'*x'"),
        more("door:\n  ^<<: {replicas: 2}", "<<"),
        more("prefix: ^!!str /x", "tag", "'!!str'"),
        more("prefix: ^!mine /x", "tag", "'!mine'"),
        more("door: {}\n^door: {}", "'door'", "line 7"),
        more("? ^[a]\n: b", "key"),
    ],
    "a syntax error is reported with its place": [
        wrong(MINIMAL.replace("istio", "istio^: x"), "mapping values", "quotes"),
        wrong(MINIMAL.replace("istio", "'istio") + "^", "quoted scalar", "line 5"),
        wrong(MINIMAL.replace("    front", " ^front"), "block mapping", "indentation"),
        wrong(MINIMAL.replace("ekf.example", "*^.example"), "alias", "quotes"),
        more("local:\n  door: [^::1]:8443", "flow node", "addresses", "quotes"),
    ],
}  # fmt: skip


@refuses(DOCUMENTS)
def test_a_wrong_document_is_refused_with_the_place_and_the_values(case: Refused) -> None:
    case.check()


@pytest.mark.parametrize(
    "text", ["0x10", "0o10", "010", "1_000", "1:30", "2026-01-01", "on", "Yes", "TRUE", "+1", ".5"],
)  # fmt: skip
def test_scalars_are_those_of_yaml_1_2(text: str) -> None:
    (problem,) = problems(f"{MINIMAL}door: {{replicas: {text}}}\n")
    assert f"found the text '{text}'" in problem.message


def test_a_password_in_a_url_is_not_printed() -> None:
    (problem,) = problems(MINIMAL + "cluster: {server: 'https://me:hunter2@a.example'}\n")
    assert "hunter2" not in str(problem)


def test_a_key_without_a_value_is_reported_with_an_example() -> None:
    found = problems(
        "version: 1\ndomains:\n  ekf:\n  b:\n    host:\n    front: ~\n    tls: null\npolicy:\n"
    )
    assert places(found) == ["3:3", "5:5", "6:5", "7:5", "8:1"]
    assert "host: kubeflow.example.com" in found[1].hint
    assert "ingress-nginx | ingress | istio | gateway-api | envoy" in found[2].hint
    assert found[4].hint == "leave the key out"


def test_all_problems_are_reported_in_file_order() -> None:
    found = problems(
        "domains:\n"
        "  ekf: {host: EKF.example.com, front: istio, tls: out, dnss: none}\n"
        "prefix: /a/\n"
        "door: {replicas: 0, replica: 1}\n"
        "gates: {default: {hosts: [a.example]}}\n"
        "prefix: /b\n"
    )
    assert places(found) == [
        "1:1", "2:15", "2:51", "2:56", "3:9", "4:18", "4:21", "5:9", "6:1"
    ]  # fmt: skip
