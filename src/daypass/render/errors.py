"""What a config leaves open that its manifests need."""

from daypass._core.errors import UsageError


class RenderError(UsageError):
    """There are no manifests for this config: a fact, and what to write into it."""
