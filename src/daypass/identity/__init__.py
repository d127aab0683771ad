"""Identities in a cluster: ServiceAccount, token Secret, Role, RoleBinding, grants.

Creates, lists, shows, rotates, revokes, deletes. Keeps no token on disk: what it hands over goes
to where the caller said, once.
"""
