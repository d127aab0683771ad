"""The watch of a cluster's gate: a Deployment of our image, and exactly the rights that it needs.

It reads which namespaces and ServiceAccounts there are, but no Secret anywhere: for those of a
namespace it needs a Role there, which `identity create` makes. It writes what is published, by
name, and its own record and lease. Whoever takes a pod of it over can open and close the gate, and
learns the names of Secrets of identities and, since RBAC cannot say less, what is in them.
"""
