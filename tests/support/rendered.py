"""Rendered manifests on a real Envoy: a pod's files put where the pod would see them."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daypass._core.kubernetes.objects import Object
from daypass.config import Config, parse
from daypass.local.envoy import Envoy, find_envoy, start_child
from daypass.render.names import CLUSTER_AUTHORITY, DOOR, DOOR_PAIR, door_server
from daypass.render.workloads import BOOTSTRAP, DOOR_CONFIG_FOLDER, RUN_FOLDER
from support.authority import Authority, Certificate
from support.deadline import eventually
from support.doors import post
from support.identities import Identity
from support.raw import Answer, connect, exchange

Files = Mapping[str, str]
Sources = dict[tuple[str, str], Files]
"""What volumes are filled from: files by (`configMap` or `secret`, name)."""


def config_of(text: str) -> Config:
    """The config in a text, as if it were /deployments/daypass.yaml."""
    return parse(text.encode(), name="daypass.yaml", folder=Path("/deployments"))


def only(objects: list[Object], kind: str, name: str | None = None) -> Object:
    """The only object of a kind, or of a kind and a name."""
    found = [o for o in objects if o["kind"] == kind and name in (None, o["metadata"]["name"])]
    assert len(found) == 1, [o["metadata"]["name"] for o in found]
    return found[0]


def pod_of(objects: list[Object]) -> Object:
    """The pod that the door's Deployment would make."""
    deployment = only(objects, "Deployment", DOOR)
    template = deployment["spec"]["template"]
    place = {"namespace": deployment["metadata"]["namespace"], "name": "door-0"}
    metadata = {**template["metadata"], **place}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


class Volume:
    """A ConfigMap's or Secret's files in a folder, replaced as kubelet does it: all at once, by a
    rename of the link that leads to them.
    """

    def __init__(self, folder: Path, files: Files) -> None:
        self.folder = folder
        folder.mkdir()
        self.put(files)
        for name in files:
            (folder / name).symlink_to(Path("..data") / name)

    def put(self, files: Files) -> None:
        new = self.folder / f"..{secrets.token_hex(4)}"
        new.mkdir()
        for name, text in files.items():
            (new / name).write_text(text)
        (self.folder / "..data_tmp").symlink_to(new.name)
        os.replace(self.folder / "..data_tmp", self.folder / "..data")


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedDoor:
    """A door as its pod would run it. `host` is the name that fronts ask for."""

    envoy: Envoy
    authority: Authority
    host: str
    volumes: Mapping[str, Volume]
    log: Path

    def send(self, request: bytes, *, authority: Authority | None = None) -> Answer:
        pem = (authority or self.authority).pem
        with connect(self.envoy.port("door"), authority_pem=pem, name=self.host) as connection:
            return exchange(connection, request)

    def show(self, name: str) -> None:
        """Show a certificate for another name, instead of its own."""
        pair = self.authority.server(name)
        self.volumes["tls"].put({"tls.crt": pair.certificate_pem, "tls.key": pair.key_pem})

        def shown() -> bool:
            port, pem = self.envoy.port("door"), self.authority.pem
            with connect(port, authority_pem=pem, name=name):
                return True

        eventually("the other certificate is shown", shown)

    def logged(self, agent: str) -> dict[str, Any]:
        """The line of its log about the one request of this User-Agent, once it is written."""

        def found() -> list[dict[str, Any]]:
            whole, _, _unfinished = self.log.read_text().rpartition("\n")
            lines = [json.loads(line) for line in whole.splitlines() if line.startswith("{")]
            return [line for line in lines if line.get("user_agent") == agent]

        (line,) = eventually("the request is logged", found)
        return line

    def requests(self) -> int:
        name = "http.door.downstream_rq_total"
        return int(self.envoy.stats(f"^{name}$")[name])


def token_request(identity: Identity, host: str, *extra: str) -> bytes:
    """A TokenRequest with the long-lived token, for the audience `gate`."""
    spec = {"audiences": ["gate"], "boundObjectRef": identity.bound_object_ref}
    authorization = f"Authorization: Bearer {identity.token.reveal()}"
    return post(
        f"/kubernetes{identity.token_path}",
        host=host,
        headers=(authorization, "Content-Type: application/json"),
        extra=extra,
        body=json.dumps({"spec": spec}).encode(),
    )


@contextmanager
def running_pod(
    folder: Path, config: Config, objects: list[Object], *, api_server: int, authority_pem: str
) -> Iterator[RenderedDoor]:
    """The door's pod, with a certificate of an authority of its own."""
    authority, host = Authority(), door_server(config.door.namespace).host
    with running_container(
        folder, objects, authority.server(host), api_server=api_server, authority_pem=authority_pem
    ) as (envoy, volumes):
        yield RenderedDoor(
            envoy=envoy, authority=authority, host=host, volumes=volumes,
            log=envoy.folder / "envoy.log",
        )  # fmt: skip


@contextmanager
def running_container(
    folder: Path, objects: list[Object], pair: Certificate, *, api_server: int, authority_pem: str
) -> Iterator[tuple[Envoy, dict[str, Volume]]]:
    """The door's container on this machine: its volumes in `folder`, its own arguments, free ports,
    and the API server on 127.0.0.1:`api_server`.
    """
    sources: Sources = {
        ("secret", DOOR_PAIR): {"tls.crt": pair.certificate_pem, "tls.key": pair.key_pem},
        ("configMap", CLUSTER_AUTHORITY): {"ca.crt": authority_pem},
    }
    for value in objects:
        if value["kind"] == "ConfigMap":
            sources["configMap", value["metadata"]["name"]] = value["data"]
    spec = pod_of(objects)["spec"]
    (container,) = spec["containers"]
    places = {m["name"]: m["mountPath"] for m in container["volumeMounts"]}
    here = {place: str(folder / name) for name, place in places.items()}

    def moved(text: str) -> str:
        for place, local in here.items():
            text = text.replace(place, local)
        return text

    volumes: dict[str, Volume] = {}
    for volume in spec["volumes"]:
        name = volume["name"]
        files = _contents(volume, sources)
        if files is None:
            (folder / name).mkdir()
            continue
        if places[name] == DOOR_CONFIG_FOLDER:
            files = {file: moved(text) for file, text in files.items()}
            files[BOOTSTRAP] = _on_loopback(files[BOOTSTRAP], api_server)
        volumes[name] = Volume(folder / name, files)
    run = Path(here[RUN_FOLDER])
    command = [str(find_envoy()), *(moved(argument) for argument in container["args"])]
    with (run / "envoy.log").open("ab") as output:
        envoy = Envoy(run, start_child(command, output=output, folder=run))
    try:
        envoy.wait_ready()
        yield envoy, volumes
    finally:
        envoy.stop()


def _contents(volume: dict[str, Any], sources: Sources) -> Files | None:
    """What kubelet would put into a volume; None for an empty one. KeyError where it would wait."""
    if "configMap" in volume:
        source, files = volume["configMap"], sources["configMap", volume["configMap"]["name"]]
    elif "secret" in volume:
        source, files = volume["secret"], sources["secret", volume["secret"]["secretName"]]
    else:
        return None
    items = source.get("items", [{"key": key, "path": key} for key in files])
    return {item["path"]: files[item["key"]] for item in items}


def _on_loopback(bootstrap: str, api_server: int) -> str:
    """The same config on free ports of loopback, and the API server there as well."""
    document = json.loads(bootstrap)
    for listener in document["static_resources"]["listeners"]:
        listener["address"]["socket_address"] = {"address": "127.0.0.1", "port_value": 0}
    cluster = document["static_resources"]["clusters"][0]
    (endpoints,) = cluster["load_assignment"]["endpoints"]
    (endpoint,) = endpoints["lb_endpoints"]
    endpoint["endpoint"]["address"]["socket_address"] = {
        "address": "127.0.0.1", "port_value": api_server,
    }  # fmt: skip
    return json.dumps(document)
