"""What the agent is to do, checked."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalHook:
    """Send a signal to the process that a pid file names."""

    number: int
    pid_file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandHook:
    """Run a command, without a shell."""

    command: tuple[str, ...]
    timeout_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PostHook:
    """POST to a URL, with an empty body."""

    url: str
    timeout_seconds: int


Hook = SignalHook | CommandHook | PostHook


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFile:
    """One file and the token that belongs in it.

    `audience`, `lifetime_seconds` None: the credentials' own. `user_id`, `group_id` None: as the
    agent itself. `layout`: `file`, or `volume` for a folder that is swapped as a whole, as
    Kubernetes swaps what it mounts.
    """

    path: str
    audience: str | None
    lifetime_seconds: int | None
    format: str
    layout: str
    mode: int
    user_id: int | None
    group_id: int | None
    hooks: tuple[Hook, ...]

    @classmethod
    def private(
        cls, path: str, *, audience: str | None, lifetime_seconds: int | None
    ) -> "TokenFile":
        """A file for this user alone, that holds the token and nothing else."""
        return cls(
            path=path,
            audience=audience,
            lifetime_seconds=lifetime_seconds,
            format="token",
            layout="file",
            mode=0o600,
            user_id=None,
            group_id=None,
            hooks=(),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig:
    """A whole config file. `credentials` None: the environment names them."""

    credentials: str | None
    listen: tuple[str, int] | None
    stagger_seconds: int
    tokens: tuple[TokenFile, ...]
