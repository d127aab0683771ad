"""Each adapter with the library it is for, against real servers; no library is faked.

A door and a gate of a real stack (`daypass_stack`), TLS services that a test tells what to answer,
a real gRPC server, and a real kube-apiserver for the clients of Kubernetes.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

import daypass
from daypass.local.stack import LocalStack, MadeIdentity
from daypass.testing import MovableClock
from integrations.callers import CALLERS, Caller
from integrations.service import Service, running_service
from integrations.trust import Trust
from support.authority import Authority
from support.stack_credentials import credentials_with_an_old_token


@pytest.fixture(scope="session")
def trust(daypass_stack: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Trust:
    authority = Authority("daypass test services")
    file = tmp_path_factory.mktemp("trust") / "authorities.crt"
    file.write_text(authority.pem + daypass_stack.authority_file.read_text())
    certificate = authority.server("localhost", "127.0.0.1")
    return Trust(authority=authority, certificate=certificate, file=file)


@pytest.fixture
def serve(trust: Trust) -> Iterator[Callable[..., Service]]:
    """Starts services, which end with the test."""
    with ExitStack() as services:

        def start(*, tls: bool = True) -> Service:
            return services.enter_context(running_service(trust.certificate if tls else None))

        yield start


@pytest.fixture
def service(serve: Callable[..., Service]) -> Service:
    """A TLS service that answers 200 until a test sets another answer."""
    return serve()


@pytest.fixture
def client_clock() -> MovableClock:
    """What the client goes by."""
    return MovableClock()


@pytest.fixture
def daypass_identity(daypass_stack: LocalStack) -> MadeIdentity:
    """In one namespace for all: there are more tests than a gate has room for namespaces."""
    return daypass_stack.make_identity("team", f"bot-{secrets.token_hex(4)}")


@pytest.fixture
def credentials(daypass_identity: MadeIdentity, client_clock: MovableClock) -> daypass.Credentials:
    """Credentials that hold a token of two minutes ago."""
    return credentials_with_an_old_token(client_clock, daypass_identity.credentials_file)


@pytest.fixture(params=sorted(CALLERS))
def caller(
    request: pytest.FixtureRequest, credentials: daypass.Credentials, service: Service, trust: Trust
) -> Iterator[Caller]:
    """Each HTTP library with its adapter, for `service`."""
    with CALLERS[request.param](credentials, service.origin, trust.file) as made:
        yield made
