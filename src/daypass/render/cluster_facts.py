"""The facts about a cluster that rendering needs."""

from dataclasses import dataclass

from daypass._core.hints import kubectl
from daypass.config import Config
from daypass.render import RenderError


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterFacts:
    """A cluster as far as rendering depends on it.

    - `served`: the kinds that the API serves, as `GROUP/VERSION/KIND`; None if unknown. Only kinds
      with several versions in use (on Kubernetes 1.30 to 1.37) are looked up.
    - `authority_pem`: the certificates in `cluster.certificateAuthority`, if the config names it.
    - `issuer`: the `iss` that the cluster reports; empty if unknown.
    - `keys`: the key set in `cluster.keys`, if the config names it.
    """

    served: frozenset[str] | None = None
    authority_pem: str = ""
    issuer: str = ""
    keys: str = ""

    def api_version(self, kind: str, *versions: str) -> str:
        """Return the first of these versions that is served; the first one if none is known to be.

        Then the API server's own error reports what is missing.
        """
        known = self.served or frozenset()
        return next((v for v in versions if f"{v}/{kind}" in known), versions[0])

    def issuer_for(self, config: Config) -> str:
        """Return the `iss` of short-lived tokens. Raises RenderError if it is unknown."""
        issuer = config.cluster.issuer or self.issuer
        if not issuer:
            raise RenderError(
                "the gate needs the issuer of the cluster's tokens",
                "write cluster.issuer; this prints it: "
                + kubectl("get", "--raw", "/.well-known/openid-configuration"),
            )
        return issuer
