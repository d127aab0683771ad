"""From a config to what runs: Kubernetes manifests, Envoy's config, and the admission policy.

`deploy`, `local` and `daypass render` call it. It is pure: the same input gives the same bytes,
which golden tests hold. Nothing here talks to a cluster, opens a socket or starts a process. Only
`monitoring` reads files, two of the package.

A config on its way to Envoy, by `daypass apply` or `daypass up`:

1. `config.load` reads and validates the file.
2. `config.exposure.Exposure` has the patterns of what passes; `DoorSettings` and
   `GateSettings` are what Envoy's config needs, in a Pod or on one machine.
3. `envoy.door_listener`, `envoy.door_routes` and `envoy.upstream` render the door,
   `envoy.gate_listener` and `envoy.token_rules` the gate of one machine.
4. One machine: `envoy.bootstrap.envoy_files` makes the files, which `local.envoy` runs.
5. A cluster: `workloads` describes the Pods with `config_text`, and `Deployment.objects` makes
   their objects. `fronts` adds the ingress or gateway, a module of `engines` the gate, `policy` the
   admission policy. `manifests.render_folders` puts all together, in the order of
   `objects.in_order`.
6. `deploy.plan` compares that with the cluster, and `deploy.apply` applies it.
"""

from daypass._core.errors import UsageError


class RenderError(UsageError):
    """A config has no manifests: it leaves open something that they need."""
