"""The state of door, gates and identities on one screen.

`samples` has what metrics say, `sources` reads them from Prometheus or from the parts themselves.
`cluster` and `machine` look at what is installed; `report` is what they find, `judgement` what is
wrong with it.
"""
