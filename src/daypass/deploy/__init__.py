"""Bringing rendered manifests into a repository and a cluster: commit, apply, wait, verify.

What is applied was made by `render`; nothing is rendered here. An apply is a `State` that was asked
of the cluster, a `Plan` that was made of it by dry runs, and `carry_out`: between these a person
has seen all of it, and nothing was changed. What was applied is remembered in the cluster, with
UIDs, and only that is ever removed; the API server's own record of who applied what has to agree.
An apply, a removal and a commit can end at any step, and the same again goes on from there.
"""
