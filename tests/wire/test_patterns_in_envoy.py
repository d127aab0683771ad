"""The patterns' regular expressions in a real Envoy: RE2 and Python agree about every text."""

from __future__ import annotations

import http.client
import random
import string
from collections.abc import Iterator
from contextlib import closing

import pytest

from daypass.local.envoy import ADMIN_SOCKET
from daypass.render.envoy.xds import Json, extension, full_match
from daypass.rules.patterns import PLAIN_PATH_REGEX as PLAIN
from daypass.rules.patterns import HostPattern, PathPattern, is_plain_path
from support.doors import running_envoy

HOSTS = tuple(map(HostPattern.parse, (
    "{name}.{namespace}.example.com",
    "{name}-{namespace}.serving.example.com",
    "*.serving.example.com",
    "{name}.alice.example.com",
    "{name}.{namespace}.svc.cluster.local",
    "{name}.alice.svc.cluster.local",
    "api.{namespace}.example.com",
    "serving.example.com",
    "::1",
    "*",
)))  # fmt: skip
PATHS = tuple(map(PathPattern.parse, (
    "/serving/{namespace}/{name}/", "/{namespace}/{name}/", "/serving/alice/", "/",
)))  # fmt: skip
REGEXES = {
    **{f"{kind} host {each.text}": regex for each in HOSTS
       for kind, regex in (("exact", each.exact_regex), ("near", each.near_regex))},
    **{f"{kind} path {each.text}": regex for each in PATHS
       for kind, regex in (("exact", each.exact_regex), ("near", each.near_regex))},
    "plain": PLAIN,
}  # fmt: skip
LABELS = ["iris", "alice", "a-b-c", "a--b", "-a", "a-", "", "IRIS", "1", "xn--bcher-kva", "a_b",
          "bücher", "*", "x" * 64, "svc", "serving"]  # fmt: skip
ENDS = ["example.com", "serving.example.com", "EXAMPLE.com", "example.com.evil.org", "svc", "alice",
        "svc.cluster.local", "cluster.local", "exampleXcom", "alice.example.com"]  # fmt: skip
PORTS = ["", "", ":80", ":00000", ":123456", ":", ":x", ".", "..", ".:80", ":80:80", ":٣"]
SEGMENTS = ["serving", "Serving", "alice", "iris", "Alice", "publishers", "", ".", "..", "...",
            "a..b", "v1", "iris:predict", "a;b", "a%2fb", "%2e", "a%20b", "%C3%A9", "%zz", "%",
            "a\\b", "a#b", "é", "a|b", "~", "iris?x=/../", "?x#y", "%7F", "%3a"]  # fmt: skip


def texts() -> list[str]:
    """Hosts and paths, and texts that are nearly one."""
    pick = random.Random(27)  # noqa: S311 - the same texts each time
    found = {"", "*", "[::1]", "[::1]:80", "::1"}
    for _ in range(250):
        labels = pick.choices(LABELS, k=pick.randint(0, 3))
        found.add(".".join([*labels, pick.choice(ENDS)]) + pick.choice(PORTS))
        found.add("/" + "/".join(pick.choices(SEGMENTS, k=pick.randint(0, 5))))
        alphabet = string.printable.strip() + "é\u017f\u212a"
        found.add("/" + "".join(pick.choices(alphabet, k=pick.randint(0, 6))))
        found.add("".join(pick.choices("ab-.:1", k=pick.randint(0, 8))) + ".example.com")
    return sorted(found)


def bootstrap() -> Json:
    """Envoy with its own limit of a program's size; one route for each pattern."""
    routes = [
        {"match": {"prefix": "/", "headers": [
            {"name": "x-pattern", "string_match": {"exact": str(number)}},
            {"name": "x-text", "string_match": {"safe_regex": full_match(regex)}},
        ]}, "direct_response": {"status": 200}}
        for number, regex in enumerate(REGEXES.values())
    ]  # fmt: skip
    routes.append({"match": {"prefix": "/"}, "direct_response": {"status": 404}})
    manager = extension(
        "envoy.filters.network.http_connection_manager",
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="patterns",
        http_filters=[extension("router", "extensions.filters.http.router.v3.Router")],
        route_config={"virtual_hosts": [{"name": "any", "domains": ["*"], "routes": routes}]},
    )
    address = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
    listener = {
        "name": "patterns", "address": address, "filter_chains": [{"filters": [manager]}],
    }  # fmt: skip
    return {
        "admin": {"address": {"pipe": {"path": ADMIN_SOCKET, "mode": 0o600}}},
        "static_resources": {"listeners": [listener]},
    }


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder = tmp_path_factory.mktemp("patterns")
    with running_envoy(folder, {"envoy.json": bootstrap()}) as envoy:
        yield envoy.port("patterns")


def agrees(number: int, text: str, connection: http.client.HTTPConnection) -> bool:
    """Whether Envoy matches a text. A header's value can begin and end with no space."""
    sent: dict[str, str | bytes] = {"x-pattern": str(number), "x-text": text.encode()}
    connection.request("GET", "/", headers=sent)
    answer = connection.getresponse()
    answer.read()
    assert answer.status in (200, 404)
    return answer.status == 200


def expected(name: str, text: str) -> bool:
    """What the functions say of the text as the authorizer gets it, byte by byte."""
    text = text.encode().decode("latin-1")
    if name == "plain":
        return is_plain_path(text)
    kind, what, pattern = name.split(" ")
    found = HostPattern.parse(pattern) if what == "host" else PathPattern.parse(pattern)
    return found.matches(text) if kind == "exact" else found.is_near(text)


@pytest.mark.parametrize("name", REGEXES)
def test_envoy_and_the_functions_agree_about_every_text(port: int, name: str) -> None:
    number = list(REGEXES).index(name)
    begins = ("/", "*", "") if name == "plain" or " path " in name else ("",)
    tried = [each for each in texts() if each.startswith(begins)]
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        differing = [
            text for text in tried if agrees(number, text, connection) != expected(name, text)
        ]
    assert differing == []
