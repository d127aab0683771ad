"""The gate beside the real oauth2-proxy on a real istiod, set up in Kubeflow's ways."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest

from controllers.kubeflow_logins import (
    PROVIDERS,
    UNSIGNED,
    USER,
    IdentityProvider,
    KubeflowLogin,
    running_identity_provider,
    running_kubeflow_login,
)
from daypass.render.cluster_facts import ClusterFacts
from daypass.render.manifests import render_folders
from daypass.rules.reasons import Reason
from support.deadline import eventually
from support.gate_differences import assert_refused, seen
from support.istio_gates import GUARDED, OTHER, IstioEnv, route, running_istio_gate, signed
from support.istio_logins import documented
from support.raw import Answer
from support.tokens import Signer

pytestmark = pytest.mark.timeout(600)

STRANGER = Signer("stranger")
FORGED = (
    "kubeflow-userid: admin",
    "kubeflow_userid: admin",
    "kubeflow-groups: system:masters",
    "x-auth-request-email: admin@example.com",
    "X-Auth_Request-User: admin",
    "x-auth-request-groups: system:masters",
    "x-auth-request-preferred-username: admin",
)


_MOST_REDIRECTS = 10


class Browser:
    """A browser, as far as a login needs one: it keeps cookies, and goes where it is sent.

    On one host, whose GET is `get(path, header lines)`.
    """

    def __init__(self, get: Callable[[str, tuple[str, ...]], Answer]) -> None:
        self._get = get
        self.cookies: dict[str, str] = {}

    @property
    def line(self) -> str:
        """The Cookie header that it sends now."""
        return "Cookie: " + "; ".join(f"{name}={value}" for name, value in self.cookies.items())

    def get(self, path: str, *lines: str) -> Answer:
        """One request, with its cookies; those of the answer are kept."""
        answer = self._get(path, (*([self.line] if self.cookies else []), *lines))
        for cookie in answer.cookies:
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
            if not value:
                del self.cookies[name]
        return answer

    def follow(self, path: str, *lines: str) -> Answer:
        """The answer at the end of all redirects; none may lead to another host."""
        for _ in range(_MOST_REDIRECTS):
            answer = self.get(path, *lines)
            if answer.code not in {302, 303}:
                return answer
            path = answer.headers["location"]
            assert path.startswith("/"), path
        raise AssertionError(f"more than {_MOST_REDIRECTS} redirects")


@pytest.fixture(scope="module")
def provider() -> Iterator[IdentityProvider]:
    with running_identity_provider() as running:
        yield running


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IstioEnv]:
    folder = tmp_path_factory.mktemp("gate")
    with running_istio_gate(
        folder, "login: keep", providers=PROVIDERS, issues_by_url=True
    ) as running:
        running.plane.admin.create(
            "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
            {
                "metadata": {"name": "issuer-discovery-by-anybody"},
                "roleRef": {
                    "apiGroup": "rbac.authorization.k8s.io",
                    "kind": "ClusterRole",
                    "name": "system:service-account-issuer-discovery",
                },
                "subjects": [{"kind": "Group", "name": "system:unauthenticated"}],
            },
        )
        yield running


@pytest.fixture(scope="module", params=["no-token", "everything"])
def login(
    gate: IstioEnv,
    provider: IdentityProvider,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[KubeflowLogin]:
    folder = tmp_path_factory.mktemp("oauth2-proxy")
    with running_kubeflow_login(request.param, gate, provider, folder) as running:
        yield running


def browser(gate: IstioEnv, host: str = GUARDED) -> Browser:
    return Browser(lambda path, lines: gate.send(*lines, path=path, host=host))


def signed_in(login: KubeflowLogin) -> Browser:
    user = browser(login.gate)
    assert user.follow("/oauth2/start?rd=/").code == 200
    return user


def assert_nothing_forged(headers: dict[str, str]) -> None:
    assert not [
        name
        for name, value in headers.items()
        if "admin" in value or "masters" in value or "_" in name
    ]


def test_a_browser_signs_in_and_arrives_as_its_user(login: KubeflowLogin) -> None:
    user, page = browser(login.gate), "/pipeline/?ns=team-a"
    first = user.get(page, *FORGED)
    assert first.code == UNSIGNED[login.kind]
    assert first.headers["content-type"].startswith("text/html")
    if login.kind == "no-token":
        assert b"Sign in with Dex" in first.body
        answer = user.follow(f"/oauth2/start?rd={quote(page)}", *FORGED)
    else:
        answer = user.follow(first.headers["location"], *FORGED)
    assert answer.json["path"] == page
    for each in (answer, user.get("/", *FORGED)):
        headers = seen(each)
        assert headers["kubeflow-userid"] == USER
        assert_nothing_forged(headers)


def test_a_token_skips_the_login_and_arrives_as_the_bot(login: KubeflowLogin) -> None:
    user = signed_in(login)
    for more in ((), FORGED, (user.line,), (user.line, *FORGED)):
        answer = login.gate.send(login.gate.bearer(), *more)
        headers = seen(answer)
        assert headers["kubeflow-userid"] == login.gate.identity.user
        assert_nothing_forged(headers)
        assert not {"authorization", "x-auth-request-email"} & headers.keys()
        # Of a session beside it nothing is used, and nothing is taken.
        assert headers.get("cookie") == (
            user.line.removeprefix("Cookie: ") if user.line in more else None
        )
        assert not answer.cookies
    assert seen(user.get("/"))["kubeflow-userid"] == USER


ANSWERS = {
    "no-token": {"provider": 200, "stranger": 401, "opaque": 401, "basic": 403},
    "everything": {"provider": 200, "stranger": 302, "opaque": 302, "basic": 302},
}


def test_what_is_not_the_clusters_goes_the_way_it_goes_without_a_gate(login: KubeflowLogin) -> None:
    gate = login.gate
    lines = {
        "provider": f"Authorization: Bearer {login.provider.id_token()}",
        "stranger": signed(gate, STRANGER, iss="https://stranger.example.com"),
        "opaque": "Authorization: Bearer opaque",
        "basic": "Authorization: Basic eDp5",
    }
    for name, line in lines.items():
        guarded, other = (gate.send(line, host=host) for host in (GUARDED, OTHER))
        assert guarded.code == other.code == ANSWERS[login.kind][name], name
        assert guarded.headers.get("content-type") == other.headers.get("content-type")
        if guarded.code == 200:
            assert {seen(each)["kubeflow-userid"] for each in (guarded, other)} == {USER}
    for host in (GUARDED, OTHER):
        answer = gate.send(path="/apis/v2beta1/runs", host=host)
        assert (answer.code, answer.headers["content-type"]) == (401, "application/json")


def test_tokens_of_the_cluster_are_the_gates_business_also_where_the_login_takes_them(
    login: KubeflowLogin,
) -> None:
    gate, line = login.gate, f"Authorization: Bearer {login.machine()}"
    assert seen(gate.send(line, host=OTHER))["kubeflow-userid"] == gate.identity.user
    assert_refused(gate.send(line), Reason.AUDIENCE)
    assert_refused(gate.send(line, signed_in(login).line), Reason.AUDIENCE)


def odd_forms(token: str) -> dict[str, tuple[str, ...]]:
    """Header lines with a token that not everybody finds."""

    def basic(pair: str) -> str:
        return f"Basic {base64.b64encode(pair.encode()).decode()}"

    values = {
        "another scheme": f"Token Bearer {token}",
        "two spaces": f"Bearer  {token}",
        "lower case": f"bearer {token}",
        "a comma after": f"Bearer {token}, Bearer opaque",
        "a user": basic(f"{token}:"),
        "a password": basic(f"x:{token}"),
    }
    forms: dict[str, tuple[str, ...]] = {
        name: (f"Authorization: {value}",) for name, value in values.items()
    }
    forms["first of two"] = (f"Authorization: Bearer {token}", "Authorization: Bearer opaque")
    forms["second of two"] = ("Authorization: Bearer opaque", f"Authorization: Bearer {token}")
    return forms


TAKEN = {
    "no-token": {"another scheme", "two spaces"},
    "everything": {"a user", "a password"},
}
"""The odd forms in which each login takes a token of the cluster, where there is no gate."""


def test_in_no_odd_form_does_such_a_token_pass_the_gate(login: KubeflowLogin) -> None:
    gate, session = login.gate, signed_in(login).line
    taken = set()
    for name, lines in odd_forms(login.machine()).items():
        if gate.send(*lines, host=OTHER).code == 200:
            taken.add(name)
        assert gate.send(*lines).code in {302, 401, 403}, name
        beside = gate.send(*lines, session)
        assert beside.code in {401, 403} or seen(beside)["kubeflow-userid"] == USER, name
    assert taken == TAKEN[login.kind]


def test_without_the_gates_filters_sessions_go_on_and_tokens_of_the_cluster_open_nothing(
    login: KubeflowLogin,
) -> None:
    gate = login.gate
    with gate.without_filters():
        for line in (gate.bearer(), f"Authorization: Bearer {login.machine()}"):
            assert gate.send(line, *FORGED).code in {302, 403}
        assert seen(signed_in(login).get("/", *FORGED))["kubeflow-userid"] == USER


def _wait_for_the_door(gate: IstioEnv, path: str, host: str) -> None:
    eventually("the door is open", lambda: gate.send(path=path, host=host).code == 200)


def test_only_the_route_of_the_door_is_taken_past_the_login(login: KubeflowLogin) -> None:
    """By the object in docs/how-to/ingresses/istio.md, without which the door gets nothing."""
    gate, door = login.gate, "/kubernetes/api/v1/namespaces/team/serviceaccounts/bot/token"
    long_lived = f"Authorization: Bearer {gate.identity.token.reveal()}"
    rendered = render_folders(gate.config, ClusterFacts())["domains/ekf"]
    (published,) = (each for each in rendered if each["kind"] == "VirtualService")
    usual = {host: route(host, "echo", login.below) for host in (GUARDED, OTHER)}
    for each in usual.values():
        way = {**published["spec"]["http"][0], "route": each["spec"]["http"][-1]["route"]}
        gate.apply({**each, "spec": {**each["spec"], "http": [way, *each["spec"]["http"]]}})
    without_login = documented("door-without-login", "ingresses/istio")
    (patch,) = without_login["spec"]["configPatches"]
    vhost = patch["match"]["routeConfiguration"]["vhost"]
    vhost["route"]["name"] = vhost["route"]["name"].replace("kubeflow", "ekf")
    assert gate.send(long_lived, path=door).code == 401
    with gate.added(without_login):
        for host in (GUARDED, OTHER):
            _wait_for_the_door(gate, door, host)
            headers = seen(gate.send(long_lived, *FORGED, path=door, host=host))
            assert headers["authorization"] == long_lived.partition(": ")[2]
            assert not any(name.startswith("kubeflow") for name in headers), headers
            assert gate.send(path="/kubernetesx", host=host).code == UNSIGNED[login.kind]
            assert gate.send(long_lived, path="/", host=host).code != 200
    gate.apply(*usual.values())
