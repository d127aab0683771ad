"""Runs door and gate together, and follows signing keys and credentials while they run."""

import threading
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from daypass._core.clock import Clock
from daypass._core.errors import UsageError
from daypass._core.threads import Poller
from daypass.config import Config
from daypass.deploy.certificate_authority import Authority
from daypass.gate.signing_keys import issuer_for, keys_for
from daypass.kube.cluster import Cluster
from daypass.local.api_backend import RIGHTS, ApiBackend
from daypass.local.echo import Echo
from daypass.local.envoy import EnvoyFailedError, EnvoyInstance
from daypass.local.gate_services import (
    CredentialWatch,
    LocalAuthorizer,
    ProblemLog,
    append_audit,
)
from daypass.local.settings import OwnCertificates, envoy_settings
from daypass.rules.published import LOCAL_SHARDS

CHECK_EVERY_SECONDS = 0.5
KEYS_EVERY_SECONDS = 2.0


class Supervisor:
    """Runs the door, and the gate if there is one, of a config.

    `authority` issues the certificates that the config names no file for. `log` gets lines for the
    user. `workers`: threads of Envoy; None for one per core. `shards`: of the published set.
    """

    def __init__(
        self,
        config: Config,
        backend: ApiBackend,
        authority: Authority,
        runtime: Path,
        clock: Clock,
        log: Callable[[str], None],
        *,
        workers: int | None = None,
        shards: int = LOCAL_SHARDS,
    ) -> None:
        self.config = config
        self._log = log
        self._problems = ProblemLog(log)
        self._authorizer: LocalAuthorizer | None = None
        self._watch: CredentialWatch | None = None
        self._keys: Poller[str] | None = None
        self._certificates = OwnCertificates(authority, runtime, clock)
        with ExitStack() as started:
            issuer, echo = "", None
            if config.local_gate is not None:
                if backend.connection is None:
                    fact = "the gate needs a user of the API server, and none is named"
                    raise UsageError(fact, RIGHTS)
                cluster = Cluster(backend.connection)
                started.callback(cluster.close)
                issuer = issuer_for(config, cluster)
                # Before Envoy starts, so that it has keys and credentials at its first request.
                self._keys = Poller(lambda: keys_for(config, cluster), KEYS_EVERY_SECONDS)
                started.callback(self._keys.stop)
                self._keys.fetch()
                self._keys.start()
                if config.local.upstream is None:
                    echo = started.enter_context(Echo()).address
                if config.local_gate[1].asks_authorizer:
                    self._authorizer = LocalAuthorizer(
                        config,
                        issuer,
                        backend.connection,
                        runtime / "authorizer.sock",
                        clock,
                        partial(append_audit, runtime),
                        checks_credentials=True,
                    )
                    started.callback(self._authorizer.stop)
                self._watch = CredentialWatch(
                    config, backend.connection, self._authorizer, clock, shards=shards
                )
                started.callback(self._watch.stop)
                self._watch.start()
            settings = envoy_settings(
                config,
                backend.upstream,
                self._certificates,
                issuer=issuer,
                echo=echo,
                authorizer=None if self._authorizer is None else self._authorizer.path,
                shards=shards,
            )
            self.envoy = EnvoyInstance(
                runtime,
                settings,
                keys=None if self._keys is None else self._keys.latest,
                published=None if self._watch is None else self._watch.published,
                workers=workers,
            )
            started.callback(self.envoy.stop)
            if self._watch is not None:
                self._watch.attach(self.envoy)
            self._started = started.pop_all()
        if self._keys is not None and self._keys.latest is not None:
            self._log("the gate has taken the API server's signing keys")
        self._follow()

    def wait_for_credential(self, uid: str) -> None:
        """Wait until tokens of a new credential pass the gate, if there is one."""
        if self._watch is not None:
            self._watch.wait_for(uid)

    def run(self, stop: threading.Event) -> None:
        """Run until `stop` is set; everything is then still up. Raises EnvoyFailedError."""
        while not stop.wait(CHECK_EVERY_SECONDS):
            self.check()

    def check(self) -> None:
        """Follow keys and certificates, and report problems. Raises EnvoyFailedError if Envoy has
        ended.
        """
        process = self.envoy.process
        if not process.running():
            raise EnvoyFailedError(f"Envoy {process.end_cause()}", process.log_end())
        process.trim_log()
        self._follow()

    def stop(self) -> None:
        self._started.close()

    def _follow(self) -> None:
        report = self._problems.report
        if self._authorizer is not None:
            report(self._authorizer.last_error, "the API server answers the gate again")
        if self._watch is not None:
            self._watch.report(self._problems)
        if self._keys is not None:
            problem = self._keys.last_error
            try:
                if self._keys.latest is not None and self.envoy.set_keys(self._keys.latest):
                    self._log("the gate has taken the API server's signing keys")
            except OSError as error:
                problem = f"the API server's signing keys could not be written: {error}"
            report(problem, "the API server's signing keys are read again")
        problem = ""
        try:
            self._certificates.renew()
        except OSError as error:
            problem = f"the certificates could not be renewed: {error}"
        report(problem, "the certificates are renewed")
