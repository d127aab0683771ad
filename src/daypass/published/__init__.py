"""What a gate knows: the credentials that exist, and what an administrator has denied.

`daypass gate watch` (in a cluster) and `daypass up` (on one machine) publish it. Envoy, the
authorizer and commands read it. A short-lived token passes only if its credential is in the set.
"""
