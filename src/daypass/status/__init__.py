"""The state of door, gates and identities on one screen.

`reading` looks at a cluster or a machine, `report` is what it finds, `judgement` what is wrong with
it. `sources` reads metrics from Prometheus or from the parts themselves; `samples` computes rates.
"""
