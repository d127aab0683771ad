"""What the tiers share: one real control plane, and how tests are spread over workers."""

from __future__ import annotations

import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from support.controlplane import ControlPlane
    from support.hints import Recorder

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # `tools` is beside `tests`

with suppress(ModuleNotFoundError):  # the environment of kfp has none
    from hypothesis import HealthCheck, settings

    # How fast a machine is, and what else it does, is no property of ours. The same examples each
    # time: what chance finds does not fail a change that has nothing to do with it. `make fuzz`
    # looks for more.
    patient = settings(
        deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None,
        derandomize=True, max_examples=50,
    )  # fmt: skip
    settings.register_profile("patient", patient)
    settings.register_profile("fuzz", patient, derandomize=False, max_examples=100)
    settings.load_profile("patient")


ENVOY_GATEWAY = "envoy_gateway"
"""The folders of what needs an Envoy Gateway, which can run once on a machine."""

CONTROL_PLANE = (
    "tests/contract/", "tests/integrations/test_kubernetes.py", "tests/wire/test_rendered_door.py",
)  # fmt: skip
"""What needs a control plane, where most tests need none: one worker, and so one of them, for all.
"""

TIERS_BY_DURATION = (
    "controllers", "serving", "cluster", "operation", "packages", "examples", "local", "wire",
    "contract", "integrations", "agent", "props", "git",
)  # fmt: skip
"""The folders whose other files take longest, longest first; all other tests take no time."""

LONG_FILES = (
    "test_gate_keys.py", "test_models.py", "test_transcripts.py", "test_apply.py",
    "test_config_life.py", "test_identity_gate.py", "test_gate_faults.py", "test_gate_watch.py",
    "test_apply_gate.py", "test_apply_models.py", "test_gate_failures.py", "test_rbac.py",
    "test_story.py", "test_gate_watch_istio.py", "test_gate_istio.py",
    "test_identity_lifecycle.py", "test_refusal_clients.py", "test_policy_truth.py",
    "test_federation.py", "test_rbac_apply.py", "test_second_gate.py", "test_ci_clients.py",
)  # fmt: skip
"""After what needs Envoy Gateway, they begin before all other files, in this order."""

SPREAD_FILES = ("test_transcripts.py",)
"""Their tests share nothing, so that several workers take them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the slowest files first, so that no worker is left with a long one at the end."""
    tiers = {tier: number for number, tier in enumerate(TIERS_BY_DURATION)}
    files = {name: number for number, name in enumerate(LONG_FILES)}

    def order(item: pytest.Item) -> tuple[int, int]:
        tier = tiers.get(item.nodeid.split("/")[1], len(tiers))
        if item.path.parent.name == ENVOY_GATEWAY or item.nodeid.startswith(CONTROL_PLANE):
            return -1, tier
        return files.get(item.path.name, len(files)), tier

    items.sort(key=order)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each worker whole files, since most tests of a file share what is slow to start, and one
    of them all that needs Envoy Gateway, and what is in CONTROL_PLANE.
    """
    from xdist.scheduler import LoadFileScheduling

    def unit_of_work(nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        folder, _, name = file.rpartition("/")
        if name in SPREAD_FILES:
            return nodeid
        if nodeid.startswith(CONTROL_PLANE):
            return "control plane"
        return ENVOY_GATEWAY if folder.endswith(f"/{ENVOY_GATEWAY}") else file

    config.option.loadscopereorder = False  # pytest_collection_modifyitems has put them in order
    scheduler = LoadFileScheduling(config, log)
    scheduler._split_scope = unit_of_work
    return scheduler


class ClosingSocket(ssl.SSLSocket):
    """A TLS socket that closes if TLS cannot begin. Before Python 3.13, `wrap_socket` leaves a
    connection that was reset before it to the garbage collector.
    """

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        try:
            return super().recv(buflen, flags)
        except ConnectionError:
            if self.version() is None:  # TLS has not begun
                self.close()
            raise


def pytest_configure(config: pytest.Config) -> None:
    """Before any test begins."""
    if sys.version_info < (3, 13):
        ssl.SSLContext.sslsocket_class = ClosingSocket
    if config.getoption("hypothesis_profile", None) != "fuzz":
        with suppress(ModuleNotFoundError):
            _leave_out_constants()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Children take signals as in a terminal. A run in the background, or under nohup, ignores
        # some, and so would they: what is ignored stays so in a new program, what is handled not.
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


def _leave_out_constants() -> None:
    """Let Hypothesis try no constants of the modules that are imported: a single file's run has
    fewer of them, and a change elsewhere would change the examples. It has no setting for that.
    """
    from hypothesis.internal.conjecture import providers

    none = providers._local_constants
    assert len(none) == 0, "a test has run already"
    assert callable(providers._get_local_constants), "Hypothesis has it elsewhere"
    providers._get_local_constants = lambda: none


@pytest.fixture(scope="session")
def hint_recorder() -> Recorder:
    """What records each command that a message of this process names."""
    from support.hints import Recorder

    recorder = Recorder()
    recorder.install()
    return recorder


@pytest.fixture(autouse=True)
def named_commands(hint_recorder: Recorder) -> Iterator[Recorder]:
    """The commands that messages named during this test: each is one that the program takes."""
    hint_recorder.hints.clear()
    hint_recorder.mistakes.clear()
    yield hint_recorder
    assert not hint_recorder.mistakes, "a message names a command that does not parse"


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A real kube-apiserver with etcd and kube-controller-manager, one for the whole session.

    Tests share it: each makes a namespace of its own. Where it cannot be had, the test fails and
    says why.
    """
    from support.controlplane import ControlPlane

    with ControlPlane.start(tmp_path_factory.mktemp("control-plane")) as plane:
        yield plane


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of this checkout, built from its sdist, as `uv build` and `pip` do."""
    from tools.bootstrap import ROOT, ensure_uv

    folder = tmp_path_factory.mktemp("wheel")
    build = [str(ensure_uv()), "build", "--quiet", "--out-dir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, timeout=600)
    (wheel,) = folder.glob("*.whl")
    return wheel
