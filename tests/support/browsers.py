"""A browser, as far as a login needs one: it keeps cookies, and goes where it is sent."""

from __future__ import annotations

from collections.abc import Callable

from support.raw import Answer

_MOST_REDIRECTS = 10


class Browser:
    """On one host, whose GET is `get(path, header lines)`."""

    def __init__(self, get: Callable[[str, tuple[str, ...]], Answer]) -> None:
        self._get = get
        self.cookies: dict[str, str] = {}

    @property
    def line(self) -> str:
        """The Cookie header that it sends now."""
        return "Cookie: " + "; ".join(f"{name}={value}" for name, value in self.cookies.items())

    def get(self, path: str, *lines: str) -> Answer:
        """One request, with its cookies; those of the answer are kept."""
        answer = self._get(path, (*([self.line] if self.cookies else []), *lines))
        for cookie in answer.cookies:
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
            if not value:
                del self.cookies[name]
        return answer

    def follow(self, path: str, *lines: str) -> Answer:
        """The answer at the end of all redirects; none may lead to another host."""
        for _ in range(_MOST_REDIRECTS):
            answer = self.get(path, *lines)
            if answer.code not in {302, 303}:
                return answer
            path = answer.headers["location"]
            assert path.startswith("/"), path
        raise AssertionError(f"more than {_MOST_REDIRECTS} redirects")
