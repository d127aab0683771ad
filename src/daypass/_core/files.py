"""Files with secrets: read only if no other user has access, and written atomically.

Every command and the client import it. On Windows, that raises DaypassError.
"""

from __future__ import annotations

import errno
import os
import stat
import sys

from daypass._core.errors import DaypassError, UsageError

if sys.platform == "win32":
    raise DaypassError(
        "daypass does not run on Windows: it relies on the owners, modes and locks of POSIX files",
        "run it in WSL, https://learn.microsoft.com/windows/wsl, where it runs as on Linux",
        reason="windows",
    )

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PARTIAL = ".{}.daypass-"
"""The beginning of the name of a new file that is about to replace the file {}."""


class UnsafeFileError(DaypassError):
    """A file with secrets that others can read or write, or that is not a regular file."""


def read_private(
    path: str,
    *,
    limit_bytes: int,
    may_be_mounted: bool = False,
    is_public: Callable[[bytes], bool] | None = None,
) -> bytes:
    """Return the contents of a file with secrets.

    Raises UnsafeFileError for a symbolic link, anything but a regular file, another owner than
    this user or root, a mode that gives group or others access, and more than `limit_bytes`.
    Raises OSError if the file cannot be opened. The open file is checked, not the path, so that it
    cannot be swapped in between.

    `may_be_mounted`: also accept files of the kubelet or systemd. A group may read root's files,
    since root chose the group (an `fsGroup`, or an ACL, whose mask shows as the group's mode). The
    path may be a link into `..data` in its folder, as the kubelet makes them (k8s.io/kubernetes
    pkg/volume/util/atomic_writer.go), unless that leads out of the folder.

    `is_public`: whether content holds no secret. Others may read such a file, and never write it.
    What it raises takes precedence: advice about its mode is no use for a wrong file.
    """
    descriptor = _open(path, may_be_mounted)
    try:
        return _read_open(descriptor, path, limit_bytes, may_be_mounted, is_public)
    finally:
        os.close(descriptor)


def _open(path: str, may_be_mounted: bool) -> int:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        return os.open(path, flags)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
    if may_be_mounted and os.readlink(path) == f"..data/{os.path.basename(path)}":
        leads_to, folder = os.path.realpath(path), os.path.realpath(os.path.dirname(path))
        if leads_to.startswith(folder + "/"):
            return os.open(leads_to, flags)
    raise UnsafeFileError(f"{path} is a symbolic link", "name the file that it points to")


def read_ordinary(path: str, *, limit_bytes: int) -> bytes:
    """Return the contents of a regular file without secrets.

    Raises UnsafeFileError for anything else (reading a pipe could block) and for more than
    `limit_bytes`, and OSError if it cannot be opened.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        _verify_regular(os.fstat(descriptor), path)
        return _read_bounded(descriptor, path, limit_bytes)
    finally:
        os.close(descriptor)


def read_own(path: str) -> bytes:
    """Return the contents of a file that only this user and root can write.

    Raises UnsafeFileError for any other one, and OSError if it cannot be opened.
    """
    with open(path, "rb") as file:
        status = os.fstat(file.fileno())
        if status.st_mode & 0o022 or status.st_uid not in (0, os.geteuid()):
            raise UnsafeFileError(
                f"{path} can be written by others", f"chmod go-w {path}, and own it"
            )
        return file.read()


def _verify_regular(status: os.stat_result, path: str) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise UnsafeFileError(f"{path} is a directory", "name the file in it")
    if not stat.S_ISREG(status.st_mode):
        raise UnsafeFileError(f"{path} is not a regular file", "name a file")


def _read_open(
    descriptor: int,
    path: str,
    limit_bytes: int,
    may_be_mounted: bool,
    is_public: Callable[[bytes], bool] | None,
) -> bytes:
    status = os.fstat(descriptor)
    _verify_regular(status, path)
    is_foreign = status.st_uid not in (os.geteuid(), 0)
    others = status.st_mode & (0o037 if may_be_mounted and status.st_uid == 0 else 0o077)
    is_exposed = bool(is_foreign or others)
    is_refused = is_exposed and is_public is None
    content = b"" if is_refused else _read_bounded(descriptor, path, limit_bytes)
    is_secret = is_exposed and (is_public is None or not is_public(content))
    copy = f"copy it to a file of your own: install -m 600 {path} YOURS"
    if is_foreign:
        raise UnsafeFileError(f"{path} belongs to user {status.st_uid}, not to you", copy)
    if is_secret or others & 0o022:
        hint = f"close it with: chmod 600 {path}" if status.st_uid == os.geteuid() else copy
        if status.st_uid == 0 and os.path.islink(path):  # mounted by the kubelet, read-only
            hint = "in a pod's volume: defaultMode: 0440, and the pod has an fsGroup"
        raise UnsafeFileError(
            f"{path} can be read or written by others (mode {stat.S_IMODE(status.st_mode):04o})",
            hint,
        )
    return content


def _read_bounded(descriptor: int, path: str, limit_bytes: int) -> bytes:
    chunks: list[bytes] = []
    left = limit_bytes + 1
    while left > 0 and (chunk := os.read(descriptor, left)):
        chunks.append(chunk)
        left -= len(chunk)
    if left <= 0:
        raise UnsafeFileError(f"{path} is larger than {limit_bytes} bytes", "is it the right file?")
    return b"".join(chunks)


def fingerprint(path: str) -> str:
    """Return a text that changes when the file does, from its metadata; empty without a file."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return ""
    return f"{status.st_mtime_ns}.{status.st_ctime_ns}.{status.st_size}.{status.st_ino}"


def write_private(
    path: str,
    content: bytes,
    *,
    mode: int = 0o600,
    owner: tuple[int, int] = (-1, -1),
    durable: bool = True,
    folder: int | None = None,
) -> None:
    """Replace a file atomically: a reader finds the old content or the new one, nothing else.

    A new file in the same folder (see `create_private` for the arguments) is renamed over it. If
    the process is killed, `PARTIAL` is the beginning of what it leaves. Raises OSError, which
    leaves the old file in place.
    """
    head, name = os.path.split(path)
    partial = os.path.join(head, PARTIAL.format(name) + os.urandom(4).hex())
    try:
        create_private(partial, content, mode=mode, owner=owner, durable=durable, folder=folder)
        os.replace(partial, path, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException as error:
        try:  # noqa: SIM105 - no import of contextlib
            os.unlink(partial, dir_fd=folder)
        except OSError:
            pass
        if isinstance(error, OSError):  # without the random name
            error.filename = path
            del error.filename2
        raise


def create_private(
    path: str,
    content: bytes,
    *,
    mode: int,
    owner: tuple[int, int],
    durable: bool = True,
    folder: int | None = None,
) -> None:
    """Write a file that does not exist yet, and then give it this mode.

    `owner`: user and group, or -1 for those of this process. `durable=False` skips the sync, for
    content that can be obtained again and is checked on read. `folder`: a descriptor of the folder
    that `path` is relative to. Raises OSError.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600, dir_fd=folder)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        if owner != (-1, -1):
            os.fchown(descriptor, *owner)
        os.fchmod(descriptor, mode)  # last: until now, nobody else could open it
        if durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_text(file: str, what: str) -> str:
    """Return the ASCII text in a file, or on stdin for `-`. Raises UsageError."""
    name = "stdin" if file == "-" else file
    try:
        with open(0 if file == "-" else file, "rb", closefd=file != "-") as opened:
            content = opened.read()
    except OSError as error:
        hint = f"it takes a {what}: is the path right?"
        raise UsageError(f"{name} cannot be read: {error.strerror}", hint) from None
    fault = "is empty" if not content.strip() else "contains non-ASCII characters"
    if content.strip() and content.isascii():
        return content.decode("ascii").strip()
    raise UsageError(f"{name} {fault}", f"it takes a {what}")


def user_folder(environ: Mapping[str, str], variable: str, usual: str) -> str | None:
    """Return the folder that an XDG variable names, or else one below the home folder.

    None if the home folder is unknown. A relative path is ignored, as the XDG specification asks.
    """
    base = environ.get(variable, "")
    if base.startswith("/"):
        return base
    home = environ.get("HOME") or os.path.expanduser("~")
    return f"{home}/{usual}" if home.startswith("/") else None


def make_private_folder(path: str) -> None:
    """Make a folder and its parents, with access for this user only.

    Raises UnsafeFileError if it exists and belongs to, or is open to, another user.
    """
    missing = [path]  # one by one: os.makedirs sets the mode of the last one only
    while (parent := os.path.dirname(missing[-1])) and not os.path.isdir(parent):
        missing.append(parent)
    for folder in reversed(missing):
        try:  # noqa: SIM105 - no import of contextlib
            os.mkdir(folder, 0o700)
        except FileExistsError:
            pass
    status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode):
        raise UnsafeFileError(f"{path} is not a folder", "name a folder")
    if status.st_uid != os.geteuid():
        raise UnsafeFileError(f"the folder {path} belongs to another user", "name another folder")
    if status.st_mode & 0o077:
        raise UnsafeFileError(
            f"{path} is open to others (mode {stat.S_IMODE(status.st_mode):04o})",
            f"close it with: chmod 700 {path}",
        )
