"""The public names of `import daypass`, which imports nothing else."""

from __future__ import annotations

import pickle
import subprocess
import sys

import daypass
from daypass._core.errors import DaypassError


def test_the_public_names_are_these() -> None:
    assert daypass.__all__ == [
        "Credentials",
        "CredentialsError",
        "DaypassError",
        "DoorBusyError",
        "DoorNotTrustedError",
        "DoorUnreachableError",
        "ExchangeRefusedError",
        "MissingExtraError",
        "NotADoorError",
        "Secret",
        "Token",
        "UsageError",
        "__version__",
    ]
    assert set(daypass.__all__) <= set(dir(daypass))
    for name in daypass.__all__:
        assert getattr(daypass, name) is not None


def test_ray_finds_the_function_of_the_scheme_daypass() -> None:
    name = "get_job_submission_client_cluster_info"
    assert name in dir(daypass)
    assert getattr(daypass, name).__module__ == "daypass.integrations.ray"


def test_import_daypass_is_enough_for_each_adapter() -> None:
    program = (
        "import daypass; daypass.integrations.httpx.Auth; daypass.integrations.grpc.metadata\n"
        "try: daypass.integrations.nothing\n"
        "except AttributeError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stderr == ""
    assert "no attribute 'nothing'" in done.stdout


def test_every_public_error_is_a_daypass_error_with_its_exit_code_and_survives_pickling() -> None:
    for name in daypass.__all__:
        kind = getattr(daypass, name)
        if isinstance(kind, type) and issubclass(kind, Exception):
            assert issubclass(kind, DaypassError)
            error = kind("fact", "hint")
            again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
            assert (type(again), str(again)) == (kind, str(error))
            assert again.exit_code in (1, 2)
            is_temporary = name in ("DoorBusyError", "DoorUnreachableError")
            assert again.heals_by_itself is is_temporary


def test_importing_it_imports_nothing_else() -> None:
    script = "import sys; before = {*sys.modules}; import daypass; print(*{*sys.modules} - before)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert set(done.stdout.split()) == {"__future__", "daypass"}
