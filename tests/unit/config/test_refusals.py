"""Rejected configs: the place and the values that each message names."""

from dataclasses import replace

from support.messages import check
from unit.config.texts import (
    MINIMAL,
    Refused,
    domain,
    gate,
    places,
    problems,
    refusal,
    refused,
    refuses,
)

ISSUER, OIDC = "https://kubernetes.default.svc", "https://oidc.example/x"
ENVOY = "version: 1\ndomains:\n  l: {host: localhost, front: envoy}\n"


def more(written: str, place: str, *values: str) -> Refused:
    return refused(f"{MINIMAL}{written}\n", place, *values)


def version(written: str, *values: str) -> Refused:
    return refused(MINIMAL.replace("version: 1", f"version: {written}"), "1:10", *values)


def host(written: str, *values: str) -> Refused:
    text = MINIMAL.replace("ekf.example.com", written)
    return refused(text, "4:11", "domains.ekf.host", *values)


def replaced(written: str) -> str:
    return MINIMAL.replace("{secret: ekf-tls}", written)


def tls(written: str, place: str, *values: str) -> Refused:
    return refused(replaced(written), place, *values)


def envoy(written: str, place: str, *values: str) -> Refused:
    return refused(ENVOY.replace("envoy", f"envoy, {written}"), place, *values)


def beyond(case: Refused) -> Refused:
    """The same, where a JSON Schema can't express the mistake."""
    return replace(case, schema_accepts=True)


def bad_domain(fields: str, place: str, *values: str, more: str = "") -> Refused:
    return refused(domain(fields) + more, place, *values)


def bad_gate(fields: str, place: str, *values: str) -> Refused:
    return refused(gate(fields), place, *values)


def lifetime(written: str, *values: str) -> Refused:
    written = f"policy: {{audiences: [x], longestLifetime: {written}}}"
    return more(written, "7:43", "policy.longestLifetime", *values)


def server(written: str, *values: str) -> Refused:
    return more(f'cluster: {{server: "{written}"}}', "7:19", "cluster.server", *values)


def authority(written: str, *values: str) -> Refused:
    line = f"cluster: {{certificateAuthority: {written}}}"
    return more(line, "7:33", "cluster.certificateAuthority", *values)


def address(written: str, *values: str) -> Refused:
    return more(f"local: {{gate: {written}}}", "7:15", "local.gate", *values)


def exempt(written: str, *values: str) -> Refused:
    written = f"policy: {{audiences: [x], exempt: [{written}]}}"
    return more(written, "7:35", "policy.exempt[0]", *values)


def header(written: str, *values: str) -> Refused:
    line = f"gates: {{default: {{audience: a, headers: {{user: {written}}}}}}}"
    return more(line, "7:48", "gates.default.headers.user", *values)


def body(written: str, *values: str) -> Refused:
    return more(f"limits: {{requestBody: {written}}}", "7:23", "limits.requestBody", *values)


def prefix(written: str, *values: str) -> Refused:
    return more(f"prefix: {written}", "7:9", "prefix: ", *values)


def named(written: str, *values: str) -> Refused:
    return refused(MINIMAL.replace("ekf:", f"{written}:"), "3:3", "domains.", *values)


REFUSED: dict[str, list[Refused]] = {
    "an unknown key is reported with the nearest key or its section": [
        more("policy:\n  audience: [x]", "8:3", "'audience'", "'audiences'"),
        more("policy: {audiences: [x], longest_lifetime: 1h}", "7:26",
             "'longest_lifetime'", "'longestLifetime'"),
        more("host: a.example.com", "7:1", "'host'", "domains.NAME"),
        more("audience: x", "7:1", "'audience'", "gates.NAME"),
        more("longestLifetime: 1h", "7:1", "'longestLifetime'", "policy"),
        more("issuer: x", "7:1", "'issuer'", "cluster", "domains.NAME.tls"),
        more("door: {domains: {}}", "7:8", "'domains'", "top level"),
        more("local: {xyz: 1}", "7:9", "'xyz'", "door", "gate", "upstream", "apiServer"),
    ],
    "a wrong type is reported with key and value": [
        more("door: {replicas: two}", "7:18", "door.replicas", "'two'"),
        more("door: {replicas: '2'}", "7:18", "door.replicas", "'2'", "write 2"),
        more("door: {replicas: 010}", "7:18", "door.replicas", "'010'", "write 10"),
        more("door: {replicas: 1.5}", "7:18", "door.replicas", "1.5"),
        more("door: {replicas: true}", "7:18", "door.replicas", "true"),
        more("door: {replicas: 0}", "7:18", "door.replicas", "0", "1"),
        more("door: {trustedHops: 11}", "7:21", "door.trustedHops", "11", "10"),
        more("door: {namespace: 5}", "7:19", "door.namespace", "text", "5"),
        more("door: []", "7:7", "door: ", "mapping", "list"),
        more("gates: {default: {audience: x, forwardToken: yes}}", "7:46",
             "gates.default.forwardToken", "'yes'", "write true"),
        more("policy: {audiences: x}", "7:21", "policy.audiences", "'x'", "write [x]"),
        more("policy: {audiences: []}", "7:21", "policy.audiences"),
        more("policy: {audiences: ['a b']}", "7:22", "policy.audiences[0]", "'a b'"),
        more("policy: {}", "7:1", "policy.audiences"),
        more("gates: {default: {audience: a, hosts: []}}", "7:39", "gates.default.hosts"),
        more("local: {apiServer: real}", "7:20", "local.apiServer", "'real'"),
        more("policy: {audiences: [x, {}]}", "7:25", "policy.audiences[1]", "text", "mapping"),
        more("policy: {audiences: [x], mode: off}", "7:32",
             "policy.mode", "audit", "warn", "deny", "'off'"),
        more("policy: {audiences: [x], longestLifetime: [24h]}", "7:43",
             "policy.longestLifetime", "24h", "list"),
    ],
    "the version must be 1": [
        version("2", "version 2", "daypass"),
        version("0", "version 0", "version: 1"),
        beyond(version("1.0", "version 1.0", "version: 1")),
        version("'1'", "'1'", "write 1"),
        version("true", "version true", "version: 1"),
    ],
    "for another version only the version is reported": [
        refused("version: 2\nsurprise: [1]\ndomains: 5\n", "1:10", "version 2"),
    ],
    "a host must be a public DNS name": [
        host("EKF.example.com", "'EKF.example.com'", "write 'ekf.example.com'"),
        host("EKF_b.example.com", "'EKF_b.example.com'", "write 'ekf-b.example.com'"),
        host("ekf.example.com.", "'ekf.example.com.'", "dot"),
        host("ekf.example.com:443", "'ekf.example.com:443'", "port"),
        host("https://ekf.example.com", "'https://ekf.example.com'", "URL"),
        host("ekf.example.com/x", "'ekf.example.com/x'", "path"),
        host('"*.example.com"', "'*.example.com'", "wildcard"),
        host("bücher.example", "xn--bcher-kva.example"),
        host("straße.example", "xn--strae-oqa.example"),
        host("\uff11\uff12.example", ": 12.example"),
        host("a_b.example.com", "'a_b.example.com'", "underscore"),
        host("-a.example.com", "'-a'"),
        host("a..example.com", "'a..example.com'"),
        host("1.2.3", "'1.2.3'"),
        host("10.0.0.256", "'10.0.0.256'"),
        host("a" * 64 + ".com", "1 to 63"),
        host(".".join(["a" * 60] * 5), "253"),
        host('""', "''"),
        host('"a\\nb"', "'a?b'"),
        host("10.0.0.1", "'10.0.0.1'", "DNS name", "envoy"),
        host("localhost", "'localhost'", "DNS name", "envoy"),
    ],
    "a certificate source must fit the front": [
        tls("ekf-tls", "6:10", "domains.ekf.tls", "'ekf-tls'"),
        tls("[a]", "6:10", "domains.ekf.tls", "mapping", "outside"),
        tls("{}", "6:5", "domains.ekf.tls", "{secret: NAME}"),
        tls("{secret: a, issuer: b}", "6:5", "domains.ekf.tls", "secret", "issuer"),
        tls("{sercet: a}", "6:11", "'sercet'", "'secret'"),
        tls("{secret: a, key: b}", "6:22", "'key'", "domains.NAME.tls"),
        tls("{secret: A_b}", "6:19", "domains.ekf.tls.secret", "'A_b'"),
        tls("{files: {certificate: a, key: b}}", "6:5",
            "domains.ekf.tls", "cluster", "{secret: NAME}"),
        refused(MINIMAL.replace("    tls: {secret: ekf-tls}\n", ""),
                "3:3", "domains.ekf.tls", "{secret: ", "{issuer: ", "outside"),
        envoy("tls: {secret: a}", "3:38", "domains.l.tls", "Secret", "Issuer"),
        envoy("tls: outside", "3:43", "domains.l.tls", "plain http"),
        envoy("tls: {files: {certificate: a}}", "3:44", "domains.l.tls.files.key"),
        envoy("tls: {files: {certificate: a, key: b}, <secret>: c}", "3:77", "'<secret>'"),
        envoy("tls: ", "3:38", "domains.l.tls", "leave the key out"),
    ],
    "a domain needs a known front": [
        bad_domain("front: istoi, tls: outside", "3:35", "domains.a.front", "'istoi'", "'istio'"),
        bad_domain("front: [istio], tls: outside", "3:35", "domains.a.front", "istio", "list"),
        bad_domain("tls: outside", "3:3", "domains.a.front", "istio | gateway-api"),
        bad_domain("frnt: istio, tls: outside", "3:28", "'frnt'", "'front'"),
        refused("version: 1\ndomains: {a: 1}\n", "2:14", "domains.a", "mapping", "1"),
    ],
    "a key of a domain must fit its front": [
        bad_domain("front: istio, className: x, tls: outside", "3:42",
                   "domains.a.className", "istio", "ingress-nginx, ingress, gateway-api"),
        bad_domain("front: istio, <istio>: 1, tls: outside", "3:42", "'<istio>'", "gateway"),
        beyond(bad_domain("front: istio, gateway: a/b, tls: {secret: a}", "3:51",
                          "domains.a.gateway", "a/b", "certificate", "tls: outside")),
        beyond(bad_domain("front: gateway-api, gateway: a/b, tls: {secret: a}", "3:57",
                          "domains.a.gateway", "a/b", "certificate", "tls: outside")),
        beyond(bad_domain("front: gateway-api, gateway: a/b, className: x, tls: outside", "3:57",
                          "domains.a.gateway", "a/b", "class")),
        bad_domain("front: istio, gateway: public, tls: outside", "3:51",
                   "domains.a.gateway", "'public'", "NAMESPACE/NAME"),
        bad_domain("front: istio, gateway: a/b/c, tls: outside", "3:51",
                   "domains.a.gateway", "'a/b/c'", "listener", "NAMESPACE/NAME"),
        bad_domain("front: istio, gateway: a/b/c/d, tls: outside", "3:51",
                   "domains.a.gateway", "'a/b/c/d'"),
        bad_domain("front: istio, gateway: a/-, tls: outside", "3:51", "domains.a.gateway", "'-'"),
        bad_domain("front: istio, tls: outside", "4:23", "cluster.addresses[0]", "'a.example'",
                   more="cluster: {addresses: [a.example]}\n"),
        bad_domain("front: istio, tls: outside", "4:23", "cluster.addresses[0]", "'localhost'",
                   more="cluster: {addresses: [localhost]}\n"),
        bad_domain("front: istio, tls: outside", "4:23", "cluster.addresses[0]", "fd00::1",
                   more="cluster: {addresses: ['FD00::1']}\n"),
        beyond(bad_domain("front: istio, tls: outside", "4:23", "cluster.addresses[0]", "10.0.0.1",
                          more="cluster: {addresses: ['::ffff:a00:1']}\n")),
        bad_domain("front: istio, tls: outside", "4:27", "door.certificateIssuer", "'A'",
                   more="door: {certificateIssuer: A}\n"),
    ],
    "a gate has a known engine, or none": [
        bad_gate("engine: istoi", "7:40", "gates.default.engine", "'istoi'", "'istio'"),
        bad_gate("enigne: istio", "7:32", "'enigne'", "'engine'"),
        more("gates: true", "7:8", "gates", "mapping", "true"),
    ],
    "a key of the gate must fit its engine": [
        bad_gate("gateway: a/b", "7:32", "gates.default.gateway", "istio", "envoy-gateway"),
        bad_gate("<istio>: 1", "7:32", "'<istio>'", "gatewayLabels"),
        bad_gate("engine: envoy-gateway", "7:9", "gates.default.gateway",
                 "envoy-gateway-system/public"),
        bad_gate("engine: envoy-gateway, gateway: public", "7:64",
                 "gates.default.gateway", "'public'", "NAMESPACE/NAME"),
        bad_gate("engine: envoy-gateway, gateway: a/b, check: jwt", "7:76",
                 "gates.default.check", "revoked tokens", "check: review"),
        bad_gate("engine: envoy-gateway, gateway: a/b, check: ", "7:69",
                 "gates.default.check", "write check: review,"),
        more("gatePods: {image: registry.example.com/daypass}", "7:19",
             "gatePods.image", "'registry.example.com/daypass'"),
        bad_gate("gatewayLabels: {a: 'b c'}", "7:51", "gates.default.gatewayLabels", "'b c'"),
        bad_gate("gatewayLabels: {}", "7:32", "gates.default.gatewayLabels"),
        bad_gate("login: allow", "7:39", "gates.default.login", "'allow'"),
        bad_gate("hosts: ['a*.example.com']", "7:40", "gates.default.hosts[0]", "'a*.example.com'"),
        bad_gate("gatewayLabels: {-a: b}", "7:48", "gates.default.gatewayLabels", "'-a'"),
    ],
    "a value that a schema cannot judge is rejected": [*map(beyond, (
        bad_gate("engine: envoy, hosts: ['*']", "7:55", "gates.default.hosts[0]", "'*'", "istio"),
        bad_gate("engine: envoy-gateway, gateway: a/b, hosts: [a.example.com, '*']", "7:92",
                 "gates.default.hosts[1]", "'*'", "istio"),
        bad_gate("hosts: [a.example, 10.0.0.1]", "7:51", "gates.default.hosts[1]", "'10.0.0.1'",
                 "DNS name"),
        bad_domain("front: istio, tls: outside", "4:33", "cluster.addresses[1]", "'10.0.0.1'",
                   more="cluster: {addresses: [10.0.0.1, 10.0.0.1]}\n"),
        bad_gate("cacheTtl: 2h", "7:42", "gates.default.cacheTtl", "'2h'"),
        more("watch: {closeAfter: 2s}", "7:21", "watch.closeAfter", "'2s'"),
    ))],
    "a lifetime must be one that the API server issues": [
        lifetime("30", "'30'", "10m"),
        beyond(lifetime("9m59s", "'9m59s'", "10m")),
        lifetime("4294967297", "'4294967297'", "49710d6h28m16s"),
        lifetime("200y", "'200y'", "10m", "24h", "1h30m", "90d"),
        lifetime("1.5h", "'1.5h'"),
        lifetime("24 h", "'24 h'"),
        lifetime("30m1h", "'30m1h'"),
        lifetime("1:30", "'1:30'"),
        lifetime("'3600'", "'3600'", "write 3600s", "3600"),
        lifetime("''", "''"),
        lifetime("true", "24h", "true"),
    ],
    "a server must be HTTPS with host and port only": [
        server("http://a.example", "plain http", "write 'https://a.example'"),
        server("https://a.example/", "path", "write 'https://a.example'"),
        server("https://a.example/x?y", "query"),
        server("https://a.example#x", "fragment"),
        server("a.example:6443", "write 'https://a.example:6443'"),
        server("https://", "write https://HOST or https://HOST:PORT"),
        server("https://a.example:0", "'https://a.example:0'"),
        beyond(server("https://a.example:99999", "port", "65535")),
        server("https://A.example"),
        beyond(server("https://[fd00::01]", "write fd00::1")),
        server("ftp://a.example", "scheme"),
        server("https://*.example", "wildcard"),
        beyond(server("https://a.example\\n", "'https://a.example?'")),
    ],
    "a certificate authority must be a file path": [
        authority('"-----BEGIN CERTIFICATE-----\\nMII"', "certificate", "file"),
        authority("~/ca.crt", "~"),
        authority('""', "path"),
        beyond(authority('"a\\0b"', "path")),
        authority("5", "path of a file", "5"),
    ],
    "a listen address must be local": [
        address("8443", "write 127.0.0.1:8443"),
        address("':8443'", "write 127.0.0.1:8443"),
        address("127.0.0.1", "127.0.0.1"),
        beyond(address("127.0.0.1:65536", "65535")),
        address("127.0.0.1:08", "127.0.0.1:08"),
        beyond(address("300.0.0.1:80", "300.0.0.1:80", "IP")),
        beyond(address("'[127.0.0.1]:80'", "IPv6")),
        address("'::1:80'", "'::1:80'"),
        address("example.com:80", "'example.com:80'", "IP address"),
        address("'[fe80::1%eth0]:80'", "'[fe80::1%eth0]:80'"),
        address("true", "127.0.0.1:8443", "true"),
    ],
    "contradictory settings are rejected": [*map(beyond, (
        more("gates: {default: {audience: c}}\npolicy: {audiences: [a, b]}", "7:29",
             "gates.default.audience", "'c'", "policy.audiences", "'a' or 'b'"),
        more(f"gates: {{default: {{audience: '{ISSUER}'}}}}", "7:29",
             "gates.default.audience", f"'{ISSUER}'", "API server"),
        more(f"cluster: {{issuer: '{OIDC}'}}\ngates: {{default: {{audience: '{OIDC}'}}}}", "8:29",
             "gates.default.audience", f"'{OIDC}'", "API server"),
        more("local: {apiServer: external}", "7:20",
             "local.apiServer", "'external'", "cluster.server", "https://10.0.0.1:6443"),
        more("cluster: {issuer: x}\nlocal: {apiServer: external}", "8:20",
             "local.apiServer", "'external'", "cluster.server"),
        more("local: {metrics: '127.0.0.1:8443'}", "7:18", "local.metrics", "door",
             "127.0.0.1:8443"),
        more("metrics: {podMonitor: true}", "7:1", "metrics", "prometheusNamespaces"),
        more("metrics: {serviceMonitor: true, labels: {a: b}}", "7:1", "metrics",
             "prometheusNamespaces"),
        *(
            more(f"local: {{door: '{door}:1', gate: '{gate}:1'}}", f"7:{len(door) + 27}",
                 "local.gate", f"{door}:1", "door")
            for door, gate in (
                ("127.0.0.1", "127.0.0.1"), ("localhost", "127.0.0.1"), ("127.0.0.1", "localhost"),
            )
        ),
        more("gates: {default: {audience: c, headers: {user: x, groups: x}}}", "7:59",
             "gates.default.headers.groups", "'x'", "user"),
        more("gates: {default: {audience: c, hosts: [a.example, a.example]}}", "7:51",
             "gates.default.hosts[1]", "'a.example'"),
        more("policy: {audiences: [a, b, a]}", "7:28", "policy.audiences[2]", "'a'"),
        refused(ENVOY + "gates: {default: {audience: a}}\n", "4:9", "gates.default", "domain",
                "istio"),
    ))],
    "a header must be in lower case": [
        header("X-User", "'X-User'", "write 'x-user'"),
        *(header(each, f"'{each}'") for each in ("a_b", "-a", "é")),
        *(header(each, each) for each in ("'a b'", "':path'", "''")),
        header('"a\\r\\nb"', "'a??b'"),
        header("a" * 65, "up to 64"),
    ],
    "a header must not have a standard meaning": [
        beyond(header(each, f"'{each}'"))
        for each in (
            "authorization", "host", "transfer-encoding", "impersonate-user", "x-forwarded-for",
        )
    ],
    "a request body limit must be 1 to 64 kibibytes": [
        *(body(each, f"'{each}'") for each in ("8k", "8KB", "8.5Ki", "100", "0", "-1")),
        *(beyond(body(each, f"'{each}'")) for each in ("1Mi", "128Ki")),
        body("[]", "list"),
    ],
    "a prefix must be a literal normalized path": [
        *(
            prefix(each, f"'{each}'")
            for each in (
                "kubernetes", "/", "/a/", "//a", "/a//b", "/a/../b", "/.", "/A", "/a%20b", "/a.b",
                "/a_b", "/(a|b)", "/a*", "/a?b", "/-a", "/a-", "/é", "/a\\b",
            )
        ),
        *(prefix(each, each) for each in ("''", "'/a b'", "'/a#b'", "'/a;b'", "'/$a'")),
        beyond(prefix('"/a\\n"', "'/a?'")),
        prefix("/" + "a" * 64, "longer than 64"),
    ],
    "a domain name must be a DNS label": [
        *(named(each, f"'{each}'", "name") for each in ("Ekf", "a_b", "a.b", "-a", "é", "<istio>")),
        named("''", "''", "name"),
        named("a" * 64, "up to 63"),
    ],
    "exempt users must be full user names": [
        beyond(exempt("system:serviceaccounts:ns", "'system:serviceaccounts:ns'", "group")),
        exempt("system:serviceaccount:ns:*", "'system:serviceaccount:ns:*'", "wildcard"),
        beyond(exempt("' a'", "' a'")),
        exempt("''", "''"),
        exempt('"a\\nb"', "'a?b'"),
        exempt("it's", "it's"),
    ],
    "one to a hundred domains are required": [
        refused("version: 1\n", "1:1", "domains", "{kubeflow: {host: kubeflow.example.com,"),
        refused("version: 1\ndomains: {}\n", "2:1", "domains: "),
        refused(
            "version: 1\ndomains:\n"
            + "".join(f"  d{n}: {{host: h{n}.example, front: istio, tls: outside}}\n"
                      for n in range(101)),
            "2:1", "domains: ", "100",
        ),
    ],
}  # fmt: skip


@refuses(REFUSED)
def test_a_wrong_config_is_refused_with_the_place_and_the_values(case: Refused) -> None:
    case.check_schema_too()


def test_a_repeated_host_is_reported_with_both_lines() -> None:
    second = "  b: {host: ekf.example.com, front: istio, tls: outside}\n"
    values = ("domains.b.host", "'ekf.example.com'", "'ekf'", "line 4")
    beyond(refused(MINIMAL + second, "7:13", *values)).check_schema_too()


def test_a_repeated_host_is_reported_with_other_problems() -> None:
    host, front = problems(MINIMAL + "  b: {host: ekf.example.com, front: nginx}\n")
    assert "domains.b.host" in host.message
    assert "domains.b.front" in front.message
    assert "'ingress-nginx'" in front.hint


def test_a_password_in_a_url_is_not_printed() -> None:
    (problem,) = problems(MINIMAL + "cluster: {server: 'https://me:hunter2@a.example'}\n")
    assert "password" in problem.message
    assert "'https://a.example'" in problem.hint
    assert "hunter2" not in str(problem)


def test_a_key_that_looks_like_a_pydantic_marker_is_unknown() -> None:
    text = replaced("{secret: a, <secret>: b, '[key]': c}") + "<: 1\n"
    first, second, *_ = found = problems(text)
    assert places(found)[:2] == ["6:22", "6:35"]
    assert ("'<secret>'" in first.message, "'secret'" in first.hint) == (True, True)
    assert ("'[key]'" in second.message, "issuer, files" in second.hint) == (True, True)
    refused(MINIMAL.replace("tls:", "'[key]': 1\n    tls:"), "6:5", "'[key]'").check()


def test_a_key_without_a_value_is_reported_with_an_example() -> None:
    found = problems(
        "version: 1\ndomains:\n  ekf:\n  b:\n    host:\n    front: ~\n    tls: null\ngates:\n"
    )
    assert places(found) == ["3:3", "5:5", "6:5", "7:5", "8:1"]
    keys = ["domains.ekf", "domains.b.host", "domains.b.front", "domains.b.tls", "gates"]
    assert [problem.message.split()[0] for problem in found] == keys
    ekf, host, front, tls, gate = (problem.hint for problem in found)
    assert "{host: kubeflow.example.com, front: istio, tls: {secret: kubeflow-tls}}" in ekf
    assert "host: kubeflow.example.com" in host
    assert "ingress-nginx | ingress | istio | gateway-api | envoy" in front
    assert "{secret: kubeflow-tls} | {issuer: letsencrypt} | outside" in tls
    assert gate.endswith("leave the key out")


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


def test_keys_without_values_do_not_hide_earlier_problems() -> None:
    empty = "policy: {audiences: [" + "~, " * 90 + "a]}\n"
    found = problems(MINIMAL + "door: {replicas: 0}\n" + empty)
    assert places(found)[:2] == ["7:18", "8:22"]
    assert "door.replicas" in found[0].message
    assert "policy.audiences[0]" in found[1].message


def test_at_most_twenty_problems_are_listed_and_the_rest_counted() -> None:
    error = refusal(MINIMAL + "".join(f"key{number}: 1\n" for number in range(50)))
    assert (len(error.problems), error.omitted) == (20, 30)
    assert len(str(error).splitlines()) == 21
    check(error)
