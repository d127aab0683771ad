"""Make the fixtures of this folder with an older daypass, so that later ones are tested on them.

    cd CHECKOUT_OF_THE_OLDER_VERSION && make .venv/.synced
    PYTHONPATH=tests:. .venv/bin/python .../tests/compat/generate.py .../tests/compat/data

Everything comes from command lines of the `daypass` of that checkout: on a control plane of its
tests, from `daypass up` with the embedded API server, and before a fake door. What is written:

    made.json                 by which commit, and when (Unix seconds)
    cluster/daypass.yaml      the config
    cluster/manifests.yaml    what `daypass render` printed for it, without the bulk of Envoy's own
                              configuration, which tests/golden has
    cluster/denied.json       what an administrator has denied there
    cluster/objects.yaml      all other objects that daypass made there, each with the field manager
                              and the operation that it came by. Compressed content is unpacked.
    cache/                    what `daypass token` kept, and the credentials files that it is of
    credentials/              a file of each kind, and variables.json for the environment
    state/                    the state folder of `daypass up`, with its config, the credentials of
                              its identities, and tokens.json: one revoked and one good token

The keys and tokens are of servers that existed for these seconds: they open nothing.
Times are as they were. Whoever loads the fixtures shifts those that matter (see `loading`).
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from support.controlplane import ControlPlane
from support.fake_door import FakeDoor, credentials_document, jwt, token_answer
from support.kubeflow import install_kubeflow

Document = dict[str, Any]

HOST, AUDIENCE, TEAM, GRANTED = "ekf.example.com", "gate.example.com", "team", "alice"
DENIED_TOKEN = "0b2c8d0e-5d0f-4d8e-9b1a-6a52f1c0a0c4"
CLUSTER = f"""\
version: 1
cluster: {{issuer: 'https://kubernetes.default.svc'}}
domains:
  ekf: {{host: {HOST}, front: istio, tls: {{secret: ekf-tls}}}}
policy: {{audiences: [{AUDIENCE}], longestLifetime: 2h}}
gate: {{audience: {AUDIENCE}, check: review, image: 'registry.example.com/daypass:1'}}
"""
LOCAL = f"""\
version: 1
domains: {{here: {{host: localhost, front: envoy}}}}
policy: {{audiences: [{AUDIENCE}], longestLifetime: 24h}}
gate: {{audience: {AUDIENCE}, engine: envoy}}
local: {{door: "127.0.0.1:0", gate: "127.0.0.1:0"}}
"""
ISSUER = ("--issuer", "https://token.actions.githubusercontent.com", "--subject", "repo:o/app:main")

README = """\
# Written by an older daypass

`../generate.py` made these files; its docstring lists them. Do not edit them: tests show that the
daypass of today still reads what is here.

The keys and tokens open nothing. Each belongs to a server that ran for the seconds in which these
files were made.
"""

KINDS = {
    "/api/v1": ("namespaces", "serviceaccounts", "secrets", "configmaps"),
    "/apis/rbac.authorization.k8s.io/v1": (
        "roles", "rolebindings", "clusterroles", "clusterrolebindings",
    ),
    "/apis/admissionregistration.k8s.io/v1": (
        "validatingadmissionpolicies", "validatingadmissionpolicybindings",
    ),
    "/apis/security.istio.io/v1": ("authorizationpolicies",),
    "/apis/networking.istio.io/v1alpha3": ("envoyfilters",),
}  # fmt: skip
LONG = 20_000
BY_THE_SERVER = ("resourceVersion", "generation", "managedFields", "selfLink")


def main(data: Path) -> None:
    """Replace the fixtures in `data`."""
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(parents=True)
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    )
    with tempfile.TemporaryDirectory() as scratch:
        make_cluster(data / "cluster", Path(scratch, "plane"))
        make_state(data / "state", Path(scratch, "up"))
        make_credentials(data / "credentials", Path(scratch, "plane"))
        make_cache(data / "cache", Path(scratch, "home"))
    made = {"commit": commit.stdout.strip(), "unix": int(time.time())}  # noqa: TID251
    write_json(data / "made.json", made)
    (data / "README.md").write_text(README)


def daypass(*arguments: str, folder: Path, **environ: str) -> str:
    """What a command prints."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DAYPASS_")}
    done = subprocess.run(
        [sys.executable, "-m", "daypass", *arguments],
        cwd=folder, env={**environment, **environ}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    sys.stderr.write(f"daypass {' '.join(arguments)}: {done.returncode}\n")
    if done.returncode != 0:
        sys.exit(done.stderr)
    return done.stdout


def make_cluster(data: Path, folder: Path) -> None:
    """All that an administrator does in a cluster, up to a revocation and a denial."""
    data.mkdir()
    (data / "daypass.yaml").write_text(CLUSTER)
    with ControlPlane.start(folder) as plane:
        install_kubeflow(plane)
        for name in ("istio-system", GRANTED):
            plane.admin.create("/api/v1/namespaces", {"metadata": {"name": name}})
        before = {key for key, _ in objects(plane)}
        (folder / "daypass.yaml").write_text(CLUSTER)

        def run(*arguments: str) -> str:
            return daypass(*arguments, folder=folder, KUBECONFIG=str(plane.kubeconfig))

        rendered = run("render")
        documents = [shortened(each) for each in yaml.safe_load_all(rendered)]
        (data / "manifests.yaml").write_text(yaml.safe_dump_all(documents, sort_keys=False))
        run("apply", "--yes", "--no-commit", "--no-wait")
        for name in ("bot", "worker", "leaver", "leaked", "gone"):
            run("identity", "create", name, "-n", TEAM, "--create-namespace")
        run("identity", "authorize", "bot", "-n", TEAM, "--in", GRANTED, "--role", "view")
        run("identity", "authorize", "leaver", "-n", TEAM, "--in", GRANTED, "--role", "view")
        run(
            "identity", "federate", "ci", "-n", TEAM, *ISSUER, "--source", "github",
            "--credentials-out", "ci.json",
        )  # fmt: skip
        run("identity", "rotate", "worker", "-n", TEAM, "--force")
        run("gate", "watch", "--once")
        run("identity", "revoke", "leaked", "-n", TEAM)
        run("identity", "delete", "gone", "-n", TEAM, "--yes")
        run("gate", "deny", "--jti", DENIED_TOKEN, "--until", "2999-01-01T00:00:00Z")
        run("gate", "watch", "--once")
        write_json(data / "denied.json", {"jti": DENIED_TOKEN})
        there = {
            (each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"])
            for each in yaml.safe_load_all(rendered)
        }
        kept = [
            recorded(document)
            for key, document in objects(plane)
            # `apply` adds a label to its namespace.
            if key not in before
            and (key not in there or key[0] == "Namespace")
            and not by_a_controller(document)
        ]
    (data / "objects.yaml").write_text(
        "# Of a cluster that is no more: its keys and tokens open nothing.\n"
        + yaml.safe_dump(kept, sort_keys=False, width=110)
    )


def shortened(document: Document) -> Document:
    """Without the bulk of an object that holds configuration of Envoy's."""
    if len(json.dumps(document)) < LONG:
        return document
    if document["kind"] == "EnvoyFilter":
        (first, *_) = document["spec"]["configPatches"]
        return {**document, "spec": {**document["spec"], "configPatches": [first]}}
    short = {k: v if len(v) < LONG else "{}" for k, v in document["data"].items()}
    return {**document, "data": short}


def objects(plane: ControlPlane) -> Iterator[tuple[tuple[str, str, str], Document]]:
    """Every object of KINDS, by kind, namespace and name."""
    for group, plurals in KINDS.items():
        for plural in plurals:
            listed = plane.admin.get(f"{group}/{plural}")
            for item in listed["items"]:
                head = {"apiVersion": listed["apiVersion"], "kind": listed["kind"][: -len("List")]}
                metadata = item["metadata"]
                key = (head["kind"], metadata.get("namespace", ""), metadata["name"])
                yield key, {**head, **item}


def by_a_controller(document: Document) -> bool:
    """Whether every namespace has it, or it has the right to it from elsewhere."""
    name = document["metadata"]["name"]
    return name in ("kube-root-ca.crt", "default") or document["metadata"].get("namespace") in (
        "kube-system", "kube-public", "kube-node-lease",
    )  # fmt: skip


def recorded(document: Document) -> Document:
    """How it came to be there, and what it was."""
    fields = document["metadata"].get("managedFields") or [{"manager": "", "operation": "Update"}]
    ours = [each for each in fields if each["manager"].startswith("daypass")] or fields[:1]
    kept = {k: v for k, v in document["metadata"].items() if k not in BY_THE_SERVER}
    found = {**document, "metadata": kept}
    if "binaryData" in found:
        found["binaryData"] = {key: unpacked(text) for key, text in found["binaryData"].items()}
    return {"manager": ours[0]["manager"], "operation": ours[0]["operation"], "object": found}


def unpacked(text: str) -> Any:
    """What stands in a compressed value: JSON."""
    return json.loads(gzip.decompress(base64.b64decode(text)))


def make_state(data: Path, folder: Path) -> None:
    """A machine with `daypass up`, three identities, and what one of them had revoked."""
    folder.mkdir()
    (folder / "daypass.yaml").write_text(LOCAL)
    with up(folder) as ready:
        kubeconfig = str(folder / ready["kubeconfig"])
        door = ("--certificate-authority", ready["certificateAuthority"], "--audience", AUDIENCE)
        for name in ("bot", "worker", "leaked"):
            daypass(
                "identity", "create", name, "-n", TEAM, "--create-namespace",
                "--door", ready["doors"][0], *door, folder=folder, KUBECONFIG=kubeconfig,
            )  # fmt: skip
        tokens = {
            name: daypass("token", "--no-cache", "--credentials", f"{name}.json", folder=folder)
            for name in ("bot", "leaked")
        }
        daypass("identity", "revoke", "leaked", "-n", TEAM, folder=folder, KUBECONFIG=kubeconfig)
    data.mkdir()
    for file in (folder / "state").iterdir():
        if file.suffix == ".json":
            write_json(data / file.name, json.loads(file.read_text()))
        elif file.name != "lock":
            shutil.copy(file, data)
    for name in ("daypass.yaml", "bot.json", "worker.json", "leaked.json"):
        shutil.copy(folder / name, data)
    named = {"revoked": tokens["leaked"].strip(), "good": tokens["bot"].strip()}
    write_json(data / "tokens.json", named)


@contextmanager
def up(folder: Path) -> Iterator[Document]:
    """A running `daypass up`, and what it printed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "daypass", "up", "--state", "state", "--output", "json"],
        cwd=folder, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.terminate()
        process.wait(30)


def make_credentials(data: Path, folder: Path) -> None:
    """Those that commands write, and those that people write by the documentation."""
    data.mkdir()
    for name, file in (("token", "bot.json"), ("federated-github", "ci.json")):
        shutil.copy(folder / file, data / f"{name}.json")
    inline = json.loads((data / "token.json").read_text())
    federated = json.loads((data / "federated-github.json").read_text())
    (data / "token-file.txt").write_text(inline["token"] + "\n")
    claims = {"iss": ISSUER[1], "sub": ISSUER[3], "aud": inline["door"]}
    (data / "oidc-token.txt").write_text(jwt(claims) + "\n")
    authority = (folder / "ca.crt").read_text()
    kinds = {
        "token-with-everything": {
            **inline, "certificateAuthority": authority, "lifetimeSeconds": 1800,
        },
        "token-in-a-file": {**inline, "token": {"file": "token-file.txt"}},
        "token-in-a-variable": {**inline, "token": {"variable": "BOT_TOKEN"}},
        "token-of-a-program": {
            **inline,
            "namespace": TEAM,
            "serviceAccount": "bot",
            "token": {"exec": ["cat", "token-file.txt"]},
        },
        "federated-file": {**federated, "token": {"file": "oidc-token.txt"}},
        "federated-variable": {**federated, "token": {"variable": "CI_TOKEN"}},
    }  # fmt: skip
    for name, document in kinds.items():
        write_json(data / f"{name}.json", document)
    variables = {
        "DAYPASS_DOOR": inline["door"],
        "DAYPASS_TOKEN": inline["token"],
        "DAYPASS_AUDIENCE": inline["audience"],
    }
    write_json(data / "variables.json", variables)


def make_cache(data: Path, home: Path) -> None:
    """One token by a credentials file, and one by variables; the door is only there now."""
    home.mkdir()
    data.mkdir()
    with FakeDoor(token_answer(now=time.time(), date=time.time()), context=None) as door:  # noqa: TID251
        document = {
            k: v for k, v in credentials_document(door.url).items() if isinstance(v, str | int)
        }
        write_json(home / "credentials.json", document)
        (home / "credentials.json").chmod(0o600)
        by_file = {"DAYPASS_CREDENTIALS": str(home / "credentials.json")}
        by_variables = {
            "DAYPASS_DOOR": door.url,
            "DAYPASS_TOKEN": str(document["token"]),
            "DAYPASS_AUDIENCE": str(document["audience"]),
        }
        index: Document = {"uid": os.geteuid(), "folder": str(home)}
        for name, environ in (("file", by_file), ("variables", by_variables)):
            index[name] = kept_by(home, environ)
    index["environment"] = by_variables
    write_json(data / "index.json", index)
    shutil.copy(home / "credentials.json", data)
    for name in ("file", "variables"):
        shutil.copy(home / "cache/daypass/tokens" / index[name], data)


def kept_by(home: Path, environ: Mapping[str, str]) -> str:
    """The name of the file that a token is kept in."""
    folder = home / "cache/daypass/tokens"
    before = set(folder.iterdir()) if folder.exists() else set()
    daypass("token", folder=home, XDG_CACHE_HOME=str(home / "cache"), **environ)
    (new,) = (each for each in folder.iterdir() if each not in before and "." not in each.name)
    return new.name


def write_json(file: Path, document: Mapping[str, Any]) -> None:
    """A file that people can read."""
    file.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
