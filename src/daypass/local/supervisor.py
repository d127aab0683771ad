"""Keeps door and gate running: restarts Envoy with back-off, and follows config and keys."""

import threading
from collections.abc import Callable
from pathlib import Path

from daypass._core.backoff import Backoff
from daypass._core.clock import Clock
from daypass._core.errors import DaypassError
from daypass._core.files import fingerprint
from daypass._core.poller import Poller
from daypass.config import Config, load
from daypass.kube.certificate_authority import Authority
from daypass.local.api_backend import ApiBackend
from daypass.local.echo import Echo
from daypass.local.envoy_instance import EnvoyInstance, EnvoyInstanceSettings
from daypass.local.gate_services import Authorizers, CredentialWatch, ProblemLog
from daypass.local.settings import certificate_generation, envoy_settings, files_of
from daypass.rules.credentials import LOCAL_PARTS, Credential

CHECK_EVERY_SECONDS = 0.5
KEYS_EVERY_SECONDS = 2.0
BACKOFF = Backoff(first_seconds=0.5, longest_seconds=30.0)
STABLE_AFTER_SECONDS = 60.0

_FIXED: dict[str, Callable[[Config], object]] = {
    "adding, removing or renaming the gate": (
        lambda config: config.local_gate and config.local_gate[0]
    ),
    "another API server": lambda config: config.local.api_server,
    "another namespace": lambda config: config.door.namespace,
    "whether gate.bound has none": lambda config: config.accepts_unbound,
    "another watch": lambda config: config.watch,
    "another address for metrics": lambda config: config.local.metrics,
}
"""What a running door and gate cannot change."""


class Supervisor:
    """Runs the door, and the gate if there is one, of a config file.

    `backend`: the API server. `authority` issues the certificates that the config names no file
    for. `log` gets lines for the user. `workers`: threads of Envoy; None for one per core. `parts`:
    of the published set.
    `close_after_seconds`: how long the gate accepts tokens without seeing which credentials exist;
    None for the config's value.
    """

    def __init__(
        self,
        config_file: Path,
        backend: ApiBackend,
        authority: Authority,
        runtime: Path,
        clock: Clock,
        log: Callable[[str], None],
        *,
        workers: int | None = None,
        parts: int = LOCAL_PARTS,
        close_after_seconds: float | None = None,
    ) -> None:
        self._config_file = config_file
        self._backend = backend
        self._authority = authority
        self._runtime = runtime
        self._clock = clock
        self._log = log
        self._parts = parts
        self._failures = 0
        self._problems = ProblemLog(log)
        self._echo: Echo | None = None
        self._watch: CredentialWatch | None = None
        self._authorizers = Authorizers(backend, runtime, clock, log)
        self.config: Config = load(config_file)
        self._seen = self._signature(self.config)
        self._keys = Poller(lambda: backend.keys(self.config), KEYS_EVERY_SECONDS)
        try:
            settings = self._settings(self.config)
            if self.config.local_gate is not None:
                # Before Envoy starts, so that it has both at its first request.
                self._keys.fetch()
                self._keys.start()
                self._watch = CredentialWatch(
                    self.config,
                    backend.connection(),
                    self._authorizers,
                    clock,
                    parts=parts,
                    close_after_seconds=close_after_seconds
                    or self.config.watch.close_after_seconds,
                )
                self._watch.start()
            self.envoy = EnvoyInstance(
                runtime,
                settings,
                keys=self._keys.latest,
                published=self._authorizers.published,
                workers=workers,
            )
            self._authorizers.keep_new()
            if self._watch is not None:
                self._watch.attach(self.envoy)
        except BaseException:
            self._stop_following()
            self._stop_services()
            raise
        self._started_at = clock.monotonic()
        if self._keys.latest is not None:
            self._log("the gate has taken the API server's signing keys")
        self._follow()

    def wait_for_credential(self, credential: Credential) -> None:
        """Wait until tokens of a new credential pass the gate, if there is one."""
        if self._watch is not None:
            self._watch.wait_for(credential)

    def run(self, stop: threading.Event, reload: threading.Event) -> None:
        """Run until `stop` is set; everything is then still up. `reload` forces a check now."""
        while not stop.wait(CHECK_EVERY_SECONDS):
            self.check(stop, force=reload.is_set())
            reload.clear()

    def check(self, stop: threading.Event, *, force: bool = False) -> None:
        """Check once whether Envoy runs, and whether the config or the keys have changed."""
        if not self.envoy.process.running():
            self._revive(stop)
        self.envoy.process.trim_log()
        signature = self._signature(self.config)
        if signature != self._seen or force:
            self._seen = signature
            self._reload()
        self._follow()

    def stop(self) -> None:
        self._stop_following()
        self.envoy.stop()
        self._stop_services()

    def _stop_following(self) -> None:
        self._keys.stop()
        if self._watch is not None:
            self._watch.stop()

    def _stop_services(self) -> None:
        self._authorizers.stop()
        if self._echo is not None:
            self._echo.stop()

    def _reload(self) -> None:
        try:
            config = load(self._config_file)
            # The files that it names are followed from now on, even if it is refused below.
            self._seen = self._signature(config)
            for what, fixed in _FIXED.items():
                if fixed(config) != fixed(self.config):
                    raise DaypassError(f"{what} needs a new start", "stop this one first")
            settings = self._settings(config)
            self.envoy.apply(settings)
        except (OSError, DaypassError) as error:
            self._authorizers.keep_old()
            self._log(f"the change is refused, and everything runs on as before\n{error}")
            return
        self.config = config
        self._authorizers.keep_new()
        self._log(f"{self._config_file.name} has changed and is in force")

    def _follow(self) -> None:
        report = self._problems.report
        report(self._authorizers.check(), "the API server answers the gate again")
        if self._watch is not None:
            self._watch.report(self._problems)
        problem = self._keys.last_error
        try:
            if self._keys.latest is not None and self.envoy.set_keys(self._keys.latest):
                self._log("the gate has taken the API server's signing keys")
        except OSError as error:
            problem = f"the API server's signing keys could not be written: {error}"
        report(problem, "the API server's signing keys are read again")

    def _revive(self, stop: threading.Event) -> None:
        if self._clock.monotonic() - self._started_at > STABLE_AFTER_SECONDS:
            self._failures = 0
        self._failures += 1
        delay = BACKOFF.seconds(self._failures)
        self._log(
            f"Envoy {self.envoy.process.end_cause()}; a new one starts in {delay:g} s\n"
            f"{self.envoy.process.log_end()}"
        )
        if stop.wait(delay):
            return
        try:
            self.envoy.restart()
        except (OSError, DaypassError) as error:
            self._log(str(error))
        else:
            self._log("Envoy is up again")
        self._started_at = self._clock.monotonic()

    def _settings(self, config: Config) -> EnvoyInstanceSettings:
        issuer, echo, authorizer = "", None, None
        if config.local_gate is not None:
            issuer = self._backend.issuer(config)
            if config.local.upstream is None:
                if self._echo is None:
                    self._echo = Echo()
                    self._echo.start()
                echo = self._echo.address
            authorizer = self._authorizers.socket_for(config, issuer)
        return envoy_settings(
            config,
            self._backend.upstream(config),
            self._authority,
            self._runtime,
            self._clock,
            issuer=issuer,
            echo=echo,
            authorizer=authorizer,
            parts=self._parts,
        )

    def _signature(self, config: Config) -> object:
        """Return a value that changes with the config, its files, and the age of certificates."""
        files = map(str, [self._config_file, *files_of(config)])
        return certificate_generation(self._clock), [(file, fingerprint(file)) for file in files]
