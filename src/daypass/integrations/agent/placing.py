"""Putting a token file in place whole: a reader finds the old token or the new one, nothing else.

`file`: written beside the old one and renamed over it. `volume`: as the kubelet does with what it
mounts, so that who watches `..data` sees all files of a folder change at once:

    gate   -> ..data/gate
    ..data -> ..daypass-1f0c22aa            swapped by a rename
    ..daypass-1f0c22aa/gate                 the files; those of the generation before stay one
                                            renewal longer, for who was just opening them

Whatever moment the agent is killed at, what it leaves behind is swept at the next placing.
"""

import os
import shutil
import threading

from daypass.integrations.agent.config import TokenFile

_GENERATION = "..daypass-"
_CURRENT, _NEXT = "..data", "..data_next"
_FOLDER_MODE = 0o755
"""Who may read which file is up to the files' modes."""
_one_at_a_time = threading.Lock()


def place(target: TokenFile, content: bytes) -> None:
    """Make `content` what the file holds, with its mode and owner; raises OSError, and then
    everything is as it was."""
    with _one_at_a_time:  # tokens of a volume share its generations
        if target.layout == "file":
            _replace(target, content)
        else:
            _swap(target, content)


def _replace(target: TokenFile, content: bytes) -> None:
    folder, name = os.path.split(target.path)
    _sweep(folder, f".{name}.daypass-", keep=())
    partial = f"{folder}/.{name}.daypass-{os.urandom(4).hex()}"
    try:
        _write_new(partial, content, target)
        os.replace(partial, target.path)
    except BaseException:
        _discard(partial)
        raise


def _swap(target: TokenFile, content: bytes) -> None:
    folder, name = os.path.split(target.path)
    before = _generation(folder)
    after = _GENERATION + os.urandom(4).hex()
    os.mkdir(f"{folder}/{after}")
    try:
        os.chmod(f"{folder}/{after}", _FOLDER_MODE)  # whatever the umask
        for other in os.listdir(f"{folder}/{before}") if before else ():
            if other != name:
                os.link(f"{folder}/{before}/{other}", f"{folder}/{after}/{other}")
        _write_new(f"{folder}/{after}/{name}", content, target)
        _link(after, f"{folder}/{_NEXT}", f"{folder}/{_CURRENT}")
    except BaseException:
        shutil.rmtree(f"{folder}/{after}", ignore_errors=True)
        raise
    leads_to = f"{_CURRENT}/{name}"
    if not os.path.islink(target.path) or os.readlink(target.path) != leads_to:
        _link(leads_to, f"{folder}/..{name}_next", target.path)
    _sweep(folder, _GENERATION, keep=(before, after))


def _generation(folder: str) -> str:
    """The name of the folder that `..data` leads to, or nothing where there is none of ours."""
    try:
        name = os.readlink(f"{folder}/{_CURRENT}")
    except OSError:
        return ""
    return name if name.startswith(_GENERATION) and os.path.isdir(f"{folder}/{name}") else ""


def _link(leads_to: str, partial: str, path: str) -> None:
    _discard(partial)
    os.symlink(leads_to, partial)
    os.replace(partial, path)


def _write_new(path: str, content: bytes, target: TokenFile) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        if target.user_id is not None or target.group_id is not None:
            user = -1 if target.user_id is None else target.user_id
            os.fchown(descriptor, user, -1 if target.group_id is None else target.group_id)
        os.fchmod(descriptor, target.mode)  # the last: whoever may not have it never could
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sweep(folder: str, prefix: str, *, keep: tuple[str, ...]) -> None:
    for name in os.listdir(folder):
        if name.startswith(prefix) and name not in keep:
            path = f"{folder}/{name}"
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path, ignore_errors=True)
            else:
                _discard(path)


def _discard(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
