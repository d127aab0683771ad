"""What `daypass up` with the embedded API server hands to its admin and to a bot."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from daypass._core.files import write_private
from daypass._core.secret import Secret
from daypass._core.tls import client_context
from daypass.client.credentials import Credentials
from daypass.local.stack import AUDIENCE, stack_config
from support.admin import Admin
from support.deadline import eventually
from support.fake_door import credentials_document
from support.identities import Identity
from support.ports import free_ports
from support.raw import Answer, bearer, exchange, get
from support.up import HOST, Up


def fixed_config() -> str:
    """A config whose ports stay the same when it starts again."""
    door_port, gate_port = free_ports(2)
    return stack_config(door_port=door_port, gate_port=gate_port)


def checked_by(check: str, config: str) -> str:
    """A config of `stack_config` with another check at the gate."""
    return config.replace("engine: envoy,", f"engine: envoy, check: {check},")


def admin_of(up: Up) -> Admin:
    file = Path(up.ready["kubeconfig"])
    assert file.stat().st_mode & 0o777 == 0o600
    document = json.loads(file.read_text())
    cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
    pem = base64.b64decode(cluster["certificate-authority-data"]).decode()
    headers = {"Authorization": f"Bearer {user['token']}"}
    return Admin(url=cluster["server"], context=client_context(pem), headers=headers)


def credentials_of(up: Up, identity: Identity) -> Credentials:
    document = credentials_document(
        up.door, certificateAuthority=up.authority_file.read_text(),
        token=identity.token.reveal(), audience=AUDIENCE,
    )  # fmt: skip
    file = up.folder / "bot.json"
    write_private(str(file), json.dumps(document).encode())
    return Credentials.from_file(file)


def passed_by_the_gate(up: Up, token: Secret) -> Answer:
    """The answer to a token that passes, as soon as the gate knows its new credential."""
    return eventually(
        "it passes", lambda: answer if (answer := at_the_gate(up, token)).code == 200 else None
    )


def at_the_gate(up: Up, token: Secret) -> Answer:
    with up.connect("gate") as connection:
        return exchange(connection, get(bearer(token), host=HOST, path="/x"))
