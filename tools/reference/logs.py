"""docs/reference/logs.md: the fields of access logs, and the lists of events."""

from __future__ import annotations

import json
from collections.abc import Iterable
from enum import Enum

import yaml
from tools.reference.markdown import code, definitions, documented

from daypass.agent.log import AgentEvent
from daypass.gate.authorizer.audit_log import EVENTS_PER_SECOND, AuditEvent
from daypass.gate.watch.controller import WatchEvent
from daypass.render.envoy import door_listener, gate_listener

_MEANINGS = {
    "audit_id": "the API server's ID of the audit event; null if the door refused the request",
    "bytes_received": "of the request's body",
    "client": "the client's address, as the trusted hops report it",
    "code": "the HTTP code of the response; 0: the client went away first",
    "details": "where the response comes from: `via_upstream`, or Envoy's reason",
    "duration_ms": "until the end of the response",
    "flags": "Envoy's response flags",
    "host": "the host that the request names",
    "jti": "the token; null if it was not verified",
    "method": "the method",
    "path": "the path, which has the names of namespace and identity; only if it is published",
    "peer": "the address of the last hop",
    "protocol": "the version of HTTP",
    "reason": "[why the gate refused it](gate-refusals.md); null if it passed",
    "request_id": "the header X-Request-Id, of the client or made here; the response has it too",
    "route": "the door's rule",
    "server_name": "the host of the TLS handshake",
    "time": "when the request began (RFC 3339, UTC)",
    "upstream_failure": "why TLS to the API server failed",
    "user": "the caller; null if the token was not verified",
    "user_agent": "what the client calls itself",
}
"""By field of door or gate."""


def door() -> str:
    """Return the fields of the door's log."""
    refused = _fields(door_listener.REFUSAL_FIELDS)
    return f"{_fields(door_listener.LOG_FIELDS)}\n\nA refusal also has:\n\n{refused}"


def gate() -> str:
    """Return the fields of the gate's log on one machine."""
    return _fields(gate_listener.LOG_FIELDS)


def gate_istio() -> str:
    """Return the mesh's config for the same lines."""
    lines = ",\n ".join(
        f"{json.dumps(name)}: {json.dumps(value)}"
        for name, value in gate_listener.LOG_FIELDS.items()
    )
    format_ = "{" + lines + "}\n"
    mesh = {"accessLogFile": "/dev/stdout", "accessLogEncoding": "JSON", "accessLogFormat": format_}
    inside = "{apiVersion: install.istio.io/v1alpha1, kind: IstioOperator, spec: HERE}"
    return f"<!-- docs: inside, {inside} -->\n{_block({'meshConfig': mesh})}"


def gate_envoy_gateway() -> str:
    """Return the EnvoyProxy's config for the same lines. No filter state has the token there."""
    fields = {name: value for name, value in gate_listener.LOG_FIELDS.items() if name != "jti"}
    fields["user"] = "%REQ(KUBEFLOW-USERID)%"
    sink = {"type": "File", "file": {"path": "/dev/stdout"}}
    settings = [{"format": {"type": "JSON", "json": fields}, "sinks": [sink]}]
    spec = {"telemetry": {"accessLog": {"settings": settings}}}
    version, metadata = "gateway.envoyproxy.io/v1alpha1", {"name": "daypass"}
    return _block({"apiVersion": version, "kind": "EnvoyProxy", "metadata": metadata, "spec": spec})


def gate_serve() -> str:
    """Return the events of `daypass gate serve`."""
    events = _events(AuditEvent)
    return f"{events}\n\nAt most {EVENTS_PER_SECOND} events of a kind are written in a second."


def gate_watch() -> str:
    """Return the events of `daypass gate watch`."""
    return _events(WatchEvent)


def agent() -> str:
    """Return the events of `daypass agent`."""
    return _events(AgentEvent)


def _fields(fields: Iterable[str]) -> str:
    return definitions((code(name), _MEANINGS[name]) for name in fields)


def _block(document: object) -> str:
    class Dumper(yaml.SafeDumper):
        """Texts of several lines are blocks."""

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        style = "|" if "\n" in value else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style)

    Dumper.add_representer(str, text)
    written = yaml.dump(document, Dumper=Dumper, sort_keys=False, width=1000)
    return f"```yaml\n{written}```"


def _events(events: type[Enum]) -> str:
    meaning = documented(events)
    return definitions((_event(each), meaning[each.name]) for each in events)


def _event(event: Enum) -> str:
    """Return its name and, if it has one, its level."""
    name, *level = event.value if isinstance(event.value, tuple) else (event.value,)
    return ", ".join((code(name), *level))
