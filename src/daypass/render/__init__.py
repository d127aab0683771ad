"""From a config to what runs: Kubernetes manifests, Envoy's config, and the admission policy.

`manifests` puts the objects of a cluster together: `workloads` are the Deployments (`deployment` is
the record of one), `fronts` the ingress or gateway of a domain, `engines` the gateway that has the
gate, `policy` the admission policy. `objects` has the order in which they are written. `envoy` is
the config of door and gate, in a pod or on one machine. `monitoring` has what Prometheus and
Grafana get.

All of it is pure: the same input gives the same bytes, which golden tests hold. Nothing here talks
to a cluster, opens a socket or starts a process. Only `monitoring` reads files, two of the package.
"""

from daypass._core.errors import UsageError


class RenderError(UsageError):
    """A config has no manifests: it leaves open something that they need."""
