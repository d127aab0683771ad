"""The gate of any config for one machine, on a real Envoy, checks the audience of tokens."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import Phase, assume, given, settings

from daypass._core.clock import SystemClock
from daypass.deploy.certificate_authority import Authority
from daypass.local.echo import Echo
from daypass.local.envoy import ADMIN_SOCKET
from daypass.local.settings import OwnCertificates, envoy_settings
from daypass.render.envoy.bootstrap import KEYS_FILE, envoy_files, keys_file, published_files
from daypass.rules.reasons import REASON_HEADER, Reason
from support.config_documents import Document, documents
from support.doors import running_envoy, upstream_at
from support.publishing import published
from support.raw import connect, exchange, get
from support.rendered import config_of
from support.tokens import ISSUER, Signer, good_claims

OURS = Signer("ours")


def on_free_ports(document: Document) -> Document:
    """The same without files of certificates, and without a policy, which bounds lifetimes."""
    domains = {
        name: {"front": "envoy", "host": it["host"]} for name, it in document["domains"].items()
    }
    return {
        **{key: value for key, value in document.items() if key != "policy"},
        "domains": domains,
        "local": {"door": "127.0.0.1:0", "gate": "127.0.0.1:0"},
    }


@settings(max_examples=3, phases=[Phase.explicit, Phase.generate])
@given(documents(in_cluster=False).map(on_free_ports))
def test_it_refuses_a_token_for_another_audience(document: Document) -> None:
    config = config_of(json.dumps(document))
    assume(config.local_gate is not None and config.local_gate[1].named_hosts)
    clock = SystemClock()
    authority, known = Authority.create("test", clock), published()
    with TemporaryDirectory() as name, Echo() as echo:
        folder = Path(name)
        made = envoy_settings(
            config,
            upstream_at(folder, 9, authority.pem),
            OwnCertificates(authority, folder, clock),
            issuer=ISSUER,
            echo=echo.address,
            authorizer=folder / "nobody",
            shards=len(known.shards),
        )
        gate = made.gate
        assert gate is not None
        files = envoy_files(made.door, name, admin_socket=ADMIN_SOCKET, gate=gate)
        files |= {KEYS_FILE: keys_file(gate, OURS.jwks), **published_files(known)}
        with running_envoy(folder, files) as envoy:
            reasons = []
            for audience in ("another", gate.gate.audience):
                host, token = gate.gate.named_hosts[0], OURS.sign(good_claims(aud=[audience]))
                port = envoy.port("gate")
                with connect(port, authority_pem=authority.pem, name=host) as connection:
                    request = get(f"Authorization: Bearer {token}", host=host)
                    answer = exchange(connection, request)
                    reasons.append(answer.headers.get(REASON_HEADER))
    assert reasons[0] == Reason.AUDIENCE
    assert reasons[1] != Reason.AUDIENCE
