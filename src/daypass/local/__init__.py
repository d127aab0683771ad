"""One machine: Envoy under supervision, certificates of its own, the stack behind `daypass up`.

What door and gate refuse is in Envoy's config, `render.envoy`. The rest of daypass does not import
this package: what runs in a cluster needs none of it.
"""
