"""Rejected configs. In a text, `^` is where the mistake is."""

import pytest

from unit.config.texts import MINIMAL, assert_refused, problems

ISSUER = "https://kubernetes.default.svc"
ENVOY = "version: 1\ndomains:\n  l: {host: localhost, front: envoy}\n"


def domain(fields: str) -> str:
    return f"version: 1\ndomains:\n  a: {{host: a.example.com, {fields}}}\n"


def gate(fields: str) -> str:
    return f"{MINIMAL}gates: {{default: {{audience: a, {fields}}}}}\n"


def replaced(old: str, new: str) -> str:
    return MINIMAL.replace(old, new, 1)


KEYS = [
    "policy: {audiences: [x], ^longest_lifetime: 1h}",
    "door: {replicas: ^two}",
    "door: {replicas: ^0}",
    "door: {replicas: ^010}",
    "door: {replicas: ^on}",
    "door: {namespace: ^5}",
    "door: ^[]",
    "policy: {audiences: ^[]}",
    "policy: {audiences: [^'a b']}",
    "^policy: {}",
    "policy: {audiences: [x], mode: ^off}",
    "cluster: {addresses: [^a.example]}",
    "cluster: {addresses: [^'FD00::1']}",
    "cluster: {addresses: [10.0.0.1, ^10.0.0.1]}",
    "watch: {closeAfter: ^2s}",
    "policy: {audiences: [x], longestLifetime: ^9m59s}",
    "policy: {audiences: [x], longestLifetime: ^4294967297}",
    "policy: {audiences: [x], longestLifetime: ^200y}",
    'cluster: {server: ^"http://a.example"}',
    'cluster: {server: ^"https://a.example/"}',
    "cluster: {certificateAuthority: ^~/ca.crt}",
    "local: {gate: ^8443}",
    "local: {gate: ^example.com:80}",
    "local: {door: '127.0.0.1:1', gate: ^'127.0.0.1:1'}",
    "gates: {default: {audience: ^c}}\npolicy: {audiences: [a, b]}",
    f"gates: {{default: {{audience: ^'{ISSUER}'}}}}",
    "cluster: {issuer: 'https://o.example'}\ngates: {default: {audience: ^'https://o.example'}}",
    "local: {apiServer: ^external}",
    "^metrics: {podMonitor: true}",
    "prefix: ^kubernetes",
    "prefix: ^/a/../b",
    "prefix: ^/a%20b",
    "policy: {audiences: [x], exempt: [^'system:serviceaccounts:ns']}",
    "door: {pod: {labels: {app.kubernetes.io/name: ^x}}}",
    "door: {pod: {^securityContext: {}}}",
    "door: {pod: {resources: {limits: ^1}}}",
    "door: {image: ^envoy}",
    # What a reviewer would have to look up.
    "door: ^*x",
    "door:\n  ^<<: {replicas: 2}",
    "prefix: ^!!str /x",
    "door: {}\n^door: {}",
    "? ^[a]\n: b",
    "local:\n  door: [^::1]:8443",
]
"""Keys after those of a valid config."""

DOMAINS = [
    replaced("ekf.example.com", "^EKF.example.com"),
    replaced("ekf.example.com", "^ekf.example.com:443"),
    replaced("ekf.example.com", "^10.0.0.1"),
    replaced("tls: {secret: ekf-tls}", "tls: ^ekf-tls"),
    replaced("tls: {secret: ekf-tls}", "^tls: {secret: a, issuer: b}"),
    replaced("{secret: ekf-tls}", "{secret: ^A_b}"),
    replaced("ekf:", "^a.b:"),
    f"{MINIMAL}  b: {{host: ^ekf.example.com, front: istio, tls: outside}}\n",
    "version: 1\ndomains:\n  ^l: {host: a.example, front: istio}\n",
    "version: 1\ndomains:\n  ^a: {host: a.example.com, tls: outside}\n",
    ENVOY.replace("envoy", "envoy, tls: {^files: {certificate: a}}"),
    domain("front: istio, ^className: x, tls: outside"),
    domain("front: ^istoi, tls: outside"),
    domain("front: istio, gateway: ^a/b, tls: {secret: a}"),
    domain("front: gateway-api, gateway: ^a/b, className: x, tls: outside"),
    domain("front: istio, gateway: ^public, tls: outside"),
]
GATES = [
    gate("^enigne: istio"),
    gate("engine: ^istoi"),
    f"{MINIMAL}gates: {{^default: {{audience: a, engine: envoy-gateway}}}}\n",
    f"{ENVOY}gates: {{^default: {{audience: a}}}}\n",
    gate("engine: envoy-gateway, gateway: a/b, check: ^jwt"),
    gate("gatewayLabels: {a: ^'b c'}"),
    gate("engine: envoy, hosts: [^'*']"),
    gate("hosts: [a.example, ^10.0.0.1]"),
    gate("headers: {user: x, groups: ^x}"),
    gate("headers: {user: ^X-User}"),
    gate("headers: {user: ^authorization}"),
    gate("headers: {user: ^x-forwarded-for}"),
]
DOCUMENTS = [
    "version: ^2\nsurprise: [1]\ndomains: 5\n",
    "^version: 1\n",
    "version: 1\n^domains: {}\n",
    f"{MINIMAL}^---\n{MINIMAL}",
    replaced("{secret", "^&x {secret"),
    replaced("istio", "istio^: x"),
    MINIMAL.replace("istio", "'istio") + "^",
    replaced("    front", " ^front"),
    replaced("ekf.example", "*^.example"),
    "^",
    "^hello",
]


@pytest.mark.parametrize(
    "text", [*(f"{MINIMAL}{keys}\n" for keys in KEYS), *DOMAINS, *GATES, *DOCUMENTS],
    ids=lambda text: text.removeprefix(MINIMAL),
)  # fmt: skip
def test_a_wrong_config_is_refused_with_the_place_and_the_values(text: str) -> None:
    assert_refused(text)


@pytest.mark.parametrize("character", "\u202e\r\0")
def test_what_a_reviewer_would_not_see_is_refused(character: str) -> None:
    assert_refused(f"a: 1 # ^{character}")


def test_what_an_escape_hides_is_refused() -> None:
    assert_refused(f'{MINIMAL}policy: {{audiences: [x], exempt: [^"a\\u202eb"]}}\n')
    assert_refused(f'{MINIMAL}policy: {{audiences: [x], ^"a\\u202eb": 1}}\n')


def test_a_file_is_utf_8() -> None:
    problems("version: 1".encode("utf-16"))


def test_a_password_in_a_url_is_not_printed() -> None:
    (problem,) = problems(MINIMAL + "cluster: {server: 'https://me:hunter2@a.example'}\n")
    assert "hunter2" not in str(problem)


def test_a_key_without_a_value_is_reported_with_an_example() -> None:
    found = problems(
        "version: 1\ndomains:\n  ekf:\n  b:\n    host:\n    front: ~\n    tls: null\npolicy:\n"
    )
    assert [problem.line for problem in found] == [3, 5, 6, 7, 8]


def test_all_problems_are_reported_in_file_order() -> None:
    found = problems(
        "domains:\n"
        "  ekf: {host: EKF.example.com, front: istio, tls: out, dnss: none}\n"
        "prefix: /a/\n"
        "door: {replicas: 0, replica: 1}\n"
        "gates: {default: {hosts: [a.example]}}\n"
        "prefix: /b\n"
    )
    assert [problem.line for problem in found] == [1, 2, 2, 2, 3, 4, 4, 5, 6]
