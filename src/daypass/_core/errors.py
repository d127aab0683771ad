"""The base class of daypass's errors, and those that more than one package raises."""


def reason_code(kind: type[BaseException]) -> str:
    """Return the reason code of a class of errors: "not-a-door" for NotADoorError."""
    name = kind.__name__.removesuffix("Error")
    return "".join(f"-{c.lower()}" if c.isupper() else c for c in name).lstrip("-_")


class DaypassError(Exception):
    """Something that a user can act upon: a fact, and a hint at what to do next.

    `str(error)` is the fact followed by the hint. Errors hold no secret and survive pickling.
    `exit_code` is the exit code of a command (1 failed, 2 usage). `heals_by_itself` is true if
    the same attempt may succeed later without a change. `reason` is a stable code for the case,
    such as "connect-timeout"; if the class is its only case, its name as `reason_code` forms it.
    """

    exit_code = 1
    heals_by_itself = False
    reason = "failed"

    def __init_subclass__(cls) -> None:
        if "reason" not in cls.__dict__:
            cls.reason = reason_code(cls)

    def __init__(self, fact: str, hint: str = "", *, reason: str = "") -> None:
        super().__init__(fact, hint)
        self.fact = fact
        self.hint = hint
        if reason:
            self.reason = reason

    def __str__(self) -> str:
        return f"{self.fact}\n{self.hint}" if self.hint else self.fact


class UsageError(DaypassError):
    """A mistake in the command line, the environment or a file that the user wrote."""

    exit_code = 2


class MissingExtraError(DaypassError):
    """The libraries for a part of daypass are not installed."""

    exit_code = 2

    def __init__(self, what: str, extra: str) -> None:
        from daypass._core.hints import how_to_install

        hint = f"to install them: {how_to_install(extra)}"
        super().__init__(f"{what} needs libraries that are not installed", hint)
        self.args = (what, extra)
