"""The version of this package; a test holds it to what pyproject.toml says."""

VERSION = "0.1.0"
