"""One machine: Envoy under supervision, certificates of its own, the stack behind `daypass up`.

The rest of daypass does not import this package: what runs in a cluster needs none of it.
"""
