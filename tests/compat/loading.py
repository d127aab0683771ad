"""What an older daypass wrote (`generate`), put where the daypass of today finds it.

The fixtures hold the state of the time at which they were made. Cached tokens and short-lived
tokens expire. So that no test fails one day, `moved` shifts each time within a day of the fixtures
by what has passed since, and `renewed` signs the two short-lived tokens again with the key of their
own API server. Nothing else of a fixture changes, except the UIDs of the objects that a real API
server creates.

The certificate authority of the state folder ends in November 2036. It is what a client trusted
then, so that it cannot be made anew.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from support.admin import APPLY_PATCH, Document
from support.controlplane import ControlPlane
from support.deadline import eventually

DATA = Path(__file__).resolve().parent / "data"
DAY_SECONDS = 86400
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def read(name: str) -> Any:
    """A JSON fixture."""
    return json.loads((DATA / name).read_text())


def now_unix() -> float:
    """Now."""
    return datetime.now(UTC).timestamp()  # noqa: TID251 - the clock of the programs under test


def moved(value: Any) -> Any:
    """The same with each time near that of the fixtures as long ago as it was then."""
    made = int(read("made.json")["unix"])
    passed = int(now_unix()) - made
    if isinstance(value, dict):
        return {key: moved(each) for key, each in value.items()}
    if isinstance(value, list):
        return [moved(each) for each in value]
    if isinstance(value, int | float) and abs(value - made) < DAY_SECONDS:
        return value + passed
    if isinstance(value, str) and _TIME.fullmatch(value):
        time = datetime.fromisoformat(value)
        if abs(time.timestamp() - made) < DAY_SECONDS:
            return f"{time + timedelta(seconds=passed):%Y-%m-%dT%H:%M:%SZ}"
    return value


# The cluster.


class OldCluster:
    """A control plane with the objects of `data/cluster`. `load` puts back what is missing."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        self.manifests: list[Document] = list(
            yaml.safe_load_all((DATA / "cluster/manifests.yaml").read_text())
        )
        self.others: list[Document] = yaml.safe_load((DATA / "cluster/objects.yaml").read_text())
        self._plurals: dict[tuple[str, str], str] = {}

    def load(self) -> None:
        """Make each object as it was made then: applied or created, by the same field manager."""
        recorded = [
            *({"manager": "daypass", "operation": "Apply", "object": m} for m in self.manifests),
            *self.others,
        ]
        first = ("Namespace", "ServiceAccount")
        recorded.sort(key=lambda each: each["object"]["kind"] not in first)
        recorded.sort(key=lambda each: each["object"]["kind"] != "Namespace")
        late = [each for each in recorded if each["object"]["kind"] == "ConfigMap"]
        uids: dict[str, str] = {}
        for each in recorded:
            if each not in late:
                made = self._make(each)
                uids[each["object"]["metadata"].get("uid", "")] = made["metadata"]["uid"]
        for each in late:
            self._make({**each, "object": self._about_what_is_there(each["object"], uids)})
        for each in self.others:
            if is_token_secret(each["object"]):
                path = self.path(each["object"])
                eventually("it is filled", lambda path=path: self.plane.admin.get(path).get("data"))  # type: ignore[misc]

    def path(self, document: Document) -> str:
        """Where an object is."""
        version, kind = document["apiVersion"], document["kind"]
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        if (version, kind) not in self._plurals:
            for each in self.plane.admin.get(root)["resources"]:
                if "/" not in each["name"]:
                    self._plurals[version, each["kind"]] = each["name"]
        namespace = document["metadata"].get("namespace")
        place = f"/namespaces/{namespace}" if namespace else ""
        return f"{root}{place}/{self._plurals[version, kind]}/{document['metadata']['name']}"

    def find(self, kind: str, name: str, namespace: str = "") -> Document | None:
        """An object of those that were loaded, as it is now; None where it has gone."""
        everything = [*self.manifests, *(each["object"] for each in self.others)]
        (document,) = (
            each
            for each in everything
            if (each["kind"], each["metadata"]["name"]) == (kind, name)
            and each["metadata"].get("namespace", "") == namespace
        )
        return self.plane.admin.find(self.path(document))

    def get(self, kind: str, name: str, namespace: str = "") -> Document:
        """The same of one that must be there."""
        document = self.find(kind, name, namespace)
        assert document is not None
        return document

    def _make(self, recorded: Mapping[str, Any]) -> Document:
        document, manager = recorded["object"], recorded["manager"] or "daypass"
        metadata = {
            k: v for k, v in document["metadata"].items() if k not in ("uid", "creationTimestamp")
        }
        document = {**document, "metadata": metadata}
        if is_token_secret(document):  # the control plane has keys of its own, and fills it
            del document["data"]
            annotations = dict(metadata["annotations"])
            annotations.pop("kubernetes.io/service-account.uid", None)
            document["metadata"] = {**metadata, "annotations": annotations}
        if "binaryData" in document:
            document["binaryData"] = {k: packed(v) for k, v in document["binaryData"].items()}
        path, admin = self.path(document), self.plane.admin
        if document["kind"] == "Namespace":
            eventually("it has gone, or is there", lambda: is_settled(admin.find(path)))
        query = f"?fieldManager={manager}"
        if recorded["operation"] == "Apply":
            headers = {"Content-Type": APPLY_PATCH}
            answer = admin.request("PATCH", f"{path}{query}&force=true", document, headers=headers)
        else:
            answer = admin.request("POST", path.rpartition("/")[0] + query, document)
            if answer.code == 409:
                return admin.get(path)
        assert answer.code in (200, 201), answer.body
        return answer.json

    def _about_what_is_there(self, document: Document, uids: Mapping[str, str]) -> Document:
        """A record of UIDs, with those that the objects have now, and its times moved."""
        known = json.dumps(moved(document))
        for old, new in uids.items():
            if old:
                known = known.replace(old, new)
        whole: Document = json.loads(known)
        if whole["metadata"]["name"] == "daypass-inventory":
            there = {self._key(each): self.path(each) for each in self.manifests}
            there |= {self._key(each["object"]): self.path(each["object"]) for each in self.others}
            for key, text in whole["data"].items():
                uid = self.plane.admin.get(there[key])["metadata"]["uid"]
                whole["data"][key] = json.dumps({**json.loads(text), "uid": uid})
        return whole

    @staticmethod
    def _key(document: Document) -> str:
        """What an inventory calls an object: NAMESPACE_NAME_GROUP_KIND, as kpt and Flux do."""
        group = document["apiVersion"].rpartition("/")[0]
        metadata = document["metadata"]
        name = metadata["name"].replace(":", "__")
        return f"{metadata.get('namespace', '')}_{name}_{group}_{document['kind']}"


def is_token_secret(document: Document) -> bool:
    """Whether the control plane writes a token into it."""
    return document.get("type") == "kubernetes.io/service-account-token"


def is_settled(namespace: Document | None) -> bool:
    """Whether it is not just about to go."""
    return namespace is None or namespace["status"]["phase"] == "Active"


def packed(content: Any) -> str:
    """A compressed value of a ConfigMap."""
    text = json.dumps(content, separators=(",", ":"), sort_keys=True).encode()
    return base64.b64encode(gzip.compress(text, mtime=0)).decode()


# The state folder.


def old_state(folder: Path) -> dict[str, str]:
    """Put the state folder and its config into `folder`; its two tokens, `revoked` and `good`."""
    state = folder / "state"
    shutil.copytree(DATA / "state", state)
    for name in ("daypass.yaml", "bot.json", "worker.json", "leaked.json"):
        shutil.move(state / name, folder / name)
    (state / "tokens.json").unlink()
    for directory in (folder, state):
        directory.chmod(0o700)
        for file in directory.glob("*"):
            file.chmod(0o700 if file.is_dir() else 0o600)
    (pem,) = read("state/api-server.json")["keys"]
    return {name: renewed(token, pem) for name, token in read("state/tokens.json").items()}


def renewed(token: str, pem: str) -> str:
    """The same token as if it had been issued as long ago as it was then."""
    key = load_pem_private_key(pem.encode(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    head, claims, _ = token.split(".")
    body = f"{head}.{encoded(json.dumps(moved(json.loads(decoded(claims)))).encode())}"
    return f"{body}.{encoded(key.sign(body.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def encoded(data: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decoded(text: str) -> bytes:
    """What is encoded so."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


# The token cache. What follows is the format of that version, written down once more on purpose.

FORMAT = b"daypass token 2"


def cache_key(uid: int, identity: list[bytes]) -> str:
    """The name of the file with the token that credentials by themselves ask for."""
    digest = blake2b(digest_size=32, person=b"daypass-cache")
    for part in (FORMAT, b"%d" % uid, b"-", b"-", *identity):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()


def sealed(content: bytes, key: str) -> bytes:
    """A file's content with its checksum."""
    digest = blake2b(content, digest_size=32, key=bytes.fromhex(key), person=b"daypass-entry")
    return content + digest.hexdigest().encode()


def of_a_file(folder: str, document: bytes) -> list[bytes]:
    """The identity that a credentials file in a folder is."""
    return [b"file", os.fsencode(folder), document]


def of_variables(variables: Mapping[str, str]) -> list[bytes]:
    """The identity that variables are."""
    named = sorted((k.removeprefix("DAYPASS_").lower(), v) for k, v in variables.items())
    return [b"variables", *(part.encode() for pair in named for part in pair)]


def cached_now(content: bytes, monotonic: float) -> bytes:
    """A file's content, without its checksum, as if the token had come just now."""
    lines = content.split(b"\n")
    lines[1:3] = b"%d" % int(now_unix()), b"%d" % int(monotonic)
    ends = datetime.fromtimestamp(now_unix() + 3600, UTC)
    lines[5] = f"{ends:%Y-%m-%dT%H:%M:%SZ}".encode()
    return b"\n".join(lines)
