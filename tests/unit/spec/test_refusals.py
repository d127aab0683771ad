"""What is refused, where the message points, and what it says."""

import pytest

from unit.spec.texts import MINIMAL, said

ENVOY = "version: 1\ndomains:\n  l: {host: localhost, front: envoy}\n"


def host(written: str) -> str:
    return MINIMAL.replace("ekf.example.com", written)


def tls(written: str) -> str:
    return MINIMAL.replace("{secret: ekf-tls}", written)


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ("policy:\n  audience: [x]\n",
         "8:3: unknown key 'audience'; did you mean 'audiences'?"),
        ("policy: {audiences: [x], longest_lifetime: 1h}\n",
         "7:26: unknown key 'longest_lifetime'; did you mean 'longestLifetime'?"),
        ("host: a.example.com\n", "7:1: unknown key 'host'; it belongs to domains.NAME"),
        ("audience: x\n", "7:1: unknown key 'audience'; it belongs to gate"),
        ("longestLifetime: 1h\n", "7:1: unknown key 'longestLifetime'; it belongs to policy"),
        ("issuer: x\n", "7:1: unknown key 'issuer'; it belongs to cluster or domains.NAME.tls"),
        ("door: {domains: {}}\n", "7:8: unknown key 'domains'; it belongs to the top level"),
        ("local: {xyz: 1}\n",
         "7:9: unknown key 'xyz'; known here: door, gate, upstream, apiServer"),
    ],
)  # fmt: skip
def test_an_unknown_key_is_told_the_nearest_or_where_it_belongs(more: str, line: str) -> None:
    assert said(MINIMAL + more) == [line]


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ("door: {replicas: two}\n",
         "7:18: door.replicas: expected a whole number, found the text 'two'"),
        ("door: {replicas: '2'}\n",
         "7:18: door.replicas: expected a whole number, found the text '2'; write 2, with no"
         " quotes"),
        ("door: {replicas: 010}\n",
         "7:18: door.replicas: expected a whole number, found the text '010'; write 10, with no"
         " quotes"),
        ("door: {replicas: 1.5}\n",
         "7:18: door.replicas: expected a whole number, found the number 1.5"),
        ("door: {replicas: true}\n", "7:18: door.replicas: expected a whole number, found true"),
        ("door: {replicas: 0}\n", "7:18: door.replicas: the number 0 is less than 1"),
        ("door: {trustedHops: 11}\n", "7:21: door.trustedHops: the number 11 is more than 10"),
        ("door: {namespace: 5}\n",
         "7:19: door.namespace: expected text, found the number 5; put it in quotes"),
        ("door: []\n", "7:7: door: expected a mapping, found an empty list"),
        ("gate: {audience: x, requireBound: yes}\n",
         "7:35: gate.requireBound: expected true or false, found the text 'yes'; write true"),
        ("policy: {audiences: x}\n",
         "7:21: policy.audiences: expected a list, found the text 'x'; write [x]"),
        ("policy: {audiences: []}\n",
         "7:21: policy.audiences: an empty list, where at least one entry is needed"),
        ("policy: {audiences: [x, {}]}\n",
         "7:25: policy.audiences[1]: expected text, found an empty mapping"),
        ("policy: {audiences: [x], mode: off}\n",
         "7:32: policy.mode: expected audit, warn or deny, found the text 'off'"),
        ("policy: {audiences: [x], longestLifetime: [24h]}\n",
         "7:43: policy.longestLifetime: expected a duration such as 24h, found a list"),
    ],
)  # fmt: skip
def test_a_wrong_type_says_what_was_expected_and_what_was_found(more: str, line: str) -> None:
    assert said(MINIMAL + more) == [line]


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("EKF.example.com", "has capital letters; write 'ekf.example.com'"),
        ("ekf.example.com.", "ends with a dot"),
        ("ekf.example.com:443", "has a port"),
        ("https://ekf.example.com", "is a URL"),
        ("ekf.example.com/x", "has a path"),
        ('"*.example.com"', "is a wildcard"),
        ("bücher.example", "write the name as the DNS has it: xn--bcher-kva.example"),
        ("straße.example", "xn--strae-oqa.example"),
        ("\uff11\uff12.example", "as the DNS has it: 12.example"),
        ("a_b.example.com", "has an underscore"),
        ("-a.example.com", "the part '-a' must be"),
        ("a..example.com", "has an empty part"),
        ("1.2.3", "is neither a host name nor an IP address"),
        ("10.0.0.256", "is neither a host name nor an IP address"),
        ("a" * 64 + ".com", "must be 1 to 63"),
        (".".join(["a" * 60] * 5), "is longer than 253 characters"),
        ('""', "is no host"),
        ('"a\\nb"', "'a?b' is no host"),
        ("10.0.0.1", "is no public name, and the front istio needs one"),
        ("localhost", "is no public name, and the front istio needs one"),
    ],
)
def test_a_host_is_a_public_dns_name(written: str, why: str) -> None:
    (line,) = said(host(written))
    assert line.startswith("4:11: domains.ekf.host: ")
    assert why in line


def test_a_host_belongs_to_one_domain_and_both_lines_are_named() -> None:
    second = "  b: {host: ekf.example.com, front: istio, tls: outside}\n"
    assert said(MINIMAL + second) == [
        "7:13: domains.b.host: 'ekf.example.com' is already the host of 'ekf' on line 4;"
        " a host belongs to one domain"
    ]


def test_a_repeated_host_is_seen_beside_other_mistakes() -> None:
    lines = said(MINIMAL + "  b: {host: ekf.example.com, front: nginx}\n")
    assert [line.split(":")[2] for line in lines] == [" domains.b.host", " domains.b.front"]
    assert lines[1].endswith("did you mean 'ingress-nginx'?")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (tls("ekf-tls"), "6:10: domains.ekf.tls: 'ekf-tls' is no way to get a certificate"),
        (tls("[a]"), "6:10: domains.ekf.tls: expected a mapping, or the word outside"),
        (tls("{}"), "6:5: domains.ekf.tls: an empty mapping; write {secret: NAME}"),
        (tls("{secret: a, issuer: b}"), "6:5: domains.ekf.tls: both secret and issuer"),
        (tls("{sercet: a}"), "6:11: unknown key 'sercet'; did you mean 'secret'?"),
        (tls("{secret: a, key: b}"), "6:22: unknown key 'key'; it belongs to domains.NAME.tls"),
        (tls("{secret: A_b}"), "6:19: domains.ekf.tls.secret: 'A_b' is no name of a Kubernetes"),
        (tls("{files: {certificate: a, key: b}}"), "the front istio runs in a cluster"),
        (MINIMAL.replace("    tls: {secret: ekf-tls}\n", ""),
         "3:3: domains.ekf.tls: missing, and the front istio needs a certificate"),
        (ENVOY.replace("envoy", "envoy, tls: {secret: a}"), "where no Secret or Issuer is"),
        (ENVOY.replace("envoy", "envoy, tls: outside"), "serves no plain http"),
        (ENVOY.replace("envoy", "envoy, tls: {files: {certificate: a}}"),
         "domains.l.tls.files.key is missing"),
    ],
)  # fmt: skip
def test_a_certificate_comes_from_where_the_front_can_get_it(text: str, why: str) -> None:
    (line,) = said(text)
    assert why in line


def test_direct_and_external_dns_need_a_front_that_knows_them() -> None:
    assert said(MINIMAL.replace("tls:", "direct: true\n    tls:")) == [
        "6:13: domains.ekf.direct: the front istio always goes through the door;"
        " leave direct out, or false"
    ]
    assert said(ENVOY.replace("envoy", "envoy, dns: external-dns")) == [
        "3:43: domains.l.dns: external-dns does not see the front envoy; write none"
    ]


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("30", "'30' is shorter than 10m; the API server issues no shorter token"),
        ("9m59s", "is shorter than 10m"),
        ("4294967297", "is longer than 49710d6h28m16s"),
        ("200y", "is no duration; durations are written like 10m, 24h, 1h30m or 90d"),
        ("1.5h", "is no duration"),
        ("24 h", "is no duration"),
        ("30m1h", "is no duration"),
        ("1:30", "'1:30' is no duration"),
        ("'3600'", "write 3600s, or the number 3600 without quotes"),
        ("''", "'' is no duration"),
        ("true", "expected a duration such as 24h, found true"),
    ],
)
def test_a_lifetime_is_one_that_the_api_server_issues(written: str, why: str) -> None:
    (line,) = said(MINIMAL + f"policy: {{audiences: [x], longestLifetime: {written}}}\n")
    assert line.startswith("7:43: policy.longestLifetime: ")
    assert why in line


@pytest.mark.parametrize("written", ["8k", "8KB", "8.5Ki", "1Mi", "100", "0", "-1", "128Ki", "[]"])
def test_a_request_body_is_1_to_64_kibibytes(written: str) -> None:
    (line,) = said(MINIMAL + f"limits: {{requestBody: {written}}}\n")
    assert line.startswith("7:23: limits.requestBody: ")


@pytest.mark.parametrize(
    "written",
    ["kubernetes", "/", "/a/", "//a", "/a//b", "/a/../b", "/.", "/A", "/a%20b", "/a.b", "/a_b",
     "/(a|b)", "/a*", "'/a b'", "/a?b", "'/a#b'", "/-a", "/a-", "/" + "a" * 64, "/é", "''",
     "'/a;b'", '"/a\\n"', "'/$a'", "/a\\b"],
)  # fmt: skip
def test_a_prefix_means_itself_in_every_regex_and_to_every_proxy(written: str) -> None:
    (line,) = said(MINIMAL + f"prefix: {written}\n")
    assert line.startswith("7:9: prefix: ")


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("http://a.example", "is plain http; write 'https://a.example'"),
        ("https://a.example/", "has a path; write 'https://a.example'"),
        ("https://a.example/x?y", "has a query or a fragment"),
        ("https://a.example#x", "has a query or a fragment"),
        ("a.example:6443", "is no URL; write 'https://a.example:6443'"),
        ("https://", "write https://HOST or https://HOST:PORT"),
        ("https://a.example:0", "is no URL of a server"),
        ("https://a.example:99999", "has a port above 65535"),
        ("https://A.example", "has capital letters"),
        ("https://[fd00::01]", "write fd00::1"),
        ("ftp://a.example", "has a scheme that is not known here"),
        ("https://*.example", "is a wildcard"),
        ("https://a.example\\n", "is no URL of a server"),
    ],
)
def test_a_server_is_https_a_host_and_a_port(written: str, why: str) -> None:
    (line,) = said(MINIMAL + f'cluster: {{server: "{written}"}}\n')
    assert line.startswith("7:19: cluster.server: ")
    assert why in line


def test_a_password_in_a_url_is_not_repeated() -> None:
    (line,) = said(MINIMAL + "cluster: {server: 'https://me:hunter2@a.example'}\n")
    assert "has a user name or a password in it; write 'https://a.example'" in line
    assert "hunter2" not in line


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ('"-----BEGIN CERTIFICATE-----\\nMII"', "this is a certificate; put it into a file"),
        ("~/ca.crt", "begins with ~, which is not expanded"),
        ('""', "is no path"),
        ('"a\\0b"', "is no path"),
        ("5", "expected the path of a file, found the number 5"),
    ],
)
def test_a_certificate_authority_is_the_path_of_a_file(written: str, why: str) -> None:
    (line,) = said(MINIMAL + f"cluster: {{certificateAuthority: {written}}}\n")
    assert why in line


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("8443", "write 127.0.0.1:8443"),
        ("':8443'", "write 127.0.0.1:8443"),
        ("127.0.0.1", "write it like"),
        ("127.0.0.1:65536", "the port ends at 65535"),
        ("127.0.0.1:08", "write it like"),
        ("300.0.0.1:80", "the IP is wrong"),
        ("'[127.0.0.1]:80'", "brackets are for IPv6"),
        ("'::1:80'", "write it like"),
        ("example.com:80", "write an IP address of this machine"),
        ("'[fe80::1%eth0]:80'", "write it like"),
        ("true", "expected an address such as 127.0.0.1:8443"),
    ],
)
def test_an_address_to_listen_on_is_one_of_this_machine(written: str, why: str) -> None:
    (line,) = said(MINIMAL + f"local: {{gate: {written}}}\n")
    assert line.startswith("7:15: local.gate: ")
    assert why in line


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ("gate: {audience: c}\npolicy: {audiences: [a, b]}\n",
         "7:18: gate.audience: 'c' is not in policy.audiences: no token can be made for it;"
         " write 'a' or 'b', or add it there"),
        ("gate: {audience: 'https://kubernetes.default.svc'}\n",
         "7:18: gate.audience: 'https://kubernetes.default.svc' is the API server's own audience;"
         " name one that is the gate's alone: whoever sees such a token could use it at the API"
         " server"),
        ("local: {apiServer: external}\n",
         "7:20: local.apiServer: 'external' needs an API server to go to; add cluster.server,"
         " such as https://10.0.0.1:6443"),
        ("local: {door: '127.0.0.1:1', gate: '127.0.0.1:1'}\n",
         "7:36: local.gate: the door listens on 127.0.0.1:1 already; choose another port"),
        ("gate: {audience: c, headers: {user: x, groups: x}}\n",
         "7:48: gate.headers.groups: 'x' is the header for the user; name another"),
        ("gate: {audience: c, hosts: [a.example, a.example]}\n",
         "7:40: gate.hosts[1]: 'a.example' is listed twice"),
        ("gate: {audience: c, hosts: [a.example, 10.0.0.1]}\n",
         "7:40: gate.hosts[1]: '10.0.0.1' is no public name, and the engine istio needs one;"
         " write the DNS name"),
        ("policy: {audiences: [a, b, a]}\n", "7:28: policy.audiences[2]: 'a' is listed twice"),
    ],
)  # fmt: skip
def test_parts_that_contradict_each_other_are_refused(more: str, line: str) -> None:
    assert said(MINIMAL + more) == [line]


def test_the_issuer_is_an_audience_of_the_api_server() -> None:
    more = (
        "cluster: {issuer: 'https://oidc.example/x'}\ngate: {audience: 'https://oidc.example/x'}\n"
    )
    (line,) = said(MINIMAL + more)
    assert "is the API server's own audience" in line


def test_a_gate_in_a_cluster_needs_a_public_name() -> None:
    (line,) = said(ENVOY + "gate: {audience: a}\n")
    assert "no domain has a public name that the engine istio could guard" in line


def test_an_external_api_server_is_given_by_cluster_server() -> None:
    more = "cluster: {issuer: x}\nlocal: {apiServer: external}\n"
    (line,) = said(MINIMAL + more)
    assert "needs an API server" in line


@pytest.mark.parametrize(
    ("user", "why"),
    [
        ("system:serviceaccounts:ns", "is a group"),
        ("system:serviceaccount:ns:*", "has a wildcard"),
        ("' a'", "is no user name"),
        ("''", "is no user name"),
        ('"a\\nb"', "is no user name"),
        ("it's", "is no user name"),
    ],
)
def test_who_is_exempt_is_named_by_whole_user_names(user: str, why: str) -> None:
    (line,) = said(MINIMAL + f"policy: {{audiences: [x], exempt: [{user}]}}\n")
    assert "policy.exempt[0]: " in line
    assert why in line


@pytest.mark.parametrize(
    "name",
    ["X-User", "a_b", "'a b'", "authorization", "host", "transfer-encoding",
     "impersonate-user", "x-forwarded-for",
     "':path'", "-a", "''",
     '"a\\r\\nb"', "é", "a" * 65],
)  # fmt: skip
def test_a_header_is_lower_case_and_not_one_that_servers_act_upon(name: str) -> None:
    (line,) = said(MINIMAL + f"gate: {{audience: a, headers: {{user: {name}}}}}\n")
    assert line.startswith("7:37: gate.headers.user: ")


@pytest.mark.parametrize("name", ["Ekf", "a_b", "a.b", "-a", "a" * 64, "''", "é"])
def test_a_domain_is_named_by_a_label(name: str) -> None:
    (line,) = said(MINIMAL.replace("ekf:", f"{name}:"))
    assert line.startswith("3:3: domains.")
    assert "is no name" in line


def test_a_key_that_looks_like_a_mark_of_pydantics_is_an_unknown_key() -> None:
    assert said(tls("{secret: a, <secret>: b, '[key]': c}") + "<: 1\n")[:2] == [
        "6:22: unknown key '<secret>'; did you mean 'secret'?",
        "6:35: unknown key '[key]'; known here: secret, issuer, files",
    ]
    (line,) = said(MINIMAL.replace("tls:", "'[key]': 1\n    tls:"))
    assert line.startswith("6:5: unknown key '[key]'")


def test_there_is_at_least_one_domain_and_at_most_a_hundred() -> None:
    assert said("version: 1\n") == [
        "1:1: domains is missing; write domains:"
        " {ekf: {host: ekf.example.com, front: istio, tls: {secret: ekf-tls}}}"
    ]
    (line,) = said("version: 1\ndomains: {}\n")
    assert line == "2:1: domains: an empty mapping, where at least one entry is needed"
    domain = "  d{0}: {{host: h{0}.example, front: istio, tls: outside}}\n"
    many = "".join(domain.format(number) for number in range(101))
    assert said("version: 1\ndomains:\n" + many) == ["2:1: domains: more than 100 entries"]


@pytest.mark.parametrize(
    ("written", "line"),
    [
        ("2", "1:10: version 2 is not known, only 1 is; is there a newer daypass?"),
        ("0", "1:10: version 0 is not known, only 1 is; write version: 1"),
        ("1.0", "1:10: version 1.0 is not known, only 1 is; write version: 1"),
        ("'1'", "1:10: version: expected 1, found the text '1'; write 1, with no quotes"),
        ("true", "1:10: version true is not known, only 1 is; write version: 1"),
    ],
)
def test_the_version_is_1(written: str, line: str) -> None:
    assert said(MINIMAL.replace("version: 1", f"version: {written}")) == [line]


def test_of_another_version_nothing_but_the_version_is_said() -> None:
    assert len(said("version: 2\nsurprise: [1]\ndomains: 5\n")) == 1


def test_a_key_without_a_value_says_what_to_write() -> None:
    lines = said(
        "version: 1\ndomains:\n  ekf:\n  b:\n    host:\n    front: ~\n    tls: null\ngate:\n"
    )
    assert lines == [
        "3:3: domains.ekf has no value; write ekf:"
        " {host: ekf.example.com, front: istio, tls: {secret: ekf-tls}}, or leave the key out",
        "5:5: domains.b.host has no value; write host: ekf.example.com",
        "6:5: domains.b.front has no value; write front:"
        " ingress-nginx | ingress | istio | gateway-api | envoy",
        "7:5: domains.b.tls has no value; leave the key out",
        "8:1: gate has no value; leave the key out",
    ]


def test_everything_that_is_wrong_is_said_at_once_in_the_order_of_the_file() -> None:
    lines = said(
        "domains:\n"
        "  ekf: {host: EKF.example.com, front: nginx, tls: outside, dnss: none}\n"
        "prefix: /a/\n"
        "door: {replicas: 0, replica: 1}\n"
        "gate: {hosts: [a.example]}\n"
        "prefix: /b\n"
    )
    assert [line.split(" ")[0] for line in lines] == [
        "1:1:", "2:15:", "2:39:", "2:60:", "3:9:", "4:18:", "4:21:", "5:1:", "6:1:"
    ]  # fmt: skip


def test_keys_without_values_do_not_hide_what_stands_before_them() -> None:
    empty = "policy: {audiences: [" + "~, " * 90 + "a]}\n"
    lines = said(MINIMAL + "door: {replicas: 0}\n" + empty)
    assert lines[0] == "7:18: door.replicas: the number 0 is less than 1"
    assert lines[1] == "8:22: policy.audiences[0] is an empty list item; remove it"


def test_at_most_twenty_problems_are_listed_and_the_others_counted() -> None:
    lines = said(MINIMAL + "".join(f"key{number}: 1\n" for number in range(50)))
    assert len(lines) == 21
    assert lines[-1] == "... and 30 more"
