"""Bringing rendered manifests into a repository and a cluster: commit, apply, wait, verify.

What is applied was made by `render`; nothing is rendered here.
"""
