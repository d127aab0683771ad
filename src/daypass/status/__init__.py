"""The state of door, gates and identities on one screen.

`reading` looks at a cluster or a machine, `report` is what it finds, and what is wrong with
it. Rates are on the dashboard: what Prometheus knows is not asked here.
"""
