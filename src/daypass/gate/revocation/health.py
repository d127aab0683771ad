"""What the watch of a cluster tells of itself: to probes, to Prometheus, and to people."""

from __future__ import annotations

import json
from collections.abc import Iterator

from daypass._core.clock import Clock
from daypass._core.status_server import Routes
from daypass.gate.revocation.controller import RevocationController


class WatchHealth:
    """Reads a watch from any thread."""

    def __init__(self, watch: RevocationController, clock: Clock) -> None:
        self._watch = watch
        self._clock = clock

    @property
    def answers(self) -> Routes:
        """`/healthz`: it runs. `/readyz`: it has seen all and hears. `/status`: whether anybody has
        to do something, and what. `/metrics`.
        """
        return {
            "/healthz": lambda: (200, "alive\n"),
            "/readyz": self._ready,
            "/status": self._status,
            "/metrics": lambda: (200, "\n".join([*self._lines(), ""])),
        }

    def problems(self) -> dict[str, str]:
        """What is wrong, by a word for it."""
        watch = self._watch
        found = {
            "trouble": watch.following.trouble,
            "publish": watch.trouble,
            "lease": watch.lease.trouble,
            "keys": "" if watch.keys is None else watch.keys.trouble,
            "namespaces": ", ".join(sorted(watch.following.unfollowed)),
        }
        if watch.following.is_closed:
            found["closed"] = "nothing was heard of what is revoked for too long, or never"
        return {name: text for name, text in found.items() if text}

    def _ready(self) -> tuple[int, str]:
        following = self._watch.following
        if following.is_closed:
            return 503, "it has not heard lately what is revoked\n"
        if not following.is_settled:
            return 503, "it has not seen all yet\n"
        if self._watch.trouble:
            return 503, f"{self._watch.trouble}\n"
        return 200, "ready\n"

    def _status(self) -> tuple[int, str]:
        problems = self.problems()
        document = {
            "leader": self._watch.lease.is_held,
            "holder": self._watch.lease.holder,
            "problems": problems,
        }
        return 503 if problems else 200, json.dumps(document, indent=2) + "\n"

    def _lines(self) -> Iterator[str]:
        watch, now = self._watch, self._clock.monotonic()
        revoked = watch.published
        with watch.following.lock:
            oldest = watch.following.denials.oldest_unix
        entries = {} if revoked is None else {
            "secret": len(revoked.secrets), "serviceAccount": len(revoked.service_accounts),
            "token": len(revoked.tokens), "namespace": len(revoked.namespaces),
        }  # fmt: skip
        yield from _gauge("leader", "1 for the one that publishes.", int(watch.lease.is_held))
        yield from _gauge("healthy", "1 where nobody has to do anything.", int(not self.problems()))
        yield from _gauge("closed", "1 where all tokens are refused.", watch.following.is_closed)
        yield from _head("entries", "gauge", "What is refused.")
        yield from (f'daypass_gate_watch_entries{{kind="{k}"}} {n}' for k, n in entries.items())
        if oldest is not None:
            age = self._clock.unix() - oldest
            yield from _gauge("oldest_entry_seconds", "Age of the oldest entry.", round(age))
        yield from _head("heard_seconds", "gauge", "Since a feed has heard anything.")
        for feed in watch.following.feeds:
            silent = feed.silent_seconds()
            if silent is not None:
                kind, place = feed.followed.resource.plural, feed.followed.namespace or ""
                labels = f'{{kind="{kind}",namespace="{place}"}}'
                yield f"daypass_gate_watch_heard_seconds{labels} {silent:.0f}"
        following = watch.following
        yield from _gauge("namespaces_followed", "Of identities.", len(following.followed))
        yield from _gauge(
            "namespaces_not_followed", "Of identities, whose tokens are refused.",
            len(following.unfollowed),
        )  # fmt: skip
        if watch.published_at is not None:
            yield from _gauge("published_seconds", "Since a list.", round(now - watch.published_at))
        if watch.keys_at is not None:
            yield from _gauge("keys_seconds", "Since other keys.", round(now - watch.keys_at))
        yield from _head("publish_errors_total", "counter", "Lists that could not be published.")
        yield f"daypass_gate_watch_publish_errors_total {watch.errors}"


def _gauge(name: str, words: str, value: float) -> Iterator[str]:
    yield from _head(name, "gauge", words)
    yield f"daypass_gate_watch_{name} {int(value)}"


def _head(name: str, kind: str, words: str) -> Iterator[str]:
    yield f"# HELP daypass_gate_watch_{name} {words}"
    yield f"# TYPE daypass_gate_watch_{name} {kind}"
